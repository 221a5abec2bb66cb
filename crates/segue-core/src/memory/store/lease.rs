//! Leases: which engine may commit for which run.

use std::{collections::BTreeSet, time::Duration};

use super::state::{RunState, State};
use crate::{
    ids::{EngineId, RunId},
    ports::{ClaimRequest, EngineRecord, Lease, RequestKind},
    time::Timestamp,
};

impl State {
    pub(super) fn renew_engine(&mut self, engine: &EngineRecord, now: Timestamp, ttl: Duration) {
        if !self.engines.contains_key(&engine.engine_id) {
            // Each start of a program makes an engine; those that ended and own nothing are of no use to anybody.
            let owners = self.owner_ids();
            self.engines.retain(|id, (_, until)| *until > now || owners.contains(id));
        }
        self.engines.insert(engine.engine_id.clone(), (engine.proof.clone(), now.plus(ttl)));
    }

    pub(super) fn owners(&self) -> Vec<EngineRecord> {
        let owners = self.owner_ids();
        let known = self.engines.iter().filter(|(id, _)| owners.contains(*id));
        known.map(|(id, (proof, _))| EngineRecord { engine_id: id.clone(), proof: proof.clone() }).collect()
    }

    pub(super) fn claim(&mut self, request: &ClaimRequest, now: Timestamp) -> Vec<Lease> {
        if !self.is_alive(&request.engine_id, now) {
            return Vec::new();
        }
        let is_free = |run: &RunState| {
            run.owner.as_ref().is_none_or(|owner| request.dead.contains(owner) || !self.is_alive(owner, now))
        };
        let candidates: Vec<RunId> = if request.runs.is_empty() {
            let reopened = self.runs.iter().filter(|(_, run)| run.asks_to_reopen()).map(|(id, _)| *id);
            self.live.iter().copied().chain(reopened).collect::<BTreeSet<_>>().into_iter().collect()
        } else {
            request.runs.iter().copied().collect::<BTreeSet<_>>().into_iter().collect()
        };
        let chosen: Vec<RunId> = candidates
            .into_iter()
            .filter(|id| self.runs.get(id).is_some_and(|run| run.is_claimable() && is_free(run)))
            .take(request.limit)
            .collect();
        chosen.into_iter().map(|run_id| self.give(run_id, &request.engine_id)).collect()
    }

    pub(super) fn release(&mut self, leases: &[Lease]) {
        for lease in leases {
            if let Some(run) = self.runs.get_mut(&lease.run_id)
                && run.fence == lease.fence
            {
                run.owner = None;
            }
        }
    }

    pub(super) fn owned_by(&self, engine: &EngineId) -> Vec<RunId> {
        let owned = self.runs.iter().filter(|(_, run)| run.owner.as_ref() == Some(engine));
        owned.map(|(id, _)| *id).collect()
    }

    /// Somebody should look at this run. A listener whose queue is full loses the hint.
    pub(super) fn signal(&mut self, run: RunId) {
        self.signals.retain_mut(|signal| !signal.try_send(run).is_err_and(|error| error.is_disconnected()));
    }

    fn give(&mut self, run_id: RunId, engine: &EngineId) -> Lease {
        let run = self.runs.get_mut(&run_id).expect("it was chosen among the runs");
        run.owner = Some(engine.clone());
        run.fence += 1;
        Lease { run_id, fence: run.fence }
    }

    fn is_alive(&self, engine: &EngineId, now: Timestamp) -> bool {
        self.engines.get(engine).is_some_and(|(_, until)| *until > now)
    }

    fn owner_ids(&self) -> BTreeSet<EngineId> {
        self.runs.values().filter_map(|run| run.owner.clone()).collect()
    }
}

impl RunState {
    /// Has it ended, and does nobody own it or want it to go on?
    pub(super) fn is_over(&self) -> bool {
        self.row.status.is_terminal() && self.owner.is_none() && !self.asks_to_reopen()
    }

    fn is_claimable(&self) -> bool {
        !self.row.status.is_terminal() || self.asks_to_reopen()
    }

    /// Has it ended, and does somebody want it to go on?
    fn asks_to_reopen(&self) -> bool {
        self.row.status.is_terminal() && self.requests.iter().any(|request| request.kind == RequestKind::Reopen)
    }
}
