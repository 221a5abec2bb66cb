//! `segue runs result RUN [TASK]`: what a run or a task produced, on stdout.

use segue_core::{ids::TaskId, ports::StoreError, status::Status};

use super::show::whole;
use crate::{
    args::ResultArgs,
    config::Settings,
    exit::Exit,
    failure::{Failure, Outcome},
    render::document::{self, load},
    run_ref::{self, short},
    terminal, wiring,
};

pub(super) async fn result(args: ResultArgs, settings: Settings) -> Outcome {
    let store = wiring::open_store(&settings).await?;
    let run = run_ref::resolve(&*store, &args.run.run).await?;
    let Some(task) = &args.task else {
        let document = document::of_run(&*store, run).await?;
        if document.status != Status::Succeeded {
            return Err(no_result(&format!("run {}", short(run)), document.status)
                .help(format!("segue runs show {} shows how things stand", short(run))));
        }
        terminal::print(whole(&document.outputs, args.json));
        return Ok(Exit::Ok);
    };
    let found = match store.get_task_result(run, &TaskId::from(task.as_str())).await {
        Ok(found) => found,
        Err(StoreError::NotFound(_)) => return Err(no_such_task(&*store, run, task).await?),
        Err(error) => return Err(error.into()),
    };
    let Some(output) = &found.output else {
        let failure = no_result(&format!("task {task}"), found.status);
        return Err(match &found.error {
            Some(error) => failure.help(format!("its error is {}: {}", error.kind, error.message)),
            None => failure.help(format!("segue runs show {} shows how things stand", short(run))),
        });
    };
    terminal::print(whole(&load(&*store, output).await?, args.json));
    Ok(Exit::Ok)
}

fn no_result(what: &str, status: Status) -> Failure {
    let exit = match status {
        Status::Failed | Status::Cancelled => Exit::of_run(status),
        _ => Exit::NotFound,
    };
    Failure::new(exit, format!("{what} has no result: it is {status}"))
}

/// A task that has not begun has no row; a task that is not in the workflow never will.
async fn no_such_task(
    store: &dyn segue_core::ports::RunStore,
    run: segue_core::ids::RunId,
    task: &str,
) -> Outcome<Failure> {
    let document = document::of_run(store, run).await?;
    if document.tasks.contains_key(task) {
        return Ok(no_result(&format!("task {task}"), Status::Pending)
            .help(format!("`segue runs watch {}` follows the run", short(run))));
    }
    let near = document.tasks.keys().min_by_key(|known| strsim::damerau_levenshtein(known, task));
    let failure = Failure::not_found(format!("run {} has no task `{task}`", short(run)));
    Ok(match near {
        Some(near) if strsim::damerau_levenshtein(near, task) <= 1 + task.len() / 3 => {
            failure.help(format!("did you mean `{near}`?"))
        }
        _ => failure.help(format!("`segue runs show {}` lists its tasks", short(run))),
    })
}
