//! Deployments of workflows.

use rusqlite::{Connection, OptionalExtension, params};
use segue_core::{
    ids::WorkflowId,
    ports::{Deployment, StoreError},
};

use crate::{
    encode::{self, RowText},
    failure::Failure,
};

/// Puts a version into service, unless it is the current one.
pub(crate) fn deploy(db: &Connection, deployment: &Deployment) -> Result<(), Failure> {
    const SQL: &str = "INSERT INTO deployments (deploy_no, workflow_id, row, row_sum) \
         VALUES ((SELECT coalesce(max(deploy_no), 0) + 1 FROM deployments), ?1, ?2, ?3)";
    let Deployment { workflow_id, hash, base_dir, .. } = deployment;
    if !is_version(db, deployment)? {
        return Err(StoreError::NotFound(format!("version {hash} of workflow {workflow_id}")).into());
    }
    let current = list(db, Some(workflow_id), 1)?.pop();
    if current.is_some_and(|current| current.hash == *hash && current.base_dir == *base_dir) {
        return Ok(());
    }
    let row = RowText::of(workflow_id.as_str().as_bytes(), deployment);
    db.prepare_cached(SQL)?.execute(params![workflow_id.as_str(), row.text, row.sum])?;
    Ok(())
}

fn is_version(db: &Connection, deployment: &Deployment) -> Result<bool, Failure> {
    const SQL: &str = "SELECT workflow_id = ?2 FROM workflows WHERE hash = ?1";
    let values = params![deployment.hash.as_bytes(), deployment.workflow_id.as_str()];
    Ok(db.prepare_cached(SQL)?.query_row(values, |row| row.get(0)).optional()?.unwrap_or(false))
}

/// All of one workflow, newest first, or the current one of each.
pub(crate) fn list(db: &Connection, workflow: Option<&WorkflowId>, limit: usize) -> Result<Vec<Deployment>, Failure> {
    const OF_ONE: &str = "SELECT workflow_id, row, row_sum FROM deployments WHERE workflow_id = ?2 \
         ORDER BY deploy_no DESC LIMIT ?1";
    const CURRENT: &str = "SELECT workflow_id, row, row_sum FROM deployments \
         WHERE deploy_no IN (SELECT max(deploy_no) FROM deployments GROUP BY workflow_id) \
         ORDER BY workflow_id LIMIT ?1";
    let mut query = db.prepare_cached(if workflow.is_some() { OF_ONE } else { CURRENT })?;
    let limit = encode::limit(limit);
    let mut rows = match workflow {
        Some(id) => query.query(params![limit, id.as_str()])?,
        None => query.query([limit])?,
    };
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let id = encode::bytes(row.get_ref(0)?);
        let what = || format!("a deployment of {}", String::from_utf8_lossy(id));
        found.push(encode::read_row(id, row, 1, 2, &what)?);
    }
    Ok(found)
}
