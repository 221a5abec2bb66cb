//! `segue runs retry RUN`: reopen a run that failed or was cancelled, and see it to its end.

use segue_core::{ports::RequestKind, status::Status};

use crate::{
    args::RetryArgs,
    commands::{drive::Manner, run::see_to_its_end, stuck::Patience},
    config::Settings,
    exit::Exit,
    failure::{Failure, Outcome},
    run_ref::{self, short},
    signals::Signals,
    wiring::{self, Purpose, Session},
};

pub(super) async fn retry(args: RetryArgs, settings: Settings) -> Outcome {
    wiring::must_exist(&settings)?;
    let signals = Signals::listen()?;
    let session = Session::start(settings, Purpose { quiet: args.json }).await?;
    let outcome = reopen_and_see(&session, &args, signals).await;
    if !matches!(outcome, Ok(Exit::Interrupted)) {
        session.end().await;
    }
    outcome
}

async fn reopen_and_see(session: &Session, args: &RetryArgs, signals: Signals) -> Outcome {
    let run = run_ref::resolve(&*session.store, &args.run.run).await?;
    let row = session.store.get_run(run).await?;
    if !matches!(row.status, Status::Failed | Status::Cancelled) {
        return Err(Failure::new(Exit::Conflict, format!("run {} is {}", short(run), row.status))
            .help("only a run that is FAILED or CANCELLED can be retried; `segue run` starts a new one"));
    }
    session.engine.request(run, RequestKind::Reopen).await?;
    let ours = session.take_over(run).await?;
    let manner = Manner { patience: Patience::suitable(false), ..Manner::to_the_end(args.json) };
    see_to_its_end(session, run, row.version, ours, signals, manner).await
}
