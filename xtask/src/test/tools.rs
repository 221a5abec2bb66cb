//! What the tests need of the machine. A C compiler is not asked for: nothing that is written in Rust, this included,
//! links without one.

use anyhow::{Context, Result, bail};

use segue_testservers::programs;

use super::python;
use crate::{
    house::{House, output_of, run, works},
    services::{self, packages::Packages},
};

/// Installs what is missing where that is possible without asking, else says how to.
pub(super) fn check(house: &House) -> Result<()> {
    for (component, probe) in [("rustfmt", "fmt"), ("clippy", "clippy")] {
        if !works(&mut house.cargo([probe, "--version"])) {
            run(house.command("rustup").args(["component", "add", component]))
                .with_context(|| format!("cargo has no `{probe}`; install {component}"))?;
        }
    }
    if !works(house.command("git").arg("--version")) {
        bail!("git is missing; install it (Debian, Ubuntu: apt-get install git)");
    }
    let packages = Packages::of(house);
    let python = match python::find(house) {
        Ok(python) => python,
        Err(missing) => {
            // Debian and its like keep `venv` in a package of its own.
            if !packages.may_install() {
                bail!("{missing}; install one (Debian, Ubuntu: apt-get install python3-venv)");
            }
            packages.install(house, &["python3-venv"]).with_context(|| missing.to_string())?;
            python::find(house)?
        }
    };
    println!(
        "python: {}",
        output_of(house.command(&python).args(["-c", "import sys; print(sys.executable, sys.version)"]))?
    );
    services::provide(house, &packages)?;
    harnesses(house, &packages)
}

/// What the fault harnesses and the counting of instructions drive programs with.
fn harnesses(house: &House, packages: &Packages) -> Result<()> {
    const FAKETIME: &str = "faketime/libfaketime.so.1";
    let found = [
        ("strace", programs::any("strace").is_some()),
        ("libfaketime", programs::library(FAKETIME).is_some()),
        ("valgrind", programs::any("valgrind").is_some()),
    ];
    let missing = found.into_iter().filter(|(_, is_there)| !is_there).map(|(package, _)| package);
    packages.install(house, &missing.collect::<Vec<_>>())
}
