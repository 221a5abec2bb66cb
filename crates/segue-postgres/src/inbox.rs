//! The request inbox of runs.

use segue_core::{
    ids::RunId,
    ports::{Request, RequestId, RequestKind},
};
use tokio_postgres::error::SqlState;

use crate::{
    encode,
    failure::{Failure, damaged},
    pool::Prepares,
    runs,
};

/// Puts a request into a run's inbox, and tells those who listen.
pub(crate) async fn post(db: &impl Prepares, run: RunId, kind: &RequestKind) -> Result<RequestId, Failure> {
    const SQL: &str = "WITH posted AS ( \
             INSERT INTO requests (run_id, reopens, kind) VALUES ($1, $2, $3) RETURNING request_id \
         ) SELECT request_id, pg_notify('segue_runs', $1::text)::text FROM posted";
    let text = serde_json::to_string(kind).expect("a request can be written as JSON");
    let posted = db.rows(SQL, &[&encode::uuid(run), &matches!(kind, RequestKind::Reopen), &text]).await;
    match posted {
        Err(failure) if failure.state() == Some(&SqlState::FOREIGN_KEY_VIOLATION) => Err(runs::not_found(run)),
        Err(failure) => Err(failure),
        Ok(rows) => Ok(RequestId(rows.first().expect("a row was inserted").try_get(0)?)),
    }
}

/// A run's requests in order.
pub(crate) async fn pending(db: &impl Prepares, run: RunId) -> Result<Vec<Request>, Failure> {
    const SQL: &str = "SELECT request_id, kind FROM runs LEFT JOIN requests USING (run_id) WHERE run_id = $1 \
         ORDER BY request_id";
    let rows = db.rows(SQL, &[&encode::uuid(run)]).await?;
    if rows.is_empty() {
        return Err(runs::not_found(run));
    }
    let mut found = Vec::new();
    for row in &rows {
        let Some(id) = row.try_get(0)? else { continue };
        let kind = serde_json::from_str(row.try_get(1)?)
            .map_err(|error| damaged(format!("request {id} to run {run}"), &format!("cannot be read: {error}")))?;
        found.push(Request { id: RequestId(id), kind });
    }
    Ok(found)
}

/// Removes requests of a run, whichever are still there.
pub(crate) async fn remove(db: &impl Prepares, run: RunId, requests: &[RequestId]) -> Result<(), Failure> {
    const SQL: &str = "DELETE FROM requests WHERE run_id = $1 AND request_id = ANY($2)";
    let ids: Vec<i64> = requests.iter().map(|request| request.0).collect();
    runs::check(db, run).await?;
    db.change(SQL, &[&encode::uuid(run), &ids]).await?;
    Ok(())
}

/// The runs that have something to be done for: requests, or nobody who owns them.
pub(crate) async fn to_look_at(db: &impl Prepares, most: i64) -> Result<Vec<RunId>, Failure> {
    const SQL: &str = "(SELECT DISTINCT run_id FROM requests LIMIT $1) UNION \
         (SELECT run_id FROM runs WHERE live AND owner IS NULL ORDER BY run_id LIMIT $1)";
    Ok(db.rows(SQL, &[&most]).await?.iter().map(|row| encode::run_id(row.get(0))).collect())
}
