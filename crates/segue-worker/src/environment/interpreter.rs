//! A Python to make environments with.

use std::{
    env,
    path::{Path, PathBuf},
};

use super::{EnvironmentError, project::on_path};
use crate::contain::{Launch, read_to_limit, scrubbed_environment};

/// The names to look for, the best first. (The frameworks take 3.10 to 3.13.)
const NAMES: [&str; 5] = ["python3.13", "python3.12", "python3.11", "python3.10", "python3"];
const OLDEST: (u32, u32) = (3, 10);
const TOO_NEW: (u32, u32) = (3, 14);
/// The environment variable that names one.
const VARIABLE: &str = "SEGUE_PYTHON";

/// An interpreter that can make environments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpreter {
    /// Its path.
    pub path: PathBuf,
    /// `3.11.7`.
    pub version: String,
}

impl Interpreter {
    /// `3.11`.
    pub(super) fn series(&self) -> &str {
        let end = self.version.match_indices('.').nth(1).map_or(self.version.len(), |(index, _)| index);
        &self.version[..end]
    }
}

/// The one that `SEGUE_PYTHON` names, else the first suitable one in the `PATH`.
pub(super) async fn find() -> Result<Interpreter, EnvironmentError> {
    let candidates: Vec<PathBuf> = match env::var(VARIABLE) {
        Ok(named) if !named.is_empty() => vec![on_path(&named).unwrap_or_else(|| PathBuf::from(named))],
        _ => NAMES.into_iter().filter_map(on_path).collect(),
    };
    let mut looked_at = Vec::new();
    for path in candidates {
        match ask(&path).await {
            Ok(interpreter) => return Ok(interpreter),
            Err(reason) => looked_at.push(format!("{} {reason}", path.display())),
        }
    }
    if looked_at.is_empty() {
        looked_at.push(format!("none of {} is in the PATH", NAMES.join(", ")));
    }
    Err(EnvironmentError::NoPython { looked_at: looked_at.join("; ") })
}

/// Asks an interpreter for its version, and whether it can make environments; a name in the `PATH` may be a mere shim.
async fn ask(path: &Path) -> Result<Interpreter, String> {
    let script = "import sys; print('.'.join(map(str, sys.version_info[:3]))); import venv, ensurepip; print('venv')";
    let argv = vec![path.into(), "-I".into(), "-c".into(), script.into()];
    let mut env = scrubbed_environment(&["PYENV_ROOT", "PYENV_VERSION"]);
    env.insert("PYTHONDONTWRITEBYTECODE".into(), "1".into());
    let launch = Launch { argv, cwd: env::temp_dir(), env, stdin: false };
    let mut process = launch.start().map_err(|error| format!("cannot be started ({error})"))?;
    let (stdout, _stderr) = process.take_output().expect("the output of a fresh process has not been taken");
    let mut said = Vec::new();
    let _ = read_to_limit(stdout, &mut said, 64 * 1024, |_| {}).await;
    let _ = process.wait().await;
    process.finish().await;
    let said = String::from_utf8_lossy(&said);
    let mut lines = said.lines();
    let version = lines.next().unwrap_or_default().trim().to_owned();
    let mut numbers = version.split('.').map_while(|part| part.parse::<u32>().ok());
    let (Some(major), Some(minor)) = (numbers.next(), numbers.next()) else {
        return Err("does not say which Python it is".to_owned());
    };
    if (major, minor) < OLDEST || (major, minor) >= TOO_NEW {
        return Err(format!("is Python {version}"));
    }
    if lines.next() != Some("venv") {
        return Err(format!("(Python {version}) lacks its `venv` or `ensurepip` module"));
    }
    Ok(Interpreter { path: path.to_owned(), version })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    fn program(folder: &Path, text: &str) -> PathBuf {
        let path = folder.join("python3");
        // Not written by this process while it forks others: "text file busy".
        let staged = folder.join("staged");
        fs::write(&staged, text).unwrap();
        fs::set_permissions(&staged, fs::Permissions::from_mode(0o755)).unwrap();
        fs::copy(&staged, &path).unwrap();
        path
    }

    #[tokio::test]
    async fn an_interpreter_is_asked_and_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let asked = |text: &'static str| {
            let path = program(folder.path(), text);
            async move { ask(&path).await }
        };
        let good = asked("#!/bin/sh\necho 3.12.1; echo venv\n").await.unwrap();
        assert_eq!((good.version.as_str(), good.series()), ("3.12.1", "3.12"));
        assert_eq!(asked("#!/bin/sh\necho 3.14.0; echo venv\n").await.unwrap_err(), "is Python 3.14.0");
        assert_eq!(asked("#!/bin/sh\necho 3.9.2; echo venv\n").await.unwrap_err(), "is Python 3.9.2");
        let without = asked("#!/bin/sh\necho 3.11.2; exit 1\n").await.unwrap_err();
        assert!(without.contains("lacks its `venv`"), "{without}");
        assert!(asked("#!/bin/sh\necho 'pyenv: version not installed' >&2; exit 127\n").await.is_err());
        assert!(ask(Path::new("/no/such/python")).await.unwrap_err().contains("cannot be started"));
    }

    #[tokio::test]
    async fn this_machine_has_one() {
        let found = find().await.unwrap();
        assert!(found.path.is_absolute() && found.version.starts_with("3."), "{found:?}");
    }
}
