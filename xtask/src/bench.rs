//! `cargo xtask bench`: builds a benchmark in release mode and hands its arguments through.

use std::{env, process::ExitCode};

use anyhow::Result;

use crate::{
    house::{self, House},
    services::Services,
};

/// Arguments of `cargo xtask bench`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What the benchmark takes: `--json`, stores and workloads (W1 … W8), `soak`, `storm`, `--help`. `gateway [CALLS]`: what the
    /// model gateway adds to a call
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(house: &House, arguments: &Arguments) -> Result<ExitCode> {
    let (package, example, rest) = match arguments.arguments.split_first() {
        Some((first, rest)) if first == "gateway" => ("segue-gateway", "overhead", rest),
        _ => ("segue-engine", "bench", &arguments.arguments[..]),
    };
    let mut cargo = house.cargo(["run", "--release", "--quiet", "--package", package, "--example", example, "--"]);
    cargo.args(rest);
    if rest.first().is_some_and(|word| word == "storm") {
        house::run(&mut house.cargo(["build", "--release", "--quiet", "--package", "segue-cli"]))?;
        cargo.env("SEGUE_BIN", house.target.join("release/segue"));
    }
    // A server that is there already is used; one that nothing is measured on is not started.
    let is_for_server = |word: &String| !["sqlite", "memory", "soak", "storm", "--help", "-h"].contains(&word.as_str());
    let wants_server =
        example == "bench" && rest.iter().all(is_for_server) && env::var_os("SEGUE_TEST_POSTGRES").is_none();
    let services = wants_server.then(|| Services::start(house)).transpose()?;
    if let Some(services) = &services {
        services.hand_to(&mut cargo);
    }
    let status = cargo.status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
