//! One attempt's way to models.

use segue_core::{
    outcome::{ErrorKind, TaskError, TaskOutcome, Usage},
    ports::ModelDoor,
};

use crate::account::Key;

/// The address and the key that an attempt gets.
pub(crate) struct Door {
    pub(crate) base_url: String,
    pub(crate) key: Key,
}

impl ModelDoor for Door {
    fn base_url(&self) -> &str {
        &self.base_url
    }

    fn api_key(&self) -> &str {
        self.key.secret()
    }

    fn usage(&self) -> Usage {
        self.key.account().usage()
    }

    fn refusal(&self) -> Option<TaskError> {
        self.key.account().refusal()
    }

    fn settle(&self, outcome: TaskOutcome) -> TaskOutcome {
        let usage = self.usage();
        let account = self.key.account();
        if let TaskOutcome::Failed { error, .. } = &outcome
            && error.kind == ErrorKind::Provider
            && account.trouble().is_none()
        {
            self.key.doubt_last_answer();
        }
        match (outcome, account.refusal(), account.trouble()) {
            (TaskOutcome::Failed { error, .. }, Some(refusal), _) => {
                let detail = serde_json::json!({ "kind": error.kind, "message": error.message });
                TaskOutcome::Failed { error: refusal.with_detail(detail), usage }
            }
            // A framework sees only that its connection broke; why is known here.
            (TaskOutcome::Failed { mut error, .. }, None, Some(trouble)) if is_of_the_connection(&error) => {
                error.message = format!("{} ({trouble})", error.message);
                TaskOutcome::Failed { error, usage }
            }
            (outcome, ..) => outcome.with_usage(usage),
        }
    }
}

const fn is_of_the_connection(error: &TaskError) -> bool {
    matches!(error.kind, ErrorKind::Connection | ErrorKind::Timeout)
}
