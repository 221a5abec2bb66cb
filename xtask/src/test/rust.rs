//! The steps that are cargo's.

use anyhow::Result;

use super::{binaries, python};
use crate::{
    house::{House, run},
    services::Services,
};

/// Lets the mutation tests plant their bugs. Unplanted they are nothing.
pub(crate) const MUTANTS: &str =
    "segue-cli/mutants,segue-testkit/mutants,segue-engine/mutants,segue-sqlite/mutants,segue-postgres/mutants";

pub(super) fn format(house: &House) -> Result<()> {
    run(&mut house.cargo(["fmt", "--all", "--check"]))
}

/// In the profile of the tests, as all steps: what build scripts compile in C is then made once.
pub(super) fn clippy(house: &House) -> Result<()> {
    let mut clippy = house.cargo(["clippy", "--workspace", "--all-targets", "--profile", "test"]);
    run(clippy.args(["--features", MUTANTS, "--", "-D", "warnings"]))
}

/// All tests in one build. PostgreSQL and Redis run beside them. Tests that need CrewAI share one managed environment,
/// which the first of them makes under the target folder.
pub(super) fn tests(house: &House) -> Result<()> {
    let environments = house.target.join("segue-home");
    let services = Services::start(house)?;
    binaries::run_all(house, MUTANTS, &|test| {
        services.hand_to(test);
        test.env("SEGUE_HOME", &environments).env("SEGUE_TEST_ENVS", &environments);
        test.env("SEGUE_TEST_LANGGRAPH", python::langgraph(house));
    })
}

pub(super) fn doc(house: &House) -> Result<()> {
    let mut doc = house.cargo(["doc", "--workspace", "--no-deps", "--quiet", "--profile", "test"]);
    run(doc.args(["--features", MUTANTS]).env("RUSTDOCFLAGS", "-D warnings"))
}
