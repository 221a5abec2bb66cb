//! Lists of runs.
//!
//! Each list walks one index, chosen by what is rarest in the filter: a label, a parent, a status that runs do not keep,
//! a workflow; without any, all runs from the newest on. The other conditions are written so that the planner does not
//! take an index for them.

use segue_core::{
    ids::{RunId, WorkflowId},
    ports::{RunFilter, RunRow},
    status::Status,
};
use tokio_postgres::types::ToSql;

use crate::{
    encode,
    failure::{Failure, damaged},
    pool::Prepares,
};

/// Rows by filter, newest first.
pub(crate) async fn list(db: &impl Prepares, filter: &RunFilter) -> Result<Vec<RunRow>, Failure> {
    let Some(range) = Range::of(filter) else { return Ok(Vec::new()) };
    if filter.statuses.is_empty() {
        return page(db, filter, None, &range).await;
    }
    // One walk a status, so that each goes from the newest on; what is found is merged.
    let mut found = Vec::new();
    for (at, status) in filter.statuses.iter().enumerate() {
        if !filter.statuses[..at].contains(status) {
            found.extend(page(db, filter, Some(*status), &range).await?);
        }
    }
    // A run that changed its status between two walks is in both, or in none, as if it had been asked for once.
    found.sort_unstable_by_key(|row| std::cmp::Reverse(row.run_id));
    found.dedup_by_key(|row| row.run_id);
    if filter.limit > 0 {
        found.truncate(filter.limit);
    }
    Ok(found)
}

async fn page(
    db: &impl Prepares,
    filter: &RunFilter,
    status: Option<Status>,
    range: &Range,
) -> Result<Vec<RunRow>, Failure> {
    let (first, last, limit) = (encode::uuid(range.first), encode::uuid(range.last), encode::limit(filter.limit));
    let label = filter.label.as_ref().map(|(name, value)| encode::name(&[name, value]).as_bytes().to_vec());
    let parent = filter.parent.map(encode::uuid);
    let workflow = filter.workflow_id.as_ref().map(WorkflowId::as_str);
    let name = status.map(Status::as_str);
    let mut values: Vec<&(dyn ToSql + Sync)> = vec![&first, &last, &limit];
    let mut conditions = Conditions::default();
    if let Some(label) = &label {
        values.push(label);
        conditions.label = values.len();
    }
    if let Some(parent) = &parent {
        values.push(parent);
        conditions.parent = values.len();
    }
    if let Some(name) = &name {
        values.push(name);
        conditions.status = values.len();
    }
    if let Some(workflow) = &workflow {
        values.push(workflow);
        conditions.workflow = values.len();
    }
    let sql = conditions.sql(status.is_some_and(|status| !status.is_terminal()));
    let mut found = Vec::new();
    for row in db.rows(&sql, &values).await? {
        let run = encode::run_id(row.try_get("run_id")?);
        let what = || format!("the row of run {run}");
        let row: RunRow = encode::summary(run.as_bytes(), &row, what)?;
        if !fits(&row, filter, status) {
            return Err(damaged(what(), "is not what an index says of it"));
        }
        found.push(row);
    }
    Ok(found)
}

/// The columns and indexes beside a row have no checksum of their own: what they say is compared with the row.
fn fits(row: &RunRow, filter: &RunFilter, status: Option<Status>) -> bool {
    status.is_none_or(|status| status == row.status)
        && filter.workflow_id.as_ref().is_none_or(|id| *id == row.workflow_id)
        && filter.parent.is_none_or(|parent| row.parent == Some(parent))
        && filter.label.as_ref().is_none_or(|(name, value)| row.labels.get(name) == Some(value))
}

/// The numbers of the parameters of a list, 0 for what is not asked for. `$1` to `$3`: first id, last id, limit.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Conditions {
    pub(crate) label: usize,
    pub(crate) parent: usize,
    pub(crate) status: usize,
    pub(crate) workflow: usize,
}

impl Conditions {
    /// The query. `passing`: the status is one that runs do not keep.
    pub(crate) fn sql(self, passing: bool) -> String {
        let Self { label, parent, status, workflow } = self;
        let by_label = label > 0;
        let by_parent = !by_label && parent > 0;
        let by_status = !by_label && !by_parent && status > 0 && (workflow == 0 || passing);
        let by_workflow = !by_label && !by_parent && !by_status && workflow > 0;
        let mut sql = String::from("SELECT runs.run_id, summary, sum FROM ");
        let order = if by_label {
            sql.push_str(&format!(
                "labels JOIN runs USING (run_id) WHERE label = ${label} AND labels.run_id BETWEEN $1 AND $2"
            ));
            "labels.run_id"
        } else {
            sql.push_str("runs WHERE run_id BETWEEN $1 AND $2");
            "run_id"
        };
        for (at, is_walked, column) in
            [(parent, by_parent, "parent"), (status, by_status, "status"), (workflow, by_workflow, "workflow_id")]
        {
            match (at, is_walked) {
                (0, _) => {}
                (at, true) => sql.push_str(&format!(" AND {column} = ${at}")),
                // Not a condition that an index is made for.
                (at, false) => sql.push_str(&format!(" AND ({column} = ${at}) IS TRUE")),
            }
        }
        if by_parent {
            sql.push_str(" AND parent IS NOT NULL");
        }
        sql.push_str(&format!(" ORDER BY {order} DESC LIMIT $3"));
        sql
    }
}

/// The first and the last id that a list may hold.
struct Range {
    first: RunId,
    last: RunId,
}

impl Range {
    fn of(filter: &RunFilter) -> Option<Self> {
        let (first, last) = RunId::with_prefix(filter.id_prefix.as_deref().unwrap_or_default())?;
        let before = match filter.before {
            Some(before) => RunId::from_bytes(u128::from_be_bytes(*before.as_bytes()).checked_sub(1)?.to_be_bytes()),
            None => last,
        };
        Some(Self { first, last: last.min(before) })
    }
}
