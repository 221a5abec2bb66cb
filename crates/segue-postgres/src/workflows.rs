//! Versions of workflows.

use segue_core::{
    ids::{ContentHash, WorkflowId},
    ports::{StoreError, WorkflowVersion},
};

use crate::{
    failure::{Failure, damaged},
    pool::Prepares,
};

/// Keeps a version.
pub(crate) async fn put(db: &impl Prepares, version: &WorkflowVersion) -> Result<(), Failure> {
    const SQL: &str = "INSERT INTO workflows (hash, workflow_id, spec_json) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    let hash: &[u8] = version.hash.as_bytes();
    db.change(SQL, &[&hash, &version.workflow_id.as_str(), &&*version.spec_json]).await?;
    Ok(())
}

/// The version with this hash, checked.
pub(crate) async fn get(db: &impl Prepares, hash: ContentHash) -> Result<WorkflowVersion, Failure> {
    const SQL: &str = "SELECT workflow_id, spec_json FROM workflows WHERE hash = $1";
    let rows = db.rows(SQL, &[&hash.as_bytes().as_slice()]).await?;
    let Some(row) = rows.first() else {
        return Err(StoreError::NotFound(format!("workflow version {hash}")).into());
    };
    let spec: &str = row.try_get(1)?;
    if ContentHash::of(spec.as_bytes()) != hash {
        return Err(damaged(format!("workflow version {hash}"), "does not match its hash"));
    }
    Ok(WorkflowVersion { hash, workflow_id: WorkflowId::new(row.try_get::<_, &str>(0)?), spec_json: spec.into() })
}
