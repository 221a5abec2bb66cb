//! The test binaries of the workspace, several at a time: many of them wait (for a lease, a minute, a process) for longer
//! than they compute, and cargo would run one after the other.

use std::{
    collections::VecDeque,
    io::{self, BufReader, Read, Seek},
    path::PathBuf,
    process::{Command, ExitStatus, Stdio},
    sync::{Mutex, PoisonError},
    thread,
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};
use cargo_metadata::{Artifact, Message};

use crate::house::House;

/// How many run at once. Each has as many threads as there are processors.
const AT_ONCE: usize = 2;

/// These take longest: begun last, they would be waited for alone.
const FIRST: [&str; 4] = ["cli", "mutation", "kills", "simulation"];

/// Something with tests in it.
struct Binary {
    /// What cargo calls it: `--package PACKAGE --test NAME`.
    again: String,
    name: String,
    command: Command,
}

/// Builds all tests with these features, runs them with what `prepare` gives each command, and prints what they say.
pub(super) fn run_all(house: &House, features: &str, prepare: &(dyn Fn(&mut Command) + Sync)) -> Result<()> {
    let mut binaries = build(house, features)?;
    binaries.sort_by_key(|binary| FIRST.iter().position(|name| *name == binary.name).unwrap_or(FIRST.len()));
    binaries.push(documentation(house, features));
    let count = binaries.len();
    let queue = Mutex::new(VecDeque::from(binaries));
    let failed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                // Not locked any longer than to take one.
                let next = || locked(&queue).pop_front();
                while let Some(mut binary) = next() {
                    prepare(&mut binary.command);
                    if !passes(&mut binary) {
                        locked(&failed).push(binary.again);
                    }
                }
            });
        }
    });
    let failed = locked(&failed);
    ensure!(failed.is_empty(), "{} of {count} failed; again: {}", failed.len(), failed.join("; "));
    Ok(())
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs it and prints what it said, in one piece.
fn passes(binary: &mut Binary) -> bool {
    let started = Instant::now();
    println!("begins: {}", binary.again);
    let ended = said_by(&mut binary.command);
    let seconds = started.elapsed().as_secs_f64();
    match ended {
        Ok((status, said)) => {
            println!("\n{}: {status} after {seconds:.1} s\n{}", binary.again, said.trim());
            status.success()
        }
        Err(error) => {
            println!("\n{}: cannot be run: {error}", binary.again);
            false
        }
    }
}

/// A file takes what it says: a process that it leaves behind would hold a pipe open, and be waited for.
fn said_by(command: &mut Command) -> io::Result<(ExitStatus, String)> {
    let mut said = tempfile::tempfile()?;
    command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said.try_clone()?);
    let status = command.status()?;
    let mut bytes = Vec::new();
    said.rewind()?;
    said.read_to_end(&mut bytes)?;
    Ok((status, String::from_utf8_lossy(&bytes).into_owned()))
}

fn build(house: &House, features: &str) -> Result<Vec<Binary>> {
    let mut cargo = house.cargo(["test", "--workspace", "--no-run", "--message-format", "json-render-diagnostics"]);
    let mut building = cargo.args(["--features", features]).stdout(Stdio::piped()).spawn().context("cargo")?;
    let messages = BufReader::new(building.stdout.take().context("stdout was asked for")?);
    let mut binaries = Vec::new();
    for message in Message::parse_stream(messages) {
        if let Message::CompilerArtifact(artifact) = message? {
            binaries.extend(Binary::of(house, artifact)?);
        }
    }
    let status = building.wait()?;
    if !status.success() {
        bail!("cargo test --no-run ended with {status}");
    }
    Ok(binaries)
}

/// The examples in the documentation: a binary of its own.
fn documentation(house: &House, features: &str) -> Binary {
    let mut command = house.cargo(["test", "--workspace", "--doc", "--features", features]);
    command.stdin(Stdio::null());
    Binary { again: "cargo test --doc".to_owned(), name: "doc".to_owned(), command }
}

impl Binary {
    /// As cargo runs it: in its package's folder.
    fn of(house: &House, artifact: Artifact) -> Result<Option<Self>> {
        let Some(executable) = artifact.executable.filter(|_| artifact.profile.test) else { return Ok(None) };
        let manifest: PathBuf = artifact.manifest_path.into();
        let folder = manifest.parent().context("a manifest is in a folder")?;
        let package = folder.file_name().context("a package's folder has a name")?.to_string_lossy();
        let target = artifact.target;
        let which =
            if target.is_test() { format!("--test {}", target.name) } else { format!("({} itself)", target.name) };
        let mut command = house.command(executable);
        command.current_dir(folder).env("CARGO_MANIFEST_DIR", folder).env("CARGO_PKG_NAME", &*package);
        Ok(Some(Self { again: format!("{package} {which}"), name: target.name, command }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_behind_is_not_waited_for() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 1000 & echo $!; echo told >&2"]);
        let (status, said) = said_by(&mut command).expect("sh is there");
        assert!(status.success() && said.ends_with("told\n"), "{said}");
        let left = said.lines().next().expect("its number").to_owned();
        let mut end = Command::new("kill");
        assert!(end.arg(&left).status().is_ok_and(|status| status.success()), "it ran still");
    }
}
