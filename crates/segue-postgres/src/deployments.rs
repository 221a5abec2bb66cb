//! Deployments of workflows.

use deadpool_postgres::Object;
use segue_core::{
    ids::WorkflowId,
    ports::{Deployment, StoreError},
    seal::SealedRow,
};

use crate::{encode, failure::Failure, pool::Prepares};

/// Puts a version into service, unless it is the current one. Deployments of one workflow follow one another.
pub(crate) async fn deploy(db: &mut Object, deployment: &Deployment) -> Result<(), Failure> {
    const LOCK: &str = "SELECT pg_advisory_xact_lock(1397049173, hashtext($1))::text";
    const VERSION: &str = "SELECT 1 FROM workflows WHERE hash = $1 AND workflow_id = $2";
    const SQL: &str = "INSERT INTO deployments (workflow_id, summary, sum) VALUES ($1, $2, $3)";
    let Deployment { workflow_id, hash, base_dir, .. } = deployment;
    let change = db.transaction().await?;
    change.rows(LOCK, &[&workflow_id.as_str()]).await?;
    if change.rows(VERSION, &[&hash.as_bytes().as_slice(), &workflow_id.as_str()]).await?.is_empty() {
        return Err(StoreError::NotFound(format!("version {hash} of workflow {workflow_id}")).into());
    }
    let current = list(&change, Some(workflow_id), 1).await?.pop();
    if current.is_some_and(|current| current.hash == *hash && current.base_dir == *base_dir) {
        return Ok(());
    }
    let row = SealedRow::of(workflow_id.as_str().as_bytes(), deployment);
    change.change(SQL, &[&workflow_id.as_str(), &row.text, &row.sum]).await?;
    change.commit().await?;
    Ok(())
}

/// All of one workflow, newest first, or the current one of each.
pub(crate) async fn list(
    db: &impl Prepares,
    workflow: Option<&WorkflowId>,
    limit: usize,
) -> Result<Vec<Deployment>, Failure> {
    const OF_ONE: &str = "SELECT workflow_id, summary, sum FROM deployments WHERE workflow_id = $2 \
         ORDER BY deploy_no DESC LIMIT $1";
    const CURRENT: &str = "SELECT DISTINCT ON (workflow_id) workflow_id, summary, sum FROM deployments \
         ORDER BY workflow_id, deploy_no DESC LIMIT $1";
    let limit = encode::limit(limit);
    let rows = match workflow {
        Some(id) => db.rows(OF_ONE, &[&limit, &id.as_str()]).await?,
        None => db.rows(CURRENT, &[&limit]).await?,
    };
    let read = |row| {
        let id: &str = tokio_postgres::Row::try_get(row, 0)?;
        encode::summary(id.as_bytes(), row, || format!("a deployment of {id}"))
    };
    rows.iter().map(read).collect()
}
