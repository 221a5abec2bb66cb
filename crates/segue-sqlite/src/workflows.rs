//! Versions of workflows.

use rusqlite::{Connection, params};
use segue_core::{
    ids::{ContentHash, WorkflowId},
    ports::{StoreError, WorkflowVersion},
};

use crate::{
    encode::{self, damaged},
    failure::Failure,
};

/// Keeps a version.
pub(crate) fn put(db: &Connection, version: &WorkflowVersion) -> Result<(), Failure> {
    const SQL: &str = "INSERT INTO workflows (hash, workflow_id, spec_json) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
    let values = params![version.hash.as_bytes(), version.workflow_id.as_str(), &*version.spec_json];
    db.prepare_cached(SQL)?.execute(values)?;
    Ok(())
}

/// The version with this hash, checked.
pub(crate) fn get(db: &Connection, hash: ContentHash) -> Result<WorkflowVersion, Failure> {
    const SQL: &str = "SELECT workflow_id, spec_json FROM workflows WHERE hash = ?1";
    let mut query = db.prepare_cached(SQL)?;
    let mut rows = query.query([hash.as_bytes()])?;
    let Some(row) = rows.next()? else {
        return Err(StoreError::NotFound(format!("workflow version {hash}")).into());
    };
    let spec = encode::bytes(row.get_ref(1)?);
    let is_whole = ContentHash::of(spec) == hash;
    match (std::str::from_utf8(spec), is_whole) {
        (Ok(spec), true) => {
            Ok(WorkflowVersion { hash, workflow_id: WorkflowId::new(row.get::<_, String>(0)?), spec_json: spec.into() })
        }
        _ => Err(damaged(format!("workflow version {hash}"), "does not match its hash")),
    }
}
