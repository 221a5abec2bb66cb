//! Starting a run: its first facts and its first attempts are one commit.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use segue_core::{
    event::{Event, RunCreated},
    ids::{ContentHash, RunId, TaskId},
    payload::Payload,
    ports::{Created, NewRun, OrchestratorError, StartRun, Started, StoreError},
    run::Run,
    spec::resolve_inputs,
    time::Timestamp,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    child::{Birth, folder_of},
    drive::{self, Newborn, Places},
    live::{End, Mailbox, Message},
    mutants::planted,
    pins::pin,
    plans::Deployed,
    shared::Shared,
};

/// A start waits this long for a lease that has ended: a process that was paused renews at once, a store that is away
/// does not.
const LEASE_PATIENCE: Duration = Duration::from_secs(2);

/// What is asked for, complete and checked.
pub(crate) struct Draft {
    pub(crate) deployed: Arc<Deployed>,
    pub(crate) request_hash: ContentHash,
    pub(crate) created: RunCreated,
    /// Results of an earlier run that this one takes over.
    pub(crate) taken: BTreeMap<TaskId, Payload>,
}

impl Draft {
    async fn of(shared: &Shared, workflow: ContentHash, start: StartRun) -> Result<Self, OrchestratorError> {
        let deployed = shared.deployed(workflow).await?;
        let params = resolve_inputs(&deployed.spec, start.inputs).map_err(OrchestratorError::Invalid)?;
        let params = Value::Object(params);
        let workflows = pin(shared, workflow, &deployed, &start.workflows).await?;
        let mut asked = json!({
            "workflow": workflow, "inputs": params, "base_dir": start.base_dir, "rehearsal": start.rehearsal,
        });
        if !start.workflows.is_empty() {
            asked["workflows"] = json!(start.workflows);
        }
        let created = RunCreated {
            idempotency_key: start.idempotency_key,
            base_dir: start.base_dir,
            rehearsal: start.rehearsal,
            workflows,
            ..RunCreated::new(workflow, Payload::new(params))
        };
        Ok(Self { deployed, request_hash: hash_of(&asked), created, taken: BTreeMap::new() })
    }

    async fn of_child(shared: &Arc<Shared>, birth: Birth) -> Result<Self, OrchestratorError> {
        let deployed = shared.deployed(birth.workflow).await?;
        let params = resolve_inputs(&deployed.spec, birth.inputs.clone()).map_err(OrchestratorError::Invalid)?;
        let base_dir = folder_of(shared, &birth).await?;
        let created = RunCreated {
            base_dir,
            rehearsal: birth.rehearsal,
            workflows: birth.workflows,
            parent: Some(birth.parent),
            idempotency_key: Some(birth.key.clone()),
            ..RunCreated::new(birth.workflow, Payload::new(Value::Object(params)))
        };
        // There is one child run a task, whatever a later attempt would give it.
        Ok(Self { deployed, request_hash: hash_of(&json!({ "child_of": birth.key })), created, taken: BTreeMap::new() })
    }

    fn create(self, run_id: RunId, now: Timestamp) -> (Run, Vec<Event>) {
        let Self { deployed, created, taken, .. } = self;
        match created.rerun_of {
            Some(_) => Run::create_from(deployed.plan.clone(), run_id, created, taken, now),
            None => Run::create(deployed.plan.clone(), run_id, created, now),
        }
    }
}

/// Records a run and leaves it to whoever claims it.
pub(crate) async fn submit(
    shared: &Arc<Shared>,
    workflow: ContentHash,
    start: StartRun,
) -> Result<Started, OrchestratorError> {
    shared.admit()?;
    let draft = Draft::of(shared, workflow, start).await?;
    let run_id = RunId::new(Uuid::now_v7());
    let (request_hash, idempotency_key) = (draft.request_hash, draft.created.idempotency_key.clone());
    let (run, events) = draft.create(run_id, shared.config.clock.now());
    let new = NewRun {
        workflow_hash: workflow,
        idempotency_key,
        request_hash,
        owner: None,
        run: run.run_row(),
        tasks: run.task_rows(&events),
        events,
    };
    match shared.store.create_run(new).await {
        Ok(Created::New(_)) => Ok(Started { run_id, is_new: true }),
        Ok(Created::Existing(first)) => Ok(Started { run_id: first, is_new: false }),
        // It may have happened: only the run's own id can tell.
        Err(StoreError::Unavailable(_)) if shared.store.get_run(run_id).await.is_ok() => {
            Ok(Started { run_id, is_new: true })
        }
        Err(error) => Err(error.into()),
    }
}

pub(crate) async fn start(
    shared: &Arc<Shared>,
    workflow: ContentHash,
    start: StartRun,
) -> Result<Started, OrchestratorError> {
    if shared.config.claim_every.is_some() && shared.room() == 0 {
        // It is claimed when there is room, here or elsewhere.
        return submit(shared, workflow, start).await;
    }
    ready(shared).await?;
    if planted!(RepeatsUnknownStarts) {
        let first = launch(shared, Draft::of(shared, workflow, start.clone()).await?).await;
        if !matches!(first, Err(OrchestratorError::Store(StoreError::Unavailable(_)))) {
            return first;
        }
    }
    launch(shared, Draft::of(shared, workflow, start).await?).await
}

/// Starts a child run, or finds the one that was started before.
pub(crate) async fn start_child(shared: &Arc<Shared>, birth: Birth) -> Result<Started, OrchestratorError> {
    ready(shared).await?;
    launch(shared, Draft::of_child(shared, birth).await?).await
}

/// May a run be started now?
pub(crate) async fn ready(shared: &Shared) -> Result<(), OrchestratorError> {
    shared.admit()?;
    if tokio::time::timeout(LEASE_PATIENCE, shared.lease.valid()).await.is_err() {
        return Err(shared.lease.problem().into());
    }
    Ok(())
}

/// Creates a run, with its first attempts, and drives it.
pub(crate) async fn launch(shared: &Arc<Shared>, draft: Draft) -> Result<Started, OrchestratorError> {
    let run_id = RunId::new(Uuid::now_v7());
    let now = shared.config.clock.now();
    let mailbox = shared.live.open(run_id).expect("a run id is drawn once");
    let (deployed, request_hash) = (draft.deployed.clone(), draft.request_hash);
    let (idempotency_key, workflow_hash) = (draft.created.idempotency_key.clone(), draft.created.workflow_hash);
    let (mut run, mut events) = draft.create(run_id, now);
    let mut places = Places::default();
    events.extend(first_attempts(shared, &mut run, &mut places, now, &mailbox));
    let new = NewRun {
        workflow_hash,
        idempotency_key,
        request_hash,
        owner: Some(shared.config.engine_id.clone()),
        events: events.clone(),
        run: run.run_row(),
        tasks: run.task_rows(&events),
    };
    let newborn = Newborn { deployed, run, places, started: events };
    if planted!(AcksBeforeCommit) {
        let shared = shared.clone();
        tokio::spawn(async move { establish(&shared, new, newborn, mailbox).await });
        return Ok(Started { run_id, is_new: true });
    }
    establish(shared, new, newborn, mailbox).await
}

/// Puts a run into the store, and drives it from there on.
async fn establish(
    shared: &Arc<Shared>,
    new: NewRun,
    newborn: Newborn,
    mailbox: Mailbox,
) -> Result<Started, OrchestratorError> {
    let run_id = new.run.run_id;
    match create(shared, new, run_id).await {
        Ok(Created::New(lease)) => {
            mailbox.handle.fence.store(lease.map_or(0, |lease| lease.fence), Ordering::Release);
            shared.drives.spawn(drive::created(shared.clone(), newborn, mailbox));
            Ok(Started { run_id, is_new: true })
        }
        Ok(Created::Existing(first)) => {
            shared.live.close(run_id, &mailbox.ended, End::Left);
            Ok(Started { run_id: first, is_new: false })
        }
        Err(error) => {
            shared.live.close(run_id, &mailbox.ended, End::Left);
            if let StoreError::Broken(why) = &error {
                shared.break_down(why.clone());
            }
            Err(error.into())
        }
    }
}

fn first_attempts(
    shared: &Shared,
    run: &mut Run,
    places: &mut Places,
    now: Timestamp,
    mailbox: &Mailbox,
) -> Vec<Event> {
    let sender = mailbox.handle.sender.clone();
    let wake = move || -> Box<dyn FnOnce() + Send> {
        let sender = sender.clone();
        Box::new(move || {
            // The start may have failed; then nobody waits.
            let _ = sender.send(Message::Place);
        })
    };
    drive::accept(shared, run, places, &|_| false, now, &wake)
}

/// Creates the run. If the store does not say whether it did, asks for the run: only its own id can tell.
async fn create(shared: &Arc<Shared>, new: NewRun, run_id: RunId) -> Result<Created, StoreError> {
    match shared.sure(shared.store.create_run(new).await) {
        Err(StoreError::Unavailable(why)) if planted!(RepeatsUnknownStarts) => Err(StoreError::Unavailable(why)),
        // Should it happen later still, the run is taken up when the lease is renewed.
        Err(StoreError::Unavailable(why)) => match shared.reclaim(vec![run_id]).await {
            Ok(leases) if !leases.is_empty() => Ok(Created::New(leases.first().copied())),
            _ => Err(StoreError::Unavailable(why)),
        },
        answer => answer,
    }
}

/// What two starts with one key must have in common.
pub(crate) fn hash_of(asked: &Value) -> ContentHash {
    ContentHash::of(asked.to_string().as_bytes())
}
