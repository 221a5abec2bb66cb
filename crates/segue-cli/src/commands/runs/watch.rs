//! `segue runs watch RUN`: follow a run from any process. The exit code is the run's, as `run` gives it.

use std::io::IsTerminal;

use super::events::{has_ended, show};
use crate::{
    args::WatchArgs,
    commands::{
        drive::{Manner, Seen, Show, Watch, report, watch as follow_live},
        run::leave_others_run,
    },
    config::Settings,
    exit::Exit,
    failure::Outcome,
    live::Follow,
    render::document,
    run_ref,
    signals::Signals,
    terminal, wiring,
};

pub(super) async fn watch(args: WatchArgs, settings: Settings) -> Outcome {
    let (store, bus) = wiring::open_store_and_bus(&settings).await?;
    let bus = bus.to_others();
    let run = run_ref::resolve(&*store, &args.run.run).await?;
    let mut signals = Signals::listen()?;
    // Where the picture cannot be drawn, the events are the data.
    if args.json || !terminal::is_live() || !std::io::stdout().is_terminal() {
        let mut follow = Follow::new(store.clone(), bus.as_deref(), run, 0).await?;
        loop {
            let page = tokio::select! {
                page = follow.next() => page?,
                _ = signals.next() => return Ok(leave_others_run(run, Seen::Leave)),
            };
            page.iter().for_each(|event| show(event, args.json));
            if has_ended(&page) {
                return Ok(Exit::of_run(store.get_run(run).await?.status));
            }
        }
    }
    let manner = Manner::to_the_end(false);
    let what = Watch { run, after: 0, show: Show::Live, manner, driven_by: None, bus: bus.as_deref() };
    match follow_live(&store, signals, what).await? {
        Seen::Ended => {
            let document = document::of_run(&*store, run).await?;
            report(&document, false);
            Ok(Exit::of_run(document.status))
        }
        seen => Ok(leave_others_run(run, seen)),
    }
}
