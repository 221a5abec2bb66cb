//! The binary `segue`: arguments, configuration, wiring. The only place that names concrete backends.
//!
//! * [`args`]: what can be asked. [`config`]: settings and where they come from.
//! * [`commands`]: one file a command; each reads as a pipeline and returns an exit code or a [`failure::Failure`].
//! * [`wiring`]: which store, bus, adapters and models a process is made of.
//! * [`rehearsing`]: adapters whose every attempt is a rehearsal.
//! * [`document`]: reading workflow documents. [`family`]: their child workflows. [`subject`]: names of workflows.
//! * [`inputs`]: values for their params. [`run_ref`]: names of runs.
//! * [`live`]: following a run. [`graph`]: pictures of workflows. [`render`]: how things look.
//! * [`chaos`]: what happens in the processes that `segue chaos` kills.
//! * [`runtime`]: the threads. [`terminal`]: the two output streams. [`logs`]: log lines. [`exit`]: exit codes.

mod answers;
mod args;
mod chaos;
mod commands;
mod config;
mod document;
mod exit;
mod failure;
mod family;
mod graph;
mod inputs;
mod live;
mod logs;
#[cfg(feature = "mutants")]
mod mutants;
mod rehearsing;
mod render;
mod run_ref;
mod runtime;
mod signals;
mod subject;
mod terminal;
mod wiring;

use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = args::parse();
    let json = cli.command.wants_json();
    #[cfg(feature = "mutants")]
    let done = mutants::plant().and_then(|()| commands::dispatch(cli));
    #[cfg(not(feature = "mutants"))]
    let done = commands::dispatch(cli);
    match done {
        Ok(exit) => exit.into(),
        Err(failure) => {
            render::failure::show(&failure, json);
            failure.exit.into()
        }
    }
}
