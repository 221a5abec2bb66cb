//! Runs: created, moved on by commits, read.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};
use segue_core::{
    event::Event,
    ids::{ContentHash, EngineId, RunId, WorkflowId},
    payload::Payload,
    ports::{Commit, Created, Lease, NewRun, RequestId, RunRow, StoreError},
    status::Status,
    time::Timestamp,
};

use crate::{
    encode::{self, EventsText, RowText, damaged},
    failure::Failure,
    inbox, log,
    mutants::planted,
    tasks::{self, TaskTexts},
    values,
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
    /// Those that carry a large value.
    blobs: Vec<Event>,
    /// When the run ended, in microseconds since 1970.
    ended_at: Option<i64>,
}

impl Texts {
    fn of(events: Vec<Event>, row: &RunRow, tasks: &[segue_core::ports::TaskRow]) -> Self {
        let run = row.run_id;
        Self {
            events: EventsText::of(&events),
            row: RowText::of(run.as_bytes(), row),
            tasks: TaskTexts::of(run, tasks, &events),
            status: row.status,
            blobs: events.into_iter().filter(|event| event.kind.payload().is_some_and(is_large)).collect(),
            ended_at: row.finished_at.filter(|_| row.status.is_terminal()).map(Timestamp::as_micros),
        }
    }

    fn large_bytes(&self) -> usize {
        values::of(&self.blobs).filter_map(Payload::blob_to_store).map(|(_, json)| json.len()).sum()
    }
}

fn is_large(payload: &Payload) -> bool {
    payload.blob().is_some()
}

/// A run to create, ready to be written.
#[derive(Debug)]
pub(crate) struct Creation {
    run_id: RunId,
    workflow_id: WorkflowId,
    key: Option<String>,
    request_hash: ContentHash,
    owner: Option<EngineId>,
    labels: BTreeMap<String, String>,
    parent: Option<RunId>,
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
            labels: new.run.labels.clone(),
            parent: new.run.parent,
            texts: Texts::of(new.events, &new.run, &new.tasks),
        }
    }

    pub(crate) fn large_bytes(&self) -> usize {
        self.texts.large_bytes()
    }

    pub(crate) fn write(&self, db: &Connection) -> Result<Created, Failure> {
        const SQL: &str = "INSERT INTO runs (run_no, run_id, workflow_id, idempotency_key, request_hash, owner, fence, live, \
             status, version, chain, row, row_sum, parent) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 1, 'PENDING', 0, ?8, '', 0, ?9)";
        const LABEL: &str = "INSERT INTO labels (run_id, name, value) VALUES (?1, ?2, ?3)";
        if let Some(existing) = self.existing(db)? {
            return Ok(existing);
        }
        values::check(db, values::of(&self.texts.blobs))?;
        let run_no = next_number(db)?;
        let fence = u64::from(self.owner.is_some());
        let start = log::chain_start(self.run_id);
        db.prepare_cached(SQL)?.execute(params![
            run_no,
            self.run_id.as_bytes(),
            self.workflow_id.as_str(),
            self.key,
            self.request_hash.as_bytes(),
            self.owner.as_ref().map(EngineId::as_str),
            fence,
            start.as_bytes(),
            self.parent.as_ref().map(|parent| *parent.as_bytes()),
        ])?;
        for (name, value) in &self.labels {
            db.prepare_cached(LABEL)?.execute(params![self.run_id.as_bytes(), name, value])?;
        }
        let head = RunHead {
            run_no,
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

/// Above all numbers whose rows are still there, also of runs that are being deleted.
fn next_number(db: &Connection) -> Result<i64, Failure> {
    const SQL: &str = "SELECT 1 + max(coalesce((SELECT max(run_no) FROM runs), 0), \
         coalesce((SELECT max(run_no) FROM buried), 0))";
    Ok(db.prepare_cached(SQL)?.query_row([], |row| row.get(0))?)
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
        self.texts.large_bytes()
    }

    pub(crate) fn write(&self, db: &Connection) -> Result<(), Failure> {
        let head = head(db, self.lease.run_id)?;
        if head.fence != self.lease.fence || !head.is_owned || head.version != self.expected_version {
            return Err(StoreError::Conflict { run_id: self.lease.run_id }.into());
        }
        values::check(db, values::of(&self.texts.blobs))?;
        write_texts(db, &head, &self.texts)?;
        inbox::remove(db, head.run_no, &self.answered)
    }
}

fn write_texts(db: &Connection, head: &RunHead, texts: &Texts) -> Result<(), Failure> {
    values::keep_for_run(db, head.run_no, &texts.blobs)?;
    let chain = log::append(db, head.run_no, head.version, head.chain, &texts.events)?;
    let version = head.version + texts.events.count as u64;
    if planted!(StateApartFromEvents) {
        db.execute_batch("COMMIT; BEGIN IMMEDIATE")?;
    }
    if head.status == texts.status.as_str() && !texts.status.is_terminal() {
        update(db, head.run_no, version, chain, &texts.row)?;
    } else {
        update_status(db, head.run_no, version, chain, texts)?;
    }
    tasks::put(db, head.run_no, &texts.tasks)
}

/// The usual step: touches no index.
fn update(db: &Connection, run_no: i64, version: u64, chain: ContentHash, row: &RowText) -> Result<(), Failure> {
    const SQL: &str = "UPDATE runs SET version = ?2, chain = ?3, row = ?4, row_sum = ?5 WHERE run_no = ?1";
    db.prepare_cached(SQL)?.execute(params![run_no, version, chain.as_bytes(), row.text, row.sum])?;
    Ok(())
}

/// A step that changes the status. An ended run belongs to nobody.
fn update_status(db: &Connection, run_no: i64, version: u64, chain: ContentHash, texts: &Texts) -> Result<(), Failure> {
    const SQL: &str = "UPDATE runs SET version = ?2, chain = ?3, row = ?4, row_sum = ?5, status = ?6, live = ?7, \
         owner = CASE WHEN ?7 THEN owner END, ended_at = ?8 WHERE run_no = ?1";
    let Texts { row, status, ended_at, .. } = texts;
    let live = !status.is_terminal();
    let values = params![run_no, version, chain.as_bytes(), row.text, row.sum, status.as_str(), live, ended_at];
    db.prepare_cached(SQL)?.execute(values)?;
    Ok(())
}

/// The run with this number, unless it is being deleted.
pub(crate) fn numbered(db: &Connection, run_no: i64) -> Result<Option<RunId>, Failure> {
    let mut query = db.prepare_cached("SELECT run_id FROM runs WHERE run_no = ?1")?;
    let mut rows = query.query([run_no])?;
    rows.next()?.map(|row| encode::run_id(row.get_ref(0)?)).transpose()
}

/// One run's row.
pub(crate) fn get(db: &Connection, run: RunId) -> Result<RunRow, Failure> {
    const SQL: &str = "SELECT row, row_sum FROM runs WHERE run_id = ?1";
    let mut query = db.prepare_cached(SQL)?;
    let mut rows = query.query([run.as_bytes()])?;
    match rows.next()? {
        Some(row) => encode::read_row(run.as_bytes(), row, 0, 1, &|| format!("the row of run {run}")),
        None => Err(StoreError::NotFound(format!("run {run}")).into()),
    }
}

/// The output and the error of a task, from the event that its row names.
pub(crate) fn event(db: &Connection, run: &RunHead, seq: u64) -> Result<Event, Failure> {
    let found = log::read(db, run, seq.saturating_sub(1), 1)?.pop();
    found.ok_or_else(|| damaged(format!("the log of run {} at seq {seq}", run.run_id), "is missing"))
}
