//! `pass`: returns its inputs; nothing else happens.

use async_trait::async_trait;
use segue_core::{
    outcome::{TaskError, TaskOutcome, Usage},
    payload::Payload,
    ports::{Adapter, Invocation},
    spec::TaskNode,
};
use serde_json::{Value, json};

/// Carries out `pass`: the output is the inputs, as an object.
#[derive(Debug, Default, Clone, Copy)]
pub struct Pass;

#[async_trait]
impl Adapter for Pass {
    fn name(&self) -> &'static str {
        "pass"
    }

    fn handlers(&self) -> &[&'static str] {
        &["pass"]
    }

    fn translate_task(&self, node: &TaskNode) -> Result<Value, TaskError> {
        Ok(json!({"returns": node.spec.inputs}))
    }

    fn is_immediate(&self) -> bool {
        true
    }

    async fn execute(&self, invocation: Invocation) -> TaskOutcome {
        TaskOutcome::Succeeded {
            output: Payload::from_arc(invocation.inputs),
            usage: Usage::default(),
            warnings: Vec::new(),
        }
    }
}
