//! What the user declares: the workflow document as types, its reader, its rules and its diagnostics.
//!
//! * [`parse`](fn@parse): text to specification, or to everything that is wrong with it, each with its place.
//! * [`parse_document`]: the same for documents of other kinds, with a [`Decoder`] for their fields.
//! * [`check`](fn@check): the rules of meaning on the types, for specifications built in Rust.
//! * [`resolve_inputs`]: what a run is started with, against the workflow's params.
//! * [`OutputSchema`]: what a node's output must be.
//! * [`workflow_schema`]: the JSON Schema for editors.
//! * [`codes`]: every rule, with cause and cure.
//!
//! A text becomes a tree of JSON values with places (`tree`), the tree becomes the types (`decode`), the types are
//! checked (`check`). Problems carry JSON Pointers; places in the text are added at the end.

mod budget;
mod check;
pub mod codes;
mod decode;
mod diagnostic;
mod edge;
mod failure;
mod inputs;
mod limit;
mod node;
mod output_schema;
mod param;
mod parse;
mod problem;
mod repeat;
mod schema;
mod seconds;
mod tree;
mod walk;
mod work;
mod workflow;

pub use budget::{BudgetSpec, USD_MAX};
pub use check::{CheckOptions, check};
pub use decode::{Decoder, Fields, kind_of};
pub use diagnostic::{Diagnostic, Severity, Span};
pub use edge::{EdgeSpec, Join};
pub use failure::{Backoff, FailureAction, FailurePolicy, Jitter, OnFailure, RetryPolicy, WorkflowOnFailure};
pub use inputs::{input_from_text, resolve_form, resolve_inputs};
pub use limit::{LIMIT_MAX, LIMITS_OF_A_NODE_MAX, LimitSpec, is_limit_name};
pub use node::{TaskNode, TaskSpec};
pub use output_schema::{Mismatch, OutputSchema, SCHEMA_VALUES_MAX};
pub use param::{ParamKind, ParamSpec};
pub use parse::{Format, Parsed, parse, parse_bytes, parse_document};
pub use problem::{At, Problem};
pub use repeat::{OnExhausted, RepeatSpec};
pub use schema::workflow_schema;
pub use seconds::Seconds;
pub use tree::{DEPTH_MAX, DOCUMENT_BYTES_MAX, VALUES_MAX};
pub use work::{ApprovalRejection, ApprovalSpec, ApprovalTimeout, CacheSpec, ChildSpec, GroupSpec, WaitSpec};
pub use workflow::{Defaults, WorkflowSpec};
