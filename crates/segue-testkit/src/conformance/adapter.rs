//! What every [`Adapter`] must keep, as one suite over cases that its tests supply.
//!
//! The cases say what an adapter of this kind can do (end well, fail in these ways, run until it is stopped); the suite
//! says what has to come of them. Every answer is given exactly once by construction (`execute` returns it); the suite
//! checks that nothing comes after it, that what was cancelled is over, and that one attempt never harms another.

use std::{
    future::Future,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::{BoxFuture, join_all};
use segue_core::{
    ids::{HandlerId, RunId, TaskId, WorkflowId},
    outcome::{ErrorKind, Loss, TaskOutcome},
    ports::{Adapter, CancelSignal, ExecutionContext, Invocation, Progress, ProgressSink},
    spec::{TaskNode, TaskSpec},
    time::Timestamp,
};
use serde_json::{Map, Value, json};
use tokio::{sync::watch, time::timeout};

/// No single step of the suite may take longer, on a loaded machine too.
const PATIENCE: Duration = Duration::from_secs(120);
/// How much later than its grace a cancelled attempt may answer, on a loaded machine too.
const MOMENT: Duration = Duration::from_secs(20);

/// One attempt to make: what a node would say.
#[derive(Debug, Clone)]
pub struct Case {
    /// The handler.
    pub handler: &'static str,
    /// The rendered inputs.
    pub inputs: Value,
    /// The hints of all adapters.
    pub hints: Value,
    /// The workflow's folder.
    pub base_dir: Option<PathBuf>,
    /// Does it rehearse?
    pub rehearsal: bool,
    /// How long it may take to end by itself when it is cancelled.
    pub grace: Duration,
    /// Does somebody listen to it? Then models may be asked to stream.
    pub is_watched: bool,
}

impl Case {
    /// A case without hints and folder, with a grace of one second, and watched.
    pub fn new(handler: &'static str, inputs: Value) -> Self {
        let grace = Duration::from_secs(1);
        Self { handler, inputs, hints: json!({}), base_dir: None, rehearsal: false, grace, is_watched: true }
    }

    /// With these hints.
    #[must_use]
    pub fn with_hints(self, hints: Value) -> Self {
        Self { hints, ..self }
    }

    /// The invocation of attempt `attempt` of a task of this name, and what the test holds of it.
    pub fn invocation(&self, task: &str, attempt: u32) -> (Invocation, Controls) {
        let controls = Controls::default();
        controls.progress.is_deaf.store(!self.is_watched, Ordering::SeqCst);
        let context = ExecutionContext {
            workflow_id: WorkflowId::new("conformance"),
            run_id: RunId::from_bytes([7; 16]),
            task_id: TaskId::new(task),
            attempt,
            now: Timestamp::from_micros(1_790_000_000_000_000),
            effect_key: format!("{}/{task}", RunId::from_bytes([7; 16])),
            values: Arc::default(),
            answers_since: 1,
        };
        let invocation = Invocation {
            handler: HandlerId::new(self.handler),
            name: None,
            description: None,
            inputs: Arc::new(self.inputs.clone()),
            material: Vec::new(),
            hints: object(&self.hints),
            context,
            base_dir: self.base_dir.clone(),
            rehearsal: self.rehearsal,
            timeout: None,
            resume: None,
            budgets: Vec::new(),
            grace: self.grace,
            cancel: controls.cancel.clone(),
            progress: controls.progress.clone(),
        };
        (invocation, controls)
    }

    fn node(&self) -> TaskNode {
        let spec = json!({ "id": "case", "task": self.handler, "inputs": self.inputs, "hints": self.hints });
        let node: TaskNode = serde_json::from_value(spec).expect("a case is a node");
        debug_assert_eq!(node.spec, TaskSpec { task: Some(HandlerId::new(self.handler)), ..node.spec.clone() });
        node
    }
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().expect("hints are an object")
}

/// What a test holds of an attempt: it can cancel it, and sees its progress.
#[derive(Clone, Default)]
pub struct Controls {
    /// Cancels it.
    pub cancel: Arc<Cancel>,
    /// Its progress.
    pub progress: Arc<Recorder>,
}

/// A cancel signal that a test sends.
pub struct Cancel(watch::Sender<bool>);

impl Default for Cancel {
    fn default() -> Self {
        Self(watch::channel(false).0)
    }
}

impl Cancel {
    /// Sends it.
    pub fn cancel(&self) {
        self.0.send_replace(true);
    }
}

impl CancelSignal for Cancel {
    fn is_cancelled(&self) -> bool {
        *self.0.borrow()
    }

    fn cancelled(&self) -> BoxFuture<'static, ()> {
        let mut receiver = self.0.subscribe();
        Box::pin(async move {
            if receiver.wait_for(|cancelled| *cancelled).await.is_err() {
                std::future::pending().await
            }
        })
    }
}

/// Keeps an attempt's progress.
#[derive(Default)]
pub struct Recorder {
    seen: Mutex<Vec<Progress>>,
    count: watch::Sender<usize>,
    is_closed: AtomicBool,
    came_late: AtomicBool,
    is_deaf: AtomicBool,
}

impl Recorder {
    /// All that has come, in order.
    pub fn seen(&self) -> Vec<Progress> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The lines that were logged, in order.
    pub fn lines(&self) -> Vec<String> {
        let logs = self.seen().into_iter().filter(|progress| progress.name == "task.log");
        logs.filter_map(|progress| Some(progress.data["line"].as_str()?.to_owned())).collect()
    }

    /// Waits until some progress holds `text` in its data.
    pub async fn wait_for(&self, text: &str) {
        let mut count = self.count.subscribe();
        let seen = count.wait_for(|_| self.seen().iter().any(|progress| progress.data.to_string().contains(text)));
        seen.await.expect("the recorder holds the sender");
    }

    fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
    }
}

impl ProgressSink for Recorder {
    fn emit(&self, progress: Progress) {
        if self.is_closed.load(Ordering::SeqCst) {
            self.came_late.store(true, Ordering::SeqCst);
        }
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(progress);
        self.count.send_modify(|count| *count += 1);
    }

    fn is_wanted(&self) -> bool {
        !self.is_deaf.load(Ordering::SeqCst)
    }
}

/// What the tests of an adapter supply. What an adapter cannot do is left out.
pub struct AdapterCases {
    /// The adapter.
    pub adapter: Arc<dyn Adapter>,
    /// Ends well, with this output.
    pub succeeds: (Case, Value),
    /// Each ends with an error of this kind.
    pub fails: Vec<(Case, ErrorKind)>,
    /// Each loses its worker.
    pub is_lost: Vec<Case>,
    /// Each emits progress that holds `ready`, then runs until it is stopped; at least one ignores being asked.
    pub endless: Vec<Case>,
    /// Its output holds the idempotency key, the task's id and the attempt's number, each as a text.
    pub tells_context: Option<Case>,
    /// Logs `1` to this number, a line each, in order.
    pub counts_to: Option<(Case, usize)>,
    /// Does anything that any case has started still run?
    pub is_anything_left: Box<dyn Fn() -> bool + Send + Sync>,
}

/// Runs the whole suite. Panics with the first promise that is not kept.
pub async fn check_adapter(cases: AdapterCases) {
    describes_itself(&cases);
    it_succeeds(&cases, "first").await;
    each_failure_has_its_kind(&cases).await;
    progress_comes_in_order(&cases).await;
    the_context_arrives(&cases).await;
    several_at_once(&cases).await;
    a_loss_harms_nobody_else(&cases).await;
    cancelled_before_it_starts(&cases).await;
    for (index, case) in cases.endless.iter().enumerate() {
        cancelled_while_it_runs(&cases, case, case.grace, &format!("cancelled-{index}")).await;
        // The engine enforces a time limit by a cancel without grace.
        cancelled_while_it_runs(&cases, case, Duration::ZERO, &format!("timeout-{index}")).await;
        dropped_while_it_runs(&cases, case, &format!("dropped-{index}")).await;
    }
    it_succeeds(&cases, "last").await;
    within(PATIENCE, "shutdown", cases.adapter.shutdown()).await;
    assert!(!(cases.is_anything_left)(), "something still runs after shutdown");
}

fn describes_itself(cases: &AdapterCases) {
    let adapter = &cases.adapter;
    assert!(!adapter.name().is_empty() && !adapter.handlers().is_empty());
    let (case, _) = &cases.succeeds;
    assert!(adapter.handlers().contains(&case.handler), "`{}` is not among its handlers", case.handler);
    let shown = adapter.translate_task(&case.node()).expect("what succeeds can be translated");
    assert_eq!(shown, adapter.translate_task(&case.node()).expect("as before"), "a translation is pure");
    let hints = object(&json!({ adapter.name(): { "concurrency": 3 } }));
    assert_eq!(adapter.concurrency(&hints), Some(3));
    assert_eq!(adapter.concurrency(&Map::new()), None);
}

async fn it_succeeds(cases: &AdapterCases, task: &str) {
    let (case, expected) = &cases.succeeds;
    let (invocation, controls) = case.invocation(task, 1);
    match execute(cases, invocation, &controls).await {
        TaskOutcome::Succeeded { output, .. } => {
            assert_eq!(output.value().map(|value| &**value), Some(expected), "the output of {task}");
        }
        other => panic!("{task} should succeed: {other:?}"),
    }
    // Cancelling what has ended changes nothing.
    controls.cancel.cancel();
    tokio::task::yield_now().await;
    assert!(!controls.progress.came_late.load(Ordering::SeqCst), "progress came after the answer of {task}");
}

async fn each_failure_has_its_kind(cases: &AdapterCases) {
    for (index, (case, kind)) in cases.fails.iter().enumerate() {
        let (invocation, controls) = case.invocation(&format!("fails-{index}"), 1);
        match execute(cases, invocation, &controls).await {
            TaskOutcome::Failed { error, .. } => {
                assert_eq!(error.kind, *kind, "{case:?} fails with {error:?}");
                assert!(!error.message.trim().is_empty(), "{case:?} does not say why it fails");
                assert!(error.node.is_none(), "an adapter knows no node");
            }
            other => panic!("{case:?} should fail with {kind}: {other:?}"),
        }
    }
}

async fn progress_comes_in_order(cases: &AdapterCases) {
    let Some((case, count)) = &cases.counts_to else { return };
    let (invocation, controls) = case.invocation("counts", 1);
    let outcome = execute(cases, invocation, &controls).await;
    assert!(matches!(outcome, TaskOutcome::Succeeded { .. }), "{outcome:?}");
    let numbers: Vec<usize> = controls.progress.lines().iter().filter_map(|line| line.parse().ok()).collect();
    assert_eq!(numbers, (1..=*count).collect::<Vec<_>>(), "every line, once, in order");
}

async fn the_context_arrives(cases: &AdapterCases) {
    let Some(case) = &cases.tells_context else { return };
    let (invocation, controls) = case.invocation("tells", 3);
    let key = invocation.context.idempotency_key();
    let outcome = execute(cases, invocation, &controls).await;
    let TaskOutcome::Succeeded { output, .. } = &outcome else { panic!("{outcome:?}") };
    let text = output.value().expect("a fresh output has its value").to_string();
    for wanted in [key.as_str(), "tells", "3"] {
        assert!(text.contains(wanted), "`{wanted}` did not arrive: {text}");
    }
}

async fn several_at_once(cases: &AdapterCases) {
    let tasks: Vec<String> = (0..6).map(|index| format!("parallel-{index}")).collect();
    join_all(tasks.iter().map(|task| it_succeeds(cases, task))).await;
}

async fn a_loss_harms_nobody_else(cases: &AdapterCases) {
    for (index, case) in cases.is_lost.iter().enumerate() {
        let lost = async {
            let (invocation, controls) = case.invocation(&format!("lost-{index}"), 1);
            match execute(cases, invocation, &controls).await {
                TaskOutcome::Lost { by, message, .. } => {
                    assert_eq!(by, Loss::Worker, "{case:?}: {message}");
                    assert!(!message.is_empty(), "{case:?} does not say how it was lost");
                }
                other => panic!("{case:?} should lose its worker: {other:?}"),
            }
        };
        tokio::join!(lost, it_succeeds(cases, "neighbour"));
    }
}

async fn cancelled_before_it_starts(cases: &AdapterCases) {
    for case in &cases.endless {
        let (invocation, controls) = case.invocation("never", 1);
        controls.cancel.cancel();
        let outcome = execute(cases, invocation, &controls).await;
        assert!(matches!(outcome, TaskOutcome::Cancelled { .. }), "cancelled before it starts: {outcome:?}");
        let started = controls.progress.seen().iter().any(|progress| progress.data.to_string().contains("ready"));
        assert!(!started, "it was started although it had been cancelled");
    }
}

async fn cancelled_while_it_runs(cases: &AdapterCases, case: &Case, grace: Duration, task: &str) {
    let (invocation, controls) = Case { grace, ..case.clone() }.invocation(task, 1);
    let running = execute(cases, invocation, &controls);
    let cancel = async {
        within(PATIENCE, "ready", controls.progress.wait_for("ready")).await;
        controls.cancel.cancel();
    };
    let outcome = within(PATIENCE + grace + MOMENT, task, async { tokio::join!(running, cancel).0 }).await;
    assert!(matches!(outcome, TaskOutcome::Cancelled { .. }), "{task}: {outcome:?}");
    assert!(!(cases.is_anything_left)(), "{task} has answered, but what it started still runs: {case:?}");
}

/// An engine that is torn down drops the futures of its attempts: then too everything ends, if not at once.
async fn dropped_while_it_runs(cases: &AdapterCases, case: &Case, task: &str) {
    let (invocation, controls) = case.invocation(task, 1);
    let adapter = cases.adapter.clone();
    let running = tokio::spawn(async move { adapter.execute(invocation).await });
    within(PATIENCE, "ready", controls.progress.wait_for("ready")).await;
    running.abort();
    let _ = running.await;
    let over = async {
        while (cases.is_anything_left)() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(MOMENT, &format!("the end of what {task} had started"), over).await;
}

async fn execute(cases: &AdapterCases, invocation: Invocation, controls: &Controls) -> TaskOutcome {
    let outcome = within(PATIENCE * 2, "an answer", cases.adapter.execute(invocation)).await;
    controls.progress.close();
    outcome
}

async fn within<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> T {
    match timeout(limit, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not come within {limit:?}"),
    }
}
