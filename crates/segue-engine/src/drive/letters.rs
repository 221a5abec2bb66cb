//! What comes in: answers of attempts, requests, the passing of time.

use segue_core::{
    ids::TaskId,
    outcome::{Loss, TaskOutcome},
    ports::{Request, RequestKind},
    run::Input,
};

use super::{BATCH_EVENTS, Drive, Mode};
use crate::live::Message;

impl Drive {
    /// Takes what has come in, without waiting.
    pub(super) fn take_all(&mut self) {
        while self.batch.events.len() < BATCH_EVENTS
            && let Ok(message) = self.inbox.try_recv()
        {
            match message {
                // They are for `rest`, where leaving is simple. Until then every commit is checked anyway.
                Message::Stop | Message::Lost | Message::Regained | Message::HandBack => {
                    let _ = self.handle.sender.send(message);
                    return;
                }
                message => self.take_now(message),
            }
        }
    }

    pub(super) async fn take(&mut self, message: Message) {
        if matches!(message, Message::HandBack) {
            self.mode = Mode::HandingBack;
            self.hand_back().await;
        } else {
            self.take_now(message);
        }
    }

    fn take_now(&mut self, message: Message) {
        match message {
            Message::Ended { task, attempt, outcome } => self.end_attempt(task, attempt, outcome),
            Message::Waits { task, attempt, waiting } => self.child_waits(task, attempt, waiting),
            Message::Renewed => {
                self.follow_awaited();
                self.look_for_parent();
            }
            Message::Requests(requests) => requests.into_iter().for_each(|request| self.answer(request)),
            Message::Place => self.places.ask_again(),
            Message::Woke => {
                self.feed(Input::Woke { jitter: fastrand::f64() });
            }
            Message::Drain => self.mode = self.mode.max(Mode::Draining),
            Message::HandBack | Message::Lost | Message::Regained | Message::Stop => {}
        }
    }

    fn end_attempt(&mut self, task: TaskId, attempt: u32, outcome: TaskOutcome) {
        let live = self.in_flight.get(&task).filter(|live| live.attempt == attempt);
        let is_child = live.is_some_and(|live| live.as_child().is_some());
        if live.is_some() {
            self.in_flight.remove(&task);
        }
        self.places.is_over(&task);
        let outcome = match outcome {
            TaskOutcome::Succeeded { .. } | TaskOutcome::Waiting { .. } => outcome,
            // We stopped it ourselves: that says nothing about the task.
            _ if self.mode == Mode::HandingBack && !is_child => {
                TaskOutcome::lost(Loss::Drained, "its engine was shut down").with_usage(outcome.usage())
            }
            _ => outcome,
        };
        if !matches!(outcome, TaskOutcome::Succeeded { .. }) {
            self.forget_cache_key(&task);
        }
        self.feed(Input::TaskEnded { task, attempt, outcome, jitter: fastrand::f64() });
    }

    /// A request is answered by the commit of what follows from it, or, if nothing does, by removing it.
    pub(super) fn answer(&mut self, request: Request) {
        if !self.seen.insert(request.id) {
            return;
        }
        match request.kind {
            RequestKind::Cancel { reason } => {
                if self.run.is_stopping() {
                    self.cancel_children_again();
                }
                self.feed(Input::Cancel { reason })
            }
            RequestKind::Reopen => self.feed(Input::Reopen),
            RequestKind::Signal { to, data } => self.feed(Input::Signal { to, data, request: Some(request.id.0) }),
        };
        self.batch.answered.push(request.id);
    }
}
