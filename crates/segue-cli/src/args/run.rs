//! Arguments of the commands that start runs or carry them out: `run`, `submit`, `resume`.

use std::path::PathBuf;

use clap::Args;

use super::span::seconds;

/// What is started.
#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    /// A workflow document, `-` for stdin (then its relative paths start in the current folder); or the id of a deployed
    /// workflow, with `@` and the first digits of a version for an older one
    #[arg(value_name = "FILE|WORKFLOW", required_unless_present = "rehearse")]
    workflow: Option<String>,
    /// A param's value; read as the type that the param declares, other than text as JSON
    #[arg(short, long = "input", value_name = "NAME=VALUE")]
    pub(crate) inputs: Vec<String>,
    /// The params' values as a JSON object; `-` is stdin. `-i` stands above it
    #[arg(long = "inputs", value_name = "FILE")]
    pub(crate) inputs_file: Option<String>,
    /// Starts with the same key are one run: a later one attaches to it
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
    /// Let the built-in model answer instead of a provider: real agents, no key, no cost. With a script it answers what that
    /// says, in the weather that it makes: refusals, cut streams, silence
    #[arg(long, value_name = "SCRIPT", num_args = 0..=1)]
    rehearse: Option<Option<String>>,
}

impl StartArgs {
    /// What is started; none if nothing is named.
    pub(crate) fn workflow(&self) -> Option<&str> {
        let alone = || self.rehearse.as_ref().and_then(Option::as_deref);
        self.workflow.as_deref().or_else(alone)
    }

    /// Is it a rehearsal?
    pub(crate) const fn is_rehearsal(&self) -> bool {
        self.rehearse.is_some()
    }

    /// The rehearsal's script. In `--rehearse workflow.yaml` the only name is the workflow's.
    pub(crate) fn script(&self) -> Option<&str> {
        let given = self.rehearse.as_ref().and_then(Option::as_deref);
        given.filter(|_| self.workflow.is_some())
    }
}

/// `segue run`
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) start: StartArgs,
    /// Write down what models answer, to be replayed; a cassette that is there is replaced
    #[arg(long, value_name = "FILE", conflicts_with_all = ["rehearse", "replay"])]
    pub(crate) record: Option<PathBuf>,
    /// Answer every call of a model from what was recorded there, and no other: no provider, no key, no cost
    #[arg(long, value_name = "FILE", conflicts_with = "rehearse")]
    pub(crate) replay: Option<PathBuf>,
    /// Stop waiting after so many seconds: the run is left as it is, to be resumed (exit code 124)
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) timeout: Option<f64>,
    /// Do not wait for people: leave when only an answer or a signal can move the run on (exit code 6), even where the time
    /// for it ends. Times and retries are waited for. Without a terminal it is so anyway
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// At the end one JSON document on stdout; no progress
    #[arg(long)]
    pub(crate) json: bool,
}

/// `segue submit`
#[derive(Debug, Args)]
pub(crate) struct SubmitArgs {
    #[command(flatten)]
    pub(crate) start: StartArgs,
    /// One JSON document on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

/// `segue resume`
#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    /// Runs: id, unique beginning of an id, or `@last`
    #[arg(value_name = "RUN", required_unless_present = "all")]
    pub(crate) runs: Vec<String>,
    /// Every run that has not ended and that no living process owns
    #[arg(long, conflicts_with = "runs")]
    pub(crate) all: bool,
    /// Stop waiting after so many seconds: the runs are left as they are (exit code 124)
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) timeout: Option<f64>,
    /// Do not wait for people: leave when only answers can move the runs on (exit code 6). Without a terminal it is so anyway
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// One JSON document a run on stdout, one a line; no progress
    #[arg(long)]
    pub(crate) json: bool,
}
