//! Seeing a run to its end: what `run`, `resume`, `runs retry`, `runs cancel` and `runs watch` share.

use std::{convert::Infallible, time::Duration};

use segue_core::{
    event::Envelope,
    ids::RunId,
    ports::{EventBus, Orchestrator, RunStore},
    time::Timestamp,
};
use serde_json::Value;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::stuck::{Patience, is_stuck, questions};
use crate::{
    exit::Exit,
    failure::{Failure, Outcome},
    live::{EventLines, Follow, LimitLook, RunView, Size, frame},
    render::{
        document::{self, RunDocument, workflow},
        text::{count, named_value, span},
    },
    run_ref::short,
    signals::{Signal, Signals},
    terminal::{self, Paint},
    wiring::Session,
};

/// How often the live picture is drawn.
const FRAME: Duration = Duration::from_millis(100);

/// How often to look whether a child run has come to wait for somebody: its parent's log does not say.
const LOOK: Duration = Duration::from_millis(200);

/// How often to look whether the process that carries a run out is still there.
const INHERIT_EVERY: Duration = Duration::from_millis(500);

/// How a run is shown while it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Show {
    /// Redrawn in place.
    Live,
    /// A line an event on stderr.
    Lines,
    /// Not at all.
    Nothing,
}

impl Show {
    /// What suits the terminal.
    pub(super) fn suitable(json: bool) -> Self {
        match (json, terminal::is_live()) {
            (true, _) => Self::Nothing,
            (false, true) => Self::Live,
            (false, false) => Self::Lines,
        }
    }
}

/// How long a run is waited for, and how its end is told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    pub(super) deadline: Option<Instant>,
    /// What the run may wait for before nobody here waits with it.
    pub(super) patience: Patience,
    /// One JSON document on stdout, and nothing else.
    pub(super) json: bool,
}

impl Manner {
    /// To its end, however long that takes.
    pub(super) const fn to_the_end(json: bool) -> Self {
        Self { deadline: None, patience: Patience::Endless, json }
    }
}

/// Why nobody waits any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// The run ended.
    Ended,
    /// It waits for something outside, and nobody is here to bring it.
    Waiting,
    /// `--timeout` was reached.
    TimedOut,
    /// SIGTERM, or Ctrl-C where the run is another process's.
    Leave,
    /// Ctrl-C a second time.
    LeaveAtOnce,
}

/// What to follow, and how.
pub(super) struct Watch<'a> {
    pub(super) run: RunId,
    /// Follow from the event after this one.
    pub(super) after: u64,
    pub(super) show: Show,
    pub(super) manner: Manner,
    /// The session whose engine carries the run out; none: another process does.
    pub(super) driven_by: Option<&'a Session>,
    /// A bus on which whoever carries it out may tell what happens.
    pub(super) bus: Option<&'a dyn EventBus>,
}

/// Follows the run until it ends or somebody says stop. Ctrl-C cancels a run that this process carries out.
pub(super) async fn watch(store: &std::sync::Arc<dyn RunStore>, signals: Signals, what: Watch<'_>) -> Outcome<Seen> {
    watch_with_limits(store, signals, what, None).await
}

/// As [`watch`]; `limits` tells what tasks wait for that limits keep from beginning.
pub(super) async fn watch_with_limits(
    store: &std::sync::Arc<dyn RunStore>,
    mut signals: Signals,
    what: Watch<'_>,
    mut limits: Option<LimitLook>,
) -> Outcome<Seen> {
    let mut follow = Follow::new(store.clone(), what.bus, what.run, what.after).await?;
    let row = store.get_run(what.run).await?;
    let mut view = RunView::new(&workflow(&**store, row.workflow_hash).await?, "");
    let mut lines = EventLines::default();
    if what.after > 0 {
        // What came before is known, not news.
        for event in store.events(what.run, 0, 0).await?.iter().take_while(|event| event.seq <= what.after) {
            view.apply(&Envelope::of(event, &row.workflow_id, what.run));
        }
    }
    let mut ticks = interval(FRAME);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut cancelling = false;
    let gave_up = given_up(what.driven_by, what.run);
    tokio::pin!(gave_up);
    let seen = loop {
        tokio::select! {
            events = follow.next() => {
                let events = events?;
                for event in &events {
                    view.apply(event);
                    if what.show == Show::Lines {
                        lines.of(event, &view, Paint::stderr()).iter().for_each(terminal::say);
                    }
                }
                if view.status.is_terminal() {
                    break Seen::Ended;
                }
                looks.reset_immediately();
                limits.iter_mut().for_each(LimitLook::stir);
            }
            () = due(limits.as_ref(), &view) => if let Some(limits) = &mut limits {
                // The picture shows it.
                let _ = limits.look(&mut view).await;
            },
            _ = looks.tick(), if !view.waiting.is_empty() && what.manner.patience != Patience::Endless => {
                if is_stuck(&**store, what.run, what.manner.patience, now()).await? {
                    break Seen::Waiting;
                }
            }
            _ = ticks.tick(), if what.show == Show::Live => draw(&view),
            failure = &mut gave_up => return Err(failure),
            () = at(what.manner.deadline) => break Seen::TimedOut,
            signal = signals.next() => match (signal, what.driven_by) {
                (Signal::Interrupt, Some(session)) if !cancelling => {
                    cancelling = true;
                    terminal::say(format!("cancelling run {}; Ctrl-C again leaves at once", short(what.run)));
                    session.engine.cancel_run(what.run, "Ctrl-C").await?;
                }
                (Signal::Interrupt, _) => break Seen::LeaveAtOnce,
                (Signal::Terminate, _) => break Seen::Leave,
            },
        }
    };
    if what.show == Show::Live {
        draw(&view);
        terminal::keep_frame();
    }
    Ok(seen)
}

/// Until it is time to look which limits are not open.
async fn due(limits: Option<&LimitLook>, view: &RunView) {
    match limits {
        Some(limits) => limits.due(view).await,
        None => std::future::pending().await,
    }
}

/// Why the engine of this process no longer carries the run out although it has not ended; most often it never ends.
async fn given_up(session: Option<&Session>, run: RunId) -> Failure {
    if let Some(session) = session
        && let Err(error) = session.engine.wait(run).await
    {
        return error.into();
    }
    std::future::pending().await
}

/// Takes a run over as soon as the process is gone that carries it out: who waits for its end would wait for ever.
pub(super) async fn inherit(session: &Session, run: RunId) -> Infallible {
    loop {
        tokio::time::sleep(INHERIT_EVERY).await;
        match session.take_over(run).await {
            Ok(true) => return std::future::pending().await,
            Ok(false) => {}
            Err(failure) => tracing::debug!(run_id = %run, why = %failure.message, "the run is not taken over"),
        }
    }
}

fn draw(view: &RunView) {
    terminal::draw(frame(view, now(), Size::of_terminal(), Paint::stderr()));
}

/// The time, as the store writes it.
pub(super) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Ends the wait for a run that this process carries out: drains where that is asked for, then says what has come of
/// it, on stdout and by the exit code.
pub(super) async fn conclude(session: &Session, run: RunId, seen: Seen, json: bool) -> Outcome {
    let left = match seen {
        Seen::Ended => None,
        Seen::Waiting => Some(Exit::RunWaiting),
        Seen::TimedOut => Some(Exit::TimedOut),
        Seen::Leave => Some(Exit::Interrupted),
        Seen::LeaveAtOnce => {
            terminal::say(format!("left run {}; go on with: segue resume {}", short(run), short(run)));
            return Ok(Exit::Interrupted);
        }
    };
    if let Some(exit) = left {
        let drain = if exit == Exit::TimedOut { Duration::ZERO } else { session.settings.drain };
        terminal::say(match exit {
            Exit::TimedOut => "the --timeout is reached; what runs is stopped and handed back".to_owned(),
            Exit::RunWaiting => questions(&*session.store, run).await?,
            _ => format!("asked to leave; running tasks get {} to finish", span(drain)),
        });
        session.engine.shut_down_within(drain).await;
        if !session.store.get_run(run).await?.status.is_terminal() {
            if exit != Exit::RunWaiting {
                terminal::say(format!("the run is kept; go on with: segue resume {}", short(run)));
            }
            if json {
                terminal::print(as_json(&document::of_run(&*session.store, run).await?));
            }
            return Ok(exit);
        }
    }
    let document = document::of_run(&*session.store, run).await?;
    report(&document, json);
    Ok(Exit::of_run(document.status))
}

/// The document on one line.
pub(super) fn as_json(document: &RunDocument) -> String {
    serde_json::to_string(document).expect("a document can be written as JSON")
}

/// What has come of a run: its outputs on stdout, the rest on stderr; or all of it as one document on stdout.
pub(super) fn report(document: &RunDocument, json: bool) {
    if json {
        terminal::print(as_json(document));
        return;
    }
    terminal::say("");
    if let Value::Object(outputs) = &document.outputs {
        for (name, value) in outputs {
            terminal::print(named_value(name, value));
        }
        if !outputs.is_empty() {
            terminal::say("");
        }
    }
    terminal::say(summary(document, Paint::stderr()));
    let run = short(document.run_id);
    if let Some(error) = &document.error {
        let place = error.node.as_ref().map_or(String::new(), |node| format!("{node}: "));
        let paint = Paint::stderr();
        terminal::say(format!("{} {place}{}: {}", paint.bad("error:"), error.kind, error.message));
        terminal::say(format!("  {} segue runs show {run}     every task and its error", paint.help("help:")));
        terminal::say(format!("  {} segue runs retry {run}    run again what has not succeeded", paint.help("help:")));
    }
}

/// `SUCCEEDED in 2.3 s · 2 tasks · 150 tokens · run 0199a3f2-…`
pub(super) fn summary(document: &RunDocument, paint: Paint) -> String {
    let mut facts = Vec::new();
    if let (Some(started), Some(finished)) = (document.started_at, document.finished_at) {
        facts.push(format!("in {}", span(finished.since(started))));
    }
    facts.push(format!("· {}", count(document.tasks.len() as u64, "task")));
    if document.usage.total_tokens() > 0 {
        facts.push(format!("· {}", count(document.usage.total_tokens(), "token")));
    }
    facts.push(format!("· run {}", document.run_id));
    format!("{} {}", paint.status(document.status, document.status.as_str()), facts.join(" "))
}
