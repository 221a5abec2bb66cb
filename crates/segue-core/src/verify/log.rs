//! Reading and folding a log, with the large values that it refers to.

use std::sync::Arc;

use super::Verifier;
use crate::{
    event::{Event, EventKind},
    ids::RunId,
    ports::{Finding, FindingKind, StoreError},
    run::{Fold, FoldError, Run},
};

/// Events that are read at once.
const PAGE: usize = 1_000;

impl Verifier<'_> {
    /// Folds the log of a run, up to this event or to its end. None if that cannot be done, which is noted.
    pub(super) async fn fold(&mut self, run: RunId, until: Option<u64>) -> Result<Option<Run>, StoreError> {
        let mut fold: Option<Fold> = None;
        let mut after = 0;
        'log: while until.is_none_or(|until| after < until) {
            let page = match self.store.events(run, after, PAGE).await {
                Ok(page) => page,
                Err(StoreError::NotFound(_)) => return Ok(None),
                Err(error) => {
                    let damaged = |why| Finding::of(FindingKind::Event, run, why);
                    return self.note_broken(error, damaged).map(|()| None);
                }
            };
            if page.is_empty() {
                break;
            }
            for mut event in page {
                if until.is_some_and(|until| event.seq > until) {
                    break 'log;
                }
                after = event.seq;
                self.report.events += 1;
                let has_value = self.value(run, &mut event, fold.as_ref()).await?;
                if fold.is_none()
                    && let EventKind::RunCreated(created) = &event.kind
                {
                    let Some(plan) = self.plan(run, created.workflow_hash).await? else { return Ok(None) };
                    fold = Some(Fold::new(plan, run));
                }
                let Some(fold) = &mut fold else {
                    self.cannot_be(run, &FoldError::NoBeginning(run));
                    return Ok(None);
                };
                if !has_value && fold.wants(&event).is_some() {
                    return Ok(None);
                }
                if let Err(error) = fold.push(&event) {
                    self.cannot_be(run, &error);
                    return Ok(None);
                }
            }
        }
        let Some(fold) = fold else {
            self.cannot_be(run, &FoldError::NoBeginning(run));
            return Ok(None);
        };
        match fold.finish() {
            Ok(run) => Ok(Some(run)),
            Err(error) => {
                self.cannot_be(run, &error);
                Ok(None)
            }
        }
    }

    /// Checks the large value of an event, and gives it to it if the fold needs it. False: it cannot be had, which is noted.
    async fn value(&mut self, run: RunId, event: &mut Event, fold: Option<&Fold>) -> Result<bool, StoreError> {
        let Some(blob) = event.kind.payload().and_then(|payload| payload.blob()) else { return Ok(true) };
        self.report.values += 1;
        let (kind, why) = match self.store.blob(blob).await {
            Ok(json) => {
                let wants = fold.is_none() || fold.is_some_and(|fold| fold.wants(event).is_some());
                match serde_json::from_slice(&json) {
                    Ok(value) => {
                        if wants && let Some(payload) = event.kind.payload_mut() {
                            payload.supply(Arc::new(value));
                        }
                        return Ok(true);
                    }
                    Err(error) => (FindingKind::Value, format!("value {} is no JSON: {error}", blob.hash)),
                }
            }
            Err(StoreError::NotFound(_)) => (FindingKind::ValueMissing, format!("value {} is missing", blob.hash)),
            Err(StoreError::Broken(_)) => (FindingKind::Value, format!("value {} is not what was written", blob.hash)),
            Err(error) => return Err(error),
        };
        let mut finding = Finding::of(kind, run, why).at(event.seq);
        finding.task_id = event.task_id.clone();
        self.report.findings.push(finding);
        Ok(false)
    }

    fn cannot_be(&mut self, run: RunId, error: &FoldError) {
        let finding = Finding::of(FindingKind::Log, run, error.to_string());
        self.report.findings.push(match error {
            FoldError::Gap { found, .. } => Finding { kind: FindingKind::EventMissing, ..finding }.at(*found),
            FoldError::UnknownTask { seq, task, .. } => finding.at(*seq).task(task.clone()),
            FoldError::Impossible { seq, .. } => finding.at(*seq),
            FoldError::NoBeginning(_) | FoldError::OtherWorkflow(_) => finding.at(1),
        });
    }
}
