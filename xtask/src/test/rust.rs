//! The steps that are cargo's.

use anyhow::Result;

use crate::house::{House, run};

pub(super) fn format(house: &House) -> Result<()> {
    run(&mut house.cargo(["fmt", "--all", "--check"]))
}

pub(super) fn clippy(house: &House) -> Result<()> {
    run(&mut house.cargo(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

pub(super) fn unit(house: &House) -> Result<()> {
    run(&mut house.cargo(["test", "--workspace", "--exclude", "segue-cli"]))
}

/// Apart from the others: the planted bugs are compiled into the kernel by a feature.
pub(super) fn mutation(house: &House) -> Result<()> {
    run(&mut house.cargo(["test", "--package", "segue-testkit", "--features", "mutants", "--test", "mutation"]))
}

pub(super) fn doc(house: &House) -> Result<()> {
    run(house.cargo(["doc", "--workspace", "--no-deps", "--quiet"]).env("RUSTDOCFLAGS", "-D warnings"))
}

/// The tests of the binary, which makes its own managed environment with CrewAI, once, under the target folder.
pub(super) fn end_to_end(house: &House) -> Result<()> {
    run(&mut house.cargo(["test", "--release", "--package", "segue-cli"]))
}
