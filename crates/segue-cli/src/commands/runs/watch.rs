//! `segue runs watch RUN`: follow a run from any process. The exit code is the run's, as `run` gives it.

use std::io::IsTerminal;

use super::events::{has_ended, show};
use crate::{
    args::WatchArgs,
    commands::{
        drive::{Manner, Seen, Show, Watch, report, watch_with_limits},
        run::leave_others_run,
    },
    config::Settings,
    exit::Exit,
    failure::Outcome,
    live::{Follow, LimitLook, RunView},
    render::document,
    run_ref,
    signals::Signals,
    terminal,
    wiring::{self, Stores},
};

pub(super) async fn watch(args: WatchArgs, settings: Settings) -> Outcome {
    let (Stores { runs: store, limits, .. }, bus) = wiring::open_stores_and_bus(&settings).await?;
    let bus = bus.to_others();
    let run = run_ref::resolve(&*store, &args.run.run).await?;
    let signals = Signals::listen()?;
    let spec = document::workflow(&*store, store.get_run(run).await?.workflow_hash).await?;
    let looks = LimitLook::new(store.clone(), limits, settings.limits.specs(), (run, &spec));
    // Where the picture cannot be drawn, the events are the data.
    if args.json || !terminal::is_live() || !std::io::stdout().is_terminal() {
        let follow = Follow::new(store.clone(), bus.as_deref(), run, 0).await?;
        return match lines(follow, signals, looks, (RunView::new(&spec, ""), args.json)).await? {
            Seen::Ended => Ok(Exit::of_run(store.get_run(run).await?.status)),
            seen => Ok(leave_others_run(run, seen)),
        };
    }
    let manner = Manner::to_the_end(false);
    let what = Watch { run, after: 0, show: Show::Live, manner, driven_by: None, bus: bus.as_deref() };
    match watch_with_limits(&store, signals, what, Some(looks)).await? {
        Seen::Ended => {
            let document = document::of_run(&*store, run).await?;
            report(&document, false);
            Ok(Exit::of_run(document.status))
        }
        seen => Ok(leave_others_run(run, seen)),
    }
}

/// The events on stdout; what tasks wait for that a limit keeps from beginning, which no event tells, on stderr.
async fn lines(
    mut follow: Follow,
    mut signals: Signals,
    mut looks: LimitLook,
    (mut view, json): (RunView, bool),
) -> Outcome<Seen> {
    loop {
        tokio::select! {
            page = follow.next() => {
                let page = page?;
                for event in &page {
                    show(event, json);
                    view.apply(event);
                }
                if has_ended(&page) {
                    return Ok(Seen::Ended);
                }
                looks.stir();
            }
            () = looks.due(&view), if !json => looks.look(&mut view).await.iter().for_each(terminal::say),
            _ = signals.next() => return Ok(Seen::Leave),
        }
    }
}
