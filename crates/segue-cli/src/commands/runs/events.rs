//! `segue runs events RUN`: the log.

use segue_core::event::Envelope;

use crate::{
    args::EventsArgs,
    config::Settings,
    exit::Exit,
    failure::Outcome,
    live::Follow,
    render::event_line,
    run_ref,
    signals::Signals,
    terminal::{self, Paint},
    wiring,
};

/// Events read at once.
const PAGE: usize = 1_000;

pub(super) async fn events(args: EventsArgs, settings: Settings) -> Outcome {
    let store = wiring::open_store(&settings).await?;
    let run = run_ref::resolve(&*store, &args.run.run).await?;
    let row = store.get_run(run).await?;
    let mut after = args.after;
    loop {
        let page = store.events(run, after, PAGE).await?;
        for event in &page {
            show(&Envelope::of(event, &row.workflow_id, run), args.json);
            after = event.seq;
        }
        if page.len() < PAGE {
            break;
        }
    }
    if !args.follow || store.get_run(run).await?.status.is_terminal() {
        return Ok(Exit::Ok);
    }
    let mut signals = Signals::listen()?;
    let mut follow = Follow::new(store, None, run, after).await?;
    loop {
        let page = tokio::select! {
            page = follow.next() => page?,
            _ = signals.next() => return Ok(Exit::Interrupted),
        };
        for event in &page {
            show(event, args.json);
        }
        if page.last().is_some_and(ends_run) {
            return Ok(Exit::Ok);
        }
    }
}

/// Is this the last event of a run, as long as nobody reopens it?
pub(super) fn ends_run(event: &Envelope) -> bool {
    matches!(event.name.as_str(), "run.succeeded" | "run.failed" | "run.cancelled")
}

pub(super) fn show(event: &Envelope, json: bool) {
    terminal::print(if json {
        serde_json::to_string(event).expect("an event can be written as JSON")
    } else {
        event_line::of(event, Paint::stdout())
    });
}
