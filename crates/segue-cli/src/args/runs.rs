//! Arguments of `segue runs …`.

use clap::{Args, Subcommand, ValueEnum};
use segue_core::status::Status;

/// `segue runs …`
#[derive(Debug, Subcommand)]
pub(crate) enum RunsCommand {
    /// List runs, the newest first
    #[command(before_help = "\
  segue runs list
  segue runs list --status failed --limit 5
  segue runs list --json | jq '.items[].run_id'")]
    List(ListArgs),
    /// Show what a run has come to
    #[command(before_help = "\
  segue runs show @last
  segue runs show 0199a3f2 --json        the document that `run --json` prints")]
    Show(ShowArgs),
    /// Follow a run to its end, from any process
    #[command(before_help = "\
  segue runs watch @last
  segue runs watch @last --json          one event a line")]
    Watch(WatchArgs),
    /// Print a run's log
    #[command(before_help = "\
  segue runs events @last
  segue runs events @last --json         one event a line, in the documented envelope")]
    Events(EventsArgs),
    /// Print what a run, or one of its tasks, produced
    #[command(before_help = "\
  segue runs result @last                the run's outputs
  segue runs result @last summarize      one task's output")]
    Result(ResultArgs),
    /// Stop a run, from any process
    #[command(before_help = "\
  segue runs cancel @last
  segue runs cancel 0199a3f2 --reason 'wrong topic'")]
    Cancel(CancelArgs),
    /// Reopen a failed or cancelled run: what succeeded is kept, the rest runs again
    #[command(before_help = "\
  segue runs retry @last")]
    Retry(RetryArgs),
    /// Start a new run that takes over what is still good of an old one
    #[command(before_help = "\
  segue runs rerun @last                 what succeeded is taken over
  segue runs rerun @last --from write    `write` and everything after it runs again")]
    Rerun(RerunArgs),
    /// Remove runs that have ended, with their logs and results, for good
    #[command(before_help = "\
  segue runs delete 0199a3f2
  segue runs delete @last --yes --with-children")]
    Delete(DeleteArgs),
}

impl RunsCommand {
    pub(super) fn wants_json(&self) -> bool {
        match self {
            Self::List(args) => args.json,
            Self::Show(args) => args.json,
            Self::Watch(args) => args.json,
            Self::Events(args) => args.json,
            Self::Result(args) => args.json,
            Self::Cancel(args) => args.json,
            Self::Retry(args) => args.json,
            Self::Rerun(args) => args.json,
            Self::Delete(args) => args.json,
        }
    }
}

/// Names one run.
#[derive(Debug, Args)]
pub(crate) struct RunArg {
    /// The run: id, unique beginning of an id, or `@last`
    #[arg(value_name = "RUN")]
    pub(crate) run: String,
}

/// `segue runs list`
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only runs of this status; may be given more than once
    #[arg(long, value_enum, ignore_case = true, value_name = "STATUS")]
    pub(crate) status: Vec<RunStatus>,
    /// Only runs of this workflow
    #[arg(long, value_name = "ID")]
    pub(crate) workflow: Option<String>,
    /// Only runs whose workflow has this label (`metadata.labels`)
    #[arg(long, value_name = "NAME=VALUE", value_parser = label)]
    pub(crate) label: Option<(String, String)>,
    /// Only the child runs of this run: id, unique beginning of an id, or `@last`
    #[arg(long, value_name = "RUN")]
    pub(crate) parent: Option<String>,
    /// At most this many; 0: all
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub(crate) limit: usize,
    /// One JSON document {items} on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

/// The statuses that a run can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)]
pub(crate) enum RunStatus {
    Pending,
    Running,
    Waiting,
    Succeeded,
    Failed,
    Cancelled,
}

impl From<RunStatus> for Status {
    fn from(status: RunStatus) -> Self {
        match status {
            RunStatus::Pending => Self::Pending,
            RunStatus::Running => Self::Running,
            RunStatus::Waiting => Self::Waiting,
            RunStatus::Succeeded => Self::Succeeded,
            RunStatus::Failed => Self::Failed,
            RunStatus::Cancelled => Self::Cancelled,
        }
    }
}

/// `segue runs show`
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    pub(crate) run: RunArg,
    /// Every instance, where a node has many of them
    #[arg(long)]
    pub(crate) all: bool,
    /// One JSON document on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

/// `segue runs watch`
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    #[command(flatten)]
    pub(crate) run: RunArg,
    /// One event a line on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

/// `segue runs events`
#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    #[command(flatten)]
    pub(crate) run: RunArg,
    /// Only events after this one
    #[arg(long, default_value_t = 0, value_name = "SEQ")]
    pub(crate) after: u64,
    /// Go on with the events to come, until the run ends
    #[arg(long)]
    pub(crate) follow: bool,
    /// One event a line, in the documented envelope
    #[arg(long)]
    pub(crate) json: bool,
}

/// `segue runs result`
#[derive(Debug, Args)]
pub(crate) struct ResultArgs {
    #[command(flatten)]
    pub(crate) run: RunArg,
    /// The task; without it the run's outputs
    pub(crate) task: Option<String>,
    /// As JSON, also where the result is a text
    #[arg(long)]
    pub(crate) json: bool,
}

/// `segue runs cancel`
#[derive(Debug, Args)]
pub(crate) struct CancelArgs {
    #[command(flatten)]
    pub(crate) run: RunArg,
    /// Why; kept in the log
    #[arg(long, default_value = "cancelled with `segue runs cancel`", value_name = "TEXT")]
    pub(crate) reason: String,
    /// One JSON document on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

/// `segue runs retry`
#[derive(Debug, Args)]
pub(crate) struct RetryArgs {
    #[command(flatten)]
    pub(crate) run: RunArg,
    /// One JSON document on stdout; no progress
    #[arg(long)]
    pub(crate) json: bool,
}

/// `segue runs rerun`
#[derive(Debug, Args)]
pub(crate) struct RerunArgs {
    #[command(flatten)]
    pub(crate) run: RunArg,
    /// This task and what comes after it runs again; may be given more than once. Without it: what has not succeeded
    #[arg(long, value_name = "TASK")]
    pub(crate) from: Vec<String>,
    /// Do not wait for people: leave when only an answer can move the run on (exit code 6). Without a terminal it is so anyway
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// One JSON document on stdout; no progress
    #[arg(long)]
    pub(crate) json: bool,
}

/// `segue runs delete`
#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// The runs: id, unique beginning of an id, or `@last`
    #[arg(required = true, value_name = "RUN")]
    pub(crate) runs: Vec<String>,
    /// The runs of their child workflows too, and those of these
    #[arg(long)]
    pub(crate) with_children: bool,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// One JSON document on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}
