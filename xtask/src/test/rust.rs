//! The steps that are cargo's.

use anyhow::Result;

use super::python;
use crate::{
    house::{House, run},
    services::Services,
};

/// Lets the mutation tests plant their bugs. Unplanted they are nothing.
const MUTANTS: &str =
    "segue-cli/mutants,segue-testkit/mutants,segue-engine/mutants,segue-sqlite/mutants,segue-postgres/mutants";

pub(super) fn format(house: &House) -> Result<()> {
    run(&mut house.cargo(["fmt", "--all", "--check"]))
}

pub(super) fn clippy(house: &House) -> Result<()> {
    run(&mut house.cargo(["clippy", "--workspace", "--all-targets", "--features", MUTANTS, "--", "-D", "warnings"]))
}

/// All tests in one build. PostgreSQL and Redis run beside them. Tests that need CrewAI share one managed environment,
/// which the first of them makes under the target folder.
pub(super) fn tests(house: &House) -> Result<()> {
    let environments = house.target.join("segue-home");
    let mut tests = house.cargo(["test", "--workspace", "--no-fail-fast", "--features", MUTANTS]);
    tests.env("SEGUE_HOME", &environments).env("SEGUE_TEST_ENVS", &environments);
    let services = Services::start(house)?;
    services.hand_to(&mut tests);
    run(tests.env("SEGUE_TEST_LANGGRAPH", python::langgraph(house)))
}

pub(super) fn doc(house: &House) -> Result<()> {
    run(house.cargo(["doc", "--workspace", "--no-deps", "--quiet"]).env("RUSTDOCFLAGS", "-D warnings"))
}
