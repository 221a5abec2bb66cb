//! What models answered, kept with the run.

use rusqlite::{Connection, params};
use segue_core::{
    ids::{ContentHash, RunId},
    outcome::Usage,
    ports::{CallKey, RecordedCall},
};

use crate::{
    encode::{self, damaged},
    failure::Failure,
    log, runs,
};

/// A call ready to be written.
#[derive(Debug)]
pub(crate) struct CallText {
    call: RecordedCall,
    name: ContentHash,
    usage: String,
    sum: i64,
}

impl CallText {
    pub(crate) fn of(call: RecordedCall) -> Self {
        let name = name(&call.key);
        let usage = serde_json::to_string(&call.usage).expect("usage can be written as JSON");
        let sum = checksum(name, call.attempt, [&call.model, &call.content_type, &usage], &call.body);
        Self { call, name, usage, sum }
    }

    pub(crate) fn large_bytes(&self) -> usize {
        self.call.body.len()
    }

    /// Keeps the call, unless one of its name is kept.
    pub(crate) fn write(&self, db: &Connection) -> Result<(), Failure> {
        const SQL: &str = "INSERT INTO model_calls \
             (place, run_no, call, effect_key, attempt, model, content_type, usage, sum, body) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (run_no, call) DO NOTHING";
        let Self { call, name, usage, sum } = self;
        let run_no = runs::head(db, call.key.run_id)?.run_no;
        db.prepare_cached(SQL)?.execute(params![
            next_place(db, run_no)?,
            run_no,
            name.as_bytes(),
            call.key.effect_key,
            call.attempt,
            call.model,
            call.content_type,
            usage,
            sum,
            call.body,
        ])?;
        Ok(())
    }
}

/// The place behind all of the run's calls.
fn next_place(db: &Connection, run_no: i64) -> Result<i64, Failure> {
    const SQL: &str = "SELECT max(place) FROM model_calls WHERE place >= ?1 AND place < ?2";
    let (first, end) = (log::place(run_no, 1), log::place(run_no + 1, 0));
    let last: Option<i64> = db.prepare_cached(SQL)?.query_row([first, end], |row| row.get(0))?;
    Ok(last.map_or(first, |last| last + 1))
}

/// The call of this name.
pub(crate) fn find(db: &Connection, key: &CallKey) -> Result<Option<RecordedCall>, Failure> {
    const SQL: &str = "SELECT attempt, model, content_type, usage, sum, body FROM model_calls \
         JOIN runs ON runs.run_no = model_calls.run_no WHERE runs.run_id = ?1 AND call = ?2";
    let name = name(key);
    let mut query = db.prepare_cached(SQL)?;
    let mut rows = query.query(params![key.run_id.as_bytes(), name.as_bytes()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let what = || format!("a model's answer of {}", key.effect_key);
    let text = |at: usize| -> Result<String, Failure> {
        Ok(String::from_utf8_lossy(encode::bytes(row.get_ref(at)?)).into_owned())
    };
    let (attempt, model, content_type, usage) = (row.get(0)?, text(1)?, text(2)?, text(3)?);
    let body = encode::bytes(row.get_ref(5)?).to_vec();
    if row.get::<_, i64>(4)? != checksum(name, attempt, [&model, &content_type, &usage], &body) {
        return Err(damaged(what(), "does not match its checksum"));
    }
    let usage = serde_json::from_str(&usage).map_err(|error| damaged(what(), &format!("cannot be read: {error}")))?;
    Ok(Some(RecordedCall { key: key.clone(), attempt, model, content_type, body, usage }))
}

/// Whose calls are not what was recorded, in a run.
pub(crate) fn damaged_in(db: &Connection, run_no: i64) -> Result<Vec<String>, Failure> {
    const SQL: &str = "SELECT call, attempt, model, content_type, usage, sum, body, effect_key FROM model_calls \
         WHERE place >= ?1 AND place < ?2";
    let mut query = db.prepare_cached(SQL)?;
    let mut rows = query.query([log::place(run_no, 0), log::place(run_no + 1, 0)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let text = |at: usize| -> Result<String, Failure> {
            Ok(String::from_utf8_lossy(encode::bytes(row.get_ref(at)?)).into_owned())
        };
        let (model, content_type, usage) = (text(2)?, text(3)?, text(4)?);
        let (name, body) = (encode::hash(row.get_ref(0)?), encode::bytes(row.get_ref(6)?));
        if row.get::<_, i64>(5)? != checksum(name, row.get(1)?, [&model, &content_type, &usage], body) {
            found.push(text(7)?);
        }
    }
    Ok(found)
}

/// What an attempt's calls have consumed.
pub(crate) fn usage(db: &Connection, run: RunId, effect_key: &str, attempt: u32) -> Result<Usage, Failure> {
    const SQL: &str = "SELECT usage FROM model_calls JOIN runs ON runs.run_no = model_calls.run_no \
         WHERE runs.run_id = ?1 AND effect_key = ?2 AND attempt = ?3";
    let mut query = db.prepare_cached(SQL)?;
    let mut rows = query.query(params![run.as_bytes(), effect_key, attempt])?;
    let mut sum = Usage::default();
    while let Some(row) = rows.next()? {
        let usage: Usage = serde_json::from_slice(encode::bytes(row.get_ref(0)?))
            .map_err(|error| damaged(format!("what {effect_key} consumed"), &format!("cannot be read: {error}")))?;
        sum += usage;
    }
    Ok(sum)
}

/// Of all parts of the name but the run.
fn name(key: &CallKey) -> ContentHash {
    let CallKey { run_id: _, effect_key, since, hash, nth } = key;
    let place = [since.to_le_bytes(), nth.to_le_bytes()].concat();
    ContentHash::of(effect_key.as_bytes()).chained(ContentHash::of(&place)).chained(*hash)
}

fn checksum(name: ContentHash, attempt: u32, texts: [&str; 3], body: &[u8]) -> i64 {
    let texts = texts.map(|text| ContentHash::of(text.as_bytes()));
    let all = texts.into_iter().fold(ContentHash::of(&attempt.to_le_bytes()), ContentHash::chained);
    encode::checksum(name.as_bytes(), all.chained(ContentHash::of(body)).as_bytes())
}

#[cfg(test)]
mod tests {
    use crate::schema::plan;

    /// The cost of a look is that of what is found.
    #[test]
    fn calls_are_found_by_their_name_and_by_their_attempt() {
        for condition in ["run_no = 1 AND call = x'00'", "run_no = 1 AND effect_key = 'a' AND attempt = 1"] {
            let steps = plan(&format!("SELECT usage FROM model_calls WHERE {condition}"));
            assert!(steps.len() == 1 && steps[0].starts_with("SEARCH model_calls USING INDEX"), "{steps:?}");
        }
    }
}
