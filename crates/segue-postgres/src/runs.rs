//! Runs: made ready to be created and moved on, and read.

use crate::{encode, failure::Failure, pool::Prepares, texts::Texts};
use segue_core::{
    ids::{ContentHash, EngineId, RunId},
    ports::{Commit, Created, Lease, NewRun, RequestId, RunRow, StoreError},
};

/// A run to create, ready to be written.
#[derive(Debug)]
pub(crate) struct Creation {
    pub(crate) workflow_id: String,
    /// The name of (workflow, idempotency key), and the key itself.
    pub(crate) key: Option<(ContentHash, String)>,
    pub(crate) request_hash: ContentHash,
    pub(crate) owner: Option<EngineId>,
    pub(crate) parent: Option<RunId>,
    /// The names of its labels.
    pub(crate) labels: Vec<ContentHash>,
    pub(crate) texts: Texts,
}

impl Creation {
    pub(crate) fn of(new: NewRun) -> Self {
        new.assert_consistent();
        let workflow_id = new.run.workflow_id.as_str().to_owned();
        let key = new.idempotency_key.map(|key| (encode::name(&[&workflow_id, &key]), key));
        Self {
            workflow_id,
            key,
            request_hash: new.request_hash,
            owner: new.owner,
            parent: new.run.parent,
            labels: new.run.labels.iter().map(|(name, value)| encode::name(&[name, value])).collect(),
            texts: Texts::of(0, new.events, &new.run, &new.tasks),
        }
    }

    /// The fence of its first owner.
    pub(crate) fn fence(&self) -> u64 {
        u64::from(self.owner.is_some())
    }

    /// The answer when it has been created.
    pub(crate) fn created(&self) -> Created {
        let owned = self.owner.is_some() && !self.texts.status.is_terminal();
        Created::New(owned.then(|| Lease { run_id: self.texts.run_id, fence: self.fence() }))
    }

    /// The answer when a run of this key is there already.
    pub(crate) fn existing(&self, run_id: RunId, request_hash: ContentHash) -> Result<Created, StoreError> {
        match &self.key {
            Some((_, key)) if request_hash != self.request_hash => {
                Err(StoreError::KeyReused { key: key.clone(), run_id })
            }
            _ => Ok(Created::Existing(run_id)),
        }
    }
}

/// A commit ready to be written.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) fence: u64,
    pub(crate) answered: Vec<RequestId>,
    pub(crate) texts: Texts,
}

impl Step {
    pub(crate) fn of(commit: Commit) -> Self {
        commit.assert_consistent();
        Self {
            fence: commit.lease.fence,
            answered: commit.answered,
            texts: Texts::of(commit.expected_version, commit.events, &commit.run, &commit.tasks),
        }
    }
}

/// One run's row.
pub(crate) async fn get(db: &impl Prepares, run: RunId) -> Result<RunRow, Failure> {
    const SQL: &str = "SELECT summary, sum FROM runs WHERE run_id = $1";
    match db.rows(SQL, &[&encode::uuid(run)]).await?.first() {
        Some(row) => encode::summary(run.as_bytes(), row, || format!("the row of run {run}")),
        None => Err(not_found(run)),
    }
}

/// Refuses if there is no such run.
pub(crate) async fn check(db: &impl Prepares, run: RunId) -> Result<(), Failure> {
    const SQL: &str = "SELECT 1 FROM runs WHERE run_id = $1";
    if db.rows(SQL, &[&encode::uuid(run)]).await?.is_empty() {
        return Err(not_found(run));
    }
    Ok(())
}

pub(crate) fn not_found(run: RunId) -> Failure {
    StoreError::NotFound(format!("run {run}")).into()
}
