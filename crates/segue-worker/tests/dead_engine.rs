//! What an engine that was killed has left running is ended by the next one.
#![allow(clippy::unwrap_used)]

mod common;

use std::process::{Command, Stdio};

use common::{runs, unique};
use segue_core::ports::Adapter;
use segue_testkit::conformance::adapter::Case;
use segue_worker::{
    contain::{MARK_VARIABLE, sweep_dead_engines},
    process::ProcessAdapter,
};
use serde_json::json;

/// A process with this mark, and a child of it that has left group and session.
fn left_behind(mark: &str, name: &str) -> std::process::Child {
    let script = "setsid -f sh -c 'echo; exec sleep 1000'; exec sleep 1000";
    let mut command = Command::new("sh");
    command.args(["-c", script]).env(MARK_VARIABLE, mark).env("CASE", name).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Both are there once the inner one has said so.
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
    child
}

#[tokio::test]
async fn the_next_engine_ends_what_a_killed_one_left() {
    // What a mark looks like is read from a process of our own.
    let name = unique("alive");
    let case = Case::new(
        "process.run",
        json!({ "argv": ["sh", "-c", "echo $SEGUE_MARK >&2; exec sleep 1000"], "env": { "CASE": name } }),
    );
    let (invocation, controls) = case.invocation("task", 1);
    let running = tokio::spawn(async move { ProcessAdapter.execute(invocation).await });
    controls.progress.wait_for(":").await;
    let own_mark = controls.progress.lines().remove(0);
    let mut parts: Vec<&str> = own_mark.split(':').collect();
    let mut dead = Command::new("true").spawn().unwrap();
    let dead_pid = dead.id().to_string();
    dead.wait().unwrap();
    parts[1] = &dead_pid;
    assert_eq!(parts.len(), 4, "{own_mark}");
    let gone = unique("gone");
    let mut child = left_behind(&parts.join(":"), &gone);

    assert!(runs(&gone) && runs(&name));
    assert_eq!(tokio::task::spawn_blocking(sweep_dead_engines).await.unwrap(), 2);
    assert!(!runs(&gone));
    assert!(runs(&name), "what a living engine runs is left alone");
    child.wait().unwrap();
    controls.cancel.cancel();
    running.await.unwrap();
    assert!(!runs(&name));
}
