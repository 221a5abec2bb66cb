//! Which Python runs a task, and what it runs.
//!
//! The first of these that there is: what the task's hints name; the project's own `.venv`, if it has the framework; an
//! environment that Segue makes and keeps, from a lock that pins every package and its hash (or, where no framework is
//! needed, an interpreter of this machine). [`Environments::explain`]
//! tells what would be chosen and why, and makes nothing.

mod bundle;
mod interpreter;
mod managed;
mod project;

use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use serde::Serialize;
use tokio::sync::OnceCell;

pub use interpreter::Interpreter;
pub use managed::Framework;

/// Where an environment comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The task's hints name it.
    Hint,
    /// The project's `.venv`.
    Project,
    /// Segue made it, or will.
    Managed,
    /// An interpreter of this machine, with nothing in it but what it came with.
    Plain,
}

/// A Python with what is needed in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PythonEnvironment {
    /// Its interpreter.
    pub python: PathBuf,
    /// Where it comes from.
    pub origin: Origin,
}

/// What would be chosen, and why.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// The choice; without one, `reasons` say what is in the way.
    pub chosen: Option<PythonEnvironment>,
    /// Must it be made first?
    pub is_to_be_made: bool,
    /// What was looked at, in order, each with what was found.
    pub reasons: Vec<String>,
}

/// Why there is no environment. Each says what to do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EnvironmentError {
    /// What the hints name is not there.
    #[error("`hints.{framework}.python` names `{path}`, which is no Python interpreter and no virtual environment")]
    Hint {
        /// The framework's name.
        framework: &'static str,
        /// What is named.
        path: String,
    },
    /// The project's own environment has a version that is too old.
    #[error(
        "`{}` has {framework} {found}, and Segue needs {floor} or later: upgrade it there, or name another environment in \
         `hints.{framework}.python`", venv.display()
    )]
    TooOld {
        /// The environment.
        venv: PathBuf,
        /// The framework's name.
        framework: &'static str,
        /// Its version there.
        found: String,
        /// The least version.
        floor: &'static str,
    },
    /// There is no Python to make an environment with.
    #[error(
        "no suitable Python was found to make an environment with: {looked_at}. Install Python 3.10 to 3.13 with its \
         `venv` module (Debian, Ubuntu: `apt install python3-venv`), or name one in `SEGUE_PYTHON`"
    )]
    NoPython {
        /// What was looked at, each with what is wrong with it.
        looked_at: String,
    },
    /// It could not be made.
    #[error("the Python environment could not be made: {step} failed: {last_words}")]
    Build {
        /// What was done.
        step: &'static str,
        /// What it said.
        last_words: String,
    },
    /// A file or folder of ours could not be written.
    #[error("`{}`: {message}", path.display())]
    Files {
        /// Which.
        path: PathBuf,
        /// What the system says.
        message: String,
    },
}

/// How far the making of an environment is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildProgress {
    /// Another process makes it.
    Waiting,
    /// It has begun.
    Started {
        /// The framework's name.
        framework: &'static str,
        /// The interpreter's version.
        python: String,
        /// Where.
        folder: PathBuf,
    },
    /// Packages that have been fetched.
    Fetched {
        /// So many.
        packages: usize,
        /// Of about so many.
        of: usize,
        /// The last one.
        name: String,
    },
    /// All are fetched; they are being put in place.
    Installing {
        /// So many.
        packages: usize,
    },
    /// It is ready.
    Done {
        /// After this time.
        took: Duration,
    },
}

impl fmt::Display for BuildProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting => f.write_str("waiting for another process that makes the Python environment"),
            Self::Started { framework, python, folder } => {
                write!(f, "making a Python {python} environment with {framework} in {}", folder.display())
            }
            Self::Fetched { packages, of, name } => write!(f, "fetched {packages} of about {of} packages ({name})"),
            Self::Installing { packages } => write!(f, "installing {packages} packages"),
            Self::Done { took } => write!(f, "the Python environment is ready after {} s", took.as_secs()),
        }
    }
}

/// Takes progress. Called from tasks of the runtime; must not block.
pub type OnProgress = Arc<dyn Fn(BuildProgress) + Send + Sync>;

/// What a task says about its environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// `hints.<adapter>.python`: an interpreter, or a virtual environment's folder.
    pub hint: Option<String>,
    /// The workflow's folder.
    pub base_dir: Option<PathBuf>,
    /// The folder of the user's code, where that is another one.
    pub project: Option<PathBuf>,
}

type Building = Shared<BoxFuture<'static, Result<PathBuf, EnvironmentError>>>;

/// Finds and makes environments, under one root folder (`.segue`).
pub struct Environments {
    root: PathBuf,
    on_progress: OnProgress,
    building: Mutex<HashMap<PathBuf, Building>>,
    /// Asked once: it means to start it.
    plain: OnceCell<Interpreter>,
}

impl Environments {
    /// Keeps what it makes under `root`.
    pub fn new(root: impl Into<PathBuf>, on_progress: OnProgress) -> Self {
        let root = root.into();
        let root = std::path::absolute(&root).unwrap_or(root);
        Self { root, on_progress, building: Mutex::default(), plain: OnceCell::new() }
    }

    /// The worker's `main.py`, put under the root when it is first needed. Blocks for a moment then.
    pub fn worker_program(&self) -> Result<PathBuf, EnvironmentError> {
        bundle::extract(&self.root.join("worker"))
    }

    /// The environment for a task; made, if it must be. Minutes then: call it before a task's time runs. Dropping the
    /// future stops waiting, not the making.
    pub async fn resolve(&self, framework: &Framework, wanted: &Wanted) -> Result<PythonEnvironment, EnvironmentError> {
        if let Some(found) = self.given(framework, wanted, &mut Vec::new())? {
            return Ok(found);
        }
        if framework.lock.is_empty() {
            let python = self.plain.get_or_try_init(interpreter::find).await?.path.clone();
            return Ok(PythonEnvironment { python, origin: Origin::Plain });
        }
        let python = self.managed(framework).await?;
        Ok(PythonEnvironment { python, origin: Origin::Managed })
    }

    /// What [`Environments::resolve`] would choose. Makes nothing; starts interpreters to ask for their version.
    pub async fn explain(&self, framework: &Framework, wanted: &Wanted) -> Explanation {
        let mut reasons = Vec::new();
        match self.given(framework, wanted, &mut reasons) {
            Ok(Some(found)) => return Explanation { chosen: Some(found), is_to_be_made: false, reasons },
            Ok(None) => {}
            Err(error) => {
                reasons.push(error.to_string());
                return Explanation { chosen: None, is_to_be_made: false, reasons };
            }
        }
        if framework.lock.is_empty() {
            return self.explain_plain(reasons).await;
        }
        if let Some(python) = managed::made_before(&self.root, framework) {
            reasons.push(format!("an environment made by Segue is there: {}", python.display()));
            let chosen = PythonEnvironment { python, origin: Origin::Managed };
            return Explanation { chosen: Some(chosen), is_to_be_made: false, reasons };
        }
        match interpreter::find().await {
            Ok(base) => {
                let folder = managed::folder(&self.root, framework, &base);
                reasons.push(format!(
                    "an environment will be made in {} with {} (Python {})",
                    folder.display(),
                    base.path.display(),
                    base.version
                ));
                let chosen = PythonEnvironment { python: managed::python_in(&folder), origin: Origin::Managed };
                Explanation { chosen: Some(chosen), is_to_be_made: true, reasons }
            }
            Err(error) => {
                reasons.push(error.to_string());
                Explanation { chosen: None, is_to_be_made: true, reasons }
            }
        }
    }

    async fn explain_plain(&self, mut reasons: Vec<String>) -> Explanation {
        let chosen = match self.plain.get_or_try_init(interpreter::find).await {
            Ok(found) => {
                reasons.push(format!("{} is Python {}", found.path.display(), found.version));
                Some(PythonEnvironment { python: found.path.clone(), origin: Origin::Plain })
            }
            Err(error) => {
                reasons.push(error.to_string());
                None
            }
        };
        Explanation { chosen, is_to_be_made: false, reasons }
    }

    /// What the user has: by hint, or in the project.
    fn given(
        &self,
        framework: &Framework,
        wanted: &Wanted,
        reasons: &mut Vec<String>,
    ) -> Result<Option<PythonEnvironment>, EnvironmentError> {
        if let Some(hint) = &wanted.hint {
            let python = project::interpreter_of(hint, wanted.base_dir.as_deref())
                .ok_or_else(|| EnvironmentError::Hint { framework: framework.name, path: hint.clone() })?;
            reasons.push(format!("`hints.{}.python` names it", framework.name));
            return Ok(Some(PythonEnvironment { python, origin: Origin::Hint }));
        }
        reasons.push(format!("no `hints.{}.python`", framework.name));
        for folder in project::folders(wanted.project.as_deref(), wanted.base_dir.as_deref()) {
            let venv = folder.join(".venv");
            if !venv.is_dir() {
                continue;
            }
            if framework.distribution.is_empty() {
                let python = managed::python_in(&venv);
                if python.exists() {
                    reasons.push(format!("{} is the project's", venv.display()));
                    return Ok(Some(PythonEnvironment { python, origin: Origin::Project }));
                }
                continue;
            }
            match project::version_in(&venv, framework.distribution) {
                None => reasons.push(format!("{} has no {}", venv.display(), framework.name)),
                Some(found) if project::is_older(&found, framework.floor) => {
                    let (framework, floor) = (framework.name, framework.floor);
                    return Err(EnvironmentError::TooOld { venv, framework, found, floor });
                }
                Some(found) => {
                    reasons.push(format!("{} has {} {found}", venv.display(), framework.name));
                    let python = managed::python_in(&venv);
                    return Ok(Some(PythonEnvironment { python, origin: Origin::Project }));
                }
            }
        }
        reasons.push(match framework.distribution {
            "" => "no `.venv` in the project".to_owned(),
            _ => format!("no `.venv` with {} in the project", framework.name),
        });
        Ok(None)
    }

    /// The environment of our own; made once, however many ask.
    async fn managed(&self, framework: &Framework) -> Result<PathBuf, EnvironmentError> {
        if let Some(python) = managed::made_before(&self.root, framework) {
            return Ok(python);
        }
        let key = self.root.join(framework.name);
        let building = {
            let mut building = self.building.lock().unwrap_or_else(PoisonError::into_inner);
            let start = || {
                let making = managed::make(self.root.clone(), *framework, self.on_progress.clone());
                let task = tokio::spawn(making);
                let made = async move { task.await.unwrap_or_else(|_| Err(interrupted())) };
                made.boxed().shared()
            };
            building.entry(key.clone()).or_insert_with(start).clone()
        };
        let made = building.await;
        if made.is_err() {
            // The next one tries again: the network may be back.
            self.building.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        }
        made
    }
}

fn interrupted() -> EnvironmentError {
    EnvironmentError::Build { step: "the build", last_words: "it was interrupted".to_owned() }
}

fn files(path: &Path) -> impl FnOnce(std::io::Error) -> EnvironmentError {
    move |error| EnvironmentError::Files { path: path.to_owned(), message: error.to_string() }
}
