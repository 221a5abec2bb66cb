//! Arguments of the commands that carry runs out: `run`, `resume`.

use clap::Args;

/// `segue run`
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The workflow document; `-` is stdin (then its relative paths start in the current folder)
    #[arg(value_name = "FILE")]
    pub(crate) file: String,
    /// A param's value; read as the type that the param declares, other than text as JSON
    #[arg(short, long = "input", value_name = "NAME=VALUE")]
    pub(crate) inputs: Vec<String>,
    /// The params' values as a JSON object; `-` is stdin. `-i` stands above it
    #[arg(long = "inputs", value_name = "FILE")]
    pub(crate) inputs_file: Option<String>,
    /// Starts with the same key are one run: a later one attaches to it
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
    /// Stop waiting after so many seconds: the run is left as it is, to be resumed (exit code 124)
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) timeout: Option<f64>,
    /// Let the built-in model answer instead of a provider: real agents, no key, no cost
    #[arg(long)]
    pub(crate) rehearse: bool,
    /// Record the run and return; `segue resume` carries it out
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// At the end one JSON document on stdout; no progress
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
    /// One JSON document a run on stdout, one a line; no progress
    #[arg(long)]
    pub(crate) json: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() && seconds >= 0.0 => Ok(seconds),
        Ok(_) => Err("not a span of time".to_owned()),
        Err(_) => Err(match text.trim_end_matches(['s', 'm', 'h']).parse::<f64>() {
            Ok(n) if text.ends_with('m') => format!("spans of time are numbers of seconds: {}", n * 60.0),
            Ok(n) if text.ends_with('h') => format!("spans of time are numbers of seconds: {}", n * 3600.0),
            Ok(n) => format!("spans of time are numbers of seconds: {n}"),
            Err(_) => "not a number of seconds".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn spans_are_seconds_and_the_error_says_how_many() {
        assert_eq!(seconds("1.5"), Ok(1.5));
        assert!(seconds("5m").is_err_and(|error| error.ends_with(" 300")));
        assert!(seconds("-1").is_err());
        assert!(seconds("soon").is_err());
        assert!(seconds("inf").is_err());
    }
}
