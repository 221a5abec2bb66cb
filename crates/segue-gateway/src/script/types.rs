//! What a script says.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

/// What a rehearsal's model answers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Script {
    /// What is counted together.
    pub(super) counters: Counters,
    /// The first that fits and is not used up answers.
    pub(super) rules: Vec<Rule>,
    /// Answers chats that no rule answers; none: the built-in model.
    pub(super) default: Option<Reply>,
}

/// Whose calls are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Counters {
    /// Those of one task, over all its attempts.
    #[default]
    Task,
    /// Those of one attempt.
    Attempt,
    /// Those of all tasks of a run.
    Run,
}

/// When to say what.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Rule {
    pub(super) when: When,
    /// One after the other. The last may be given for ever; else the rule is used up after it.
    pub(super) replies: Vec<Reply>,
}

/// Which calls a rule is for: all that is said must hold.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct When {
    /// A pattern of the task's id, whole or without its numbers.
    pub(super) task: Option<String>,
    /// A pattern of the model's name.
    pub(super) model: Option<String>,
    /// Texts that the conversation holds.
    pub(super) contains: Vec<String>,
    /// Calls of this kind.
    pub(super) kind: Kind,
    /// The how manieth of the calls that the rest fits, from 1; none: each.
    pub(super) nth: Vec<u32>,
}

/// What is asked of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// An answer in a conversation.
    #[default]
    Chat,
    /// Vectors.
    Embeddings,
}

/// One reply.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reply {
    pub(crate) what: What,
    pub(crate) about: About,
    /// How often it is given; none: for ever.
    pub(super) times: Option<u32>,
}

/// What comes back.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum What {
    /// The built-in model's own answer.
    BuiltIn,
    /// A text.
    Text(String),
    /// Calls of tools.
    Calls(Vec<Call>),
    /// An HTTP status that means failure.
    Status { status: u16, retry_after: Option<f64>, message: Option<String>, code: Option<String> },
    /// A body that is no answer: this, or half of one.
    Malformed(Option<String>),
    /// No answer: the connection is closed.
    Drop,
    /// Nothing, as long as anybody waits.
    Hang,
}

/// How it comes.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct About {
    /// What the answer says that it consumed: input, output, cached input tokens.
    pub(crate) usage: Option<(u64, u64, u64)>,
    /// Before the head of the answer.
    pub(crate) delay: Duration,
    /// Before each piece of a stream.
    pub(crate) chunk_delay: Duration,
    /// A stream breaks off after so many pieces, another body in its middle.
    pub(crate) cut_after: Option<u32>,
    /// A stream says no more after so many pieces, another body stops in its middle; neither ends.
    pub(crate) stall_after: Option<u32>,
}

/// A call of a tool.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) arguments: Value,
}
