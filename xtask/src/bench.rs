//! `cargo xtask bench`: builds a benchmark in release mode and hands its arguments through.

use std::process::ExitCode;

use anyhow::Result;

use crate::house::House;

/// Arguments of `cargo xtask bench`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What the benchmark takes: `--json`, names of workloads (W1 … W8), `--help`. `gateway [CALLS]`: what the model gateway
    /// adds to a call
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(house: &House, arguments: &Arguments) -> Result<ExitCode> {
    let (package, example, rest) = match arguments.arguments.split_first() {
        Some((first, rest)) if first == "gateway" => ("segue-gateway", "overhead", rest),
        _ => ("segue-engine", "bench", &arguments.arguments[..]),
    };
    let mut cargo = house.cargo(["run", "--release", "--quiet", "--package", package, "--example", example, "--"]);
    let status = cargo.args(rest).status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
