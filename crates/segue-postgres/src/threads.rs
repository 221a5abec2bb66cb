//! The states of graphs, by thread.

use std::collections::HashMap;

use deadpool_postgres::Object;
use segue_core::{
    ids::{ContentHash, RunId},
    ports::{Checkpoint, CheckpointFilter, CheckpointWrites, Typed, Write},
    seal,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio_postgres::{IsolationLevel, Row, types::ToSql};

use crate::{
    encode,
    failure::{Failure, damaged},
    pool::Prepares,
};

/// What is kept of a state beside its bytes.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    parent: Option<String>,
    kind: String,
    metadata: Map<String, Value>,
}

/// What is kept of a write beside its bytes.
#[derive(Debug, Serialize, Deserialize)]
struct Written {
    task_path: String,
    channel: String,
    kind: String,
}

/// Keeps a state in the place of one with the same name.
pub(crate) async fn put(db: &impl Prepares, state: &Checkpoint) -> Result<(), Failure> {
    const SQL: &str = "INSERT INTO checkpoints (thread, namespace, id, summary, state, sum) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (thread, namespace, id) DO UPDATE SET summary = excluded.summary, state = excluded.state, \
         sum = excluded.sum";
    let Checkpoint { thread, namespace, id, parent, state: Typed { kind, bytes }, metadata, .. } = state;
    let summary = State { parent: parent.clone(), kind: kind.clone(), metadata: metadata.clone() };
    let summary = serde_json::to_string(&summary).expect("a summary can be written as JSON");
    let sum = checksum(&[thread, namespace, id], &summary, bytes);
    let name = [thread, namespace, id].map(String::as_bytes);
    db.change(SQL, &[&name[0], &name[1], &name[2], &summary, bytes, &sum]).await?;
    Ok(())
}

/// Keeps what a step wrote.
pub(crate) async fn put_writes(db: &mut Object, writes: &CheckpointWrites) -> Result<(), Failure> {
    const SQL: &str = "INSERT INTO checkpoint_writes (thread, namespace, id, task_id, place, summary, value, sum) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (thread, namespace, id, task_id, place) DO ";
    const REPLACE: &str = "UPDATE SET summary = excluded.summary, value = excluded.value, sum = excluded.sum";
    let CheckpointWrites { thread, namespace, id, writes, replace } = writes;
    let sql = [SQL, if *replace { REPLACE } else { "NOTHING" }].concat();
    let name = [thread, namespace, id].map(String::as_bytes);
    let change = db.transaction().await?;
    for write in writes {
        let Write { task_id, task_path, index, channel, value: Typed { kind, bytes } } = write;
        let summary = Written { task_path: task_path.clone(), channel: channel.clone(), kind: kind.clone() };
        let summary = serde_json::to_string(&summary).expect("a summary can be written as JSON");
        let sum = checksum(&[thread, namespace, id, task_id, &index.to_string()], &summary, bytes);
        let values: [&(dyn ToSql + Sync); 8] =
            [&name[0], &name[1], &name[2], &task_id.as_bytes(), index, &summary, bytes, &sum];
        change.change(&sql, &values).await?;
    }
    change.commit().await?;
    Ok(())
}

/// Those that the filter lets through, the newest first, with their writes: all of one moment.
pub(crate) async fn list(db: &mut Object, filter: &CheckpointFilter) -> Result<Vec<Checkpoint>, Failure> {
    let moment = db.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true).start().await?;
    let columns = [
        ("thread =", &filter.thread),
        ("namespace =", &filter.namespace),
        ("id =", &filter.id),
        ("id <", &filter.before),
    ];
    let (mut sql, mut texts) =
        ("SELECT thread, namespace, id, summary, state, sum FROM checkpoints WHERE TRUE".to_owned(), Vec::new());
    for (condition, text) in columns.into_iter().filter_map(|(condition, text)| Some((condition, text.as_ref()?))) {
        texts.push(text.as_bytes());
        sql.push_str(&format!(" AND {condition} ${}", texts.len()));
    }
    sql.push_str(" ORDER BY id DESC");
    // Metadata is looked at here: only without it does the server know how many are enough.
    if let (true, Some(limit)) = (filter.metadata.is_empty(), filter.limit) {
        sql.push_str(&format!(" LIMIT {limit}"));
    }
    let values: Vec<&(dyn ToSql + Sync)> = texts.iter().map(|text| text as &(dyn ToSql + Sync)).collect();
    let mut found = Vec::new();
    for row in moment.rows(&sql, &values).await? {
        if found.len() == filter.limit.unwrap_or(usize::MAX) {
            break;
        }
        let state = read(&row)?;
        if filter.metadata.iter().all(|(name, value)| state.metadata.get(name) == Some(value)) {
            found.push(state);
        }
    }
    add_writes(&moment, &mut found).await?;
    moment.commit().await?;
    Ok(found)
}

fn text(row: &Row, at: usize) -> Result<String, Failure> {
    Ok(String::from_utf8_lossy(row.try_get::<_, &[u8]>(at)?).into_owned())
}

fn read(row: &Row) -> Result<Checkpoint, Failure> {
    let (thread, namespace, id) = (text(row, 0)?, text(row, 1)?, text(row, 2)?);
    let (summary, bytes, sum): (&str, Vec<u8>, i64) = (row.try_get(3)?, row.try_get(4)?, row.try_get(5)?);
    let what = || format!("a state of the graph {thread}");
    if sum != checksum(&[&thread, &namespace, &id], summary, &bytes) {
        return Err(damaged(what(), "does not match its checksum"));
    }
    let State { parent, kind, metadata } =
        serde_json::from_str(summary).map_err(|error| damaged(what(), &format!("cannot be read: {error}")))?;
    Ok(Checkpoint { thread, namespace, id, parent, state: Typed { kind, bytes }, metadata, writes: Vec::new() })
}

/// Gives each state what steps after it have written, in order of `(task_path, task_id, index)`.
async fn add_writes(db: &impl Prepares, states: &mut [Checkpoint]) -> Result<(), Failure> {
    const SQL: &str = "SELECT thread, namespace, id, task_id, place, summary, value, sum FROM checkpoint_writes \
         WHERE (thread, namespace, id) IN (SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bytea[]))";
    if states.is_empty() {
        return Ok(());
    }
    let column = |part: fn(&Checkpoint) -> &String| -> Vec<Vec<u8>> {
        states.iter().map(|state| part(state).as_bytes().to_vec()).collect()
    };
    let names = [column(|state| &state.thread), column(|state| &state.namespace), column(|state| &state.id)];
    let mut writes: HashMap<[String; 3], Vec<Write>> = HashMap::new();
    for row in db.rows(SQL, &[&names[0], &names[1], &names[2]]).await? {
        let name = [text(&row, 0)?, text(&row, 1)?, text(&row, 2)?];
        let (task_id, index): (_, i64) = (text(&row, 3)?, row.try_get(4)?);
        let (summary, bytes, sum): (&str, Vec<u8>, i64) = (row.try_get(5)?, row.try_get(6)?, row.try_get(7)?);
        let what = || format!("what a step of the graph {} wrote", name[0]);
        if sum != checksum(&[&name[0], &name[1], &name[2], &task_id, &index.to_string()], summary, &bytes) {
            return Err(damaged(what(), "does not match its checksum"));
        }
        let Written { task_path, channel, kind } =
            serde_json::from_str(summary).map_err(|error| damaged(what(), &format!("cannot be read: {error}")))?;
        let write = Write { task_id, task_path, index, channel, value: Typed { kind, bytes } };
        writes.entry(name).or_default().push(write);
    }
    for state in states {
        let name = [state.thread.clone(), state.namespace.clone(), state.id.clone()];
        state.writes = writes.remove(&name).unwrap_or_default();
        state.writes.sort_by(|a, b| (&a.task_path, &a.task_id, a.index).cmp(&(&b.task_path, &b.task_id, b.index)));
    }
    Ok(())
}

/// The threads of a run that hold something which is not what was written.
pub(crate) async fn damaged_in(db: &impl Prepares, run: RunId) -> Result<Vec<String>, Failure> {
    const SQL: &str =
        "SELECT thread, namespace, id, summary, state, sum FROM checkpoints WHERE thread >= $1 AND thread < $2";
    let (first, end) = (format!("{run}/").into_bytes(), format!("{run}0").into_bytes());
    let mut found = Vec::new();
    for row in db.rows(SQL, &[&first, &end]).await? {
        let whole = match read(&row) {
            Ok(state) => add_writes(db, &mut [state]).await,
            Err(failure) => Err(failure),
        };
        match whole {
            Ok(()) => {}
            Err(Failure::Refused(_)) => found.push(text(&row, 0)?),
            Err(other) => return Err(other),
        }
    }
    Ok(found)
}

/// Forgets everything of a thread.
pub(crate) async fn delete(db: &impl Prepares, thread: &str) -> Result<(), Failure> {
    const SQL: &str = "WITH states AS (DELETE FROM checkpoints WHERE thread = $1) \
         DELETE FROM checkpoint_writes WHERE thread = $1";
    db.change(SQL, &[&thread.as_bytes()]).await?;
    Ok(())
}

/// Of a row, bound to its name.
fn checksum(name: &[&str], summary: &str, bytes: &[u8]) -> i64 {
    let content = ContentHash::of(summary.as_bytes()).chained(ContentHash::of(bytes));
    seal::checksum(encode::name(name).as_bytes(), content.as_bytes())
}
