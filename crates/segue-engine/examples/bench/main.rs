//! `cargo xtask bench`: durable no-op workloads through the engine, one JSON line each.
//!
//! Every workload runs in a process of its own, so that its memory and CPU are its own, on SQLite with
//! `synchronous=FULL`, in memory, and on PostgreSQL with one engine and with four. In the same process and folder the
//! disk's own limit is measured: one-row FULL commits with plain rusqlite. `ratio` is tasks a second to that limit; of a
//! chain, that is commits to commits.
//!
//! * [`shapes`]: the workflows. [`workloads`]: running them. [`crash`]: W6. [`startup`]: W7. [`soak`]: minutes of W3, killed.
//! * [`storm`]: a provider that refuses everybody.
//! * [`place`]: the stores, and the engines on them. [`server`], [`measure`], [`disk`]: what is measured.
#![allow(unreachable_pub)]

mod crash;
mod disk;
mod measure;
mod place;
mod report;
mod server;
mod shapes;
mod soak;
mod startup;
mod storm;
mod workloads;

use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::{place::Place, shapes::sized, workloads::NAMES};

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
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let asks_help = words.iter().any(|word| ["--help", "-h"].contains(word));
    match words[..] {
        ["--one", name, place] => {
            println!("{}", one(name, place.parse()?)?);
            return Ok(());
        }
        ["--victim", place, at, effects] => return crash::victim(place.parse()?, at, effects.as_ref()),
        ["--soaked", at, folder, ..] => return soak::soaked(at, folder.as_ref(), words.get(3).copied()),
        ["soak", ..] if !asks_help => return soak::run(&words[1..]),
        ["storm", ..] if !asks_help => return storm::run(&words[1..]),
        _ if asks_help => {
            println!("{}", report::HELP);
            return Ok(());
        }
        _ => {}
    }
    let is_json = arguments.iter().any(|argument| argument == "--json");
    arguments.retain(|argument| argument != "--json");
    let (places, names): (Vec<String>, Vec<String>) =
        arguments.into_iter().partition(|word| word.parse::<Place>().is_ok());
    if let Some(unknown) = names.iter().find(|name| !NAMES.contains(&name.as_str()) && sized(name).is_none()) {
        bail!("there is no workload or store `{unknown}`; there are {}", NAMES.join(", "));
    }
    let places: Vec<Place> = places.iter().filter_map(|place| place.parse().ok()).collect();
    let places = if places.is_empty() { Place::all() } else { places };
    if !is_json {
        println!("{}", report::HEAD);
    }
    let names = if names.is_empty() { NAMES.map(str::to_owned).to_vec() } else { names };
    for name in &names {
        for place in places.iter().filter(|place| fits(name, **place)) {
            let line = in_child(name, *place)?;
            println!("{}", if is_json { line.to_string() } else { report::row(&line) });
        }
    }
    Ok(())
}

/// What is in memory survives no kill; the start of a process is that of a program with its own file; ten times W4 tells
/// of a server what W4 does.
fn fits(name: &str, place: Place) -> bool {
    match place {
        Place::Sqlite => true,
        Place::Memory => name != "W6",
        Place::Postgres(1) => !["W4x10", "W7"].contains(&name),
        Place::Postgres(_) => !["W4x10", "W6", "W7"].contains(&name),
    }
}

fn one(name: &str, place: Place) -> Result<Value> {
    match name {
        "W6" => crash::run(place),
        "W7" => startup::run(place),
        _ => workloads::run(name, place),
    }
}

fn in_child(name: &str, place: Place) -> Result<Value> {
    let own = std::env::current_exe().context("the path of this program")?;
    let output = Command::new(own).args(["--one", name, &place.to_string()]).output()?;
    ensure!(output.status.success(), "{name} on {place}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).with_context(|| format!("{name} printed no JSON line"))
}
