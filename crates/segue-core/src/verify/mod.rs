//! Is what a store holds what its logs say?
//!
//! A store keeps the log of every run, and rows that summarise it. The log is the truth: everything beside it must be its
//! fold. [`Verifier`] reads each log, checks every large value that it refers to, folds it and compares the run's row, the
//! rows of its tasks and the list of what waits. What the backend can tell by itself (hashes, checksums, indexes) it asks the
//! backend for. Runs are read one after the other and a page at a time, and may go on while they are read.

mod chain;
mod compare;
mod log;

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;

use crate::{
    ids::{ContentHash, HandlerId, RunId},
    plan::Plan,
    ports::{Finding, FindingKind, Findings, RunRow, RunStore, StoreError, StoreUpkeep, TaskRow, WaitingTask},
    spec::WorkflowSpec,
};

pub use chain::{ChainCheck, values_in};

/// Ids that are asked for at once.
const RUNS: usize = 500;
/// Workflow versions that are kept compiled.
const PLANS_MAX: usize = 64;
/// A run that is committed to between each two looks is looked at again this often.
const LOOKS_MAX: usize = 100;

/// What was checked, and what was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Runs.
    pub runs: u64,
    /// Their events, all of them folded.
    pub events: u64,
    /// Their tasks' rows.
    pub tasks: u64,
    /// The large values that their logs refer to, as often as they do.
    pub values: u64,
    /// Runs that were committed to so fast that the rows of their tasks could not be compared. Their logs were.
    pub moving: u64,
    /// What is wrong.
    pub findings: Findings,
}

/// Checks a store.
pub struct Verifier<'s> {
    store: &'s dyn RunStore,
    upkeep: &'s dyn StoreUpkeep,
    plans: BTreeMap<ContentHash, Arc<Plan>>,
    /// What has been checked so far.
    pub report: Report,
}

/// A run's rows at one version.
struct Rows {
    run: RunRow,
    /// None: they could not be had for the same version.
    rest: Option<(Vec<TaskRow>, Vec<WaitingTask>)>,
}

impl<'s> Verifier<'s> {
    /// For a store and its backend.
    pub fn new(store: &'s dyn RunStore, upkeep: &'s dyn StoreUpkeep) -> Self {
        Self { store, upkeep, plans: BTreeMap::new(), report: Report::default() }
    }

    /// Checks the backend's own integrity and every run.
    ///
    /// # Errors
    /// Only what has nothing to do with damage: [`StoreError::Unavailable`] and the like.
    pub async fn verify_all(&mut self) -> Result<(), StoreError> {
        match self.upkeep.verify_storage().await {
            Ok(found) => self.report.findings.extend(found),
            Err(error) => self.note_broken(error, |why| Finding::new(FindingKind::Storage, why))?,
        }
        let mut after = None;
        loop {
            let page = match self.upkeep.run_ids(after, RUNS).await {
                Ok(page) => page,
                Err(error) => {
                    return self.note_broken(error, |why| Finding::new(FindingKind::Storage, why));
                }
            };
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(*last);
            for run in page {
                self.verify_run(run).await?;
            }
        }
    }

    /// Checks one run. One that is gone when it is looked at has nothing wrong.
    ///
    /// # Errors
    /// As [`Verifier::verify_all`].
    pub async fn verify_run(&mut self, run: RunId) -> Result<(), StoreError> {
        let own = match self.upkeep.verify_run(run).await {
            Ok(found) => found,
            Err(StoreError::NotFound(_)) => return Ok(()),
            Err(StoreError::Broken(why)) => one(Finding::of(FindingKind::Storage, run, why)),
            Err(error) => return Err(error),
        };
        let is_known = |kinds: &[FindingKind]| own.items.iter().any(|finding| kinds.contains(&finding.kind));
        let is_unreadable = is_known(&[
            FindingKind::Storage,
            FindingKind::Event,
            FindingKind::EventMissing,
            FindingKind::EventMisplaced,
        ]);
        let has_bad_rows = is_known(&[FindingKind::Run, FindingKind::Task, FindingKind::Waiting]);
        self.report.runs += 1;
        self.report.findings.extend(own);
        if is_unreadable {
            return Ok(());
        }
        let rows = match self.rows(run).await {
            Ok(rows) => Some(rows),
            Err(StoreError::NotFound(_)) => return Ok(()),
            // The backend has said which row it is.
            Err(StoreError::Broken(_)) if has_bad_rows => None,
            Err(StoreError::Broken(why)) => {
                self.report.findings.push(Finding::of(FindingKind::Run, run, why));
                None
            }
            Err(error) => return Err(error),
        };
        let until = rows.as_ref().map(|rows| rows.run.version);
        if let Some(folded) = self.fold(run, until).await?
            && let Some(rows) = rows
        {
            self.compare(&folded, rows);
        }
        Ok(())
    }

    /// The run's rows, all at one version: they are read one after the other while others may write.
    async fn rows(&mut self, run: RunId) -> Result<Rows, StoreError> {
        for _ in 0..LOOKS_MAX {
            let before = self.store.get_run(run).await?;
            let tasks = self.store.list_tasks(run).await?;
            let waiting = self.store.list_waiting(Some(run), 0).await?;
            let after = self.store.get_run(run).await?;
            if before.version == after.version {
                self.report.tasks += tasks.len() as u64;
                return Ok(Rows { run: after, rest: Some((tasks, waiting)) });
            }
        }
        self.report.moving += 1;
        Ok(Rows { run: self.store.get_run(run).await?, rest: None })
    }

    /// The plan of a workflow's version; none if the version cannot be used, which is noted.
    async fn plan(&mut self, run: RunId, hash: ContentHash) -> Result<Option<Arc<Plan>>, StoreError> {
        if let Some(plan) = self.plans.get(&hash) {
            return Ok(Some(plan.clone()));
        }
        let wrong = |why: String| Finding::of(FindingKind::Workflow, run, why);
        let version = match self.store.get_workflow(hash).await {
            Ok(version) => version,
            Err(StoreError::NotFound(_)) => {
                self.report.findings.push(wrong(format!("its workflow's version {hash} is missing")));
                return Ok(None);
            }
            Err(error) => {
                self.note_broken(error, wrong)?;
                return Ok(None);
            }
        };
        // What carries a task out does not matter to what its log means.
        let handler = HandlerId::from("pass");
        let plan = serde_json::from_str::<WorkflowSpec>(&version.spec_json)
            .map_err(|error| error.to_string())
            .and_then(|spec| Plan::compile(&spec, &handler).map_err(|error| error.to_string()));
        match plan {
            Ok(plan) => {
                if self.plans.len() >= PLANS_MAX {
                    self.plans.clear();
                }
                let plan = Arc::new(plan);
                self.plans.insert(hash, plan.clone());
                Ok(Some(plan))
            }
            Err(why) => {
                self.report.findings.push(wrong(format!("its workflow's version {hash} cannot be used: {why}")));
                Ok(None)
            }
        }
    }

    /// Damage is a finding; everything else stops the check.
    fn note_broken(&mut self, error: StoreError, finding: impl FnOnce(String) -> Finding) -> Result<(), StoreError> {
        match error {
            StoreError::Broken(why) => {
                self.report.findings.push(finding(why));
                Ok(())
            }
            other => Err(other),
        }
    }
}

fn one(finding: Finding) -> Findings {
    let mut findings = Findings::default();
    findings.push(finding);
    findings
}
