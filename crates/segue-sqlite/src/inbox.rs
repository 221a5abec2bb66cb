//! The request inbox of runs.

use rusqlite::{Connection, params};
use segue_core::{
    ids::RunId,
    ports::{Request, RequestId, RequestKind},
};

use crate::{
    encode::{self, damaged},
    failure::Failure,
    runs,
};

/// Puts a request into a run's inbox.
pub(crate) fn post(db: &Connection, run: RunId, kind: &RequestKind) -> Result<RequestId, Failure> {
    const SQL: &str = "INSERT INTO requests (run_no, reopens, kind) VALUES (?1, ?2, ?3)";
    let run_no = runs::head(db, run)?.run_no;
    let text = serde_json::to_string(kind).expect("a request can be written as JSON");
    db.prepare_cached(SQL)?.execute(params![run_no, matches!(kind, RequestKind::Reopen), text])?;
    Ok(RequestId(db.last_insert_rowid()))
}

/// A run's requests in order.
pub(crate) fn pending(db: &Connection, run: RunId) -> Result<Vec<Request>, Failure> {
    const SQL: &str = "SELECT request_id, kind FROM requests WHERE run_no = ?1 ORDER BY request_id";
    let run_no = runs::head(db, run)?.run_no;
    let mut query = db.prepare_cached(SQL)?;
    let mut rows = query.query([run_no])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let id = RequestId(row.get(0)?);
        let kind = serde_json::from_slice(encode::bytes(row.get_ref(1)?))
            .map_err(|error| damaged(format!("request {id} to run {run}"), &format!("cannot be read: {error}")))?;
        found.push(Request { id, kind });
    }
    Ok(found)
}

/// Removes requests of a run, whichever are still there.
pub(crate) fn remove(db: &Connection, run_no: i64, requests: &[RequestId]) -> Result<(), Failure> {
    const SQL: &str = "DELETE FROM requests WHERE request_id = ?1 AND run_no = ?2";
    for request in requests {
        db.prepare_cached(SQL)?.execute([request.0, run_no])?;
    }
    Ok(())
}

/// The runs of requests newer than `last`, and the newest request.
pub(crate) fn newer_than(db: &Connection, last: RequestId) -> Result<(Vec<RunId>, RequestId), Failure> {
    const SQL: &str = "SELECT request_id, run_id FROM requests JOIN runs USING (run_no) \
         WHERE request_id > ?1 ORDER BY request_id";
    let mut query = db.prepare_cached(SQL)?;
    let mut rows = query.query([last.0])?;
    let (mut found, mut newest) = (Vec::new(), last);
    while let Some(row) = rows.next()? {
        newest = RequestId(row.get(0)?);
        let run = encode::run_id(row.get_ref(1)?)?;
        if found.last() != Some(&run) {
            found.push(run);
        }
    }
    Ok((found, newest))
}
