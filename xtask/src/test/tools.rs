//! What the tests need of the machine. A C compiler is not asked for: nothing that is written in Rust, this included,
//! links without one.

use anyhow::{Context, Result, bail};

use super::python;
use crate::house::{House, output_of, run, works};

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
    let python = match python::find(house) {
        Ok(python) => python,
        Err(missing) => {
            install_venv(house).with_context(|| missing.to_string())?;
            python::find(house)?
        }
    };
    println!(
        "python: {}",
        output_of(house.command(&python).args(["-c", "import sys; print(sys.executable, sys.version)"]))?
    );
    Ok(())
}

/// Debian and its like keep `venv` in a package of its own.
fn install_venv(house: &House) -> Result<()> {
    const ADVICE: &str =
        "install Python 3.11 to 3.13 with its `venv` module (Debian, Ubuntu: apt-get install python3-venv)";
    let is_root = output_of(house.command("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    if !is_root || !works(house.command("apt-get").arg("--version")) {
        bail!("{ADVICE}");
    }
    run(house.command("apt-get").arg("update"))?;
    let mut install = house.command("apt-get");
    install.env("DEBIAN_FRONTEND", "noninteractive").args([
        "install",
        "--yes",
        "--no-install-recommends",
        "python3-venv",
    ]);
    run(&mut install).context(ADVICE)
}
