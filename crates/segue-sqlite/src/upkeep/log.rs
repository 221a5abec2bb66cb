//! The log of a run against its hashes.

use rusqlite::{Connection, params};
use segue_core::{
    event::Event,
    ids::ContentHash,
    payload::Payload,
    ports::{Finding, FindingKind, Findings},
};

use super::events::{named, range};
use crate::{encode, failure::Failure, log, runs::RunHead, values};

/// Reads all rows of the log, each against the chain. Damage in one does not hide damage in those behind it.
pub(super) fn verify(db: &Connection, run: &RunHead, findings: &mut Findings) -> Result<(), Failure> {
    const SQL: &str = "SELECT place, count, body, chain FROM events WHERE place >= ?1 AND place < ?2 ORDER BY place";
    let mut query = db.prepare_cached(SQL)?;
    let mut rows = query.query([log::place(run.run_no, 0), log::place(run.run_no + 1, 0)])?;
    // The end of the chain so far; unknown behind a gap.
    let mut chain = Some(log::chain_start(run.run_id));
    let mut expected = 1;
    while let Some(row) = rows.next()? {
        let (seq, count) = (log::seq_of(row.get(0)?), row.get::<_, u64>(1)?);
        let text = encode::bytes(row.get_ref(2)?);
        let found = |kind, what: String| Finding::of(kind, run.run_id, what).at(seq);
        if seq > expected {
            let what = format!("{} missing", are(expected, seq - 1));
            findings.push(Finding::of(FindingKind::EventMissing, run.run_id, what).at(expected));
            chain = None;
        } else if seq < expected {
            findings.push(found(FindingKind::EventMisplaced, format!("event {seq} stands twice")));
            chain = None;
        }
        let stored = encode::hash(row.get_ref(3)?);
        if chain.is_some_and(|chain| chain.chained(ContentHash::of(text)) != stored) {
            let own = named(seq, seq + count.saturating_sub(1));
            findings.push(match range(text) {
                Some((first, last)) if first != seq => found(
                    FindingKind::EventMisplaced,
                    format!("where {own} belongs, {} {}", named(first, last), if first == last { "stands" } else { "stand" }),
                ),
                Some(_) => found(FindingKind::Event, format!("{own}: not what was written, the hash does not match")),
                None => found(FindingKind::Event, format!("{own}: cannot be read, and the hash does not match")),
            });
        }
        uses(db, run, text, findings)?;
        chain = Some(stored);
        expected = seq + count;
    }
    if expected <= run.version {
        let what = format!("{} missing: the log ends too early", are(expected, run.version));
        findings.push(Finding::of(FindingKind::EventMissing, run.run_id, what).at(expected));
    } else if expected > run.version + 1 {
        let what = format!("the log goes on to event {}, and the run's row is at {}", expected - 1, run.version);
        findings.push(Finding::of(FindingKind::Run, run.run_id, what).at(run.version));
    } else if chain.is_some_and(|chain| chain != run.chain) {
        let what = "the end of the log is not the one that the run's row knows".to_owned();
        findings.push(Finding::of(FindingKind::Event, run.run_id, what).at(run.version));
    }
    Ok(())
}

fn are(first: u64, last: u64) -> String {
    format!("{} {}", named(first, last), if first == last { "is" } else { "are" })
}

/// Each large value that the log refers to is noted as used by the run: else it would be removed with its last other user.
fn uses(db: &Connection, run: &RunHead, text: &[u8], findings: &mut Findings) -> Result<(), Failure> {
    const SQL: &str = "SELECT EXISTS (SELECT 1 FROM blob_uses WHERE run_no = ?1 AND hash = ?2)";
    const MARK: &[u8] = br#""$blob""#;
    if !text.windows(MARK.len()).any(|window| window == MARK) {
        return Ok(());
    }
    let Ok(events) = serde_json::from_slice::<Vec<Event>>(text) else { return Ok(()) };
    for event in &events {
        for blob in values::of(std::slice::from_ref(event)).filter_map(Payload::blob) {
            let is_noted: bool =
                db.prepare_cached(SQL)?.query_row(params![run.run_no, blob.hash.as_bytes()], |row| row.get(0))?;
            if !is_noted {
                let what = format!("value {} is read by this event, and that is not noted", blob.hash);
                let mut finding = Finding::of(FindingKind::ValueUse, run.run_id, what).at(event.seq);
                finding.task_id = event.task_id.clone();
                findings.push(finding);
            }
        }
    }
    Ok(())
}
