//! Where this machine has the programs. Debian keeps PostgreSQL's out of the `PATH`.

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use anyhow::{Result, bail};

/// Names a folder into which Debian packages were unpacked for tests, on machines where nothing may be installed.
pub const UNPACKED: &str = "SEGUE_TEST_UNPACKED";

/// What a test prints that has no server.
pub const CURE: &str = "run it through `cargo xtask services -- cargo test …`, which installs what is missing";

/// What [`use_unpacked`] said.
static SAID: OnceLock<PathBuf> = OnceLock::new();

/// Says within this process what [`UNPACKED`] says to others. The first word counts.
pub fn use_unpacked(folder: &Path) {
    SAID.get_or_init(|| folder.to_owned());
}

/// The folder with `initdb`, `postgres` and `pg_isready`, of the newest version there is.
pub fn postgres() -> Result<PathBuf> {
    let has_all =
        |folder: &PathBuf| ["initdb", "postgres", "pg_isready"].iter().all(|name| folder.join(name).is_file());
    let mut versions = roots()
        .iter()
        .flat_map(|root| fs::read_dir(root.join("usr/lib/postgresql")).into_iter().flatten().flatten())
        .map(|entry| entry.path())
        .collect::<Vec<_>>();
    versions.sort_by_key(|path| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()));
    let debian = versions.into_iter().rev().map(|path| path.join("bin"));
    // In the `PATH` may be a link to the program: the others are where it really is.
    let in_path =
        in_path("postgres").into_iter().filter_map(|path| fs::canonicalize(path).ok()?.parent().map(Path::to_owned));
    match debian.chain(in_path).find(has_all) {
        Some(folder) => Ok(folder),
        None => bail!("there is no PostgreSQL server on this machine; {CURE}"),
    }
}

/// `redis-server`.
pub fn redis() -> Result<PathBuf> {
    match any("redis-server") {
        Some(program) => Ok(program),
        None => bail!("there is no redis-server on this machine; {CURE}"),
    }
}

/// A program of any package: from the `PATH`, else from what was unpacked.
pub fn any(name: &str) -> Option<PathBuf> {
    let unpacked = roots().into_iter().map(|root| root.join("usr/bin"));
    in_path(name).into_iter().chain(unpacked.map(|folder| folder.join(name))).find(|path| path.is_file())
}

/// A library by its name below the machine's folder of libraries: `faketime/libfaketime.so.1`.
pub fn library(name: &str) -> Option<PathBuf> {
    let libraries = roots().into_iter().map(|root| root.join("usr/lib"));
    let machines = libraries.flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten());
    machines.map(|entry| entry.path().join(name)).find(|path| path.is_file())
}

/// Where unpacked programs find their libraries, as `LD_LIBRARY_PATH` takes it; empty when nothing was unpacked.
pub fn libraries() -> String {
    let Some(root) = unpacked() else { return String::new() };
    let library = root.join("usr/lib");
    let triple = fs::read_dir(&library).into_iter().flatten().flatten().map(|entry| entry.path());
    let triple = triple.filter(|path| path.to_string_lossy().ends_with("-linux-gnu"));
    let folders = [library.clone()].into_iter().chain(triple).map(|path| path.display().to_string());
    folders.collect::<Vec<_>>().join(":")
}

fn unpacked() -> Option<PathBuf> {
    SAID.get().cloned().or_else(|| env::var_os(UNPACKED).filter(|path| !path.is_empty()).map(PathBuf::from))
}

fn roots() -> Vec<PathBuf> {
    unpacked().into_iter().chain([PathBuf::from("/")]).collect()
}

fn in_path(name: &str) -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).map(|folder| folder.join(name)).filter(|path| path.is_file()).collect()
}
