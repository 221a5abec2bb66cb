//! `segue run FILE`: start a run and see it to its end.

use std::{path::Path, time::Duration};

use segue_core::{
    ids::RunId,
    ports::{Orchestrator, OrchestratorError, StartRun, Started},
    spec::WorkflowSpec,
};
use serde_json::json;
use tokio::time::Instant;

use super::drive::{Seen, Show, Watch, as_json, conclude, report, watch};
use crate::{
    args::RunArgs,
    config::{Settings, StoreUrl},
    document::Document,
    exit::Exit,
    failure::{Failure, Outcome},
    inputs,
    render::document,
    run_ref::short,
    signals::Signals,
    terminal,
    wiring::{self, Purpose, Session},
};

pub(super) async fn run(args: RunArgs, settings: Settings) -> Outcome {
    if args.file == "-" && args.inputs_file.as_deref() == Some("-") {
        return Err(Failure::usage("the workflow and its inputs cannot both come from stdin")
            .help("write one of them to a file, or give the inputs with -i"));
    }
    if args.no_wait && settings.store == StoreUrl::Memory {
        return Err(Failure::usage("--no-wait leaves the run in the store, and `memory:` is gone with this process")
            .help("leave out --no-wait, or name a store: --store sqlite:PATH"));
    }
    let deadline = args.timeout.map(|seconds| Instant::now() + Duration::from_secs_f64(seconds));
    let (spec, base_dir) = Document::read(&args.file, &settings)?.into_workflow(args.json)?;
    let inputs = inputs::gather(&spec, args.inputs_file.as_deref(), &args.inputs)?;
    if !args.rehearse {
        wiring::needs_provider(&spec, &base_dir, &settings)?;
    }
    let mut signals = Signals::listen()?;
    let start = StartRun {
        inputs,
        idempotency_key: args.idempotency_key.clone(),
        base_dir: Some(text_of(&base_dir)?),
        rehearsal: args.rehearse,
    };
    let session = Session::start(settings, Purpose { rehearsal: args.rehearse, quiet: args.json }).await?;
    tokio::select! {
        prepared = session.prepare(&spec, &base_dir) => prepared?,
        _ = signals.next() => {
            terminal::say("left before the run began; nothing was started");
            return Ok(Exit::Interrupted);
        }
    }
    let outcome = start_and_see(&args, &session, &spec, start, signals, deadline).await;
    if !matches!(outcome, Ok(Exit::Interrupted)) {
        session.end().await;
    }
    outcome
}

async fn start_and_see(
    args: &RunArgs,
    session: &Session,
    spec: &WorkflowSpec,
    start: StartRun,
    signals: Signals,
    deadline: Option<Instant>,
) -> Outcome {
    let workflow = session.engine.deploy_workflow(spec).await?;
    if args.no_wait {
        let run = session.engine.submit(workflow, start).await.map_err(refused_start)?.run_id;
        return leave_to_others(session, run, args.json).await;
    }
    let Started { run_id, is_new } = session.engine.start_run(workflow, start).await.map_err(refused_start)?;
    if !is_new {
        terminal::say(format!("the key was used before: this is run {run_id}"));
        return attach(session, run_id, signals, deadline, args.json).await;
    }
    let what = Watch { run: run_id, after: 0, show: Show::suitable(args.json), deadline, driven_by: Some(session) };
    let seen = watch(&session.store, signals, what).await?;
    conclude(session, run_id, seen, args.json).await
}

/// A start can conflict with one thing only: what its key was used for before.
fn refused_start(error: OrchestratorError) -> Failure {
    match error {
        OrchestratorError::Conflict(message) => Failure::new(Exit::Conflict, message)
            .help("use another key for another request, or the same workflow and inputs for the same one"),
        other => other.into(),
    }
}

/// Shows a run that exists already: its result if it ended, its progress if another process carries it out; if nobody
/// does, this process takes it over.
pub(super) async fn attach(
    session: &Session,
    run: RunId,
    signals: Signals,
    deadline: Option<Instant>,
    json: bool,
) -> Outcome {
    let row = session.store.get_run(run).await?;
    if row.status.is_terminal() {
        report(&document::of_run(&*session.store, run).await?, json);
        return Ok(Exit::of_run(row.status));
    }
    let ours = session.take_over(run).await?;
    let driven_by = ours.then_some(session);
    let what = Watch { run, after: row.version, show: Show::suitable(json), deadline, driven_by };
    let seen = watch(&session.store, signals, what).await?;
    match seen {
        _ if ours => conclude(session, run, seen, json).await,
        Seen::Ended => {
            let document = document::of_run(&*session.store, run).await?;
            report(&document, json);
            Ok(Exit::of_run(document.status))
        }
        other => Ok(leave_others_run(run, other)),
    }
}

/// Stops watching a run that another process carries out.
pub(super) fn leave_others_run(run: RunId, seen: Seen) -> Exit {
    terminal::say(format!(
        "run {} goes on in its own process; watch it with: segue runs watch {}",
        short(run),
        short(run)
    ));
    match seen {
        Seen::TimedOut => Exit::TimedOut,
        Seen::Waiting => Exit::RunWaiting,
        Seen::Ended | Seen::Leave | Seen::LeaveAtOnce => Exit::Interrupted,
    }
}

/// `--no-wait`: the run is on disk; whoever resumes carries it out.
async fn leave_to_others(session: &Session, run: RunId, json: bool) -> Outcome {
    let document = document::of_run(&*session.store, run).await?;
    if json {
        terminal::print(as_json(&document));
    } else {
        terminal::print(run.to_string());
        terminal::say(format!("recorded; carry it out with: segue resume {}", short(run)));
    }
    Ok(Exit::of_run(document.status))
}

fn text_of(path: &Path) -> Outcome<String> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        Failure::usage(format!("the folder {} has a name that is not UTF-8", path.display()))
            .help("rename it, or move the workflow to another folder")
            .details(json!([]))
    })
}
