//! The states of graphs, by thread.

use rusqlite::{Connection, Row, params};
use segue_core::{
    ids::{ContentHash, RunId},
    ports::{Checkpoint, CheckpointFilter, CheckpointWrites, Typed, Write},
};
use serde_json::{Map, Value};

use crate::{
    encode::{self, damaged},
    failure::Failure,
};

/// A state ready to be written.
#[derive(Debug)]
pub(crate) struct StateText {
    state: Checkpoint,
    metadata: String,
    sum: i64,
}

impl StateText {
    pub(crate) fn of(state: Checkpoint) -> Self {
        let metadata = serde_json::to_string(&state.metadata).expect("an object can be written as JSON");
        let texts = [state.parent.as_deref().unwrap_or_default(), &state.state.kind, &metadata];
        let sum = checksum(&[&state.thread, &state.namespace, &state.id], &texts, &state.state.bytes);
        Self { state, metadata, sum }
    }

    pub(crate) fn large_bytes(&self) -> usize {
        self.state.state.bytes.len() + self.metadata.len()
    }

    /// Keeps it in the place of one with the same name.
    pub(crate) fn write(&self, db: &Connection) -> Result<(), Failure> {
        const SQL: &str = "INSERT INTO checkpoints (thread, namespace, id, parent, kind, state, metadata, sum) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (thread, namespace, id) DO UPDATE SET \
             parent = excluded.parent, kind = excluded.kind, state = excluded.state, metadata = excluded.metadata, \
             sum = excluded.sum";
        let Self { state, metadata, sum } = self;
        let Checkpoint { thread, namespace, id, parent, state: Typed { kind, bytes }, .. } = state;
        db.prepare_cached(SQL)?.execute(params![thread, namespace, id, parent, kind, bytes, metadata, sum])?;
        Ok(())
    }
}

/// About how much these are to write.
pub(crate) fn large_bytes(writes: &CheckpointWrites) -> usize {
    writes.writes.iter().map(|write| write.value.bytes.len()).sum()
}

/// Keeps what a step wrote.
pub(crate) fn put_writes(db: &Connection, writes: &CheckpointWrites) -> Result<(), Failure> {
    const SQL: &str = "INSERT INTO checkpoint_writes \
         (thread, namespace, id, task_id, place, task_path, channel, kind, value, sum) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (thread, namespace, id, task_id, place) DO ";
    const REPLACE: &str = "UPDATE SET task_path = excluded.task_path, channel = excluded.channel, kind = excluded.kind, \
         value = excluded.value, sum = excluded.sum";
    let CheckpointWrites { thread, namespace, id, writes, replace } = writes;
    let mut query = db.prepare_cached(&[SQL, if *replace { REPLACE } else { "NOTHING" }].concat())?;
    for write in writes {
        let Write { task_id, task_path, index, channel, value: Typed { kind, bytes } } = write;
        let sum = write_checksum([thread, namespace, id], write);
        query.execute(params![thread, namespace, id, task_id, index, task_path, channel, kind, bytes, sum])?;
    }
    Ok(())
}

/// The columns of a state, in the order in which they are read.
const STATE: &str = "SELECT thread, namespace, id, metadata, parent, kind, state, sum FROM checkpoints";
const ORDER: &str = " ORDER BY id DESC";

/// Those that the filter lets through, the newest first, with their writes.
pub(crate) fn list(db: &Connection, filter: &CheckpointFilter) -> Result<Vec<Checkpoint>, Failure> {
    let columns = [
        (" AND thread = ?", &filter.thread),
        (" AND namespace = ?", &filter.namespace),
        (" AND id = ?", &filter.id),
        (" AND id < ?", &filter.before),
    ];
    let (mut sql, mut values) = (format!("{STATE} WHERE TRUE"), Vec::new());
    for (condition, value) in columns.into_iter().filter_map(|(condition, value)| Some((condition, value.as_ref()?))) {
        sql.push_str(condition);
        values.push(value);
    }
    sql.push_str(ORDER);
    let mut query = db.prepare_cached(&sql)?;
    let mut rows = query.query(rusqlite::params_from_iter(values))?;
    let mut found = Vec::new();
    while found.len() < filter.limit.unwrap_or(usize::MAX) {
        let Some(row) = rows.next()? else { break };
        let text = encode::bytes(row.get_ref(3)?);
        // What cannot be read is not passed over: that it is damaged is told.
        let passes = serde_json::from_slice::<Map<String, Value>>(text)
            .map_or(true, |metadata| filter.metadata.iter().all(|(name, value)| metadata.get(name) == Some(value)));
        if passes {
            found.push(with_writes(db, read(row)?)?);
        }
    }
    Ok(found)
}

fn read(row: &Row<'_>) -> Result<Checkpoint, Failure> {
    let text = |at: usize| -> Result<String, Failure> {
        Ok(String::from_utf8_lossy(encode::bytes(row.get_ref(at)?)).into_owned())
    };
    let (thread, namespace, id, metadata, kind) = (text(0)?, text(1)?, text(2)?, text(3)?, text(5)?);
    let parent: Option<String> = row.get(4)?;
    let bytes = encode::bytes(row.get_ref(6)?).to_vec();
    let what = || format!("a state of the graph {thread}");
    let texts = [parent.as_deref().unwrap_or_default(), &kind, &metadata];
    if row.get::<_, i64>(7)? != checksum(&[&thread, &namespace, &id], &texts, &bytes) {
        return Err(damaged(what(), "does not match its checksum"));
    }
    let metadata =
        serde_json::from_str(&metadata).map_err(|error| damaged(what(), &format!("cannot be read: {error}")))?;
    Ok(Checkpoint { thread, namespace, id, parent, state: Typed { kind, bytes }, metadata, writes: Vec::new() })
}

fn with_writes(db: &Connection, mut state: Checkpoint) -> Result<Checkpoint, Failure> {
    const SQL: &str = "SELECT task_id, task_path, place, channel, kind, value, sum FROM checkpoint_writes \
         WHERE thread = ?1 AND namespace = ?2 AND id = ?3 ORDER BY task_path, task_id, place";
    let name = [&state.thread, &state.namespace, &state.id];
    let mut query = db.prepare_cached(SQL)?;
    let mut rows = query.query(name)?;
    while let Some(row) = rows.next()? {
        let text = |at: usize| -> Result<String, Failure> {
            Ok(String::from_utf8_lossy(encode::bytes(row.get_ref(at)?)).into_owned())
        };
        let value = Typed { kind: text(4)?, bytes: encode::bytes(row.get_ref(5)?).to_vec() };
        let write = Write { task_id: text(0)?, task_path: text(1)?, index: row.get(2)?, channel: text(3)?, value };
        if row.get::<_, i64>(6)? != write_checksum(name, &write) {
            return Err(damaged(
                format!("what a step of the graph {} wrote", state.thread),
                "does not match its checksum",
            ));
        }
        state.writes.push(write);
    }
    Ok(state)
}

/// The threads of a run that hold something which is not what was written.
pub(crate) fn damaged_in(db: &Connection, run: RunId) -> Result<Vec<String>, Failure> {
    let mut query = db.prepare_cached(&format!("{STATE} WHERE thread >= ?1 AND thread < ?2"))?;
    let mut rows = query.query([format!("{run}/"), format!("{run}0")])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let thread = String::from_utf8_lossy(encode::bytes(row.get_ref(0)?)).into_owned();
        match read(row).and_then(|state| with_writes(db, state)) {
            Ok(_) => {}
            Err(Failure::Refused(_)) => found.push(thread),
            Err(other) => return Err(other),
        }
    }
    Ok(found)
}

/// Forgets everything of a thread.
pub(crate) fn delete(db: &Connection, thread: &str) -> Result<(), Failure> {
    for table in ["checkpoints", "checkpoint_writes"] {
        db.prepare_cached(&format!("DELETE FROM {table} WHERE thread = ?1"))?.execute([thread])?;
    }
    Ok(())
}

fn write_checksum(name: [&String; 3], write: &Write) -> i64 {
    let index = write.index.to_string();
    let texts = [&write.task_id, &write.task_path, &index, &write.channel, &write.value.kind].map(String::as_str);
    checksum(&name.map(String::as_str), &texts, &write.value.bytes)
}

/// Of a row, bound to its name.
fn checksum(name: &[&str], texts: &[&str], bytes: &[u8]) -> i64 {
    let chain = |texts: &[&str]| {
        texts.iter().fold(ContentHash::of(b""), |hash, text| hash.chained(ContentHash::of(text.as_bytes())))
    };
    encode::checksum(chain(name).as_bytes(), chain(texts).chained(ContentHash::of(bytes)).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::plan;

    #[test]
    fn the_newest_state_is_found_without_a_walk() {
        let steps = plan(&format!("{STATE} WHERE TRUE AND thread = 'a' AND namespace = '' {ORDER}"));
        assert!(steps.len() == 1 && steps[0].starts_with("SEARCH checkpoints USING INDEX"), "{steps:?}");
    }
}
