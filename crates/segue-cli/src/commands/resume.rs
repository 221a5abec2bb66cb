//! `segue resume [RUN]... [--all]`: take over runs whose process is gone, and see them to their end.

use std::time::Duration;

use futures_util::future::join_all;
use segue_core::{ids::RunId, ports::RunFilter, status::Status};
use tokio::time::Instant;

use super::{
    drive::{Manner, Seen, Show, Watch, conclude, watch},
    run::attach,
    stuck::Patience,
};
use crate::{
    args::ResumeArgs,
    config::Settings,
    exit::Exit,
    failure::{Failure, Outcome},
    render::text::count,
    run_ref::{self, short},
    signals::Signals,
    terminal,
    wiring::{self, Purpose, Session},
};

pub(super) async fn resume(args: ResumeArgs, settings: Settings) -> Outcome {
    wiring::must_exist(&settings)?;
    let manner = Manner {
        deadline: args.timeout.map(|seconds| Instant::now() + Duration::from_secs_f64(seconds)),
        patience: Patience::suitable(args.no_wait),
        json: args.json,
    };
    let signals = Signals::listen()?;
    let session = Session::start(settings, Purpose { quiet: args.json }).await?;
    let outcome =
        if args.all { all(&session, signals, manner).await } else { named(&session, &args, signals, manner).await };
    if !matches!(outcome, Ok(Exit::Interrupted)) {
        session.end().await;
    }
    outcome
}

async fn named(session: &Session, args: &ResumeArgs, signals: Signals, manner: Manner) -> Outcome {
    let mut runs = Vec::new();
    for name in &args.runs {
        let run = run_ref::resolve(&*session.store, name).await?;
        if !runs.contains(&run) {
            runs.push(run);
        }
    }
    if let [run] = runs[..] {
        let status = session.store.get_run(run).await?.status;
        if matches!(status, Status::Failed | Status::Cancelled) {
            return Err(Failure::new(Exit::Conflict, format!("run {} has ended: {status}", short(run)))
                .help(format!("segue runs retry {}     run again what has not succeeded", short(run))));
        }
        return attach(session, run, signals, manner).await;
    }
    let seen = join_all(runs.iter().map(|run| attach(session, *run, signals.clone(), manner))).await;
    worst(seen)
}

async fn all(session: &Session, signals: Signals, manner: Manner) -> Outcome {
    let before: Vec<(RunId, u64)> = live_runs(session).await?;
    let taken = session.engine.resume(&[]).await?;
    let others = before.len().saturating_sub(taken.len());
    if others > 0 {
        let noun = if others == 1 { "is" } else { "are" };
        terminal::say(format!("{} {noun} carried out by other processes", count(others as u64, "run")));
    }
    if taken.is_empty() {
        terminal::say("nothing to resume");
        return Ok(Exit::Ok);
    }
    terminal::say(format!("resuming {}", count(taken.len() as u64, "run")));
    let show = match Show::suitable(manner.json) {
        Show::Live if taken.len() > 1 => Show::Lines,
        show => show,
    };
    let seen = join_all(taken.iter().map(|run| {
        let after = before.iter().find(|(known, _)| known == run).map_or(0, |(_, version)| *version);
        let what = Watch { run: *run, after, show, manner, driven_by: Some(session), bus: session.bus_for(true) };
        watch(&session.store, signals.clone(), what)
    }))
    .await;
    let mut outcomes = Vec::new();
    for (run, seen) in taken.iter().zip(seen) {
        outcomes.push(match seen {
            Ok(Seen::LeaveAtOnce) => {
                terminal::say("left; go on with: segue resume --all");
                return Ok(Exit::Interrupted);
            }
            Ok(seen) => conclude(session, *run, seen, manner.json).await,
            Err(failure) => Err(failure),
        });
    }
    worst(outcomes)
}

async fn live_runs(session: &Session) -> Outcome<Vec<(RunId, u64)>> {
    let statuses = vec![Status::Pending, Status::Running, Status::Waiting];
    let rows = session.store.list_runs(RunFilter { statuses, ..RunFilter::default() }).await?;
    Ok(rows.into_iter().map(|row| (row.run_id, row.version)).collect())
}

/// One answer for several runs: the first failure, else the first that is not well, else all is well.
fn worst(outcomes: Vec<Outcome>) -> Outcome {
    let mut worst = Exit::Ok;
    for outcome in outcomes {
        let exit = outcome?;
        if worst == Exit::Ok {
            worst = exit;
        }
    }
    Ok(worst)
}
