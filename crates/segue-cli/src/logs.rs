//! Log lines on stderr, as configured. Lines about a run carry its ids as fields: whoever logs puts them there, or the span
//! does in which it happens.

mod json;

use segue_core::ids::EngineId;
use tracing_subscriber::{EnvFilter, fmt::format::JsonFields};

use crate::{
    config::{LogFormat, Settings},
    failure::{Failure, Outcome},
    terminal::{LogWriter, Paint},
};

/// Starts logging. Called once.
pub(crate) fn start(settings: &Settings) -> Outcome<()> {
    let filter = EnvFilter::builder().parse(&settings.log).map_err(|error| {
        Failure::invalid(format!("setting `log`: `{}` is no log filter: {error}", settings.log))
            .help("for example: warn, or segue_engine=debug")
    })?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| LogWriter);
    match settings.log_format {
        LogFormat::Human => logs.with_ansi(Paint::stderr().is_on()).init(),
        LogFormat::Json => logs.fmt_fields(JsonFields::new()).event_format(json::Lines).init(),
    }
    Ok(())
}

/// From here on every line of JSON says whose it is. A process has one engine.
pub(crate) fn of_engine(engine: &EngineId) {
    json::of_engine(engine);
}
