//! Settings and where they come from: flag > `SEGUE_*` environment > nearest `segue.toml` upwards >
//! `$XDG_CONFIG_HOME/segue/config.toml` > default.
//!
//! One table ([`setting::SETTINGS`]) names every setting; the layers, the schema and `config show` are made from it.

mod address;
mod layers;
mod limits;
mod models;
mod schema;
mod secrets;
mod setting;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::ValueEnum;

pub(crate) use address::{BusUrl, Password, StoreUrl, shown};
pub(crate) use layers::{Origin, Resolved, World, resolve};
pub(crate) use limits::Limits;
pub(crate) use models::Models;
pub(crate) use schema::schema;
pub(crate) use secrets::SecretSources;
pub(crate) use setting::SETTINGS;

use crate::{
    args::GlobalArgs,
    failure::{Failure, Outcome},
};

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Human,
    /// One JSON object a line
    Json,
}

/// The settings in force, in the types that the program works with.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Where runs are kept.
    pub(crate) store: StoreUrl,
    /// The password of the store's database, if its address holds none.
    pub(crate) store_password: Option<Password>,
    /// Where events are published to.
    pub(crate) bus: BusUrl,
    /// `PRAGMA synchronous=FULL`: a commit outlives a power loss. Else only a crash of the process.
    pub(crate) synchronous_full: bool,
    /// The folder of what Segue makes for itself and keeps.
    pub(crate) home: PathBuf,
    /// The handler of nodes that name none.
    pub(crate) default_task: String,
    /// Attempts of one adapter, of all runs, that one process carries out at once.
    pub(crate) max_parallel_tasks: usize,
    /// Runs that one engine that serves carries out at once.
    pub(crate) max_live_runs: usize,
    /// How long running tasks may go on after a request to leave.
    pub(crate) drain: Duration,
    /// How long a cancelled task may take to end by itself.
    pub(crate) grace: Duration,
    /// How long the engine's runs are its own without a sign of life.
    pub(crate) lease: Duration,
    /// Where `serve` answers HTTP.
    pub(crate) listen: SocketAddr,
    /// How log lines are written.
    pub(crate) log_format: LogFormat,
    /// Which log lines are written.
    pub(crate) log: String,
    /// Has nobody said which log lines are written?
    pub(crate) log_is_default: bool,
    /// Where the secrets are that workflows refer to.
    pub(crate) secrets: SecretSources,
    /// Who has models, and their limits and prices.
    pub(crate) models: Models,
    /// Limits that all workflows share.
    pub(crate) limits: Limits,
}

/// Reads all layers of the process's surroundings.
pub(crate) fn load(flags: &GlobalArgs) -> Outcome<Resolved> {
    resolve(&flag_values(flags), &World::of_process()?)
}

fn flag_values(flags: &GlobalArgs) -> Vec<(&'static str, String)> {
    let mut values = Vec::new();
    values.extend(flags.store.clone().map(|url| ("store", url)));
    values.extend(flags.bus.clone().map(|url| ("bus", url)));
    values.extend(flags.home.as_ref().map(|dir| ("home", dir.display().to_string())));
    let format = flags.log_format.and_then(|format| format.to_possible_value());
    values.extend(format.map(|format| ("log_format", format.get_name().to_owned())));
    let log = ["", "segue=info", "segue=debug", "trace"][usize::from(flags.verbose.min(3))];
    if !log.is_empty() {
        values.push(("log", log.to_owned()));
    }
    values
}

impl Settings {
    /// Gives the resolved texts their types. An error names the layer that the bad value comes from.
    pub(crate) fn of(resolved: &Resolved) -> Outcome<Self> {
        let bad = |key: &str, why: String| {
            let entry = resolved.entry(key);
            Failure::invalid(format!("setting `{key}` from {}: {why}", entry.origin))
                .help("`segue config show --origin` shows every setting and where it comes from")
        };
        let text = |key: &str| resolved.entry(key).text.clone();
        let path = |key: &str| resolved.entry(key).base.join(text(key));
        let number = |key: &str| {
            let value = text(key).parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
            value.ok_or_else(|| bad(key, format!("`{}` is not a number", text(key))))
        };
        let choice = |key: &str, choices: [&str; 2]| match choices.iter().position(|name| *name == text(key)) {
            Some(at) => Ok(at),
            None => Err(bad(key, format!("`{}` is neither `{}` nor `{}`", text(key), choices[0], choices[1]))),
        };
        Ok(Self {
            store: StoreUrl::parse(&text("store"), &resolved.entry("store").base).map_err(|why| bad("store", why))?,
            store_password: store_password(resolved).map_err(|why| bad("store_password_file", why))?,
            bus: BusUrl::parse(&text("bus")).map_err(|why| bad("bus", why))?,
            synchronous_full: choice("synchronous", ["full", "normal"])? == 0,
            home: path("home"),
            default_task: text("default_task"),
            max_parallel_tasks: number("max_parallel_tasks")?.max(1.0) as usize,
            max_live_runs: number("max_live_runs")?.max(1.0) as usize,
            drain: Duration::from_secs_f64(number("drain_seconds")?),
            grace: Duration::from_secs_f64(number("grace_seconds")?),
            lease: lease(number("lease_seconds")?).map_err(|why| bad("lease_seconds", why))?,
            listen: listen(&text("listen")).map_err(|why| bad("listen", why))?,
            log_format: [LogFormat::Human, LogFormat::Json][choice("log_format", ["human", "json"])?],
            log: text("log"),
            log_is_default: resolved.entry("log").origin == Origin::Default,
            secrets: resolved.secrets().clone(),
            models: resolved.models().clone(),
            limits: resolved.limits().clone(),
        })
    }
}

/// The password of the store's database: from the file that is named, else from where PostgreSQL's own programs take it.
fn store_password(resolved: &Resolved) -> Result<Option<Password>, String> {
    let entry = resolved.entry("store_password_file");
    if entry.text.is_empty() {
        return Ok(std::env::var("PGPASSWORD").ok().filter(|text| !text.is_empty()).map(Password::new));
    }
    let file = entry.base.join(&entry.text);
    let text = std::fs::read_to_string(&file).map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
    Ok(Some(Password::new(text.trim_end_matches(['\r', '\n']))))
}

/// A lease: long enough to be renewed in time, short enough that somebody waits for its end.
pub(crate) fn lease(seconds: f64) -> Result<Duration, String> {
    match seconds {
        0.5..=3_600.0 => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!("`{seconds}` is not between 0.5 and 3600 seconds")),
    }
}

/// `ADDRESS:PORT`; `localhost` is 127.0.0.1.
pub(crate) fn listen(text: &str) -> Result<SocketAddr, String> {
    let wrong = || format!("`{text}` is no address with a port; for example 127.0.0.1:7348, [::1]:7348 or localhost:0");
    match text.strip_prefix("localhost:") {
        Some(port) => port.parse().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))).map_err(|_| wrong()),
        None => text.parse().map_err(|_| wrong()),
    }
}
