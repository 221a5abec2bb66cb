//! The pool with the real Python worker, driving an adapter that does whatever is bad. Needs a python3 and nothing else.
#![allow(clippy::unwrap_used)]

mod common;

use std::{collections::BTreeMap, fs, path::Path, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use common::{all_gone, runs, unique};
use segue_core::{
    outcome::{ErrorKind, Loss, TaskError, TaskOutcome, Usage},
    ports::{Adapter, Invocation},
    spec::TaskNode,
};
use segue_testkit::conformance::adapter::{AdapterCases, Case, check_adapter};
use segue_worker::{
    pool::{AttemptOrder, Pool, PoolOptions, ZygoteSpec},
    protocol::Start,
};
use serde_json::{Value, json};

/// The worker with the villain in it, in a folder that names the test: so that its processes can be found.
struct Villain {
    pool: Pool,
    spec: ZygoteSpec,
    mark: String,
    bundle: tempfile::TempDir,
}

impl Villain {
    fn new(test: &str) -> Self {
        Self::with(test, PoolOptions::default())
    }

    fn with(test: &str, options: PoolOptions) -> Self {
        let mark = unique(test);
        let bundle = tempfile::Builder::new().prefix(&mark).tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../python/segue");
        copy(&source.join("worker"), &bundle.path().join("segue/worker"));
        fs::create_dir(bundle.path().join("segue/adapters")).unwrap();
        for file in ["__init__.py", "adapters/__init__.py"] {
            fs::copy(source.join(file), bundle.path().join("segue").join(file)).unwrap();
        }
        let villain = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/villain.py");
        fs::copy(villain, bundle.path().join("segue/adapters/villain.py")).unwrap();
        let program = bundle.path().join("segue/worker/main.py");
        let spec = ZygoteSpec::process(PathBuf::from("python3"), program, "villain");
        Self { pool: Pool::new(options), spec, mark, bundle }
    }

    async fn run(&self, inputs: Value) -> TaskOutcome {
        self.execute(case(inputs).invocation("task", 1).0).await
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        if entry.path().extension().is_some_and(|kind| kind == "py") {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

fn case(inputs: Value) -> Case {
    Case::new("villain", inputs)
}

#[async_trait]
impl Adapter for Villain {
    fn name(&self) -> &'static str {
        "villain"
    }

    fn handlers(&self) -> &[&'static str] {
        &["villain"]
    }

    fn translate_task(&self, _: &TaskNode) -> Result<Value, TaskError> {
        Ok(json!({}))
    }

    async fn execute(&self, invocation: Invocation) -> TaskOutcome {
        let mut start = Start::of(&invocation);
        start.heartbeat_ms = 200;
        let env = BTreeMap::from([("CASE".to_owned(), Some(self.mark.clone()))]);
        let order = AttemptOrder {
            start,
            env,
            cwd: std::env::temp_dir(),
            storage_variable: Some("VILLAIN_STORAGE"),
            checkpoints: None,
        };
        self.pool.execute(&self.spec, order, &invocation).await
    }

    async fn shutdown(&self) {
        self.pool.shutdown().await;
    }
}

fn output(outcome: TaskOutcome) -> Value {
    match outcome {
        TaskOutcome::Succeeded { output, .. } => (**output.value().unwrap()).clone(),
        other => panic!("{other:?}"),
    }
}

fn loss(outcome: TaskOutcome) -> String {
    match outcome {
        TaskOutcome::Lost { by: Loss::Worker, message, .. } => message,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_every_promise_of_an_adapter() {
    let villain = Villain::new("suite");
    let mark = villain.mark.clone();
    let program = villain.spec.program.to_str().unwrap().to_owned();
    // Attempts carry the mark in the environment that their children inherit; they themselves have the zygote's
    // command line, and the zygote may stay. So: more than one process of that name?
    let attempts = move || {
        let zygotes = fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(&program)
        });
        zygotes.count() > 1 || children_run(&mark)
    };
    check_adapter(AdapterCases {
        adapter: Arc::new(villain),
        succeeds: (case(json!({ "do": "answer", "with": { "a": [1.5] } })), json!({ "a": [1.5] })),
        fails: vec![
            (case(json!({ "do": "work" })), ErrorKind::RateLimited),
            (case(json!({ "do": "leave" })), ErrorKind::User),
            (case(json!({ "do": "strange" })), ErrorKind::Output),
            (case(json!({ "do": "large", "bytes": 70 << 20 })), ErrorKind::Output),
        ],
        is_lost: vec![
            case(json!({ "do": "die", "how": "segfault" })),
            case(json!({ "do": "die", "how": "exit" })),
            case(json!({ "do": "die", "how": "kill" })),
            case(json!({ "do": "garble" })),
            case(json!({ "do": "overflow" })),
            case(json!({ "do": "close" })),
        ],
        endless: vec![
            case(json!({ "do": "stop" })),
            Case { grace: Duration::from_millis(300), ..case(json!({ "do": "hang" })) },
            Case { grace: Duration::from_millis(100), ..case(json!({ "do": "hide" })) },
            Case { grace: Duration::from_millis(100), ..case(json!({ "do": "hold_the_lock" })) },
            Case { grace: Duration::from_millis(100), ..case(json!({ "do": "fork" })) },
        ],
        tells_context: Some(case(json!({ "do": "tell" }))),
        counts_to: Some((case(json!({ "do": "count", "to": 300 })), 300)),
        is_anything_left: Box::new(attempts),
    })
    .await;
}

/// Does a process run with the mark as a variable of its own?
fn children_run(mark: &str) -> bool {
    runs(&format!("CASE={mark}"))
}

#[tokio::test]
async fn an_answer_says_what_happened_inside() {
    let villain = Villain::new("inside");
    let (invocation, controls) = case(json!({ "do": "work" })).invocation("task", 1);
    let TaskOutcome::Failed { error, usage } = villain.execute(invocation).await else { panic!("it fails") };
    assert_eq!((error.kind, error.retryable, error.retry_after), (ErrorKind::RateLimited, true, Some(1.5)));
    assert_eq!(usage, Usage { model_calls: 2, input_tokens: 30, output_tokens: 4, ..Usage::default() });
    let names: Vec<_> = controls.progress.seen().iter().map(|progress| progress.name).collect();
    assert_eq!(names, ["model.call", "task.progress"]);
    assert_eq!(controls.progress.seen()[0].data["kind"], "model_call_completed");
    let error = error.detail.unwrap();
    assert_eq!(error["warnings"], json!(["a tool failed"]));
    let outcome = villain.run(json!({ "do": "leave" })).await;
    let TaskOutcome::Failed { error, .. } = outcome else { panic!("{outcome:?}") };
    assert!(error.detail.as_ref().unwrap()["trace"].as_str().unwrap().contains("villain.py"), "{error:?}");
}

#[tokio::test]
async fn what_is_printed_is_a_log_line_and_never_a_message() {
    let villain = Villain::new("forge");
    let (invocation, controls) = case(json!({ "do": "forge" })).invocation("task", 1);
    assert_eq!(output(villain.execute(invocation).await), "honest");
    assert_eq!(controls.progress.lines().iter().filter(|line| line.contains("forged")).count(), 2);
    let (invocation, controls) = case(json!({ "do": "flood", "megabytes": 100 })).invocation("task", 1);
    assert_eq!(output(villain.execute(invocation).await), "done");
    assert!(controls.progress.lines().iter().map(String::len).sum::<usize>() < 50_000_000);
    assert!(controls.progress.seen().iter().any(|progress| progress.data["dropped"].is_u64()));
}

/// A gigabyte costs nothing but time: what is kept of it is bounded, and the neighbour does not wait for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gigabyte_of_noise_is_dropped() {
    let villain = Villain::new("gigabyte");
    let (invocation, controls) = case(json!({ "do": "flood", "megabytes": 1000 })).invocation("flood", 1);
    let neighbour = async {
        controls.progress.wait_for("xxx").await;
        output(villain.run(json!({ "do": "answer", "with": 7 })).await)
    };
    let (flood, neighbour) = tokio::join!(villain.execute(invocation), neighbour);
    assert_eq!((output(flood), neighbour), (json!("done"), json!(7)));
    let kept = controls.progress.lines().iter().map(String::len).sum::<usize>();
    assert!(kept < 100_000_000, "{kept} bytes of it became progress");
    assert!(controls.progress.seen().iter().any(|progress| progress.data["dropped"].is_u64()));
}

#[tokio::test]
async fn one_that_eats_the_memory_is_lost_and_its_neighbour_is_not() {
    let options = PoolOptions { attempt_bytes_max: 300 << 20, ..PoolOptions::default() };
    let villain = Villain::with("hog", options);
    let (invocation, controls) = case(json!({ "do": "stop" })).invocation("neighbour", 1);
    let hog = async {
        controls.progress.wait_for("ready").await;
        let hog = villain.run(json!({ "do": "hog", "megabytes": 400 })).await;
        controls.cancel.cancel();
        hog
    };
    let (hog, neighbour) = tokio::join!(hog, villain.execute(invocation));
    let message = loss(hog);
    assert!(message.contains("memory"), "{message}");
    assert!(matches!(neighbour, TaskOutcome::Cancelled { .. }), "{neighbour:?}");
}

/// A place of the pool is free again after every bad end, and nothing is left in its folder.
#[tokio::test]
async fn bad_ends_give_back_their_places() {
    let options = PoolOptions { attempts_max: 1, ..PoolOptions::default() };
    let villain = Villain::with("places", options);
    let folder = PathBuf::from(output(villain.run(json!({ "do": "storage" })).await).as_str().unwrap());
    let runtime = folder.parent().unwrap().parent().unwrap();
    let before = fs::read_dir(runtime).unwrap().count();
    for bad in [
        json!({ "do": "die", "how": "segfault" }),
        json!({ "do": "leave" }),
        json!({ "do": "garble" }),
        json!({ "do": "close" }),
        json!({ "do": "hide", "and": "answer" }),
        json!({ "do": "large", "bytes": 70 << 20 }),
    ] {
        villain.run(bad.clone()).await;
        assert_eq!(output(villain.run(json!({ "do": "answer", "with": 1 })).await), 1, "after {bad}");
        assert_eq!(fs::read_dir(runtime).unwrap().count(), before, "after {bad}");
    }
}

#[tokio::test]
async fn the_environment_is_what_is_given() {
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    let villain = Villain::new("env");
    let told = output(villain.run(json!({ "do": "tell" })).await);
    assert_eq!(told[0]["CASE"], villain.mark);
    assert!(told[0]["PATH"].is_string() && told[0]["CARGO_MANIFEST_DIR"].is_null());
    assert!(!told.to_string().contains("SEGUE_WORKER_TOKEN"));
}

#[tokio::test]
async fn a_lost_attempt_tells_its_last_words() {
    let villain = Villain::new("words");
    let message = loss(villain.run(json!({ "do": "die", "how": "abort" })).await);
    assert!(message.contains("SIGABRT") && message.contains("last words"), "{message}");
    let message = loss(villain.run(json!({ "do": "die", "how": "exit" })).await);
    assert!(message.contains("exit code 9"), "{message}");
}

#[tokio::test]
async fn what_hides_is_found_when_an_attempt_ends_well() {
    let villain = Villain::new("hide");
    assert_eq!(output(villain.run(json!({ "do": "hide", "and": "answer" })).await), "done");
    assert!(!children_run(&villain.mark));
    assert_eq!(output(villain.run(json!({ "do": "many" })).await), "done");
    assert!(!children_run(&villain.mark));
}

#[tokio::test]
async fn one_that_falls_silent_is_lost_and_its_neighbour_is_not() {
    let options = PoolOptions { silence_max: Duration::from_secs(2), ..PoolOptions::default() };
    let villain = Villain::with("silent", options);
    // The neighbour lives longer than the silent one, and ends in good order.
    let (invocation, controls) = case(json!({ "do": "stop" })).invocation("neighbour", 1);
    let silent = async {
        controls.progress.wait_for("ready").await;
        let silent = villain.run(json!({ "do": "hold_the_lock" })).await;
        controls.cancel.cancel();
        silent
    };
    let (silent, neighbour) = tokio::join!(silent, villain.execute(invocation));
    assert!(loss(silent).contains("no sign of life"));
    let TaskOutcome::Cancelled { usage } = neighbour else { panic!("{neighbour:?}") };
    assert_eq!(usage.output_tokens, 3);
}

#[tokio::test]
async fn a_dead_zygote_is_replaced_and_its_attempts_are_lost() {
    let villain = Villain::new("dead");
    let (killer, (bystander, controls)) =
        (case(json!({ "do": "kill_the_zygote" })), case(json!({ "do": "hide" })).invocation("bystander", 1));
    let (bystander, killer) = tokio::join!(villain.execute(bystander), async {
        controls.progress.wait_for("ready").await;
        villain.execute(killer.invocation("killer", 1).0).await
    });
    let message = loss(bystander);
    assert!(message.contains("Python worker"), "the zygote took it along: {message}");
    loss(killer);
    assert!(!runs(&villain.mark), "a lost zygote leaves nothing, not even what hides");
    assert_eq!(output(villain.run(json!({ "do": "answer", "with": 2 })).await), 2);
}

#[tokio::test]
async fn a_zygote_that_hangs_does_not_keep_a_cancelled_attempt_alive() {
    let options = PoolOptions { report_within: Duration::from_secs(1), ..PoolOptions::default() };
    let villain = Villain::with("stopped", options);
    let case = Case { grace: Duration::ZERO, ..case(json!({ "do": "stop_the_zygote" })) };
    let (invocation, controls) = case.invocation("task", 1);
    let (outcome, ()) = tokio::join!(villain.execute(invocation), async {
        controls.progress.wait_for("ready").await;
        controls.cancel.cancel();
    });
    assert!(matches!(outcome, TaskOutcome::Cancelled { .. }), "{outcome:?}");
    all_gone(&villain.mark).await;
}

#[tokio::test]
async fn a_framework_that_cannot_be_loaded_and_a_python_that_is_not_there() {
    let villain = Villain::new("load");
    let broken = villain.bundle.path().join("segue/adapters/broken");
    fs::write(&broken, "").unwrap();
    let outcome = villain.run(json!({ "do": "answer" })).await;
    let TaskOutcome::Failed { error, .. } = outcome else { panic!("{outcome:?}") };
    assert!(error.kind == ErrorKind::Load && error.message.contains("no villain today"), "{error:?}");
    fs::remove_file(broken).unwrap();
    assert_eq!(output(villain.run(json!({ "do": "answer", "with": 3 })).await), 3);
    assert_eq!(villain.pool.probe(&villain.spec).await.unwrap().framework, "villain");

    let spec = ZygoteSpec { python: PathBuf::from("/no/such/python"), ..villain.spec.clone() };
    assert_eq!(villain.pool.probe(&spec).await.unwrap_err().kind, ErrorKind::Load);
    // A program that is no worker.
    let spec = ZygoteSpec { python: PathBuf::from("/bin/true"), ..villain.spec.clone() };
    assert_eq!(villain.pool.probe(&spec).await.unwrap_err().kind, ErrorKind::WorkerLost);
}

#[tokio::test]
async fn an_idle_zygote_leaves_and_an_old_one_is_replaced() {
    let options = PoolOptions { idle_max: Duration::from_millis(200), ..PoolOptions::default() };
    let villain = Villain::with("idle", options);
    assert_eq!(output(villain.run(json!({ "do": "answer", "with": 1 })).await), 1);
    let gone = async {
        while runs(&villain.mark) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone).await.expect("it leaves when nobody needs it");
    assert_eq!(output(villain.run(json!({ "do": "answer", "with": 2 })).await), 2);
}

#[tokio::test]
async fn storage_is_of_the_attempt_and_nothing_stays_after_shutdown() {
    let villain = Villain::new("storage");
    let folder = PathBuf::from(output(villain.run(json!({ "do": "storage" })).await).as_str().unwrap());
    assert!(!folder.exists() && folder.is_absolute());
    let runtime = folder.parent().unwrap().parent().unwrap();
    assert!(runtime.exists());
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(runtime).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o700);
    villain.pool.shutdown().await;
    assert!(!runtime.exists() && !runs(&villain.mark));
    assert!(loss(villain.run(json!({ "do": "answer" })).await).contains("shut down"));
}

#[tokio::test]
async fn strangers_at_the_door_are_sent_away() {
    use tokio::{io::AsyncReadExt, io::AsyncWriteExt, net::UnixStream};
    let villain = Villain::new("door");
    let folder = PathBuf::from(output(villain.run(json!({ "do": "storage" })).await).as_str().unwrap());
    let socket = folder.parent().unwrap().parent().unwrap().join("socket");
    let hello =
        json!({ "type": "hello", "role": "attempt", "protocol": [1], "spawn_id": "s-0", "token": "guessed", "pid": 1 });
    for first in [format!("{hello}\n"), "rubbish\n".to_owned(), "x".repeat(2 << 20)] {
        let mut stream = UnixStream::connect(&socket).await.unwrap();
        // It may be closed while we still write.
        let _ = stream.write_all(first.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(answer.is_empty());
    }
    assert_eq!(output(villain.run(json!({ "do": "answer", "with": 1 })).await), 1);
}
