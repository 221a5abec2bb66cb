//! Arguments of the commands that answer what waits: `approvals`, `approve`, `reject`, `signal`.

use clap::{Args, Subcommand};
use serde_json::Value;

/// `segue approvals …`
#[derive(Debug, Subcommand)]
pub(crate) enum ApprovalsCommand {
    /// List what waits for somebody, what has waited longest first
    #[command(before_help = "\
  segue approvals list
  segue approvals list --run @last
  segue approvals list --json | jq -r '.items[].command'")]
    List(ApprovalsListArgs),
    /// Show one question whole, with the fields to fill in and the command
    #[command(before_help = "\
  segue approvals show @last
  segue approvals show 0199a3f2 sign")]
    Show(ApprovalsShowArgs),
}

impl ApprovalsCommand {
    pub(super) const fn wants_json(&self) -> bool {
        match self {
            Self::List(args) => args.json,
            Self::Show(args) => args.json,
        }
    }
}

/// `segue approvals list`
#[derive(Debug, Args)]
pub(crate) struct ApprovalsListArgs {
    /// Only those of this run: id, unique beginning of an id, or `@last`
    #[arg(long, value_name = "RUN")]
    pub(crate) run: Option<String>,
    /// At most this many; 0: all
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub(crate) limit: usize,
    /// One JSON document {items} on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

/// `segue approvals show`
#[derive(Debug, Args)]
pub(crate) struct ApprovalsShowArgs {
    #[command(flatten)]
    pub(crate) question: QuestionArg,
    /// One JSON document on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

/// Names one task that waits.
#[derive(Debug, Args)]
pub(crate) struct QuestionArg {
    /// The run: id, unique beginning of an id, or `@last`
    #[arg(value_name = "RUN")]
    pub(crate) run: String,
    /// The task; may be left out if only one waits
    #[arg(value_name = "TASK")]
    pub(crate) task: Option<String>,
}

/// `segue approve`, `segue reject`
#[derive(Debug, Args)]
pub(crate) struct AnswerArgs {
    #[command(flatten)]
    pub(crate) question: QuestionArg,
    /// A field of the approval's form; read as the type that the form declares, other than text as JSON
    #[arg(long = "form", value_name = "NAME=VALUE")]
    pub(crate) form: Vec<String>,
    /// Who answers; kept in the log. Default: the user's name on this machine
    #[arg(long, value_name = "NAME")]
    pub(crate) by: Option<String>,
    /// Why; kept in the log
    #[arg(long, value_name = "TEXT")]
    pub(crate) comment: Option<String>,
    #[command(flatten)]
    pub(crate) then: ThenArgs,
}

/// `segue signal`
#[derive(Debug, Args)]
pub(crate) struct SignalArgs {
    /// The run: id, unique beginning of an id, or `@last`
    #[arg(value_name = "RUN")]
    pub(crate) run: String,
    /// The name of the event, or the id of the task that waits
    #[arg(value_name = "NAME|TASK")]
    pub(crate) to: String,
    /// What is said, as JSON
    #[arg(long, value_name = "JSON", default_value = "null", value_parser = json)]
    pub(crate) data: Value,
    #[command(flatten)]
    pub(crate) then: ThenArgs,
}

/// What happens after the answer.
#[derive(Debug, Args)]
pub(crate) struct ThenArgs {
    /// Only answer. Without it the run is seen to its end here if no other process carries it out
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// At the end one JSON document on stdout; no progress
    #[arg(long)]
    pub(crate) json: bool,
}

fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("not JSON: {error}; a text is written as '\"text\"'"))
}
