//! Deletion and collection.

use super::state::{RunState, State};
use crate::{
    ids::RunId,
    ports::{Collected, StoreError},
    time::Timestamp,
};

/// A run has at most this many others above it; more can only be a circle.
const DEPTH_MAX: usize = 64;

impl State {
    pub(super) fn delete_run(&mut self, run: RunId) -> Result<Collected, StoreError> {
        if !self.run(run)?.is_over() {
            return Err(StoreError::Refused(format!("run {run} has not ended, or is about to go on")));
        }
        if let Some(above) = self.above(run).find(|above| !above.is_over()) {
            let above = above.row.run_id;
            return Err(StoreError::Refused(format!("run {run} is a part of run {above}, which has not ended")));
        }
        let log = self.remove_run(run);
        let (blobs, bytes) = self.blobs.leave_run(run);
        Ok(Collected { runs: 1, blobs, cache_entries: 0, bytes: log + bytes })
    }

    pub(super) fn collect(&mut self, ended_before: Timestamp, now: Timestamp) -> Result<Collected, StoreError> {
        let is_old = |run: &RunState| run.is_over() && run.row.finished_at.is_some_and(|ended| ended < ended_before);
        let old = |id: &&RunId| self.runs.get(id).is_some_and(is_old) && self.above(**id).all(is_old);
        let runs: Vec<RunId> = self.runs.keys().filter(old).copied().collect();
        let mut all = Collected::default();
        for run in runs {
            add(&mut all, self.delete_run(run)?);
        }
        let is_stale = |stored: Timestamp, expires: Option<Timestamp>| match expires {
            Some(expires) => expires <= now,
            None => stored < ended_before,
        };
        let entries = self.cache.iter().filter(|(_, (entry, expires))| is_stale(entry.stored_at, *expires));
        for key in entries.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            let (entry, _) = self.cache.remove(&key).expect("it was found there");
            let text = serde_json::to_vec(&entry).expect("an entry can be written as JSON");
            let (blobs, bytes) = self.blobs.leave_key(&key);
            add(&mut all, Collected { runs: 0, blobs, cache_entries: 1, bytes: bytes + text.len() as u64 });
        }
        Ok(all)
    }

    /// The runs above it that are still there.
    fn above(&self, run: RunId) -> impl Iterator<Item = &RunState> {
        let parent = |run: RunId| self.runs.get(&self.runs.get(&run)?.row.parent?);
        std::iter::successors(parent(run), move |above| parent(above.row.run_id)).take(DEPTH_MAX)
    }
}

fn add(all: &mut Collected, more: Collected) {
    all.runs += more.runs;
    all.blobs += more.blobs;
    all.cache_entries += more.cache_entries;
    all.bytes += more.bytes;
}
