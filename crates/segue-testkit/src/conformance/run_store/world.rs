//! What the cases are made of: runs that move on as a kernel would move them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use segue_core::{
    event::{Event, EventKind, RunCreated, Waiting},
    ids::{ContentHash, EngineId, RunId, TaskId, WorkflowId},
    outcome::Usage,
    payload::{INLINE_BYTES_MAX, Payload},
    ports::{Commit, Created, EngineRecord, Lease, NewRun, OwnerProof, RunRow, RunStore, TaskRow, WorkflowVersion},
    status::Status,
    time::Timestamp,
};
use serde_json::{Value, json};

/// Longer than any case takes.
pub(super) const LONG: Duration = Duration::from_secs(3_600);

/// The id of the `n`th run: later ones are greater, as those that are drawn from a clock.
pub fn run_id(n: u32) -> RunId {
    format!("01998e3c-{:04x}-7000-8000-{:012x}", n >> 16, n).parse().expect("a UUID")
}

/// A version of the workflow called `id`.
pub fn workflow(id: &str) -> WorkflowVersion {
    let spec = json!({"id": id, "nodes": []}).to_string();
    WorkflowVersion { hash: ContentHash::of(spec.as_bytes()), workflow_id: WorkflowId::new(id), spec_json: spec.into() }
}

/// The `n`th run of the workflow called `flow`, created and started.
pub fn new_run(n: u32, inputs: Value) -> NewRun {
    let version = workflow("flow");
    let row = RunRow {
        run_id: run_id(n),
        workflow_id: version.workflow_id,
        workflow_hash: version.hash,
        status: Status::Running,
        cancelling: false,
        version: 2,
        created_at: time(1),
        started_at: Some(time(2)),
        finished_at: None,
        error: None,
        usage: Usage::default(),
        tasks_total: 3,
        tasks_done: 0,
        labels: BTreeMap::new(),
        parent: None,
    };
    let created = RunCreated::new(version.hash, Payload::new(inputs));
    NewRun {
        workflow_hash: version.hash,
        idempotency_key: None,
        request_hash: ContentHash::of(b"request"),
        owner: None,
        events: vec![event(1, None, EventKind::RunCreated(created)), event(2, None, EventKind::RunStarted {})],
        run: row,
        tasks: Vec::new(),
    }
}

/// The row of a task in its first attempt.
pub fn task_row(task: &str, status: Status) -> TaskRow {
    TaskRow {
        task_id: TaskId::new(task),
        status,
        attempts: 1,
        started_at: Some(time(3)),
        finished_at: None,
        result_seq: None,
        usage: Usage::default(),
    }
}

/// Makes an engine known, with a lease of `ttl`.
pub async fn engine(store: &Arc<dyn RunStore>, name: &str, ttl: Duration) -> EngineId {
    let engine_id = EngineId::new(name);
    store.renew_engine(&record(name), ttl).await.expect("an engine can always be registered");
    engine_id
}

pub(super) fn record(name: &str) -> EngineRecord {
    let proof = OwnerProof { boot_id: format!("boot of {name}"), pid: 4_194_304, started_ticks: 1 << 40 };
    EngineRecord { engine_id: EngineId::new(name), proof }
}

pub(super) fn event(seq: u64, task: Option<&str>, kind: EventKind) -> Event {
    Event { seq, time: time(seq), task_id: task.map(TaskId::new), attempt: task.map(|_| 1), kind }
}

pub(super) fn time(n: u64) -> Timestamp {
    Timestamp::from_micros(1_790_000_000_000_000).plus(Duration::from_micros(n))
}

/// A run that somebody owns, and what its owner knows of it.
#[derive(Debug, Clone)]
pub struct Live {
    /// The owner's right.
    pub lease: Lease,
    /// The run's row.
    pub row: RunRow,
    /// All its events.
    pub events: Vec<Event>,
    /// The rows of its tasks, in the order in which they first changed.
    pub tasks: Vec<TaskRow>,
}

impl Live {
    /// The `n`th run, owned by `owner` from the start.
    pub async fn create(store: &Arc<dyn RunStore>, n: u32, owner: &EngineId) -> Self {
        Self::of(store, new_run(n, json!({"n": n})), owner).await
    }

    /// This run, owned by `owner` from the start.
    pub async fn of(store: &Arc<dyn RunStore>, mut new: NewRun, owner: &EngineId) -> Self {
        new.owner = Some(owner.clone());
        let (row, events) = (new.run.clone(), new.events.clone());
        match store.create_run(new).await.expect("a new run") {
            Created::New(Some(lease)) => Self { lease, row, events, tasks: Vec::new() },
            other => panic!("a new run with an owner has a lease, not {other:?}"),
        }
    }

    /// The next commit: these events, and the rows that follow from them.
    pub fn next(&self, kinds: Vec<(Option<&str>, EventKind)>) -> Commit {
        let version = self.row.version;
        let events: Vec<Event> = (version + 1..).zip(kinds).map(|(seq, (task, kind))| event(seq, task, kind)).collect();
        let mut run = RunRow { version: version + events.len() as u64, ..self.row.clone() };
        let mut tasks: Vec<TaskRow> = Vec::new();
        for event in &events {
            self.fold(event, &mut run, &mut tasks);
        }
        Commit { lease: self.lease, expected_version: version, events, run, tasks, answered: Vec::new() }
    }

    /// A rough kernel: enough for rows that change as real ones do.
    fn fold(&self, event: &Event, run: &mut RunRow, tasks: &mut Vec<TaskRow>) {
        let ended = match &event.kind {
            EventKind::RunSucceeded { .. } => Some(Status::Succeeded),
            EventKind::RunFailed { .. } => Some(Status::Failed),
            EventKind::RunCancelled { .. } => Some(Status::Cancelled),
            _ => None,
        };
        match (&event.kind, ended) {
            (_, Some(status)) => (run.status, run.finished_at) = (status, Some(event.time)),
            (EventKind::RunReopened {}, _) => (run.status, run.finished_at) = (Status::Running, None),
            (EventKind::RunWaiting {}, _) => run.status = Status::Waiting,
            (EventKind::RunCancelling { .. }, _) => run.cancelling = true,
            _ => {}
        }
        let Some(task_id) = &event.task_id else { return };
        let at = tasks.iter().position(|row| row.task_id == *task_id).unwrap_or_else(|| {
            let known = self.tasks.iter().find(|row| row.task_id == *task_id).cloned();
            tasks.push(known.unwrap_or_else(|| task_row(task_id.as_str(), Status::Pending)));
            tasks.len() - 1
        });
        let row = &mut tasks[at];
        let (status, is_result) = match &event.kind {
            EventKind::TaskSucceeded { .. } => (Status::Succeeded, true),
            EventKind::TaskFailed { .. } => (Status::Failed, true),
            EventKind::TaskCancelled { .. } => (Status::Cancelled, true),
            EventKind::TaskSkipped { .. } => (Status::Skipped, true),
            EventKind::TaskRetrying { .. } => (Status::Pending, true),
            EventKind::TaskWaiting(_) => (Status::Waiting, true),
            _ => (Status::Running, false),
        };
        row.status = status;
        if is_result {
            row.result_seq = Some(event.seq);
        }
        if status.is_terminal() {
            row.finished_at = Some(event.time);
            run.tasks_done += 1;
        }
    }

    /// Notes that `commit` was accepted.
    pub fn accepted(&mut self, commit: Commit) {
        self.row = commit.run;
        self.events.extend(commit.events);
        for row in commit.tasks {
            match self.tasks.iter_mut().find(|known| known.task_id == row.task_id) {
                Some(known) => *known = row,
                None => self.tasks.push(row),
            }
        }
    }

    /// Commits these events.
    pub async fn commit(&mut self, store: &Arc<dyn RunStore>, kinds: Vec<(Option<&str>, EventKind)>) {
        let commit = self.next(kinds);
        store.commit(commit.clone()).await.expect("the owner's next commit");
        self.accepted(commit);
    }

    /// Ends the run.
    pub async fn end(&mut self, store: &Arc<dyn RunStore>) {
        self.commit(store, vec![(None, EventKind::RunSucceeded { outputs: Payload::new(json!({})) })]).await;
    }

    /// Is all that the store has of the run what its owner knows?
    pub async fn assert_kept(&self, store: &Arc<dyn RunStore>) {
        let run = self.row.run_id;
        assert_eq!(store.get_run(run).await.expect("its row"), self.row);
        assert_eq!(store.events(run, 0, 0).await.expect("its log"), self.events);
        assert_eq!(store.list_tasks(run).await.expect("its tasks"), self.tasks);
    }
}

/// The beginning of a wait for the signal `name`.
pub(super) fn waits_for(name: &str) -> EventKind {
    EventKind::TaskWaiting(Waiting::Event { event: name.to_owned(), due: None })
}

/// A text that is kept beside the log, another one for each `n`.
pub(super) fn large(n: u32) -> Value {
    json!(format!("{n} {}", "large ".repeat(INLINE_BYTES_MAX / 5)))
}

/// A task's success with this output.
pub(super) fn success(output: Value) -> EventKind {
    EventKind::TaskSucceeded {
        output: Payload::new(output),
        usage: Usage::default(),
        warnings: Vec::new(),
        reused_from: None,
    }
}

pub(super) fn started() -> EventKind {
    EventKind::TaskStarted {}
}
