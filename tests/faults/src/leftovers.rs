//! What must not be left when everything has ended: processes, sockets, temporary files.

use std::{
    fs,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::place::Place;

/// How long what was killed may take to disappear.
const DEATH_MAX: Duration = Duration::from_secs(5);

/// What is left in and of a place, in words; nothing if all is well.
pub fn leftovers(place: &Place) -> Vec<String> {
    let mut found: Vec<String> =
        processes(place.path()).into_iter().map(|what| format!("a process is left: {what}")).collect();
    found.extend(files(&place.file("tmp")).into_iter().map(|path| format!("left in TMPDIR: {}", path.display())));
    let sockets = files(place.path())
        .into_iter()
        .filter(|path| fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket()));
    found.extend(sockets.map(|path| format!("a socket is left: {}", path.display())));
    found
}

/// The processes that have this folder in their environment (all that are started there do) or are in it. A listening
/// socket, a lock and an open file are gone with the last of them.
fn processes(folder: &Path) -> Vec<String> {
    let give_up = Instant::now() + DEATH_MAX;
    loop {
        let found = look(folder);
        if found.is_empty() || Instant::now() > give_up {
            return found;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn look(folder: &Path) -> Vec<String> {
    let mark = folder.as_os_str().as_encoded_bytes();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let process = entry.path();
        let is_number = entry.file_name().to_str().is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
        if !is_number {
            continue;
        }
        let environment = fs::read(process.join("environ")).unwrap_or_default();
        let is_ours = environment.windows(mark.len()).any(|part| part == mark)
            || fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder));
        if is_ours {
            let line = fs::read(process.join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            found.push(format!("{} {line}", entry.file_name().display()));
        }
    }
    found
}

/// All files below a folder; empty folders too.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let below = files(&path);
            found.extend(if below.is_empty() { vec![path] } else { below });
        } else {
            found.push(path);
        }
    }
    found
}
