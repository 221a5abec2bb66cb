//! The file as SQLite sees it, and what belongs to no run.

use std::path::Path;

use rusqlite::Connection;
use segue_core::{
    ids::ContentHash,
    ports::{Cached, Deployment, Finding, FindingKind, Findings},
    time::Timestamp,
};

use super::{orphans, storage, told};
use crate::{encode, failure::Failure, schema, values};

/// Findings of SQLite's own check: one damaged page makes many.
const OWN_MAX: u32 = 100;

pub(super) fn verify(db: &Connection, path: &Path) -> Result<Findings, Failure> {
    let mut findings = Findings::default();
    own_check(db, &mut findings)?;
    tables(db, path, &mut findings)?;
    if !findings.is_clean() {
        // What follows counts on tables and indexes that say the same.
        return Ok(findings);
    }
    orphans::verify(db, &mut findings)?;
    workflows(db, &mut findings)?;
    deployments(db, &mut findings)?;
    cached(db, &mut findings)?;
    limits(db, &mut findings)?;
    leases(db, &mut findings)?;
    Ok(findings)
}

/// Pages, tables and indexes by SQLite's own account.
fn own_check(db: &Connection, findings: &mut Findings) -> Result<(), Failure> {
    let mut query = db.prepare(&format!("PRAGMA integrity_check({OWN_MAX})"))?;
    let mut rows = query.query([])?;
    loop {
        match rows.next() {
            Ok(Some(row)) => {
                let text: String = row.get(0)?;
                text.lines().filter(|line| *line != "ok").for_each(|line| findings.push(storage(line)));
            }
            Ok(None) => return Ok(()),
            // The check itself stumbles over the damage.
            Err(error) => {
                findings.push(storage(format!("SQLite cannot read the file to its end: {error}")));
                return Ok(());
            }
        }
    }
}

/// Every table and index of the schema is there, as it was made.
fn tables(db: &Connection, path: &Path, findings: &mut Findings) -> Result<(), Failure> {
    let state = schema::state(db, path)?;
    if !state.is_current() {
        let what = format!("the file has schema {}, this program works with {}", state.found, state.known);
        findings.push(Finding::new(FindingKind::Schema, what));
        return Ok(());
    }
    let mut there = schema::objects(db)?;
    for (name, sql) in schema::expected()? {
        match there.remove(&name) {
            Some(own) if own == sql => {}
            Some(_) => findings.push(Finding::new(FindingKind::Schema, format!("{name} is not what was made"))),
            None => findings.push(Finding::new(FindingKind::Schema, format!("{name} is missing"))),
        }
    }
    for name in there.into_keys() {
        findings.push(Finding::new(FindingKind::Schema, format!("{name} is none of ours")));
    }
    Ok(())
}

fn workflows(db: &Connection, findings: &mut Findings) -> Result<(), Failure> {
    let mut query = db.prepare("SELECT hash, workflow_id, spec_json FROM workflows")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let hash = encode::hash(row.get_ref(0)?);
        if ContentHash::of(encode::bytes(row.get_ref(2)?)) != hash {
            let id = String::from_utf8_lossy(encode::bytes(row.get_ref(1)?)).into_owned();
            let what = format!("version {hash} of workflow {id} does not match its hash");
            findings.push(Finding::new(FindingKind::Workflow, what));
        }
    }
    Ok(())
}

fn deployments(db: &Connection, findings: &mut Findings) -> Result<(), Failure> {
    const KNOWN: &str = "SELECT EXISTS (SELECT 1 FROM workflows WHERE hash = ?1)";
    let mut query = db.prepare("SELECT workflow_id, row, row_sum FROM deployments")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let owner = encode::bytes(row.get_ref(0)?).to_vec();
        let id = String::from_utf8_lossy(&owner).into_owned();
        let read = encode::read_row::<Deployment>(&owner, row, 1, 2, &|| format!("a deployment of {id}"));
        let kept = told(findings, read, |why| Finding::new(FindingKind::Row, why))?;
        if let Some(kept) = kept
            && !db.prepare_cached(KNOWN)?.query_row([kept.hash.as_bytes()], |row| row.get::<_, bool>(0))?
        {
            let what = format!("version {} of workflow {id} is deployed, and missing", kept.hash);
            findings.push(Finding::new(FindingKind::Workflow, what));
        }
    }
    Ok(())
}

fn cached(db: &Connection, findings: &mut Findings) -> Result<(), Failure> {
    type Entry = (Cached, Option<Timestamp>);
    let mut query = db.prepare("SELECT key, row, row_sum FROM cache")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let key = String::from_utf8_lossy(encode::bytes(row.get_ref(0)?)).into_owned();
        let what = || format!("the cached result {key}");
        let read = encode::read_row::<Entry>(key.as_bytes(), row, 1, 2, &what);
        let kept = told(findings, read, |why| Finding::new(FindingKind::Row, why))?;
        if let Some((mut kept, _)) = kept {
            let loaded = values::load(db, &mut kept.output, &|| format!("the large value of {}", what()));
            told(findings, loaded, |why| Finding::new(FindingKind::Value, why))?;
        }
    }
    Ok(())
}

/// What named limits remember of the last minute. (A slot of an engine that is gone counts for nobody, and goes when somebody
/// asks for that limit.)
fn limits(db: &Connection, findings: &mut Findings) -> Result<(), Failure> {
    let mut query = db.prepare("SELECT key, state, state_sum FROM limits")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let key = encode::bytes(row.get_ref(0)?).to_vec();
        let what = || format!("the limit {}", String::from_utf8_lossy(&key));
        let read = encode::read_row::<serde_json::Value>(&key, row, 1, 2, &what);
        told(findings, read, |why| Finding::new(FindingKind::Limit, why))?;
    }
    Ok(())
}

/// Runs whose owner nobody knows.
fn leases(db: &Connection, findings: &mut Findings) -> Result<(), Failure> {
    const SQL: &str = "SELECT run_id, owner FROM runs WHERE owner IS NOT NULL \
         AND NOT EXISTS (SELECT 1 FROM engines WHERE engine_id = owner)";
    let mut query = db.prepare(SQL)?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let owner = String::from_utf8_lossy(encode::bytes(row.get_ref(1)?)).into_owned();
        let what = format!("it belongs to engine {owner}, which nobody knows");
        let finding = Finding::new(FindingKind::Lease, what);
        findings.push(Finding { run_id: encode::run_id(row.get_ref(0)?).ok(), ..finding });
    }
    Ok(())
}
