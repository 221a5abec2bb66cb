//! `process.run` against the adapters' suite, and against processes that behave badly.
#![allow(clippy::unwrap_used)]

mod common;

use std::{fs, process::Command, sync::Arc, time::Duration};

use common::{runs, unique};
use segue_core::{
    outcome::{ErrorKind, TaskOutcome},
    ports::Adapter,
};
use segue_testkit::conformance::adapter::{AdapterCases, Case, check_adapter};
use segue_worker::process::ProcessAdapter;
use serde_json::{Value, json};

fn python(script: &str) -> Case {
    Case::new("process.run", json!({ "argv": ["python3", "-I", "-S", "-c", script] }))
}

fn shell(script: &str) -> Case {
    Case::new("process.run", json!({ "argv": ["sh", "-c", script] }))
}

fn marked(mut case: Case, mark: &str) -> Case {
    case.inputs["env"] = json!({ "CASE": mark });
    case
}

async fn run(case: &Case) -> TaskOutcome {
    ProcessAdapter.execute(case.invocation("task", 1).0).await
}

async fn output(case: &Case) -> Value {
    match run(case).await {
        TaskOutcome::Succeeded { output, .. } => (**output.value().unwrap()).clone(),
        other => panic!("{case:?}: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_every_promise_of_an_adapter() {
    let mark = unique("suite");
    let case = |case: Case| marked(case, &mark);
    let kept = mark.clone();
    let stubborn = "trap '' TERM INT HUP; echo ready >&2; while :; do sleep 1000 & wait; done";
    let escaping =
        "setsid -f sleep 1000; setsid -f sh -c 'trap \"\" TERM; sleep 1000' & echo ready >&2; exec sleep 1000";
    check_adapter(AdapterCases {
        adapter: Arc::new(ProcessAdapter),
        succeeds: (case(shell("echo '{\"greeting\": \"hello\"}'")), json!({ "greeting": "hello" })),
        fails: vec![
            (case(shell("echo no >&2; exit 3")), ErrorKind::Exit),
            (case(shell("kill -9 $$")), ErrorKind::Exit),
            (case(python("import os; os.abort()")), ErrorKind::Exit),
            (case(Case::new("process.run", json!({ "argv": ["no-such-program"] }))), ErrorKind::Load),
            (case(Case::new("process.run", json!({ "argv": ["./no-such-program"] }))), ErrorKind::Load),
            (
                case(Case::new("process.run", json!({ "argv": ["true"], "cwd": "no-such-folder" }))),
                ErrorKind::InvalidInput,
            ),
            (Case::new("process.run", json!({ "argv": "ls | wc" })), ErrorKind::InvalidInput),
            (Case::new("process.run", json!({})), ErrorKind::InvalidInput),
            (case(shell("printf '\\377'")), ErrorKind::Output),
            (case(shell("echo {")).with_hints(json!({ "process": { "output": "json" } })), ErrorKind::Output),
            (case(shell("yes")).with_hints(json!({ "process": { "output_bytes_max": 100_000 } })), ErrorKind::Output),
        ],
        is_lost: vec![],
        endless: vec![
            case(shell("echo ready >&2; exec sleep 1000")),
            Case { grace: Duration::from_millis(200), ..case(shell(stubborn)) },
            case(shell(escaping)),
        ],
        tells_context: Some(case(shell("env | grep SEGUE_"))),
        counts_to: Some((case(shell("seq 1 300 >&2; echo '[]'")), 300)),
        is_anything_left: Box::new(move || runs(&kept)),
    })
    .await;
    // The check can fail: it sees a process that is there.
    let alive =
        tokio::process::Command::new("sleep").arg("1000").env("CASE", &mark).kill_on_drop(true).spawn().unwrap();
    assert!(runs(&mark));
    drop(alive);
}

#[tokio::test]
async fn stdin_cwd_env_and_exit_codes() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("inner")).unwrap();
    let base = |case: Case| Case { base_dir: Some(folder.path().to_owned()), ..case };
    let case = |inputs: Value| base(Case::new("process.run", inputs));
    assert_eq!(
        output(&case(json!({ "argv": ["cat"], "stdin": { "b": 1, "a": [2] } }))).await,
        json!({ "b": 1, "a": [2] })
    );
    assert_eq!(output(&case(json!({ "argv": ["cat"], "stdin": "as it is" }))).await, json!("as it is"));
    assert_eq!(output(&case(json!({ "argv": ["cat"] }))).await, json!(""));
    let inner = folder.path().canonicalize().unwrap().join("inner");
    assert_eq!(output(&case(json!({ "argv": ["pwd"], "cwd": "inner" }))).await, json!(inner));
    assert_eq!(output(&case(json!({ "argv": ["sh", "-c", "echo $N"], "env": { "N": true } }))).await, json!(true));
    assert_eq!(output(&case(json!({ "argv": ["sh", "-c", "exit 4"], "expect_exit": [0, 4] }))).await, json!(""));
    assert_eq!(output(&case(json!({ "argv": ["echo", 1.5, false] }))).await, json!("1.5 false"));
    // Written by another process: a test beside this one that forks while we had the file open for writing
    // would hold it open too, and the system would refuse to start it.
    let written = "printf '#!/bin/sh\\necho stepped\\n' > inner/step.sh; chmod 755 inner/step.sh";
    assert!(Command::new("sh").args(["-c", written]).current_dir(folder.path()).status().unwrap().success());
    assert_eq!(output(&case(json!({ "argv": ["./step.sh"], "cwd": "inner" }))).await, json!("stepped"));
}

#[tokio::test]
async fn a_large_stdin_that_nobody_reads_and_a_large_output() {
    let text = "x".repeat(4 << 20);
    let mut case = shell("exec true");
    case.inputs["stdin"] = json!(text);
    assert_eq!(output(&case).await, json!(""));
    let mut case = shell("exec cat");
    case.inputs["stdin"] = json!(text);
    assert_eq!(output(&case).await, json!(text));
}

#[tokio::test]
async fn the_engines_own_environment_stays_here() {
    // Cargo sets this one for every test.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    let environment = output(&shell("env")).await.to_string();
    assert!(!environment.contains("CARGO_MANIFEST_DIR") && environment.contains("PATH="), "{environment}");
    let named = shell("env").with_hints(json!({ "process": { "env": ["CARGO_MANIFEST_DIR"] } }));
    assert!(output(&named).await.to_string().contains("CARGO_MANIFEST_DIR"));
}

#[tokio::test]
async fn what_is_left_behind_is_ended_and_told() {
    let mark = unique("left");
    for script in ["sleep 1000 & echo done", "setsid -f sleep 1000; echo done"] {
        let outcome = run(&marked(shell(script), &mark)).await;
        let TaskOutcome::Succeeded { output, warnings, .. } = outcome else { panic!("{outcome:?}") };
        assert_eq!(**output.value().unwrap(), json!("done"));
        assert_eq!(warnings, ["it left a process behind, which was ended"], "{script}");
        assert!(!runs(&mark), "{script}");
    }
}

#[tokio::test]
async fn a_daemon_without_environment_does_not_outlive_a_cancel() {
    // It has left the group and the session and carries no mark; only its descent tells whose it is.
    let mark = unique("daemon");
    let script = format!(
        "import os, subprocess, sys, time\n\
         subprocess.Popen(['python3', '-c', 'import time; time.sleep(1000)', '{mark}'], \
         env={{'PATH': os.environ['PATH']}}, start_new_session=True, stdin=-3, stdout=-3, stderr=-3)\n\
         print('ready', file=sys.stderr, flush=True)\n\
         time.sleep(1000)"
    );
    let case = Case { grace: Duration::ZERO, ..python(&script) };
    let (invocation, controls) = case.invocation("task", 1);
    let (outcome, ()) = tokio::join!(ProcessAdapter.execute(invocation), async {
        controls.progress.wait_for("ready").await;
        assert!(runs(&mark));
        controls.cancel.cancel();
    });
    assert!(matches!(outcome, TaskOutcome::Cancelled { .. }), "{outcome:?}");
    assert!(!runs(&mark));
}

#[tokio::test]
async fn a_fork_bomb_of_short_lives_is_caught_up_with() {
    let mark = unique("bomb");
    // Every process starts the next, in a session of its own, and ends.
    let script = "import os, sys, time\nprint('ready', file=sys.stderr, flush=True)\nos.close(1); os.close(2)\n\
                  end = time.time() + 60\nwhile time.time() < end:\n    if os.fork(): os._exit(0)\n    os.setsid()";
    let keeper = format!(
        "import subprocess, sys, time\nsubprocess.Popen([sys.executable, '-I', '-S', '-c', {script:?}])\ntime.sleep(1000)"
    );
    let case = Case { grace: Duration::ZERO, ..marked(python(&keeper), &mark) };
    let (invocation, controls) = case.invocation("task", 1);
    let (outcome, ()) = tokio::join!(ProcessAdapter.execute(invocation), async {
        controls.progress.wait_for("ready").await;
        controls.cancel.cancel();
    });
    assert!(matches!(outcome, TaskOutcome::Cancelled { .. }), "{outcome:?}");
    assert!(!runs(&mark));
}

#[tokio::test]
async fn a_clean_end_within_the_grace_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cleaned");
    let script = format!(
        "trap 'sleep 0.2; echo done > {}; exit 0' TERM; echo ready >&2; while :; do sleep 0.05; done",
        file.display()
    );
    let case = Case { grace: Duration::from_secs(30), ..shell(&script) };
    let (invocation, controls) = case.invocation("task", 1);
    let (outcome, ()) = tokio::join!(ProcessAdapter.execute(invocation), async {
        controls.progress.wait_for("ready").await;
        controls.cancel.cancel();
    });
    assert!(matches!(outcome, TaskOutcome::Cancelled { .. }), "{outcome:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "done\n");
}

#[tokio::test]
async fn a_flood_on_stderr_is_bounded() {
    let (invocation, controls) =
        shell("head -c 100000000 /dev/zero | tr '\\0' 'x' | fold -w 100 >&2; echo ok").invocation("task", 1);
    let outcome = ProcessAdapter.execute(invocation).await;
    assert!(matches!(outcome, TaskOutcome::Succeeded { .. }), "{outcome:?}");
    let bytes: usize = controls.progress.lines().iter().map(String::len).sum();
    assert!(bytes < 50_000_000, "{bytes} bytes of log were let through");
    assert!(controls.progress.seen().iter().any(|progress| progress.data["dropped"].is_u64()));
}
