//! How an attempt's answer must be recorded.

use segue_core::{
    event::{Event, EventKind, Waiting},
    ids::TaskId,
    outcome::{ErrorKind, Loss, TaskError, TaskOutcome, Usage},
};

use crate::auditor::Auditor;

/// What an answer means, by the auditor's reckoning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Judgement {
    /// What it says.
    Taken,
    /// A failure: the output does not fit the schema, there.
    Misfit(String),
    /// A failure for good: the loop that it would end is exhausted, or cannot be asked.
    Refused,
}

impl Judgement {
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Taken => "answer taken",
            Self::Misfit(_) => "answer misfits",
            Self::Refused => "answer refused",
        }
    }
}

pub(super) fn judgement(auditor: &Auditor, task: &TaskId, outcome: &TaskOutcome) -> Judgement {
    let TaskOutcome::Succeeded { output, .. } = outcome else { return Judgement::Taken };
    let Some(output) = output.value() else { return Judgement::Taken };
    match auditor.misfit_of(task, output) {
        Some(pointer) => Judgement::Misfit(pointer),
        None if auditor.refuses_output(task, output) => Judgement::Refused,
        None => Judgement::Taken,
    }
}

/// An answer is recorded as it was given: its output, its error, what it consumed.
pub(super) fn answer(given: &TaskOutcome, judgement: &Judgement, events: &[Event]) -> Result<(), String> {
    let recorded = events.first().is_some_and(|event| is_recorded(given, judgement, &event.kind));
    if recorded { Ok(()) } else { Err(format!("the answer {given:?} is recorded as {:?}", events.first())) }
}

fn is_recorded(given: &TaskOutcome, judgement: &Judgement, kind: &EventKind) -> bool {
    // In a run that is being stopped nothing counts but success.
    if let EventKind::TaskCancelled { usage } = kind {
        let counts = *judgement == Judgement::Taken && matches!(given, TaskOutcome::Succeeded { .. });
        return *usage == given.usage() && !counts;
    }
    match (given, judgement) {
        (TaskOutcome::Succeeded { output, usage, warnings }, Judgement::Taken) => {
            let (output, usage, warnings) = (output.clone(), *usage, warnings.clone());
            *kind == EventKind::TaskSucceeded { output, usage, warnings, reused_from: None }
        }
        (TaskOutcome::Waiting { question, usage }, _) => {
            let asks = Waiting::Question { question: question.clone(), usage: *usage };
            let may_not_ask = |error: &TaskError| error.kind == ErrorKind::Output;
            *kind == EventKind::TaskWaiting(asks) || is_failure(kind, None, *usage, may_not_ask)
        }
        (_, Judgement::Misfit(pointer)) => {
            let place = if pointer.is_empty() { "output_schema: the output:" } else { pointer };
            let says_so = |error: &TaskError| {
                error.kind == ErrorKind::ModelOutput && error.retryable && error.message.contains(place)
            };
            is_failure(kind, None, given.usage(), says_so)
        }
        (_, Judgement::Refused) => {
            let says_so = |error: &TaskError| matches!(error.kind, ErrorKind::Limit | ErrorKind::InvalidInput);
            let is_final = !matches!(kind, EventKind::TaskRetrying { .. });
            is_final && is_failure(kind, None, given.usage(), says_so)
        }
        (TaskOutcome::Failed { error: own, usage }, _) => is_failure(kind, None, *usage, |error| error == own),
        (TaskOutcome::Cancelled { usage }, _) => {
            is_failure(kind, None, *usage, |error| error.kind == ErrorKind::Cancelled)
        }
        (TaskOutcome::Lost { by, usage, .. }, _) => {
            is_failure(kind, Some(*by), *usage, |error| error.kind == ErrorKind::WorkerLost)
        }
    }
}

/// Is this the record of a failure that is lost so, cost so much and has such an error?
fn is_failure(kind: &EventKind, by: Option<Loss>, cost: Usage, fits: impl Fn(&TaskError) -> bool) -> bool {
    match kind {
        EventKind::TaskRetrying { error, usage, lost, .. } => *lost == by && *usage == cost && fits(error),
        EventKind::TaskWaiting(Waiting::Failure { error, usage, lost }) => *lost == by && *usage == cost && fits(error),
        // Where the stand-in output cannot be evaluated, that is the error.
        EventKind::TaskFailed { error, usage, lost, .. } => {
            *lost == by && *usage == cost && (fits(error) || error.kind == ErrorKind::InvalidInput)
        }
        _ => false,
    }
}
