//! What an attempt asks before it can go on, and what it was answered.

use std::{collections::BTreeMap, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The id of the only item of a question that has one.
pub const ANSWER: &str = "answer";

/// What the code inside a task wants to know: human input of a crew, an interrupt of a graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Question {
    /// In words, for a person.
    pub prompt: String,
    /// What is to be answered, each by its id. Never empty.
    pub items: Vec<QuestionItem>,
    /// What the adapter needs to go on from here, in its own words. Small; read by nobody else.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub resume: Value,
}

/// One of the answers that a [`Question`] wants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct QuestionItem {
    /// Its name; [`ANSWER`] where the framework knows only one question.
    pub id: String,
    /// What the framework shows to whoever answers.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub value: Value,
    /// JSON Schema of the answer; anything will do without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Value>,
}

impl Question {
    /// A question with one item, answered by any text.
    pub fn open(prompt: impl Into<String>, value: Value, resume: Value) -> Self {
        let item = QuestionItem { id: ANSWER.to_owned(), value, schema: None };
        Self { prompt: prompt.into(), items: vec![item], resume }
    }
}

/// With what an attempt takes up the work of one that had asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Resume {
    /// [`Question::resume`], as it was given.
    pub token: Value,
    /// The answers by the ids of the items: complete, each fitting its schema.
    pub answers: Arc<BTreeMap<String, Value>>,
}
