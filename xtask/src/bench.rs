//! `cargo xtask bench`: builds the benchmark in release mode and hands its arguments through.

use std::process::ExitCode;

use anyhow::Result;

use crate::house::House;

/// Arguments of `cargo xtask bench`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What the benchmark takes: `--json`, names of workloads (W1 … W8), `--help`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(house: &House, arguments: &Arguments) -> Result<ExitCode> {
    let mut cargo =
        house.cargo(["run", "--release", "--quiet", "--package", "segue-engine", "--example", "bench", "--"]);
    let status = cargo.args(&arguments.arguments).status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
