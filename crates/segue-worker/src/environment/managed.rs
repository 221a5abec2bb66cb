//! Environments that Segue makes and keeps: a virtual environment from a lock that pins every package and its hash.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::Mutex,
    time::{Duration, Instant},
};

use nix::fcntl::{Flock, FlockArg};
use segue_core::{
    ids::ContentHash,
    ports::{Progress, ProgressSink},
};

use super::{
    BuildProgress, EnvironmentError, OnProgress, files,
    interpreter::{self, Interpreter},
};
use crate::{
    contain::{Launch, LogFlow, Tail, forward_lines},
    off_thread::off_thread,
};

/// A framework for which Segue can make an environment.
#[derive(Debug, Clone, Copy)]
pub struct Framework {
    /// Its name: of the adapter and of its hints.
    pub name: &'static str,
    /// The distribution by which it is known that an environment has it, as its metadata spells it; empty: any will do.
    pub distribution: &'static str,
    /// The least version that the worker drives.
    pub floor: &'static str,
    /// A file of requirements, each with its hashes; empty: an interpreter of this machine is enough.
    pub lock: &'static str,
}

impl Framework {
    /// CrewAI.
    pub const CREWAI: Self = Self {
        name: "crewai",
        distribution: "crewai",
        floor: "1.15.5",
        lock: include_str!("../../../../python/requirements/crewai.lock"),
    };
    /// LangChain and LangGraph, whose common ground is `langchain-core`.
    pub const LANGCHAIN: Self = Self {
        name: "langchain",
        distribution: "langchain_core",
        floor: "1.7.0",
        lock: include_str!("../../../../python/requirements/langchain.lock"),
    };
    /// Python itself.
    pub const PYTHON: Self = Self { name: "python", distribution: "", floor: "0", lock: "" };

    fn package_count(&self) -> usize {
        self.lock.lines().filter(|line| !line.starts_with([' ', '#']) && line.contains("==")).count()
    }
}

/// Written last, so that what was interrupted is not taken for whole.
const COMPLETE: &str = ".complete";
/// How often to look whether another process has finished.
const LOOK_EVERY: Duration = Duration::from_millis(200);
const LAST_WORDS_BYTES: usize = 2 * 1024;

pub(super) fn python_in(venv: &Path) -> PathBuf {
    venv.join("bin/python")
}

/// Named after what is in it: the lock, and the series of Python.
pub(super) fn folder(root: &Path, framework: &Framework, base: &Interpreter) -> PathBuf {
    root.join("envs").join(format!("{}-py{}", prefix(framework), base.series()))
}

fn prefix(framework: &Framework) -> String {
    format!("{}-{}", framework.name, &ContentHash::of(framework.lock.as_bytes()).to_string()[..12])
}

/// The interpreter of a complete environment for this lock, whichever Python it was made with.
pub(super) fn made_before(root: &Path, framework: &Framework) -> Option<PathBuf> {
    let prefix = prefix(framework) + "-py";
    let mut found: Vec<PathBuf> = fs::read_dir(root.join("envs"))
        .ok()?
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(&prefix)))
        .map(|entry| entry.path())
        // Its interpreter is a link to the one it was made with, which may be gone.
        .filter(|venv| venv.join(COMPLETE).exists() && python_in(venv).exists())
        .collect();
    found.sort();
    found.pop().map(|venv| python_in(&venv))
}

/// Makes an environment, or waits for another process that does. Gives its interpreter.
pub(super) async fn make(
    root: PathBuf,
    framework: Framework,
    on_progress: OnProgress,
) -> Result<PathBuf, EnvironmentError> {
    let begun = Instant::now();
    let base = interpreter::find().await?;
    let venv = folder(&root, &framework, &base);
    let parent = venv.parent().expect("it is in the folder `envs`");
    fs::create_dir_all(parent).map_err(files(parent))?;
    let _lock = lock(&venv.with_extension("lock"), &on_progress).await?;
    if venv.join(COMPLETE).exists() && python_in(&venv).exists() {
        return Ok(python_in(&venv));
    }
    on_progress(BuildProgress::Started {
        framework: framework.name,
        python: base.version.clone(),
        folder: venv.clone(),
    });
    let old = venv.clone();
    // What an interrupted attempt has left; may be many files.
    off_thread(move || fs::remove_dir_all(old)).await;
    let step = Step { on_progress: &on_progress, total: framework.package_count() };
    step.run(
        "making the virtual environment",
        vec![base.path.clone().into(), "-m".into(), "venv".into(), venv.clone().into()],
    )
    .await?;
    let requirements = venv.join("requirements.lock");
    fs::write(&requirements, framework.lock).map_err(files(&requirements))?;
    let options =
        ["-I", "-m", "pip", "install", "--require-hashes", "--no-deps", "--no-input", "--progress-bar=off", "-r"];
    let mut argv: Vec<OsString> = vec![python_in(&venv).into()];
    argv.extend(options.map(OsString::from));
    argv.push(requirements.into());
    step.run("installing the packages", argv).await?;
    complete(&venv, &base).map_err(files(&venv))?;
    on_progress(BuildProgress::Done { took: begun.elapsed() });
    Ok(python_in(&venv))
}

fn complete(venv: &Path, base: &Interpreter) -> std::io::Result<()> {
    let mut file = fs::File::create(venv.join(COMPLETE))?;
    writeln!(file, "made with {} (Python {})", base.path.display(), base.version)?;
    file.sync_all()
}

/// Takes the lock file, so that two processes do not make one environment. It is free when its holder ends.
async fn lock(path: &Path, on_progress: &OnProgress) -> Result<Flock<fs::File>, EnvironmentError> {
    let mut file = fs::OpenOptions::new().create(true).append(true).open(path).map_err(files(path))?;
    let mut has_told = false;
    loop {
        file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((file, nix::errno::Errno::EWOULDBLOCK)) => file,
            Err((_, error)) => return Err(files(path)(error.into())),
        };
        if !has_told {
            on_progress(BuildProgress::Waiting);
            has_told = true;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Runs the programs that make an environment.
struct Step<'a> {
    on_progress: &'a OnProgress,
    total: usize,
}

impl Step<'_> {
    async fn run(&self, step: &'static str, argv: Vec<OsString>) -> Result<(), EnvironmentError> {
        let failed = |last_words: String| EnvironmentError::Build { step, last_words };
        let launch = Launch { argv, cwd: env::temp_dir(), env: environment(), stdin: false };
        let mut process = launch.start().map_err(|error| failed(error.to_string()))?;
        let (stdout, stderr) = process.take_output().expect("the output of a fresh process has not been taken");
        let (mut said, mut complained) = (Tail::new(LAST_WORDS_BYTES), Tail::new(LAST_WORDS_BYTES));
        let watch = Watch { on_progress: self.on_progress, total: self.total, fetched: Mutex::new(0) };
        let (mut out, mut err) = (LogFlow::new("stdout"), LogFlow::new("stderr"));
        let listened = async {
            tokio::join!(
                forward_lines(stdout, &mut out, &mut said, &watch),
                forward_lines(stderr, &mut err, &mut complained, &watch)
            )
        };
        let (status, _) = tokio::join!(process.wait(), listened);
        process.finish().await;
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => {
                let (said, complained) = (said.text(), complained.text());
                let last_words = if complained.is_empty() { said } else { complained };
                Err(failed(format!("{status}: {}{last_words}", network_hint(&last_words))))
            }
            Err(error) => Err(failed(error.to_string())),
        }
    }
}

/// pip names the failing host at length, and not what to do.
fn network_hint(last_words: &str) -> &'static str {
    let signs = ["connection", "Connection", "timed out", "Name or service", "resolve host", "SSLError", "ProxyError"];
    if signs.iter().any(|sign| last_words.contains(sign)) {
        "the package index cannot be reached (see `pip config list` for an index, proxy or certificate of your own). pip said: "
    } else {
        ""
    }
}

/// All of ours, for pip's own settings, proxies and certificates; but nothing that leads Python elsewhere.
fn environment() -> BTreeMap<OsString, OsString> {
    let misleading = |name: &str| (name.starts_with("PYTHON") && name != "PYTHONWARNINGS") || name == "VIRTUAL_ENV";
    let mut environment: BTreeMap<_, _> =
        env::vars_os().filter(|(name, _)| !name.to_str().is_some_and(misleading)).collect();
    environment.insert("PIP_DISABLE_PIP_VERSION_CHECK".into(), "1".into());
    environment
}

/// Makes progress out of what pip says.
struct Watch<'a> {
    on_progress: &'a OnProgress,
    total: usize,
    fetched: Mutex<usize>,
}

impl ProgressSink for Watch<'_> {
    fn emit(&self, progress: Progress) {
        let line = progress.data["line"].as_str().unwrap_or_default();
        tracing::debug!(target: "segue_worker::python", "{line}");
        let mut fetched = self.fetched.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(name) = line.strip_prefix("Collecting ") {
            *fetched += 1;
            let name = name.split([' ', '=', ';']).next().unwrap_or_default().to_owned();
            (self.on_progress)(BuildProgress::Fetched { packages: *fetched, of: self.total, name });
        } else if line.starts_with("Installing collected packages") {
            (self.on_progress)(BuildProgress::Installing { packages: *fetched });
        }
    }
}
