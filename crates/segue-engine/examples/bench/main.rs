//! `cargo xtask bench`: durable no-op workloads through the engine, one JSON line each.
//!
//! Every workload runs in a process of its own, so that its memory and CPU are its own, on SQLite with
//! `synchronous=FULL` and in memory. In the same process and folder the disk's own limit is measured: one-row FULL
//! commits with plain rusqlite. `ratio` is tasks a second to that limit; of a chain, that is commits to commits.
#![allow(unreachable_pub)]

mod disk;
mod measure;
mod report;
mod startup;
mod workloads;

use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::workloads::{NAMES, Place, sized};

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut arguments: Vec<String>) -> Result<()> {
    if arguments.first().is_some_and(|first| first == "--one") {
        let [_, name, place] = &arguments[..] else { bail!("--one WORKLOAD PLACE") };
        println!("{}", one(name, place.parse()?)?);
        return Ok(());
    }
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        println!("{}", report::HELP);
        return Ok(());
    }
    let is_json = arguments.iter().any(|argument| argument == "--json");
    arguments.retain(|argument| argument != "--json");
    if let Some(unknown) = arguments.iter().find(|name| !NAMES.contains(&name.as_str()) && sized(name).is_none()) {
        bail!("there is no workload `{unknown}`; there are {}", NAMES.join(", "));
    }
    if !is_json {
        println!("{}", report::HEAD);
    }
    let names = if arguments.is_empty() { NAMES.map(str::to_owned).to_vec() } else { arguments };
    for name in &names {
        for place in Place::ALL {
            let line = in_child(name, place)?;
            println!("{}", if is_json { line.to_string() } else { report::row(&line) });
        }
    }
    Ok(())
}

fn one(name: &str, place: Place) -> Result<Value> {
    if name == "W7" { startup::run(place) } else { workloads::run(name, place) }
}

fn in_child(name: &str, place: Place) -> Result<Value> {
    let own = std::env::current_exe().context("the path of this program")?;
    let output = Command::new(own).args(["--one", name, place.as_str()]).output()?;
    ensure!(output.status.success(), "{name} on {}: {}", place.as_str(), String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).with_context(|| format!("{name} printed no JSON line"))
}
