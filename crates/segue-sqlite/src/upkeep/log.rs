//! The log of a run against its hashes.

use rusqlite::{Connection, params};
use segue_core::{
    ports::{Finding, FindingKind, Findings},
    verify::{ChainCheck, values_in},
};

use crate::{encode, failure::Failure, log, runs::RunHead};

/// Reads all rows of the log, each against the chain.
pub(super) fn verify(db: &Connection, run: &RunHead, findings: &mut Findings) -> Result<(), Failure> {
    const SQL: &str = "SELECT place, count, body, chain FROM events WHERE place >= ?1 AND place < ?2 ORDER BY place";
    let mut query = db.prepare_cached(SQL)?;
    let mut rows = query.query([log::place(run.run_no, 0), log::place(run.run_no + 1, 0)])?;
    let mut check = ChainCheck::new(run.run_id);
    while let Some(row) = rows.next()? {
        let text = encode::bytes(row.get_ref(2)?);
        let link = encode::hash(row.get_ref(3)?);
        check.commit(log::seq_of(row.get(0)?), row.get(1)?, text, link, findings);
        uses(db, run, text, findings)?;
    }
    check.end(run.version, run.chain, findings);
    Ok(())
}

/// Each large value that the log refers to is noted as used by the run: else it would be removed with its last other user.
fn uses(db: &Connection, run: &RunHead, text: &[u8], findings: &mut Findings) -> Result<(), Failure> {
    const SQL: &str = "SELECT EXISTS (SELECT 1 FROM blob_uses WHERE run_no = ?1 AND hash = ?2)";
    for (seq, task_id, blob) in values_in(text) {
        let is_noted: bool =
            db.prepare_cached(SQL)?.query_row(params![run.run_no, blob.hash.as_bytes()], |row| row.get(0))?;
        if !is_noted {
            let what = format!("value {} is read by this event, and that is not noted", blob.hash);
            let finding = Finding::of(FindingKind::ValueUse, run.run_id, what).at(seq);
            findings.push(Finding { task_id, ..finding });
        }
    }
    Ok(())
}
