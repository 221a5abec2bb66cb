//! `segue runs cancel RUN`: ask a run to stop, and see it stop.
//!
//! The request goes into the run's inbox, where the process that carries the run out finds it. If there is none, this
//! process takes the run over and ends it.

use std::time::Duration;

use segue_core::ports::Orchestrator;
use tokio::time::Instant;

use crate::{
    args::CancelArgs,
    commands::drive::{Manner, Seen, Show, Watch, as_json, inherit, watch},
    config::Settings,
    exit::Exit,
    failure::Outcome,
    render::document,
    run_ref::{self, short},
    signals::Signals,
    terminal,
    wiring::{self, Purpose, Session},
};

/// What the other process may take beyond the grace period.
const MOMENT: Duration = Duration::from_secs(30);

pub(super) async fn cancel(args: CancelArgs, settings: Settings) -> Outcome {
    wiring::must_exist(&settings)?;
    let signals = Signals::listen()?;
    let session = Session::start(settings, Purpose { quiet: args.json }).await?;
    let outcome = cancel_and_see(&session, &args, signals).await;
    session.end().await;
    outcome
}

async fn cancel_and_see(session: &Session, args: &CancelArgs, signals: Signals) -> Outcome {
    let store = &session.store;
    let run = run_ref::resolve(&**store, &args.run.run).await?;
    let row = store.get_run(run).await?;
    if !row.status.is_terminal() {
        session.engine.cancel_run(run, &args.reason).await?;
        let ours = session.take_over(run).await?;
        let deadline = Some(Instant::now() + session.settings.grace + MOMENT);
        let manner = Manner { deadline, ..Manner::to_the_end(args.json) };
        let driven_by = ours.then_some(session);
        let bus = session.bus_for(ours);
        let what = Watch { run, after: row.version, show: Show::Nothing, manner, driven_by, bus };
        let seen = tokio::select! {
            seen = watch(store, signals, what) => seen?,
            never = inherit(session, run), if !ours => match never {},
        };
        if seen != Seen::Ended {
            terminal::say(format!("asked to stop; what runs has not ended yet: segue runs watch {}", short(run)));
            return Ok(if seen == Seen::TimedOut { Exit::TimedOut } else { Exit::Interrupted });
        }
    }
    let document = document::of_run(&**store, run).await?;
    if args.json {
        terminal::print(as_json(&document));
    } else if row.status.is_terminal() {
        terminal::say(format!("run {} had ended before: {}", short(run), document.status));
    } else {
        terminal::say(format!("run {} is {}", short(run), document.status));
    }
    Ok(Exit::Ok)
}
