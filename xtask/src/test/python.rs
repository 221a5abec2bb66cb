//! The steps of the Python code, in environments of their own under the target folder.

use std::{env, fs, path::PathBuf, process::Command};

use anyhow::{Context, Result, bail};

use crate::house::{House, output_of, run, works};

/// The names to look for, in the order in which Segue itself looks for them.
const NAMES: [&str; 5] = ["python3.13", "python3.12", "python3.11", "python3.10", "python3"];
/// Fails unless the version is one that the frameworks take and environments can be made.
const SUITABLE: &str = "import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))";

/// An environment for tests. The frameworks want versions of the same packages that exclude each other.
struct Environment {
    /// Its folder.
    folder: &'static str,
    /// Installed one by one, the later ones over the earlier.
    locks: &'static [&'static str],
}

/// CrewAI, and the tools for all Python code.
const CREWAI: Environment = Environment { folder: "python-dev", locks: &["crewai.lock", "dev.lock"] };
/// The oldest CrewAI that Segue supports.
const CREWAI_FLOOR: Environment = Environment { folder: "python-floor", locks: &["crewai-floor.lock"] };
/// LangChain and LangGraph, their conformance suite and their development server.
const LANGCHAIN: Environment =
    Environment { folder: "python-langchain", locks: &["langchain.lock", "langchain-dev.lock"] };

/// A Python that environments can be made with: the one that `SEGUE_PYTHON` names, else the first in the `PATH`.
pub(super) fn find(house: &House) -> Result<String> {
    let candidates = match env::var("SEGUE_PYTHON") {
        Ok(named) if !named.is_empty() => vec![named],
        _ => NAMES.map(str::to_owned).to_vec(),
    };
    let found = candidates.iter().find(|name| works(house.command(name).args(["-I", "-c", SUITABLE])));
    match found {
        Some(name) => Ok(name.clone()),
        None => bail!("none of {} is a Python 3.11 to 3.13 with `venv` and `ensurepip`", candidates.join(", ")),
    }
}

impl Environment {
    fn folder(&self, house: &House) -> PathBuf {
        house.target.join(self.folder)
    }

    /// Its interpreter.
    fn python(&self, house: &House) -> PathBuf {
        self.folder(house).join("bin/python")
    }

    /// Makes it, unless it is there and the locks have not changed since.
    fn make(&self, house: &House) -> Result<()> {
        let folder = self.folder(house);
        let python = find(house)?;
        let wanted = self.contents(house, &python)?;
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
        for lock in self.locks {
            let mut pip = house.command(self.python(house));
            pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off", "--quiet"]);
            pip.args(["--require-hashes", "--no-deps", "-r"]).arg(house.root.join("python/requirements").join(lock));
            run(&mut pip)?;
        }
        fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))
    }

    /// Everything that decides what is in it.
    fn contents(&self, house: &House, python: &str) -> Result<String> {
        let mut contents =
            output_of(house.command(python).args(["-I", "-c", "import sys; print(sys.executable, sys.version)"]))?;
        for lock in self.locks {
            let path = house.root.join("python/requirements").join(lock);
            contents += &fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        }
        Ok(contents)
    }

    /// A module of it, run in the `python` folder.
    fn module(&self, house: &House, name: &str) -> Command {
        let mut command = Command::new(self.python(house));
        command.current_dir(house.root.join("python")).args(["-m", name]);
        command
    }
}

/// Makes all of them.
pub(super) fn environments(house: &House) -> Result<()> {
    CREWAI.make(house)?;
    CREWAI_FLOOR.make(house)?;
    LANGCHAIN.make(house)
}

/// The interpreter with LangGraph's development server and conformance suite, for tests of the Rust side.
pub(super) fn langgraph(house: &House) -> PathBuf {
    LANGCHAIN.python(house)
}

pub(super) fn ruff(house: &House) -> Result<()> {
    let settings = ["--config", "pyproject.toml", ".", "../examples"];
    run(CREWAI.module(house, "ruff").arg("check").args(settings))?;
    run(CREWAI.module(house, "ruff").args(["format", "--check"]).args(settings))
}

pub(super) fn mypy(house: &House) -> Result<()> {
    run(CREWAI.module(house, "mypy").arg("--strict"))
}

pub(super) fn pytest(house: &House) -> Result<()> {
    run(CREWAI.module(house, "pytest").arg("--ignore=tests/langchain"))
}

pub(super) fn pytest_floor(house: &House) -> Result<()> {
    run(CREWAI_FLOOR.module(house, "pytest").args(["--ignore=tests/langchain", "-k", "crewai"]))
}

pub(super) fn pytest_langchain(house: &House) -> Result<()> {
    run(LANGCHAIN.module(house, "pytest").arg("tests/langchain"))
}
