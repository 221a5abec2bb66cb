//! Models as attempts reach them.

use crate::{
    outcome::{TaskError, TaskOutcome, Usage},
    ports::Invocation,
};

/// Gives attempts their way to models.
///
/// The keys of providers stay behind it: an attempt sees an address on this machine and a key that is good for it alone.
pub trait ModelAccess: Send + Sync {
    /// Opens the way for one attempt. Fails where it is certain that no model could answer it.
    fn open(&self, invocation: &Invocation) -> Result<Box<dyn ModelDoor>, TaskError>;
}

/// One attempt's way to models. Dropping it ends its key and breaks off its calls to providers.
pub trait ModelDoor: Send + Sync {
    /// OpenAI-compatible, ends in `/v1`.
    fn base_url(&self) -> &str;

    /// Good until this is dropped. Never log it.
    fn api_key(&self) -> &str;

    /// What was asked of providers so far, by their own figures. An answer that was given again costs nothing.
    fn usage(&self) -> Usage;

    /// Why the last call was refused without asking a provider, if one was: the budget is used up, for instance.
    fn refusal(&self) -> Option<TaskError>;

    /// The outcome with the exact figures in the place of the worker's own. One that failed after a refusal failed because
    /// of it, whatever the framework made of that.
    fn settle(&self, outcome: TaskOutcome) -> TaskOutcome {
        let usage = self.usage();
        match (outcome, self.refusal()) {
            (TaskOutcome::Failed { error, .. }, Some(refusal)) => {
                let detail = serde_json::json!({ "kind": error.kind, "message": error.message });
                TaskOutcome::Failed { error: refusal.with_detail(detail), usage }
            }
            (outcome, _) => outcome.with_usage(usage),
        }
    }
}
