//! Named limits, as an engine respects them.
//!
//! A task whose node names limits asks here before it is accepted. Its *ticket* stands in a line; one keeper for the whole
//! engine asks the store for those whose turn it is, many at once, with a place of their adapter in hand: so a task that
//! waits for a limit holds nothing, and one that has its slots can begin. What has to wait is not asked for again before
//! there is a reason: a signal of the store, a slot that is given back here, or a time.
//!
//! A *slot* is held until the attempt's work is over and its answer was read, and is a row in the store that belongs to
//! the engine's lease: when the engine dies, the slot is free with no one's doing.

mod keeper;
mod lines;
mod slot;
mod ticket;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use segue_core::{
    expr::Expression,
    ids::{ContentHash, EngineId, LimitKey, TaskId},
    outcome::{ErrorKind, TaskError},
    plan::{NodeLimit, PlanNode},
    ports::{Acquire, Admission, Bounds, LimitStore, StoreError},
    run::Run,
    spec::LimitSpec,
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::lines::Lines;
pub(crate) use self::{
    slot::{Held, LimitSlot},
    ticket::{Answer, Ticket, Want},
};
use crate::dispatch::LocalScheduler;

/// Values of a key that are longer are named by their hash.
const KEY_BYTES_MAX: usize = 200;

/// The limits of an engine.
#[derive(Clone)]
pub(crate) struct Limits(Arc<Inner>);

struct Inner {
    store: Option<Arc<dyn LimitStore>>,
    configured: BTreeMap<String, Configured>,
    engine: EngineId,
    scheduler: LocalScheduler,
    stopped: CancellationToken,
    lines: Mutex<Lines>,
    /// There is something for the keeper to do.
    work: Notify,
    /// The keeper has done something.
    done: Notify,
    is_kept: AtomicBool,
}

/// A limit of the configuration.
struct Configured {
    bounds: Bounds,
    key: Option<Expression>,
}

/// A limit that an attempt asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) key: LimitKey,
    pub(crate) bounds: Bounds,
}

impl Limits {
    /// `store`: where slots are kept; none: tasks that name limits cannot run here. A key that is no expression limits
    /// everybody together.
    pub(crate) fn new(
        store: Option<Arc<dyn LimitStore>>,
        specs: &BTreeMap<String, LimitSpec>,
        engine: EngineId,
        scheduler: LocalScheduler,
        stopped: CancellationToken,
    ) -> Self {
        let configured = |(name, spec): (&String, &LimitSpec)| {
            let key = spec.key.as_deref().and_then(|key| Expression::compile(key).ok());
            (name.clone(), Configured { bounds: spec.bounds(), key })
        };
        Self(Arc::new(Inner {
            store,
            configured: specs.iter().map(configured).collect(),
            engine,
            scheduler,
            stopped,
            lines: Mutex::default(),
            work: Notify::new(),
            done: Notify::new(),
            is_kept: AtomicBool::new(false),
        }))
    }

    /// The names that documents may use beside their own.
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.configured.keys().cloned().collect()
    }

    /// What an attempt of this task asks for, in the order of the keys. An error means that it can never run.
    pub(crate) fn wanted(&self, run: &Run, task: &TaskId, node: &PlanNode) -> Result<Arc<[Wanted]>, TaskError> {
        if self.0.store.is_none() {
            return Err(TaskError::new(ErrorKind::Load, "this engine has no store of limits"));
        }
        let mut wanted = Vec::with_capacity(node.limits.len());
        for limit in &node.limits {
            wanted.push(self.one(run, task, limit)?);
        }
        wanted.sort_by(|one: &Wanted, other| one.key.cmp(&other.key));
        Ok(wanted.into())
    }

    fn one(&self, run: &Run, task: &TaskId, limit: &NodeLimit) -> Result<Wanted, TaskError> {
        let name = &limit.name;
        let (scope, bounds, key) = match (&limit.own, self.0.configured.get(name)) {
            (Some(own), _) => (run.plan().workflow_id().as_str(), own.bounds, own.key.as_ref()),
            (None, Some(shared)) => ("", shared.bounds, shared.key.as_ref()),
            (None, None) => {
                let why = format!("there is no limit `{name}` in the configuration of this engine");
                return Err(TaskError::new(ErrorKind::Load, why));
            }
        };
        let value = key.map(|key| run.evaluate(task, &format!("limits.{name}.key"), key)).transpose()?;
        Ok(Wanted { key: key_of(scope, name, value.as_ref()), bounds })
    }

    /// Gets in line. `wake` is called once when [`Ticket::take`] has an answer.
    pub(crate) fn ask(&self, want: Want) -> Ticket {
        let number = self.0.lines().join(want);
        self.0.is_wanted();
        Ticket { limits: self.clone(), number }
    }

    /// After the engine's lease had ended: slots that went to others are lost, and what runs in them is stopped. Those
    /// that nobody took are held on.
    pub(crate) async fn recheck(&self) -> Result<(), StoreError> {
        let Some(store) = &self.0.store else { return Ok(()) };
        let living = self.0.lines().living();
        if living.is_empty() {
            return Ok(());
        }
        let held = store.held(&self.0.engine).await?;
        for slot in living {
            if !slot.is_among(&held) && !self.has_again(&**store, &slot).await? {
                tracing::warn!(slot = %slot.name(), "a slot of a limit went to another engine while this one stood still");
                slot.lose().await;
            }
        }
        self.0.work.notify_one();
        Ok(())
    }

    /// A row that was removed may be had again, if there is room.
    async fn has_again(&self, store: &dyn LimitStore, slot: &LimitSlot) -> Result<bool, StoreError> {
        let (engine, request) = (self.0.engine.clone(), slot.request());
        let acquire = Acquire { engine: engine.clone(), dead: Vec::new(), requests: vec![request.clone()] };
        let answers = store.acquire(acquire).await?;
        if matches!(answers.as_slice(), [Admission::Granted(_)]) {
            return Ok(true);
        }
        store.leave(&engine, vec![request]).await?;
        Ok(false)
    }

    /// Waits until all slots that were given back are known to be free, or until `patience` is over.
    pub(crate) async fn flush(&self, patience: Duration) {
        let flushed = async {
            loop {
                let done = self.0.done.notified();
                if !self.0.is_kept.load(Ordering::Acquire) || self.0.lines().is_flushed() {
                    return;
                }
                self.0.work.notify_one();
                done.await;
            }
        };
        if tokio::time::timeout(patience, flushed).await.is_err() {
            tracing::warn!("some slots of limits could not be given back; they are free when this engine's lease ends");
        }
    }
}

impl Inner {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().expect("no holder of this lock panics")
    }

    /// Somebody waits: starts the keeper if this is the first time.
    fn is_wanted(self: &Arc<Self>) {
        if !self.is_kept.swap(true, Ordering::AcqRel) {
            tokio::spawn(keeper::keep(self.clone()));
        }
        self.work.notify_one();
    }
}

/// `workflow/name` or, for all workflows, `/name`; with the value of the key.
fn key_of(scope: &str, name: &str, value: Option<&serde_json::Value>) -> LimitKey {
    match value.map(ToString::to_string) {
        None => LimitKey::new(format!("{scope}/{name}")),
        Some(text) if text.len() > KEY_BYTES_MAX => {
            LimitKey::new(format!("{scope}/{name}=#{}", ContentHash::of(text.as_bytes())))
        }
        Some(text) => LimitKey::new(format!("{scope}/{name}={text}")),
    }
}
