//! What the user declares: the workflow document as types. The JSON Schema for editors is generated from them.

mod diagnostic;
mod types;

pub use diagnostic::{Diagnostic, Severity, Span};
pub use types::{
    Backoff, Defaults, EdgeSpec, FailureAction, Jitter, Join, OnFailure, ParamKind, ParamSpec, RetryPolicy, Seconds,
    TaskNode, TaskSpec, WorkflowOnFailure, WorkflowSpec,
};
