//! Stores that cannot be used: the text says what is wrong and what to do, and nothing is served that is not so.
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

use segue_faults::{
    place::{Ended, Place},
    program, workload,
};

fn place_with_a_run() -> Place {
    let place = Place::with_store();
    place.write("linear.json", workload::linear().document.to_string());
    let ran = place.segue(&["run", "linear.json", "--json"]);
    assert_eq!(ran.code(), 0, "{ran:#?}");
    place
}

fn assert_refused(ended: &Ended, cure: &str) {
    assert_eq!(ended.code(), 8, "{ended:#?}");
    assert!(ended.documents().is_empty(), "{ended:#?}");
    assert!(ended.stderr.contains("segue.db") && ended.stderr.contains(cure), "{ended:#?}");
}

/// Root writes what it likes, so the file system says it: the first way of opening the file is refused.
#[test]
fn a_read_only_store_takes_no_run_and_says_why() {
    program::need("strace", "strace");
    let place = place_with_a_run();
    let file = fs::canonicalize(place.file(".segue/segue.db")).unwrap();
    let file = file.to_str().unwrap();
    // Opened for writing it is refused, opened for reading it is not: every first call of a thread.
    let strace = ["-f", "-b", "execve", "-qq", "-o", "/dev/null", "-P", file, "-e", "trace=openat"];
    let strace = [&strace[..], &["-e", "inject=openat:error=EROFS:when=1", "--"]].concat();
    let binary = program::segue().to_str().unwrap();
    let args = [&strace[..], &[binary, "run", "linear.json", "--json"]].concat();
    let ended = place.start_program("strace", &args).wait();
    assert_refused(&ended, "allow this user to");
    assert_eq!(place.effects().of_task("a"), 1, "nothing ran");
}

#[test]
fn a_file_that_is_no_database_is_left_alone() {
    let place = place_with_a_run();
    place.write(".segue/segue.db", "these are not pages");
    let ended = place.segue(&["run", "linear.json", "--json"]);
    assert_refused(&ended, "choose another file");
    assert_eq!(fs::read(place.file(".segue/segue.db")).unwrap(), b"these are not pages");
}

/// Some bits of a page of payload are turned over: SQLite would serve them.
#[test]
fn a_damaged_log_is_reported_and_never_served() {
    let place = place_with_a_run();
    let file = place.file(".segue/segue.db");
    damage(&file, b"task.succeeded");
    let shown = place.segue(&["runs", "events", "@last", "--json"]);
    assert_ne!(shown.code(), 0, "{shown:#?}");
    assert!(!shown.stdout.contains("task.sUcceeded"), "{shown:#?}");
    assert!(shown.stderr.contains("does not match its hash") || shown.stderr.contains("corrupt"), "{shown:#?}");
    let verified = place.segue(&["store", "verify", "--json"]);
    assert_eq!(verified.code(), 1, "{verified:#?}");
    assert_eq!(verified.documents()[0]["clean"], false, "{verified:#?}");
}

fn damage(file: &Path, text: &[u8]) {
    let mut bytes = fs::read(file).unwrap();
    let at = bytes.windows(text.len()).position(|part| part == text).expect("the log is in the file");
    bytes[at + 6] ^= 0x20;
    fs::write(file, bytes).unwrap();
}
