//! `segue chaos`

use clap::Args;
use serde_json::Value;

use super::span::seconds;

/// `segue chaos`
#[derive(Debug, Args)]
pub(crate) struct ChaosArgs {
    /// A workflow document
    #[arg(value_name = "FILE")]
    pub(crate) workflow: String,
    /// A param's value; read as the type that the param declares, other than text as JSON
    #[arg(short, long = "input", value_name = "NAME=VALUE")]
    pub(crate) inputs: Vec<String>,
    /// The params' values as a JSON object. `-i` stands above it
    #[arg(long = "inputs", value_name = "FILE")]
    pub(crate) inputs_file: Option<String>,
    /// What the built-in model answers, and in which weather; as the script of a rehearsal
    #[arg(long, value_name = "SCRIPT")]
    pub(crate) script: Option<String>,
    /// What is said where the workflow waits for somebody: the id of the task or the name of the event, and the data that
    /// `segue signal` would send. Approvals are approved and questions answered without it
    #[arg(long = "answer", value_name = "TASK|EVENT=JSON", value_parser = named_json)]
    pub(crate) answers: Vec<(String, Value)>,
    /// At most so many rounds, spread over the moments there are; each kills a run of its own
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) kills: u64,
    /// Only at each N-th moment
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) every: u64,
    /// Chooses among the moments where there are more than --kills, and which recoveries are killed too
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// How long one process may take to bring the run to its end
    #[arg(long, value_name = "SECONDS", default_value_t = 120.0, value_parser = seconds)]
    pub(crate) timeout: f64,
    /// Keep the folder with the stores and ledgers of all rounds. Those of rounds with a broken promise are kept anyway
    #[arg(long)]
    pub(crate) keep: bool,
    /// At the end one JSON document on stdout; no progress
    #[arg(long)]
    pub(crate) json: bool,
}

fn named_json(text: &str) -> Result<(String, Value), String> {
    let (name, json) = text.split_once('=').ok_or("write NAME=JSON: paid='{\"amount\": 20}'")?;
    let value = serde_json::from_str(json).map_err(|error| format!("`{json}` is not JSON: {error}"))?;
    Ok((name.to_owned(), value))
}
