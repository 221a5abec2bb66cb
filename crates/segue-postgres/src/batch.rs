//! The steps of many runs as one statement: one round trip, one transaction.
//!
//! Each column of what is written is one array, with the run beside each element. The first part of the statement moves
//! the rows of the runs on, under the condition that the committer may; the others write only for runs that did move. So
//! a conflict of one run leaves no trace and fails no other.

use segue_core::{
    ids::{ContentHash, RunId},
    payload::BlobRef,
};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::{encode, texts::Texts};

/// Steps and what they write of runs, tasks and logs: `$1` to `$19`. `$names` and `$arrays` are the columns of one kind.
macro_rules! steps {
    ($names:literal, $arrays:literal) => {
        concat!(
            "WITH step AS MATERIALIZED ( \
                 SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::int[], $5::text[], $6::bytea[], \
                     $7::text[], $8::bigint[], $9::text[], $10::bigint[], $11::bool[]",
            $arrays,
            ") AS step (run_id, since, version, count, body, chain, status, ended_at, summary, sum, live",
            $names,
            ") \
             ), "
        )
    };
}

/// Those steps that refer to a value that is not there.
macro_rules! missing {
    ($run:literal, $hash:literal) => {
        concat!(
            "missing AS MATERIALIZED ( SELECT run_id FROM unnest($",
            $run,
            "::uuid[], $",
            $hash,
            "::bytea[]) AS needed (run_id, hash) \
                 WHERE NOT EXISTS (SELECT 1 FROM blobs WHERE blobs.hash = needed.hash) \
             ), "
        )
    };
}

/// What every batch writes beside the rows of runs. `won` are the runs that did move. Written as a condition that is not
/// taken for a join, so that the plan does not hang on how many rows the planner expects.
macro_rules! rows {
    () => {
        ", logged AS ( \
             INSERT INTO events (run_id, seq, count, body, chain) \
             SELECT run_id, since + 1, count, body, chain FROM step \
             WHERE count > 0 AND (run_id IN (SELECT run_id FROM won)) IS TRUE \
         ), tasked AS ( \
             INSERT INTO tasks (run_id, task_id, since, place, waiting_since, waiting_seq, summary, sum) \
             SELECT run_id, task_id, since, place, waiting_since, waiting_seq, summary, sum \
             FROM unnest($12::uuid[], $13::text[], $14::bigint[], $15::int[], $16::bigint[], $17::bigint[], \
                 $18::text[], $19::bigint[]) \
                 AS task (run_id, task_id, since, place, waiting_since, waiting_seq, summary, sum) \
             WHERE (run_id IN (SELECT run_id FROM won)) IS TRUE \
             ON CONFLICT (run_id, task_id) DO UPDATE SET summary = excluded.summary, sum = excluded.sum, \
                 waiting_seq = excluded.waiting_seq, waiting_since = CASE WHEN excluded.waiting_seq IS NOT NULL \
                 THEN coalesce(excluded.waiting_since, tasks.waiting_since) END \
         )"
    };
}

/// Large values that come along, and which runs refer to which.
macro_rules! large {
    ($brought_run:literal, $brought_hash:literal, $body:literal, $run:literal, $hash:literal) => {
        concat!(
            ", kept AS ( INSERT INTO blobs (hash, body) SELECT DISTINCT ON (hash) hash, body FROM unnest($",
            $brought_run,
            "::uuid[], $",
            $brought_hash,
            "::bytea[], $",
            $body,
            "::bytea[]) AS brought (run_id, hash, body) \
                 WHERE (run_id IN (SELECT run_id FROM won)) IS TRUE ON CONFLICT DO NOTHING \
             ), used AS ( INSERT INTO blob_uses (run_id, hash) SELECT DISTINCT run_id, hash FROM unnest($",
            $run,
            "::uuid[], $",
            $hash,
            "::bytea[]) AS used (run_id, hash) \
                 WHERE (run_id IN (SELECT run_id FROM won)) IS TRUE ON CONFLICT DO NOTHING \
             )"
        )
    };
}

/// The condition under which a step moves a run on. That on the owner is written so that no index of owners is walked.
macro_rules! moved {
    ($further:literal) => {
        concat!(
            "won AS ( \
                 UPDATE runs SET version = step.version, chain = step.chain, summary = step.summary, sum = step.sum, \
                     status = step.status, live = step.live, owner = CASE WHEN step.live THEN runs.owner END, \
                     ended_at = step.ended_at \
                 FROM step WHERE runs.run_id = step.run_id AND runs.fence = step.fence \
                     AND (runs.owner IS NOT NULL) IS TRUE AND runs.version = step.since \
                     AND runs.chain = step.chain_before",
            $further,
            " RETURNING runs.run_id )"
        )
    };
}

/// The row of a new run, under one condition.
macro_rules! made {
    ($condition:literal) => {
        concat!(
            "won AS ( \
                 INSERT INTO runs (run_id, workflow_id, start_key, request_hash, owner, fence, live, status, version, \
                     chain, parent, ended_at, summary, sum) \
                 SELECT run_id, workflow_id, start_key, request_hash, CASE WHEN live THEN owner END, fence, live, \
                     status, version, chain, parent, ended_at, summary, sum \
                 FROM step ",
            $condition,
            " ON CONFLICT DO NOTHING RETURNING run_id, owner, live )"
        )
    };
}

/// New runs that nobody owns are told to whoever listens.
macro_rules! told {
    () => {
        " SELECT run_id, CASE WHEN live AND owner IS NULL THEN pg_notify('segue_runs', run_id::text)::text END FROM won"
    };
}

/// A statement in two forms. Most batches are plain: the parts for what they have not cost the server as much again as the
/// whole rest, with nothing to do.
#[derive(Debug)]
pub(crate) struct Statement {
    /// For a batch without large values and without what only its kind has.
    pub(crate) plain: &'static str,
    pub(crate) full: &'static str,
}

/// Steps of live runs.
pub(crate) const COMMIT: Statement = Statement {
    plain: concat!(
        steps!(", fence, chain_before", ", $20::bigint[], $21::bytea[]"),
        moved!(""),
        rows!(),
        " SELECT run_id FROM won"
    ),
    full: concat!(
        steps!(", fence, chain_before", ", $20::bigint[], $21::bytea[]"),
        missing!(27, 28),
        moved!(" AND (step.run_id IN (SELECT run_id FROM missing)) IS NOT TRUE"),
        rows!(),
        large!(22, 23, 24, 25, 26),
        ", answered AS ( \
             DELETE FROM requests USING unnest($29::uuid[], $30::bigint[]) AS answer (run_id, request_id) \
             WHERE requests.request_id = answer.request_id AND requests.run_id = answer.run_id \
                 AND (answer.run_id IN (SELECT run_id FROM won)) IS TRUE \
         ) SELECT run_id FROM won"
    ),
};

/// New runs.
pub(crate) const CREATE: Statement = Statement {
    plain: concat!(
        steps!(
            ", workflow_id, start_key, request_hash, owner, fence, parent",
            ", $20::text[], $21::bytea[], $22::bytea[], $23::text[], $24::bigint[], $25::uuid[]"
        ),
        made!(""),
        rows!(),
        told!()
    ),
    full: concat!(
        steps!(
            ", workflow_id, start_key, request_hash, owner, fence, parent",
            ", $20::text[], $21::bytea[], $22::bytea[], $23::text[], $24::bigint[], $25::uuid[]"
        ),
        missing!(31, 32),
        made!("WHERE (run_id IN (SELECT run_id FROM missing)) IS NOT TRUE"),
        rows!(),
        large!(26, 27, 28, 29, 30),
        ", labelled AS ( \
             INSERT INTO labels (label, run_id) SELECT label, run_id \
             FROM unnest($33::uuid[], $34::bytea[]) AS labelled (run_id, label) \
             WHERE (run_id IN (SELECT run_id FROM won)) IS TRUE \
         )",
        told!()
    ),
};

/// The columns of both kinds of batch.
#[derive(Default)]
pub(crate) struct Columns<'t> {
    run_id: Vec<Uuid>,
    since: Vec<i64>,
    version: Vec<i64>,
    count: Vec<i32>,
    body: Vec<&'t str>,
    chain: Vec<Vec<u8>>,
    status: Vec<String>,
    ended_at: Vec<Option<i64>>,
    summary: Vec<&'t str>,
    sum: Vec<i64>,
    live: Vec<bool>,
    brought: Brought<'t>,
    used: Hashes,
    tasks: Tasks<'t>,
    needed: Hashes,
}

#[derive(Default)]
struct Brought<'t> {
    run_id: Vec<Uuid>,
    hash: Vec<Vec<u8>>,
    body: Vec<&'t [u8]>,
}

/// Hashes, each with its run.
#[derive(Default)]
pub(crate) struct Hashes {
    run_id: Vec<Uuid>,
    hash: Vec<Vec<u8>>,
}

#[derive(Default)]
struct Tasks<'t> {
    run_id: Vec<Uuid>,
    task_id: Vec<&'t str>,
    since: Vec<i64>,
    place: Vec<i32>,
    waiting_since: Vec<Option<i64>>,
    waiting_seq: Vec<Option<i64>>,
    summary: Vec<&'t str>,
    sum: Vec<i64>,
}

impl Hashes {
    pub(crate) fn push(&mut self, run: RunId, hash: ContentHash) {
        self.run_id.push(encode::uuid(run));
        self.hash.push(hash.as_bytes().to_vec());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.hash.is_empty()
    }

    pub(crate) fn values(&self) -> [&(dyn ToSql + Sync); 2] {
        [&self.run_id, &self.hash]
    }
}

impl<'t> Columns<'t> {
    /// One more step, after which the run's chain is `chain`. The large values that the run refers to already stay where
    /// they are.
    pub(crate) fn push(&mut self, texts: &'t Texts, chain: ContentHash, refers_to: impl Fn(ContentHash) -> bool) {
        let run_id = encode::uuid(texts.run_id);
        self.run_id.push(run_id);
        self.since.push(encode::number(texts.since));
        self.version.push(encode::number(texts.version));
        self.count.push(i32::try_from(texts.events.count).expect("a commit has few events"));
        self.body.push(&texts.events.text);
        self.chain.push(chain.as_bytes().to_vec());
        self.status.push(texts.status.as_str().to_owned());
        self.ended_at.push(texts.ended_at);
        self.summary.push(&texts.row.text);
        self.sum.push(texts.row.sum);
        self.live.push(!texts.status.is_terminal());
        let is_new = |blob: &BlobRef| !refers_to(blob.hash);
        for (blob, json) in texts.brings().filter(|(blob, _)| is_new(blob)) {
            self.brought.run_id.push(run_id);
            self.brought.hash.push(blob.hash.as_bytes().to_vec());
            self.brought.body.push(json);
        }
        texts.uses().filter(is_new).for_each(|blob| self.used.push(texts.run_id, blob.hash));
        texts.needs().filter(is_new).for_each(|blob| self.needed.push(texts.run_id, blob.hash));
        for (place, task) in (0..).zip(&texts.tasks) {
            let to = &mut self.tasks;
            to.run_id.push(run_id);
            to.task_id.push(&task.task_id);
            to.since.push(encode::number(texts.since));
            to.place.push(place);
            to.waiting_since.push(task.waiting_since);
            to.waiting_seq.push(task.waiting_seq.map(encode::number));
            to.summary.push(&task.row.text);
            to.sum.push(task.row.sum);
        }
    }

    /// Has it nothing for the parts of a statement that only its full form has?
    pub(crate) fn are_plain(&self) -> bool {
        // What is brought or needed is used.
        self.used.is_empty()
    }

    /// As the parameters `$1` to `$19` of both statements. What only one of them has comes after them.
    pub(crate) fn values(&self) -> Vec<&(dyn ToSql + Sync)> {
        let tasks = &self.tasks;
        vec![
            &self.run_id,
            &self.since,
            &self.version,
            &self.count,
            &self.body,
            &self.chain,
            &self.status,
            &self.ended_at,
            &self.summary,
            &self.sum,
            &self.live,
            &tasks.run_id,
            &tasks.task_id,
            &tasks.since,
            &tasks.place,
            &tasks.waiting_since,
            &tasks.waiting_seq,
            &tasks.summary,
            &tasks.sum,
        ]
    }

    /// As the seven parameters of a full form that follow.
    pub(crate) fn large_values(&self) -> Vec<&(dyn ToSql + Sync)> {
        let Self { brought, used, needed, .. } = self;
        let mut values: Vec<&(dyn ToSql + Sync)> = vec![&brought.run_id, &brought.hash, &brought.body];
        values.extend(used.values());
        values.extend(needed.values());
        values
    }
}
