//! Two things that cannot both count, at the same moment: exactly one of them wins. Counts how often either does.

use std::collections::BTreeSet;

use segue_core::{
    event::{Event, EventKind},
    ids::TaskId,
    outcome::TaskOutcome,
    run::{Address, Input},
    time::Timestamp,
};

use super::{Coverage, check};
use crate::auditor::Auditor;

#[derive(Debug, Default)]
pub(super) struct Races {
    /// Attempts that their timeout has ended.
    timed_out: BTreeSet<(TaskId, u32)>,
    /// Tasks whose waiting has ended without an answer.
    unanswered: BTreeSet<TaskId>,
    /// When an attempt was last answered.
    completed_at: Option<Timestamp>,
}

/// What an input contends with, before it is handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contest {
    None,
    CompletionAfterCancel,
    CompletionAtTimeout,
    CompletionAfterTimeout,
    AnswerAtTimeout,
    AnswerAfterTimeout,
    CancelAfterCompletion,
}

impl Races {
    /// Looks at an input that is about to be handled; returns what to count if it is accepted, and if it is rejected.
    pub(super) fn contest(&mut self, auditor: &Auditor, input: &Input, now: Timestamp) -> [&'static str; 2] {
        match self.find(auditor, input, now) {
            Contest::None => ["", ""],
            Contest::CompletionAfterCancel => ["race cancel/completion: cancel first", ""],
            Contest::CancelAfterCompletion => {
                ["race cancel/completion: completion first", "race cancel/completion: completion first"]
            }
            Contest::CompletionAtTimeout => ["race timeout/completion: completion first", ""],
            Contest::CompletionAfterTimeout => ["", "race timeout/completion: timeout first"],
            Contest::AnswerAtTimeout => ["race answer/timeout: answer first", ""],
            Contest::AnswerAfterTimeout => ["", "race answer/timeout: timeout first"],
        }
    }

    fn find(&mut self, auditor: &Auditor, input: &Input, now: Timestamp) -> Contest {
        match input {
            Input::Cancel { .. } if self.completed_at == Some(now) => Contest::CancelAfterCompletion,
            Input::TaskEnded { outcome: TaskOutcome::Lost { .. }, .. } => Contest::None,
            Input::TaskEnded { task, attempt, outcome, .. } => {
                if check::under_way(auditor, task, *attempt) {
                    self.completed_at = Some(now);
                    return match outcome {
                        TaskOutcome::Succeeded { .. } | TaskOutcome::Failed { .. } if auditor.is_stopping() => {
                            Contest::CompletionAfterCancel
                        }
                        _ if auditor.is_overdue(task, now) => Contest::CompletionAtTimeout,
                        _ => Contest::None,
                    };
                }
                match self.timed_out.contains(&(task.clone(), *attempt)) {
                    true => Contest::CompletionAfterTimeout,
                    false => Contest::None,
                }
            }
            Input::Signal { .. }
                if check::answers(auditor, input).iter().any(|(task, _)| auditor.is_overdue(task, now)) =>
            {
                Contest::AnswerAtTimeout
            }
            Input::Signal { to: Address::Task(task), .. } if self.unanswered.contains(task) => {
                Contest::AnswerAfterTimeout
            }
            _ => Contest::None,
        }
    }

    /// What a wake-up has ended.
    pub(super) fn woke(&mut self, waited: &[TaskId], events: &[Event]) {
        for event in events {
            let Some(task) = event.task_id.clone() else { continue };
            match (&event.kind, event.attempt) {
                (EventKind::TaskRetrying { .. } | EventKind::TaskFailed { .. }, Some(attempt)) => {
                    self.timed_out.insert((task, attempt));
                }
                (EventKind::TaskFailed { .. } | EventKind::TaskSucceeded { .. }, None) if waited.contains(&task) => {
                    self.unanswered.insert(task);
                }
                _ => {}
            }
        }
    }

    /// What was not committed has not happened.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    pub(super) fn count(coverage: &mut Coverage, what: &'static str) {
        if let Some((pair, _)) = what.split_once(':') {
            coverage.saw(what);
            coverage.saw(pair);
        }
    }
}
