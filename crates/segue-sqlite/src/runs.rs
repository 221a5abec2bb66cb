//! Runs: created, moved on by commits, read.

use rusqlite::{Connection, OptionalExtension, named_params, params};
use segue_core::{
    event::Event,
    ids::{ContentHash, EngineId, RunId, WorkflowId},
    ports::{Commit, Created, Lease, NewRun, RequestId, RunFilter, RunRow, StoreError},
    status::Status,
};

use crate::{
    encode::{self, EventsText, RowText, damaged},
    failure::Failure,
    inbox, log,
    tasks::{self, TaskTexts},
};

/// What every piece of work on a run needs of its row.
#[derive(Debug)]
pub(crate) struct RunHead {
    pub(crate) run_no: i64,
    pub(crate) run_id: RunId,
    pub(crate) version: u64,
    pub(crate) chain: ContentHash,
    fence: u64,
    is_owned: bool,
    status: String,
}

/// The head of a run's row.
pub(crate) fn head(db: &Connection, run_id: RunId) -> Result<RunHead, Failure> {
    const SQL: &str = "SELECT run_no, version, chain, fence, owner IS NOT NULL, status FROM runs WHERE run_id = ?1";
    let mut query = db.prepare_cached(SQL)?;
    let head = query.query_row([run_id.as_bytes()], |row| {
        Ok(RunHead {
            run_no: row.get(0)?,
            run_id,
            version: row.get(1)?,
            chain: encode::hash(row.get_ref(2)?),
            fence: row.get(3)?,
            is_owned: row.get(4)?,
            status: row.get(5)?,
        })
    });
    head.optional()?.ok_or_else(|| Failure::Refused(StoreError::NotFound(format!("run {run_id}"))))
}

/// What a creation or a commit writes, made ready before the writer thread sees it.
#[derive(Debug)]
struct Texts {
    events: EventsText,
    row: RowText,
    tasks: TaskTexts,
    status: Status,
    blobs: Vec<Event>,
}

impl Texts {
    fn of(events: Vec<Event>, row: &RunRow, tasks: &[segue_core::ports::TaskRow]) -> Self {
        let run = row.run_id;
        Self {
            events: EventsText::of(&events),
            row: RowText::of(run, row),
            tasks: TaskTexts::of(run, tasks),
            status: row.status,
            blobs: events.into_iter().filter(|event| event.kind.payload().is_some_and(has_blob)).collect(),
        }
    }
}

fn has_blob(payload: &segue_core::payload::Payload) -> bool {
    payload.blob_to_store().is_some()
}

/// A run to create, ready to be written.
#[derive(Debug)]
pub(crate) struct Creation {
    run_id: RunId,
    workflow_id: WorkflowId,
    key: Option<String>,
    request_hash: ContentHash,
    owner: Option<EngineId>,
    texts: Texts,
}

impl Creation {
    pub(crate) fn of(new: NewRun) -> Self {
        new.assert_consistent();
        Self {
            run_id: new.run.run_id,
            workflow_id: new.run.workflow_id.clone(),
            key: new.idempotency_key,
            request_hash: new.request_hash,
            owner: new.owner,
            texts: Texts::of(new.events, &new.run, &new.tasks),
        }
    }

    pub(crate) fn large_bytes(&self) -> usize {
        log::blob_bytes(&self.texts.blobs)
    }

    pub(crate) fn write(&self, db: &Connection) -> Result<Created, Failure> {
        const SQL: &str = "INSERT INTO runs (run_id, workflow_id, idempotency_key, request_hash, owner, fence, live, \
             status, version, chain, row, row_sum) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, 'PENDING', 0, ?7, '', 0)";
        if let Some(existing) = self.existing(db)? {
            return Ok(existing);
        }
        let fence = u64::from(self.owner.is_some());
        let start = log::chain_start(self.run_id);
        db.prepare_cached(SQL)?.execute(params![
            self.run_id.as_bytes(),
            self.workflow_id.as_str(),
            self.key,
            self.request_hash.as_bytes(),
            self.owner.as_ref().map(EngineId::as_str),
            fence,
            start.as_bytes(),
        ])?;
        let head = RunHead {
            run_no: db.last_insert_rowid(),
            run_id: self.run_id,
            version: 0,
            chain: start,
            fence,
            is_owned: self.owner.is_some(),
            status: String::new(),
        };
        write_texts(db, &head, &self.texts)?;
        Ok(Created::New(self.owner.as_ref().map(|_| Lease { run_id: self.run_id, fence })))
    }

    /// The run that was created before with this key, or this id.
    fn existing(&self, db: &Connection) -> Result<Option<Created>, Failure> {
        const SQL: &str = "SELECT run_id, request_hash FROM runs WHERE workflow_id = ?1 AND idempotency_key = ?2";
        if let Some(key) = &self.key {
            let mut query = db.prepare_cached(SQL)?;
            let mut rows = query.query([self.workflow_id.as_str(), key])?;
            if let Some(row) = rows.next()? {
                let run_id = encode::run_id(row.get_ref(0)?)?;
                if encode::hash(row.get_ref(1)?) == self.request_hash {
                    return Ok(Some(Created::Existing(run_id)));
                }
                return Err(StoreError::KeyReused { key: key.clone(), run_id }.into());
            }
        }
        match head(db, self.run_id) {
            Ok(_) => Err(StoreError::Conflict { run_id: self.run_id }.into()),
            Err(Failure::Refused(StoreError::NotFound(_))) => Ok(None),
            Err(other) => Err(other),
        }
    }
}

/// A commit ready to be written.
#[derive(Debug)]
pub(crate) struct Step {
    lease: Lease,
    expected_version: u64,
    answered: Vec<RequestId>,
    texts: Texts,
}

impl Step {
    pub(crate) fn of(commit: Commit) -> Self {
        commit.assert_consistent();
        Self {
            lease: commit.lease,
            expected_version: commit.expected_version,
            answered: commit.answered,
            texts: Texts::of(commit.events, &commit.run, &commit.tasks),
        }
    }

    pub(crate) fn large_bytes(&self) -> usize {
        log::blob_bytes(&self.texts.blobs)
    }

    pub(crate) fn write(&self, db: &Connection) -> Result<(), Failure> {
        let head = head(db, self.lease.run_id)?;
        if head.fence != self.lease.fence || !head.is_owned || head.version != self.expected_version {
            return Err(StoreError::Conflict { run_id: self.lease.run_id }.into());
        }
        write_texts(db, &head, &self.texts)?;
        inbox::remove(db, head.run_no, &self.answered)
    }
}

fn write_texts(db: &Connection, head: &RunHead, texts: &Texts) -> Result<(), Failure> {
    log::keep_blobs(db, &texts.blobs)?;
    let chain = log::append(db, head.run_no, head.version, head.chain, &texts.events)?;
    let version = head.version + texts.events.count as u64;
    if head.status == texts.status.as_str() && !texts.status.is_terminal() {
        update(db, head.run_no, version, chain, &texts.row)?;
    } else {
        update_status(db, head.run_no, version, chain, &texts.row, texts.status)?;
    }
    tasks::put(db, head.run_no, head.version, &texts.tasks)
}

/// The usual step: touches no index.
fn update(db: &Connection, run_no: i64, version: u64, chain: ContentHash, row: &RowText) -> Result<(), Failure> {
    const SQL: &str = "UPDATE runs SET version = ?2, chain = ?3, row = ?4, row_sum = ?5 WHERE run_no = ?1";
    db.prepare_cached(SQL)?.execute(params![run_no, version, chain.as_bytes(), row.text, row.sum])?;
    Ok(())
}

/// A step that changes the status. An ended run belongs to nobody.
fn update_status(
    db: &Connection,
    run_no: i64,
    version: u64,
    chain: ContentHash,
    row: &RowText,
    status: Status,
) -> Result<(), Failure> {
    const SQL: &str = "UPDATE runs SET version = ?2, chain = ?3, row = ?4, row_sum = ?5, status = ?6, live = ?7, \
         owner = CASE WHEN ?7 THEN owner END WHERE run_no = ?1";
    let live = !status.is_terminal();
    let values = params![run_no, version, chain.as_bytes(), row.text, row.sum, status.as_str(), live];
    db.prepare_cached(SQL)?.execute(values)?;
    Ok(())
}

/// One run's row.
pub(crate) fn get(db: &Connection, run: RunId) -> Result<RunRow, Failure> {
    const SQL: &str = "SELECT row, row_sum FROM runs WHERE run_id = ?1";
    let mut query = db.prepare_cached(SQL)?;
    let mut rows = query.query([run.as_bytes()])?;
    match rows.next()? {
        Some(row) => encode::read_row(run, row, 0, 1, &|| format!("the row of run {run}")),
        None => Err(StoreError::NotFound(format!("run {run}")).into()),
    }
}

/// Rows by filter, newest first. Walks the runs from the newest on until it has enough, so a page of a long history is
/// quick where the filter lets much through.
pub(crate) fn list(db: &Connection, filter: &RunFilter) -> Result<Vec<RunRow>, Failure> {
    const SQL: &str = "SELECT run_id, row, row_sum FROM runs \
         WHERE run_id BETWEEN :first AND :last AND (:before IS NULL OR run_id < :before) \
         AND (:workflow IS NULL OR workflow_id = :workflow) \
         AND (:statuses IS NULL OR status IN (SELECT value FROM json_each(:statuses))) \
         ORDER BY run_id DESC LIMIT :limit";
    let Some((first, last)) = ids_with_prefix(filter.id_prefix.as_deref().unwrap_or_default()) else {
        return Ok(Vec::new());
    };
    let statuses = (!filter.statuses.is_empty())
        .then(|| serde_json::to_string(&filter.statuses).expect("statuses can be written as JSON"));
    let mut query = db.prepare_cached(SQL)?;
    let mut rows = query.query(named_params! {
        ":first": first,
        ":last": last,
        ":before": filter.before.as_ref().map(|run| *run.as_bytes()),
        ":workflow": filter.workflow_id.as_ref().map(WorkflowId::as_str),
        ":statuses": statuses,
        ":limit": if filter.limit == 0 { -1 } else { i64::try_from(filter.limit).unwrap_or(-1) },
    })?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let run = encode::run_id(row.get_ref(0)?)?;
        found.push(encode::read_row(run, row, 1, 2, &|| format!("the row of run {run}"))?);
    }
    Ok(found)
}

/// The first and the last id whose text starts with `prefix`; none if no id's text does.
fn ids_with_prefix(prefix: &str) -> Option<([u8; 16], [u8; 16])> {
    const HYPHENS: [usize; 4] = [8, 13, 18, 23];
    let fits = prefix.len() <= 36
        && prefix.bytes().enumerate().all(|(at, byte)| {
            if HYPHENS.contains(&at) { byte == b'-' } else { matches!(byte, b'0'..=b'9' | b'a'..=b'f') }
        });
    if !fits {
        return None;
    }
    let fill = |digit: char| {
        let digits: String = prefix.chars().filter(|c| *c != '-').chain(std::iter::repeat(digit)).take(32).collect();
        u128::from_str_radix(&digits, 16).ok().map(u128::to_be_bytes)
    };
    Some((fill('0')?, fill('f')?))
}

/// The output and the error of a task, from the event that its row names.
pub(crate) fn event(db: &Connection, run: &RunHead, seq: u64) -> Result<Event, Failure> {
    let found = log::read(db, run, seq.saturating_sub(1), 1)?.pop();
    found.ok_or_else(|| damaged(format!("the log of run {} at seq {seq}", run.run_id), "is missing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_a_range_of_ids() {
        let id: RunId = "01998e3c-0a00-7000-8000-00000000002a".parse().expect("an id");
        for length in 0..=36 {
            let (first, last) = ids_with_prefix(&id.to_string()[..length]).expect("a prefix of an id");
            assert!((first..=last).contains(id.as_bytes()), "{length}");
        }
        let (first, last) = ids_with_prefix(&id.to_string()).expect("an id");
        assert_eq!((&first, &last), (id.as_bytes(), id.as_bytes()));
        for none in ["01998E", "01998e3c0", "x", "01998e3c-0a00-7000-8000-00000000002a0", "-"] {
            assert_eq!(ids_with_prefix(none), None, "{none}");
        }
    }
}
