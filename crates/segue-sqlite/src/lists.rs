//! Lists of runs.
//!
//! Each list walks one index, chosen by what is rarest in the filter: a label, a parent, a status that runs do not keep,
//! a workflow, an end; without any, all runs from the newest on. None sorts more than a page of each status.

use rusqlite::{Connection, ToSql};
use segue_core::{
    ids::{RunId, WorkflowId},
    ports::{RunFilter, RunRow},
    status::Status,
};

use crate::{
    encode::{self, damaged},
    failure::Failure,
};

/// Rows by filter, newest first.
pub(crate) fn list(db: &Connection, filter: &RunFilter) -> Result<Vec<RunRow>, Failure> {
    let Some(range) = Range::of(filter) else { return Ok(Vec::new()) };
    if filter.statuses.is_empty() {
        return page(db, filter, None, &range);
    }
    // One walk a status, so that each goes from the newest on; what is found is merged.
    let mut found = Vec::new();
    for (at, status) in filter.statuses.iter().enumerate() {
        if !filter.statuses[..at].contains(status) {
            found.extend(page(db, filter, Some(*status), &range)?);
        }
    }
    found.sort_unstable_by_key(|row| std::cmp::Reverse(row.run_id));
    if filter.limit > 0 {
        found.truncate(filter.limit);
    }
    Ok(found)
}

fn page(db: &Connection, filter: &RunFilter, status: Option<Status>, range: &Range) -> Result<Vec<RunRow>, Failure> {
    let label = filter.label.as_ref();
    let (workflow, parent) = (filter.workflow_id.as_ref(), filter.parent.as_ref());
    let limit = encode::limit(filter.limit);
    let mut values: Vec<(&str, &dyn ToSql)> =
        vec![(":first", &range.first), (":last", &range.last), (":limit", &limit)];
    let (id, parent, name) =
        (workflow.map(WorkflowId::as_str), parent.map(RunId::as_bytes), status.map(Status::as_str));
    if let Some(id) = &id {
        values.push((":workflow", id));
    }
    if let Some(parent) = &parent {
        values.push((":parent", *parent));
    }
    if let Some(name) = &name {
        values.push((":status", name));
    }
    if let Some((name, value)) = label {
        values.extend::<[(&str, &dyn ToSql); 2]>([(":name", name), (":value", value)]);
    }
    let mut query = db.prepare_cached(&sql(filter, status))?;
    let mut rows = query.query(&*values)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let run = encode::run_id(row.get_ref(0)?)?;
        let what = || format!("the row of run {run}");
        let row: RunRow = encode::read_row(run.as_bytes(), row, 1, 2, &what)?;
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

/// The query for what the filter names. A `+` keeps a condition from choosing the index.
pub(crate) fn sql(filter: &RunFilter, status: Option<Status>) -> String {
    let mut sql = String::from("SELECT run_id, row, row_sum FROM ");
    let by_label = filter.label.is_some();
    let by_parent = !by_label && filter.parent.is_some();
    let by_status =
        !by_label && !by_parent && status.is_some_and(|status| filter.workflow_id.is_none() || !status.is_terminal());
    let by_workflow = !by_label && !by_parent && !by_status && filter.workflow_id.is_some();
    sql.push_str(match (by_label, by_parent, by_status, by_workflow) {
        (true, ..) => {
            // In a join, BETWEEN bounds the walk on one side only.
            "labels CROSS JOIN runs USING (run_id) WHERE name = :name AND value = :value \
             AND labels.run_id >= :first AND labels.run_id <= :last"
        }
        (_, true, ..) => "runs INDEXED BY runs_by_parent WHERE parent = :parent AND run_id BETWEEN :first AND :last",
        (_, _, true, _) => "runs INDEXED BY runs_by_status WHERE status = :status AND run_id BETWEEN :first AND :last",
        (.., true) => {
            "runs INDEXED BY runs_by_workflow WHERE workflow_id = :workflow AND run_id BETWEEN :first AND :last"
        }
        _ => "runs WHERE run_id BETWEEN :first AND :last",
    });
    for (is_given, is_done, condition) in [
        (filter.parent.is_some(), by_parent, " AND +parent = :parent"),
        (status.is_some(), by_status, " AND +status = :status"),
        (filter.workflow_id.is_some(), by_workflow, " AND +workflow_id = :workflow"),
    ] {
        if is_given && !is_done {
            sql.push_str(condition);
        }
    }
    sql.push_str(if by_label {
        " ORDER BY labels.run_id DESC LIMIT :limit"
    } else {
        " ORDER BY run_id DESC LIMIT :limit"
    });
    sql
}

/// The first and the last id that a list may hold.
struct Range {
    first: [u8; 16],
    last: [u8; 16],
}

impl Range {
    fn of(filter: &RunFilter) -> Option<Self> {
        let (first, last) = RunId::with_prefix(filter.id_prefix.as_deref().unwrap_or_default())?;
        let (first, mut last) = (*first.as_bytes(), *last.as_bytes());
        if let Some(before) = filter.before {
            let before = u128::from_be_bytes(*before.as_bytes()).checked_sub(1)?;
            last = last.min(before.to_be_bytes());
        }
        Some(Self { first, last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::plan;

    /// Each list walks one index in its order, and never all runs to find few.
    #[test]
    fn a_list_by_what_is_rare_walks_no_history() {
        let label = Some(("team".to_owned(), "red".to_owned()));
        let parent = Some(RunId::from_bytes([1; 16]));
        let workflow_id = Some(WorkflowId::new("w"));
        let all = RunFilter::default;
        let by_workflow = || RunFilter { workflow_id: workflow_id.clone(), ..all() };
        let cases = [
            (all(), None, "SEARCH runs USING INDEX sqlite_autoindex_runs_1 (run_id>? AND run_id<?)"),
            (
                all(),
                Some(Status::Failed),
                "SEARCH runs USING INDEX runs_by_status (status=? AND run_id>? AND run_id<?)",
            ),
            (
                by_workflow(),
                Some(Status::Waiting),
                "SEARCH runs USING INDEX runs_by_status (status=? AND run_id>? AND run_id<?)",
            ),
            (
                by_workflow(),
                Some(Status::Succeeded),
                "SEARCH runs USING INDEX runs_by_workflow (workflow_id=? AND run_id>? AND run_id<?)",
            ),
            (by_workflow(), None, "SEARCH runs USING INDEX runs_by_workflow (workflow_id=? AND run_id>? AND run_id<?)"),
            (
                RunFilter { parent, ..by_workflow() },
                Some(Status::Running),
                "SEARCH runs USING INDEX runs_by_parent (parent=? AND run_id>? AND run_id<?)",
            ),
        ];
        for (filter, status, expected) in cases {
            assert_eq!(plan(&sql(&filter, status)), [expected], "{filter:?}");
        }
        let by_label = plan(&sql(&RunFilter { label, parent, ..by_workflow() }, Some(Status::Running)));
        assert_eq!(
            by_label,
            [
                "SEARCH labels USING COVERING INDEX labels_by_value (name=? AND value=? AND run_id>? AND run_id<?)",
                "SEARCH runs USING INDEX sqlite_autoindex_runs_1 (run_id=?)",
            ]
        );
    }
}
