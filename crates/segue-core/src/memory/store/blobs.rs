//! Large values, each kept as long as somebody refers to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    event::Event,
    ids::{ContentHash, RunId},
    payload::{BlobRef, Payload},
    ports::StoreError,
};

#[derive(Debug, Default)]
pub(super) struct Blobs(BTreeMap<ContentHash, Blob>);

#[derive(Debug)]
struct Blob {
    json: Arc<[u8]>,
    /// The runs whose logs refer to it.
    runs: BTreeSet<RunId>,
    /// The keys of the cached results that refer to it.
    keys: BTreeSet<Arc<str>>,
}

impl Blobs {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn get(&self, blob: BlobRef) -> Result<&[u8], StoreError> {
        self.0.get(&blob.hash).map(|kept| &*kept.json).ok_or_else(|| missing(blob))
    }

    /// Is everything there that these events refer to, or brought by them?
    pub(super) fn check(&self, events: &[Event]) -> Result<(), StoreError> {
        let payloads = || events.iter().filter_map(|event| event.kind.payload());
        let brought: BTreeSet<_> = payloads().filter_map(Payload::blob_to_store).map(|(blob, _)| blob.hash).collect();
        let mut referred = payloads().filter_map(Payload::blob);
        let lacking = referred.find(|blob| !brought.contains(&blob.hash) && !self.0.contains_key(&blob.hash));
        lacking.map_or(Ok(()), |blob| Err(missing(blob)))
    }

    pub(super) fn check_payload(&self, payload: &Payload) -> Result<(), StoreError> {
        match (payload.blob(), payload.blob_to_store()) {
            (Some(blob), None) => self.get(blob).map(|_| ()),
            _ => Ok(()),
        }
    }

    pub(super) fn keep_for_run(&mut self, payload: &Payload, run: RunId) {
        if let Some(blob) = self.keep(payload) {
            blob.runs.insert(run);
        }
    }

    pub(super) fn keep_for_key(&mut self, payload: &Payload, key: &Arc<str>) {
        if let Some(blob) = self.keep(payload) {
            blob.keys.insert(key.clone());
        }
    }

    fn keep(&mut self, payload: &Payload) -> Option<&mut Blob> {
        let hash = payload.blob()?.hash;
        if let Some((_, json)) = payload.blob_to_store() {
            let new = || Blob { json: json.into(), runs: BTreeSet::new(), keys: BTreeSet::new() };
            return Some(self.0.entry(hash).or_insert_with(new));
        }
        self.0.get_mut(&hash)
    }

    /// A run is gone. Gives the values that go with it, and their bytes.
    pub(super) fn leave_run(&mut self, run: RunId) -> (u64, u64) {
        self.leave(|blob| blob.runs.remove(&run))
    }

    /// A cached result is gone.
    pub(super) fn leave_key(&mut self, key: &str) -> (u64, u64) {
        self.leave(|blob| blob.keys.remove(key))
    }

    fn leave(&mut self, left: impl Fn(&mut Blob) -> bool) -> (u64, u64) {
        let (mut blobs, mut bytes) = (0, 0);
        self.0.retain(|_, blob| {
            let is_used = !left(blob) || !blob.runs.is_empty() || !blob.keys.is_empty();
            if !is_used {
                (blobs, bytes) = (blobs + 1, bytes + blob.json.len() as u64);
            }
            is_used
        });
        (blobs, bytes)
    }
}

fn missing(blob: BlobRef) -> StoreError {
    StoreError::NotFound(format!("value {}", blob.hash))
}
