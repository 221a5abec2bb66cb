//! `cargo xtask faults`: the long form of the fault harnesses, against the program that is shipped.

use std::process::ExitCode;

use anyhow::Result;

use crate::{
    house::{House, run},
    services::Services,
};

/// Arguments of `cargo xtask faults`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many times the program is killed, or has a call fail, in each harness
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    kills: usize,
    /// How many seconds a database server is down
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    away: u64,
    /// Only tests whose name holds this text: sqlite, postgres, clock, …
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

/// Bugs are planted in a program of their own, so the mutants are not run here: `cargo xtask test` does.
const HARNESSES: [&str; 5] = ["kills", "errors", "storage", "clock", "connection"];

pub(crate) fn carry_out(house: &House, arguments: &Arguments) -> Result<ExitCode> {
    run(&mut house.cargo(["build", "--release", "--package", "segue-cli"]))?;
    let mut tests = house.cargo(["test", "--package", "segue-faults", "--no-fail-fast"]);
    tests.args(HARNESSES.iter().flat_map(|name| ["--test", name]));
    tests.arg("--").args(&arguments.only).args(["--nocapture", "--test-threads", "1"]);
    tests.env("SEGUE_BIN", house.target.join("release/segue")).env("SEGUE_FAULTS_HITS", arguments.kills.to_string());
    tests.env("SEGUE_FAULTS_AWAY_SECONDS", arguments.away.to_string());
    let services = Services::start(house)?;
    services.hand_to(&mut tests);
    Ok(if run(&mut tests).is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
