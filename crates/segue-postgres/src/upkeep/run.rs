//! One run at one moment: its rows against their checksums, and against what stands beside them.

use std::collections::BTreeSet;

use deadpool_postgres::Object;
use segue_core::{
    ids::{RunId, TaskId},
    ports::{Finding, FindingKind, Findings, RunRow, TaskRow},
    status::Status,
    time::Timestamp,
    verify::{ChainCheck, values_in},
};
use tokio_postgres::{IsolationLevel, Row};
use uuid::Uuid;

use super::told;
use crate::{encode, failure::Failure, inbox, journal, pool::Prepares, runs, threads};

/// Commits of a log that are read at once.
const PAGE: i64 = 200;

pub(super) async fn verify(db: &mut Object, run: RunId) -> Result<Findings, Failure> {
    const SQL: &str = "SELECT summary, sum, status, version, live, workflow_id, parent, ended_at, chain FROM runs \
         WHERE run_id = $1";
    let moment = db.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true).start().await?;
    let rows = moment.rows(SQL, &[&encode::uuid(run)]).await?;
    let head = rows.first().ok_or_else(|| runs::not_found(run))?;
    let mut findings = Findings::default();
    let row = encode::summary::<RunRow>(run.as_bytes(), head, || format!("the row of run {run}"));
    if let Some(row) = told(&mut findings, row, |why| Finding::of(FindingKind::Run, run, why))? {
        beside(head, &row, &mut findings)?;
        labels(&moment, &row, &mut findings).await?;
    }
    log(&moment, run, head, &mut findings).await?;
    tasks(&moment, run, &mut findings).await?;
    let pending = inbox::pending(&moment, run).await;
    told(&mut findings, pending, |why| Finding::of(FindingKind::Request, run, why))?;
    for call in journal::damaged_in(&moment, run).await? {
        let what = format!("a recorded answer of a model ({call}) does not match its checksum");
        findings.push(Finding::of(FindingKind::ModelCall, run, what));
    }
    for thread in threads::damaged_in(&moment, run).await? {
        let what = format!("a state of the graph {thread} does not match its checksum");
        findings.push(Finding::of(FindingKind::Checkpoint, run, what));
    }
    moment.commit().await?;
    Ok(findings)
}

/// The columns beside a run's row have no checksum: what they say must be what the row says.
fn beside(head: &Row, row: &RunRow, findings: &mut Findings) -> Result<(), Failure> {
    let nothing = || "nothing".to_owned();
    let mut compare = |name: &str, found: String, said: String| {
        if found != said {
            let what = format!("its column {name} is {found}, its row says {said}");
            findings.push(Finding::of(FindingKind::Run, row.run_id, what));
        }
    };
    let ended_at = row.finished_at.filter(|_| row.status.is_terminal()).map(Timestamp::as_micros);
    compare("status", head.try_get::<_, String>(2)?, row.status.to_string());
    compare("version", head.try_get::<_, i64>(3)?.to_string(), row.version.to_string());
    compare("live", head.try_get::<_, bool>(4)?.to_string(), (!row.status.is_terminal()).to_string());
    compare("workflow_id", head.try_get::<_, String>(5)?, row.workflow_id.to_string());
    let parent = head.try_get::<_, Option<Uuid>>(6)?.map(encode::run_id);
    compare(
        "parent",
        parent.map_or_else(nothing, |id| id.to_string()),
        row.parent.map_or_else(nothing, |id| id.to_string()),
    );
    let ended = head.try_get::<_, Option<i64>>(7)?;
    compare(
        "ended_at",
        ended.map_or_else(nothing, |time| time.to_string()),
        ended_at.map_or_else(nothing, |time| time.to_string()),
    );
    Ok(())
}

async fn labels(db: &impl Prepares, row: &RunRow, findings: &mut Findings) -> Result<(), Failure> {
    const SQL: &str = "SELECT label FROM labels WHERE run_id = $1";
    let mut listed = BTreeSet::new();
    for label in db.rows(SQL, &[&encode::uuid(row.run_id)]).await? {
        listed.insert(label.try_get::<_, Vec<u8>>(0)?);
    }
    let own: BTreeSet<Vec<u8>> =
        row.labels.iter().map(|(name, value)| encode::name(&[name, value]).as_bytes().to_vec()).collect();
    if listed != own {
        let what = "its labels in the list are not those of its row";
        findings.push(Finding::of(FindingKind::Run, row.run_id, what));
    }
    Ok(())
}

async fn log(db: &impl Prepares, run: RunId, head: &Row, findings: &mut Findings) -> Result<(), Failure> {
    const SQL: &str = "SELECT seq, count, body, chain FROM events WHERE run_id = $1 AND seq > $2 ORDER BY seq LIMIT $3";
    let mut check = ChainCheck::new(run);
    let mut after = i64::MIN;
    loop {
        let page = db.rows(SQL, &[&encode::uuid(run), &after, &PAGE]).await?;
        for row in &page {
            after = row.try_get(0)?;
            let count = u64::try_from(row.try_get::<_, i32>(1)?).unwrap_or(0);
            let text = row.try_get::<_, &str>(2)?.as_bytes();
            check.commit(encode::count(after), count, text, encode::hash(row.try_get(3)?), findings);
            uses(db, run, text, findings).await?;
        }
        if page.len() < usize::try_from(PAGE).unwrap_or(0) {
            break;
        }
    }
    check.end(encode::count(head.try_get(3)?), encode::hash(head.try_get(8)?), findings);
    Ok(())
}

/// Each large value that the log refers to is noted as used by the run.
async fn uses(db: &impl Prepares, run: RunId, text: &[u8], findings: &mut Findings) -> Result<(), Failure> {
    const SQL: &str = "SELECT 1 FROM blob_uses WHERE run_id = $1 AND hash = $2";
    for (seq, task_id, blob) in values_in(text) {
        if db.rows(SQL, &[&encode::uuid(run), &blob.hash.as_bytes().as_slice()]).await?.is_empty() {
            let what = format!("value {} is read by this event, and that is not noted", blob.hash);
            let finding = Finding::of(FindingKind::ValueUse, run, what).at(seq);
            findings.push(Finding { task_id, ..finding });
        }
    }
    Ok(())
}

async fn tasks(db: &impl Prepares, run: RunId, findings: &mut Findings) -> Result<(), Failure> {
    const SQL: &str =
        "SELECT task_id, summary, sum, waiting_since IS NOT NULL, waiting_seq FROM tasks WHERE run_id = $1";
    for row in db.rows(SQL, &[&encode::uuid(run)]).await? {
        let task = TaskId::new(row.try_get::<_, String>(0)?);
        let about = |kind, what: String| Finding::of(kind, run, what).task(task.clone());
        let read = encode::summary::<TaskRow>(run.as_bytes(), &row, || format!("the row of task {task}"));
        let Some(kept) = told(findings, read, |why| about(FindingKind::Task, why))? else { continue };
        if kept.task_id != task {
            findings.push(about(FindingKind::Task, format!("its row is that of task {}", kept.task_id)));
        }
        let is_listed: bool = row.try_get(3)?;
        let seq = row.try_get::<_, Option<i64>>(4)?.map(encode::count);
        let waits = kept.status == Status::Waiting;
        if is_listed != waits {
            let is = if is_listed { "is" } else { "is not" };
            let what = format!("{is} in the list of what waits, and its row says {}", kept.status);
            findings.push(about(FindingKind::Waiting, what));
        } else if waits && seq != kept.result_seq {
            let what = "the list of what waits names another event than its row".to_owned();
            findings.push(about(FindingKind::Waiting, what));
        }
    }
    Ok(())
}
