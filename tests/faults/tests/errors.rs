//! System calls fail in the program: it says so, loses nothing that it acknowledged, and goes on when the fault is over.
#![allow(clippy::unwrap_used)]

use segue_faults::{
    campaign::{Plan, carry_out},
    case,
    checks::Judge,
    place::{Place, until},
    points, program,
    snapshot::Snapshot,
    strace::{self, Injection},
    workload,
};

#[test]
fn a_call_that_fails_is_no_lie() {
    let plan = Plan { hits: program::hits_wanted(60), seed: program::seed(), ..Plan::default() };
    let workloads = workload::all();
    let report = carry_out(points::of_all(&workloads, &points::failures), &plan, &case::carry_out);
    println!("{report}");
    assert!(report.problems.is_empty(), "{report}");
    assert!(report.total() >= plan.hits, "too few: {report}");
}

/// Where the system has no thread to give, the program says so, and does not wait for it.
#[test]
fn a_thread_that_is_refused_is_told_and_not_waited_for() {
    program::need("strace", "strace");
    let place = Place::with_store();
    place.write("linear.json", workload::linear().document.to_string());
    for from in 1..=3 {
        let call = "clone,clone3".to_owned();
        let injection = Injection::Fail { call, errno: "EAGAIN".to_owned(), from, times: 1 };
        let ended = place.start_traced(&injection, &["run", "linear.json", "--json"]).wait();
        assert!([0, 1, 8].contains(&ended.code()), "{ended:#?}");
        assert!(ended.code() == 0 || ended.stdout.is_empty() && ended.stderr.contains("thread"), "{ended:#?}");
    }
}

/// Who cannot open a file cannot look whether an engine lives, or what time it is: then nobody is taken for dead, no run is
/// taken from the living, and no process of theirs is ended.
#[test]
fn who_cannot_look_takes_nobody_for_dead() {
    program::need("strace", "strace");
    let (place, workload) = (Place::with_store(), workload::cancel());
    place.write("cancel.json", workload.document.to_string());
    let run = place.start(&["run", "cancel.json", "--json"]);
    until("the task runs", || (place.effects().of_task("long") > 0).then_some(()));
    let stat = format!("/proc/{}/stat", run.pid());
    for path in [stat.as_str(), "/proc", "/proc/sys/kernel/random/boot_id", "/proc/uptime"] {
        let strace = ["-f", "-b", "execve", "-qq", "-o", "/dev/null", "-P", path, "-e", "trace=openat"];
        let strace = [&strace[..], &["-e", "inject=openat:error=EMFILE", "--"]].concat();
        let binary = program::segue().to_str().unwrap();
        let args = [&strace[..], &[binary, "resume", "--all", "--json"]].concat();
        let neighbour = place.start_program("strace", &args).wait();
        assert!(neighbour.documents().is_empty(), "{path}: {neighbour:#?}");
        assert!([0, 8].contains(&neighbour.code()), "{path}: {neighbour:#?}");
    }
    assert_eq!(place.effects().of_task("long"), 1, "it runs on as it did");
    let cancelled = place.segue(&["runs", "cancel", "@last", "--json"]);
    assert_eq!(cancelled.code(), 0, "{cancelled:#?}");
    let ended = run.wait();
    assert_eq!(ended.code(), 5, "{ended:#?}");
    let mut judge = Judge::new(&workload);
    judge.ended(&place.effects(), Snapshot::of_file(&place.file(".segue/segue.db")));
    assert_eq!(judge.problems(), [""; 0]);
}

/// After an `fsync` that failed nobody knows what is on the disk: it is not tried again, the program ends and says why,
/// and the next one goes on from the disk.
#[test]
fn a_failed_fsync_ends_the_program_and_the_next_one_goes_on() {
    program::need("strace", "strace");
    let place = Place::with_store();
    let workload = workload::linear();
    place.write("linear.json", workload.document.to_string());
    let counted = Place::with_store();
    counted.write("linear.json", workload.document.to_string());
    let calls = strace::count(&counted, &["fsync"], |watch| {
        counted.start_traced(watch, &["run", "linear.json", "--json"]).wait()
    });
    // Of the last commits one: in the middle of the run.
    let injection =
        Injection::Fail { call: "fsync".to_owned(), errno: "EIO".to_owned(), from: calls["fsync"] - 2, times: 1 };
    let ended = place.start_traced(&injection, &["run", "linear.json", "--json"]).wait();
    assert_eq!(ended.code(), 8, "{ended:#?}");
    assert!(ended.stderr.contains("check the disk"), "{ended:#?}");
    let store = place.file(".segue/segue.db");
    let kept = Snapshot::of_file(&store).unwrap();
    assert!(!kept.runs[0].row.status.is_terminal(), "{kept:#?}");
    let resumed = place.segue(&["resume", "--all", "--json"]);
    assert_eq!(resumed.code(), 0, "{resumed:#?}");
    let now = Snapshot::of_file(&store).unwrap();
    assert!(now.runs[0].events.starts_with(&kept.runs[0].events));
}

/// A full disk under a run that goes on: what has ended is kept until there is room, and is not done again.
#[test]
fn a_full_disk_is_waited_out() {
    program::need("strace", "strace");
    let place = Place::with_store();
    place.write("gate.yaml", GATE);
    let run = place.start(&["run", "gate.yaml", "--json"]);
    until("the first step has begun", || (place.effects().of_task("a") > 0).then_some(()));
    let strace = ["-f", "-b", "execve", "-qq", "-o", "/dev/null", "-e", "trace=pwrite64,ftruncate,fallocate"];
    let pid = run.pid().to_string();
    let strace = [&strace[..], &["-e", "inject=pwrite64,ftruncate,fallocate:error=ENOSPC", "-p", &pid]].concat();
    let full = place.start_program("strace", &strace);
    until("the disk is full", || program::is_traced(run.pid()).then_some(()));
    place.write("go", "");
    until("the program says that its disk is full", || run.said().contains("make room").then_some(()));
    assert_eq!(place.effects().of_task("b"), 0, "nothing goes on that cannot be recorded");
    full.signal(program::INTERRUPT);
    full.wait();
    let ended = run.wait();
    assert_eq!(ended.code(), 0, "{ended:#?}");
    assert_eq!((place.effects().of_task("a"), place.effects().of_task("b")), (1, 1), "each step once");
}

/// What cannot be printed is not said to have been.
#[test]
fn a_result_that_cannot_be_printed_is_no_success() {
    let place = Place::with_store();
    place.write("linear.json", workload::linear().document.to_string());
    let mut command = place.command(program::segue(), &["run", "linear.json", "--json"]);
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let ended = command.stdout(full).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(!ended.status.success() && said.contains("stdout cannot be written"), "{said}");
}

const GATE: &str = r#"
id: gate
nodes:
  - id: a
    task: process.run
    inputs:
      argv: ["sh", "-c", "echo \"$SEGUE_IDEMPOTENCY_KEY $SEGUE_ATTEMPT_NUMBER\" >> effects; until [ -e go ]; do sleep 0.05; done"]
  - id: b
    task: process.run
    depends_on: [a]
    inputs:
      argv: ["sh", "-c", "echo \"$SEGUE_IDEMPOTENCY_KEY $SEGUE_ATTEMPT_NUMBER\" >> effects"]
"#;
