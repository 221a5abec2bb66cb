//! The commands, one file each.

mod answer;
mod approvals;
mod chaos;
mod completions;
mod config;
mod deploy;
mod doctor;
mod drive;
mod explain;
mod graph;
mod init;
mod resume;
mod run;
mod runs;
mod schema;
mod serve;
mod store;
mod stuck;
mod validate;
mod workflows;

use std::time::Duration;

use crate::{
    args::{Cli, ConfigCommand, Top},
    config::{Settings, load},
    exit::Exit,
    failure::Outcome,
    logs, runtime,
};

/// What a command that leaves at once may still take.
const LAST_MOMENT: Duration = Duration::from_secs(1);

/// Carries out what was asked.
pub(crate) fn dispatch(cli: Cli) -> Outcome {
    // These need no settings, and work where the settings are broken.
    match cli.command {
        Top::Init(args) => return init::init(&args),
        Top::Schema(args) => return schema::schema(&args),
        Top::Completions(args) => return completions::completions(&args),
        Top::Explain(args) => return explain::explain(&args),
        _ => {}
    }
    let resolved = load(&cli.global)?;
    if let Top::Config(ConfigCommand::Show(args)) = &cli.command {
        return config::show(args, &resolved);
    }
    let mut settings = Settings::of(&resolved)?;
    if matches!(cli.command, Top::Serve(_)) && settings.log_is_default {
        // Nobody watches a terminal: what happens in runs is told by log lines.
        settings.log = serve::LOG.to_owned();
    }
    logs::start(&settings)?;
    match cli.command {
        Top::Validate(args) => in_runtime(validate::validate(args, settings)),
        Top::Graph(args) => in_runtime(graph::graph(args, settings)),
        Top::Run(args) => in_runtime(run::run(args, settings)),
        Top::Submit(args) => in_runtime(run::submit(args, settings)),
        Top::Serve(args) => in_runtime(serve::serve(args, settings)),
        Top::Chaos(args) => in_runtime(chaos::chaos(args, settings)),
        Top::Approvals(command) => in_runtime(approvals::approvals(command, settings)),
        Top::Approve(args) => in_runtime(answer::approve(args, settings)),
        Top::Reject(args) => in_runtime(answer::reject(args, settings)),
        Top::Signal(args) => in_runtime(answer::signal(args, settings)),
        Top::Workflows(command) => in_runtime(workflows::workflows(command, settings)),
        Top::Store(command) => in_runtime(store::store(command, settings)),
        Top::Resume(args) => in_runtime(resume::resume(args, settings)),
        Top::Runs(command) => in_runtime(runs::runs(command, settings)),
        Top::Doctor(args) => in_runtime(doctor::doctor(args, settings)),
        Top::Init(_) | Top::Schema(_) | Top::Completions(_) | Top::Explain(_) | Top::Config(_) => Ok(Exit::Ok),
    }
}

/// Runs a command that waits for things.
fn in_runtime(command: impl Future<Output = Outcome>) -> Outcome {
    let runtime = runtime::start()?;
    let outcome = runtime.block_on(command);
    // Attempts that still run are dropped, which kills their processes; nothing may hold this process for long.
    runtime.shutdown_timeout(LAST_MOMENT);
    outcome
}
