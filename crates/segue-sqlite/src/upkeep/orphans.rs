//! Rows of runs that are not there, and values that nobody reads.

use rusqlite::{Connection, OptionalExtension};
use segue_core::{
    ids::RunId,
    ports::{Finding, FindingKind, Findings},
};

use crate::{encode, failure::Failure, log, values};

pub(super) fn verify(db: &Connection, findings: &mut Findings) -> Result<(), Failure> {
    for table in ["events", "tasks", "model_calls"] {
        by_place(db, table, findings)?;
    }
    for table in ["requests", "blob_uses"] {
        by_number(db, table, findings)?;
    }
    for table in ["checkpoints", "checkpoint_writes"] {
        by_thread(db, table, findings)?;
    }
    by_id(db, findings)?;
    unused_values(db, findings)
}

/// Is there a run of this number, or is it being deleted?
fn is_known(db: &Connection, run_no: i64) -> Result<bool, Failure> {
    const SQL: &str = "SELECT EXISTS (SELECT 1 FROM runs WHERE run_no = ?1) \
         OR EXISTS (SELECT 1 FROM buried WHERE run_no = ?1)";
    Ok(db.prepare_cached(SQL)?.query_row([run_no], |row| row.get(0))?)
}

fn lost(table: &str, run_no: i64) -> Finding {
    let what = format!("the table {table} has rows of a run that is not there (number {run_no})");
    Finding::new(FindingKind::Orphan, what)
}

/// Jumps from run to run.
fn by_place(db: &Connection, table: &str, findings: &mut Findings) -> Result<(), Failure> {
    let mut next = db.prepare(&format!("SELECT place FROM {table} WHERE place >= ?1 ORDER BY place LIMIT 1"))?;
    let mut from = i64::MIN;
    while let Some(place) = next.query_row([from], |row| row.get::<_, i64>(0)).optional()? {
        let run_no = log::run_of(place);
        if !is_known(db, run_no)? {
            findings.push(lost(table, run_no));
        }
        let Some(after) = run_no.checked_add(1).filter(|run_no| *run_no < i64::from(u32::MAX >> 1)) else { break };
        from = log::place(after, 0);
    }
    Ok(())
}

fn by_number(db: &Connection, table: &str, findings: &mut Findings) -> Result<(), Failure> {
    let mut next = db.prepare(&format!("SELECT min(run_no) FROM {table} WHERE run_no > ?1"))?;
    let mut after = i64::MIN;
    while let Some(run_no) = next.query_row([after], |row| row.get::<_, Option<i64>>(0))? {
        if !is_known(db, run_no)? {
            findings.push(lost(table, run_no));
        }
        after = run_no;
    }
    Ok(())
}

/// Threads are called `<run id>/…`; those of another name belong to no run.
fn by_thread(db: &Connection, table: &str, findings: &mut Findings) -> Result<(), Failure> {
    const KNOWN: &str = "SELECT EXISTS (SELECT 1 FROM runs WHERE run_id = ?1) \
         OR EXISTS (SELECT 1 FROM buried WHERE run_id = ?1)";
    let mut next = db.prepare(&format!("SELECT min(thread) FROM {table} WHERE thread > ?1"))?;
    let mut after = String::new();
    while let Some(thread) = next.query_row([&after], |row| row.get::<_, Option<String>>(0))? {
        let run = thread.split_once('/').and_then(|(run, _)| run.parse::<RunId>().ok());
        // Behind all threads of the run.
        after = run.map_or_else(|| thread.clone(), |run| format!("{run}0"));
        if let Some(run) = run
            && !db.prepare_cached(KNOWN)?.query_row([run.as_bytes()], |row| row.get::<_, bool>(0))?
        {
            let what = format!("the table {table} has rows of a run that is not there");
            findings.push(Finding::of(FindingKind::Orphan, run, what));
        }
    }
    Ok(())
}

fn by_id(db: &Connection, findings: &mut Findings) -> Result<(), Failure> {
    const SQL: &str = "SELECT DISTINCT run_id FROM labels \
         WHERE NOT EXISTS (SELECT 1 FROM runs WHERE runs.run_id = labels.run_id)";
    let mut query = db.prepare(SQL)?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let finding = Finding::new(FindingKind::Orphan, "the table labels has rows of a run that is not there");
        findings.push(Finding { run_id: encode::run_id(row.get_ref(0)?).ok(), ..finding });
    }
    Ok(())
}

/// Large values that no log and no cached result refers to, and uses of values that are not there.
fn unused_values(db: &Connection, findings: &mut Findings) -> Result<(), Failure> {
    // The empty name is that of the value that gives the write-ahead log its size.
    const UNUSED: &str = "SELECT hash FROM blobs WHERE hash <> x'' \
         AND NOT EXISTS (SELECT 1 FROM blob_uses WHERE blob_uses.hash = blobs.hash) \
         AND NOT EXISTS (SELECT 1 FROM cache WHERE cache.blob = blobs.hash)";
    let mut query = db.prepare(UNUSED)?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let hash = encode::hash(row.get_ref(0)?);
        let what = match values::length(db, hash)? {
            Some(bytes) => format!("value {hash} of {bytes} bytes is kept, and nothing reads it"),
            None => format!("value {hash} is kept, and nothing reads it"),
        };
        findings.push(Finding::new(FindingKind::Orphan, what));
    }
    Ok(())
}
