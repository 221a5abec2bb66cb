//! What ends a command early: an exit code, what is wrong, and what to do next.

use std::fmt;

use segue_core::ports::{OrchestratorError, StoreError};
use serde_json::{Value, json};

use crate::exit::Exit;

/// A command's failure, as a person and a program need it.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The process's exit code.
    pub(crate) exit: Exit,
    /// What is wrong, in a sentence without a full stop.
    pub(crate) message: String,
    /// More about what is wrong.
    pub(crate) notes: Vec<String>,
    /// What to do next.
    pub(crate) help: Vec<String>,
    /// Problems of a document, as the program's form of the message has them.
    pub(crate) details: Option<Value>,
}

/// What commands return.
pub(crate) type Outcome<T = Exit> = Result<T, Failure>;

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), notes: Vec::new(), help: Vec::new(), details: None }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Exit::Invalid, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(Exit::NotFound, message)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(Exit::Internal, message).help("this is a fault of Segue; `-vv` shows more, please report it")
    }

    /// Adds more about what is wrong.
    #[must_use]
    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Adds what to do next. May be called more than once.
    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// Adds what programs get beside the message.
    #[must_use]
    pub(crate) fn details(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }

    /// The failure for programs: one object.
    pub(crate) fn to_json(&self) -> Value {
        let mut error =
            json!({ "code": self.exit.name(), "message": self.message, "notes": self.notes, "help": self.help });
        if let Some(details) = &self.details {
            error["diagnostics"] = details.clone();
        }
        json!({ "error": error })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        match error {
            StoreError::NotFound(_) => {
                Self::not_found(message).help("`segue runs list` shows the runs of this store; --store names another")
            }
            StoreError::Conflict { run_id } => Self::new(Exit::Conflict, message)
                .help(format!("another process carries it out; `segue runs watch {run_id}` follows it")),
            StoreError::KeyReused { .. } => Self::new(Exit::Conflict, message)
                .help("use another key for another request, or the same workflow and inputs for the same one"),
            StoreError::Refused(_) => Self::new(Exit::Conflict, message),
            StoreError::Unavailable(_) => {
                Self::new(Exit::Unreachable, message).help("try again; `segue doctor` checks the store")
            }
            StoreError::Full(_) => Self::new(Exit::Unreachable, message)
                .help("make room on that disk, then `segue resume --all` goes on with what was interrupted"),
            StoreError::Broken(_) => {
                Self::new(Exit::Unreachable, message).help("`segue doctor` says more; --store names another store")
            }
        }
    }
}

impl From<OrchestratorError> for Failure {
    fn from(error: OrchestratorError) -> Self {
        match error {
            OrchestratorError::Store(error) => error.into(),
            OrchestratorError::NotFound(what) => StoreError::NotFound(what).into(),
            OrchestratorError::Conflict(message) => {
                Self::new(Exit::Conflict, message).help("`segue runs show RUN` shows how things stand")
            }
            OrchestratorError::Invalid(diagnostics) => {
                let mut failure = Self::invalid("the workflow or its inputs are not valid");
                for problem in &diagnostics {
                    failure = failure.note(format!("{}: {}", problem.path, problem.message));
                    failure = problem.help.iter().fold(failure, |failure, help| failure.help(help));
                }
                failure.details(json!(diagnostics))
            }
            OrchestratorError::ShuttingDown => Self::new(Exit::Interrupted, "the engine is shutting down"),
        }
    }
}
