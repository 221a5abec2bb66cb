//! An engine that takes a run over, against what its old owner was about to commit.
//!
//! Both work on one store. The old owner has an answer and a commit ready; it was slow, or frozen, for longer than its
//! lease. The other claims, folds the log, reports what ran as lost, and goes on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use fastrand::Rng;
use futures_util::FutureExt as _;
use segue_core::{
    event::{Event, EventKind},
    ids::{ContentHash, EngineId, TaskId},
    memory::MemoryStore,
    outcome::{Loss, TaskOutcome},
    ports::{
        ClaimRequest, Commit, Created, EngineRecord, Lease, NewRun, OwnerProof, RunStore, StoreError, WorkflowVersion,
    },
    run::{Input, Run},
    time::Timestamp,
};
use serde_json::json;

use super::{
    Careless, Winner,
    arena::{Arena, X, ended, success},
};

const TTL: Duration = Duration::from_secs(15);

/// What both engines see.
struct World {
    arena: Arena,
    store: MemoryStore,
    clock: Arc<AtomicI64>,
    /// The highest fence that was given out.
    fence: u64,
    careless: Careless,
}

/// An engine with a run in its memory, and what it is about to commit.
struct Owner {
    run: Run,
    lease: Lease,
    batch: Vec<Event>,
}

pub(super) fn play(seed: u64, careless: Careless) -> Result<Winner, String> {
    let mut world = World::new(Rng::with_seed(seed), careless);
    let task = TaskId::new(X);
    let mut old = world.begin();
    world.feed(&mut old, Input::TaskAccepted { task: task.clone() });
    world.commit(&mut old).map_err(|error| world.arena.told(&error.to_string()))?;
    // The worker is done, the commit is ready, and the lease ends.
    world.feed(&mut old, ended(&task, 1, success(42)));
    world.pass(TTL + Duration::from_millis(1));
    let mut steps = vec![Step::OldCommits, Step::NewClaims];
    if world.arena.rng.bool() {
        steps.swap(0, 1);
    }
    steps.push(Step::NewCommits);
    // The old owner is at it again wherever it can be.
    for _ in 0..world.arena.rng.usize(..4) {
        let at = world.arena.rng.usize(..=steps.len());
        steps.insert(at, Step::OldCommits);
    }
    world.fight(&mut old, &steps)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    OldCommits,
    NewClaims,
    NewCommits,
}

impl World {
    fn new(mut rng: Rng, careless: Careless) -> Self {
        let policy = json!({ "retry_policy": { "max_attempts": rng.u8(1..4) } });
        let arena = Arena::new(rng, &policy);
        let clock = Arc::new(AtomicI64::new(arena.now.as_micros()));
        let own = clock.clone();
        let store = MemoryStore::new(Arc::new(move || Timestamp::from_micros(own.load(Ordering::Acquire))));
        Self { arena, store, clock, fence: 1, careless }
    }

    fn pass(&mut self, span: Duration) {
        self.arena.now = self.arena.now.plus(span);
        self.clock.store(self.arena.now.as_micros(), Ordering::Release);
    }

    /// The old owner has brought the run to where it is.
    fn begin(&mut self) -> Owner {
        let (run, log) = (self.arena.run.clone(), self.arena.log.clone());
        let ((hash, spec_json), workflow_id) =
            (segue_core::plan::version_json(&self.arena.spec), self.arena.spec.id.clone());
        self.register("old");
        now(self.store.put_workflow(WorkflowVersion { hash, workflow_id, spec_json })).expect("a version");
        let tasks = run.all_task_rows();
        let new = NewRun {
            workflow_hash: hash,
            idempotency_key: None,
            request_hash: ContentHash::of(b"duel"),
            owner: Some(EngineId::new("old")),
            events: log,
            run: run.run_row(),
            tasks,
        };
        let Ok(Created::New(Some(lease))) = now(self.store.create_run(new)) else { panic!("a new run has an owner") };
        Owner { run, lease, batch: Vec::new() }
    }

    fn register(&self, name: &str) {
        let proof = OwnerProof { boot_id: "boot".to_owned(), pid: 1, started_ticks: 1 };
        let record = EngineRecord { engine_id: EngineId::new(name), proof };
        now(self.store.renew_engine(&record, TTL)).expect("an engine can be registered");
    }

    fn feed(&self, owner: &mut Owner, input: Input) {
        owner.batch.extend(owner.run.handle(input, self.arena.now).expect("it is due"));
    }

    /// Commits what an engine has decided. An old owner's must be refused, whatever its version.
    fn commit(&self, owner: &mut Owner) -> Result<(), StoreError> {
        let expected_version = owner.run.version() - owner.batch.len() as u64;
        let mut lease = owner.lease;
        if self.careless == Careless::Store {
            lease.fence = self.fence;
        }
        let commit = Commit {
            lease,
            expected_version,
            events: owner.batch.clone(),
            run: owner.run.run_row(),
            tasks: owner.run.task_rows(&owner.batch),
            answered: Vec::new(),
        };
        now(self.store.commit(commit))?;
        owner.batch.clear();
        Ok(())
    }

    /// The other engine takes the run over, if it is still to be had.
    fn claim(&mut self) -> Result<Option<Owner>, String> {
        let run = self.arena.run.id();
        self.register("new");
        let request = ClaimRequest { engine_id: EngineId::new("new"), limit: 1, runs: vec![run], dead: Vec::new() };
        let Some(lease) = now(self.store.claim(request)).map_err(|error| error.to_string())?.pop() else {
            return Ok(None);
        };
        self.fence = lease.fence;
        let log = now(self.store.events(run, 0, 0)).map_err(|error| error.to_string())?;
        let folded = Run::fold(self.arena.plan.clone(), run, &log).map_err(|error| error.to_string())?;
        let mut owner = Owner { run: folded, lease, batch: Vec::new() };
        let lost: Vec<(TaskId, u32)> = owner.run.running().map(|(task, n)| (task.clone(), n)).collect();
        for (task, attempt) in lost {
            self.feed(&mut owner, ended(&task, attempt, TaskOutcome::lost(Loss::Engine, "its engine is gone")));
        }
        Ok(Some(owner))
    }

    fn fight(&mut self, old: &mut Owner, steps: &[Step]) -> Result<Winner, String> {
        let (mut new, mut accepted) = (None, None);
        for step in steps {
            match step {
                Step::OldCommits if old.batch.is_empty() => {}
                Step::OldCommits => {
                    let was_taken = self.fence > old.lease.fence;
                    match self.commit(old) {
                        Ok(()) if was_taken => return Err(self.told("an old owner's commit is accepted")),
                        Ok(()) => drop(accepted.get_or_insert(Winner::Second)),
                        Err(StoreError::Conflict { .. }) if was_taken => {}
                        Err(error) => return Err(self.told(&format!("the owner's commit is refused: {error}"))),
                    }
                }
                Step::NewClaims => new = self.claim()?,
                Step::NewCommits => {
                    if let Some(owner) = new.as_mut().filter(|owner| !owner.batch.is_empty()) {
                        self.commit(owner).map_err(|error| self.told(&format!("the new owner is refused: {error}")))?;
                        accepted.get_or_insert(Winner::First);
                    }
                }
            }
        }
        self.end(accepted)
    }

    /// Reads the winner from the log in the store, and lets the run end there.
    fn end(&mut self, accepted: Option<Winner>) -> Result<Winner, String> {
        let id = self.arena.run.id();
        self.arena.log = now(self.store.events(id, 0, 0)).map_err(|error| error.to_string())?;
        let accepted = accepted.ok_or_else(|| self.told("nobody won"))?;
        let is_x = |event: &Event| event.task_id == Some(X.into()) && event.attempt == Some(1);
        let lost = self.arena.count(|event| {
            is_x(event) && matches!(event.kind, EventKind::TaskRetrying { .. } | EventKind::TaskFailed { .. })
        });
        let done = self.arena.count(|event| is_x(event) && matches!(event.kind, EventKind::TaskSucceeded { .. }));
        let winner = self.arena.agree(accepted, lost, done)?;
        self.arena.take_over()?;
        Ok(winner)
    }

    fn told(&self, why: &str) -> String {
        self.arena.told(why)
    }
}

/// What a store in memory answers at once.
fn now<T>(answer: impl Future<Output = T>) -> T {
    answer.now_or_never().expect("a store in memory waits for nobody")
}
