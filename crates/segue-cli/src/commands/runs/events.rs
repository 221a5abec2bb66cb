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
    let (store, bus) = wiring::open_store_and_bus(&settings).await?;
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
    let bus = bus.to_others();
    let mut follow = Follow::new(store, bus.as_deref(), run, after).await?;
    loop {
        let page = tokio::select! {
            page = follow.next() => page?,
            _ = signals.next() => return Ok(Exit::Interrupted),
        };
        for event in &page {
            show(event, args.json);
        }
        if has_ended(&page) {
            return Ok(Exit::Ok);
        }
    }
}

/// Is the last fact here the last of the run, as long as nobody reopens it?
pub(super) fn has_ended(page: &[Envelope]) -> bool {
    let last = page.iter().rev().find(|event| !event.transient);
    last.is_some_and(|event| matches!(event.name.as_str(), "run.succeeded" | "run.failed" | "run.cancelled"))
}

/// Prints a fact. What a bus tells besides is not in the log, and comes or does not.
pub(super) fn show(event: &Envelope, json: bool) {
    if event.transient {
        return;
    }
    terminal::print(if json {
        serde_json::to_string(event).expect("an event can be written as JSON")
    } else {
        event_line::of(event, Paint::stdout())
    });
}
