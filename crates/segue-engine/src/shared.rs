//! What the parts of an engine share.

use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use segue_core::{
    ids::{EngineId, RunId},
    ports::{
        ClaimRequest, EngineRecord, EventBus, Lease, ModelJournal, OrchestratorError, RunStore, Secrets, StoreError,
    },
};
use tokio::{sync::Notify, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::EngineConfig,
    dispatch::LocalScheduler,
    drive,
    lease::{LeaseState, is_gone},
    limits::Limits,
    live::{LiveRuns, Message},
    mutants::planted,
    observe::Observer,
    plans::{Deployed, Plans},
    prepare::Prepare,
    registry::Adapters,
    suspects::Suspects,
};

pub(crate) struct Shared {
    pub(crate) store: Arc<dyn RunStore>,
    pub(crate) bus: Arc<dyn EventBus>,
    pub(crate) scheduler: LocalScheduler,
    pub(crate) adapters: Arc<Adapters>,
    pub(crate) secrets: Arc<dyn Secrets>,
    pub(crate) journal: Option<Arc<dyn ModelJournal>>,
    pub(crate) preparer: Option<Arc<dyn Prepare>>,
    pub(crate) observer: Observer,
    pub(crate) config: EngineConfig,
    pub(crate) lease: LeaseState,
    pub(crate) limits: Limits,
    pub(crate) plans: Plans,
    pub(crate) live: LiveRuns,
    pub(crate) drives: TaskTracker,
    /// No new work is taken.
    pub(crate) draining: AtomicBool,
    /// Everything stops at once.
    pub(crate) stopped: CancellationToken,
    /// The store cannot be used, and why.
    pub(crate) broken: OnceLock<String>,
    pub(crate) suspects: Suspects,
    pub(crate) sweep: Option<Sweep>,
    /// Engines that are gone and after which it was swept.
    pub(crate) swept: Mutex<BTreeSet<EngineId>>,
    /// There may be a run to claim, or room for one.
    pub(crate) look: Notify,
    /// The other engines that own runs, as last seen.
    pub(crate) neighbours: Mutex<Vec<EngineRecord>>,
    /// The store may have given runs to this engine without its knowledge; until then that is looked at.
    pub(crate) unsure_until: Mutex<Option<Instant>>,
}

/// Ends what engines of this machine that are gone have left. Blocks.
pub(crate) type Sweep = Arc<dyn Fn() + Send + Sync>;

/// A call whose answer was lost has happened after this time, or never will.
const UNSURE: Duration = Duration::from_secs(60);

impl Shared {
    pub(crate) fn record(&self) -> EngineRecord {
        EngineRecord { engine_id: self.config.engine_id.clone(), proof: self.config.proof.clone() }
    }

    /// May new work be taken?
    pub(crate) fn admit(&self) -> Result<(), OrchestratorError> {
        if let Some(why) = self.broken.get() {
            return Err(StoreError::Broken(why.clone()).into());
        }
        if self.draining.load(Ordering::Acquire) || self.stopped.is_cancelled() {
            return Err(OrchestratorError::ShuttingDown);
        }
        Ok(())
    }

    pub(crate) async fn deployed(&self, hash: segue_core::ids::ContentHash) -> Result<Arc<Deployed>, StoreError> {
        self.plans.get(hash, &*self.store, &self.config.default_handler).await
    }

    /// The store is of no use any more: nothing can be recorded, so nothing goes on.
    pub(crate) fn break_down(&self, why: String) {
        if self.broken.set(why).is_ok() {
            let why = self.broken.get().map_or("", String::as_str);
            tracing::error!(engine_id = %self.config.engine_id, why, "the store cannot be used; the engine stops");
        }
        self.stop();
    }

    /// Stops at once: runs are left where they are, attempts are told to end, nothing is given back.
    pub(crate) fn stop(&self) {
        self.draining.store(true, Ordering::Release);
        self.stopped.cancel();
        self.scheduler.close();
        self.scheduler.cancel_all();
        self.live.tell_all(|| Message::Stop);
    }

    /// Takes over runs that nobody drives, at most `limit` (`runs` empty: any), and drives them. Runs that this
    /// engine has already are not among those returned.
    pub(crate) async fn claim(self: &Arc<Self>, runs: Vec<RunId>, limit: usize) -> Result<Vec<RunId>, StoreError> {
        let own = &self.config.engine_id;
        let mut others = self.store.engines().await?;
        others.retain(|engine| engine.engine_id != *own);
        let gone = others.iter().filter(|engine| is_gone(engine) || planted!(ResetsRunningAtStart));
        let dead: Vec<_> = gone.map(|engine| engine.engine_id.clone()).collect();
        self.sweep_after(&dead).await;
        *self.neighbours.lock().expect("no holder of this lock panics") = others;
        let request = ClaimRequest { engine_id: own.clone(), limit, runs, dead };
        let leases = self.sure(self.store.claim(request).await)?;
        Ok(leases.into_iter().filter(|lease| self.adopt(*lease)).map(|lease| lease.run_id).collect())
    }

    /// Before runs of engines that are gone are taken over, what these have left on this machine is ended, once.
    async fn sweep_after(&self, dead: &[EngineId]) {
        let Some(sweep) = &self.sweep else { return };
        let is_new = {
            let mut swept = self.swept.lock().expect("no holder of this lock panics");
            dead.iter().filter(|engine| swept.insert((*engine).clone())).count() > 0
        };
        if is_new {
            let there = sweep.clone();
            // The runtime panics where the system refuses it a thread: then it is done here.
            match catch_unwind(AssertUnwindSafe(|| tokio::task::spawn_blocking(move || there()))) {
                // A panic in it is logged by the runtime's hook; the runs are taken over all the same.
                Ok(swept) => drop(swept.await),
                Err(_) => sweep(),
            }
        }
    }

    /// So many more runs may be live here.
    pub(crate) fn room(&self) -> usize {
        if planted!(ForgetsTheRoom) {
            return usize::MAX;
        }
        self.config.live_max.saturating_sub(self.live.busy())
    }

    /// Passes on what the store answered to a call that may give this engine runs, or take them.
    pub(crate) fn sure<T>(&self, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        if matches!(answer, Err(StoreError::Unavailable(_))) {
            *self.unsure_until.lock().expect("no holder of this lock panics") = Some(Instant::now() + UNSURE);
        }
        answer
    }

    /// Drives the runs that the store says are this engine's and that it does not know of: they came with an answer that
    /// was lost, and nobody else would take them while this engine lives.
    pub(crate) async fn take_up_own(self: &Arc<Self>) -> Result<(), StoreError> {
        let is_unsure = self
            .unsure_until
            .lock()
            .expect("no holder of this lock panics")
            .is_some_and(|until| Instant::now() < until);
        if !is_unsure || self.admit().is_err() || planted!(ForgetsUnknownRuns) {
            return Ok(());
        }
        let mut own = self.store.owned_runs(&self.config.engine_id).await?;
        own.retain(|run| self.live.get(*run).is_none());
        for lease in self.reclaim(own).await? {
            self.adopt(lease);
        }
        Ok(())
    }

    /// Drives a run that was claimed; `false` if it is driven here already.
    fn adopt(self: &Arc<Self>, lease: Lease) -> bool {
        let Some(mailbox) = self.live.open(lease.run_id) else {
            // It was our own: our lease had ended, and nobody was faster.
            self.live.refence(lease.run_id, lease.fence);
            return false;
        };
        mailbox.handle.fence.store(lease.fence, Ordering::Release);
        self.drives.spawn(drive::claimed(self.clone(), lease.run_id, mailbox));
        true
    }

    /// Claims one's own run anew, if it still is one's own: the way back after a conflict.
    pub(crate) async fn reclaim(&self, runs: Vec<RunId>) -> Result<Vec<Lease>, StoreError> {
        let limit = runs.len();
        if limit == 0 {
            return Ok(Vec::new());
        }
        let engine_id = self.config.engine_id.clone();
        let dead = vec![engine_id.clone()];
        self.sure(self.store.claim(ClaimRequest { engine_id, limit, runs, dead }).await)
    }

    /// After the lease had ended: keeps the runs that nobody took, drops the others.
    pub(crate) async fn reclaim_all(&self) -> Result<(), StoreError> {
        let driven = self.live.ids();
        let kept = self.reclaim(driven.clone()).await?;
        for lease in &kept {
            self.live.refence(lease.run_id, lease.fence);
        }
        for run in driven {
            if !kept.iter().any(|lease| lease.run_id == run) {
                self.live.tell(run, Message::Lost);
            }
        }
        Ok(())
    }
}
