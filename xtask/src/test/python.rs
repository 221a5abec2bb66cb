//! The steps of the Python code, in an environment of their own under the target folder.

use std::{env, fs, path::PathBuf, process::Command};

use anyhow::{Context, Result, bail};

use crate::house::{House, output_of, run, works};

/// The names to look for, in the order in which Segue itself looks for them.
const NAMES: [&str; 5] = ["python3.13", "python3.12", "python3.11", "python3.10", "python3"];
/// Fails unless the version is one that CrewAI takes and environments can be made.
const SUITABLE: &str = "import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info < (3, 14))";
/// Installed one by one: each is complete for its purpose.
const LOCKS: [&str; 2] = ["crewai.lock", "dev.lock"];

/// A Python that environments can be made with: the one that `SEGUE_PYTHON` names, else the first in the `PATH`.
pub(super) fn find(house: &House) -> Result<String> {
    let candidates = match env::var("SEGUE_PYTHON") {
        Ok(named) if !named.is_empty() => vec![named],
        _ => NAMES.map(str::to_owned).to_vec(),
    };
    let found = candidates.iter().find(|name| works(house.command(name).args(["-I", "-c", SUITABLE])));
    match found {
        Some(name) => Ok(name.clone()),
        None => bail!("none of {} is a Python 3.10 to 3.13 with `venv` and `ensurepip`", candidates.join(", ")),
    }
}

/// The interpreter of the environment.
fn interpreter(house: &House) -> PathBuf {
    folder(house).join("bin/python")
}

fn folder(house: &House) -> PathBuf {
    house.target.join("python-dev")
}

/// Makes the environment, unless it is there and the locks have not changed since.
pub(super) fn environment(house: &House) -> Result<()> {
    let folder = folder(house);
    let python = find(house)?;
    let wanted = contents(house, &python)?;
    // Written last: an environment without it was left unfinished.
    let stamp = folder.join("made-from");
    if fs::read_to_string(&stamp).is_ok_and(|made_from| made_from == wanted) {
        println!("{} is up to date", folder.display());
        return Ok(());
    }
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    run(house.command(&python).args(["-m", "venv"]).arg(&folder))?;
    for lock in LOCKS {
        let mut pip = house.command(interpreter(house));
        pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off", "--quiet"]);
        pip.args(["--require-hashes", "--no-deps", "-r"]).arg(house.root.join("python/requirements").join(lock));
        run(&mut pip)?;
    }
    fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))
}

/// Everything that decides what is in the environment.
fn contents(house: &House, python: &str) -> Result<String> {
    let mut contents =
        output_of(house.command(python).args(["-I", "-c", "import sys; print(sys.executable, sys.version)"]))?;
    for lock in LOCKS {
        let path = house.root.join("python/requirements").join(lock);
        contents += &fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    }
    Ok(contents)
}

/// A module of the environment, run in the `python` folder.
fn module(house: &House, name: &str) -> Command {
    let mut command = Command::new(interpreter(house));
    command.current_dir(house.root.join("python")).args(["-m", name]);
    command
}

pub(super) fn ruff(house: &House) -> Result<()> {
    let settings = ["--config", "pyproject.toml", ".", "../examples"];
    run(module(house, "ruff").arg("check").args(settings))?;
    run(module(house, "ruff").args(["format", "--check"]).args(settings))
}

pub(super) fn mypy(house: &House) -> Result<()> {
    run(module(house, "mypy").arg("--strict"))
}

pub(super) fn pytest(house: &House) -> Result<()> {
    run(&mut module(house, "pytest"))
}
