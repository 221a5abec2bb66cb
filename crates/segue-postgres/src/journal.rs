//! What models answered, kept with the run.

use segue_core::{
    ids::{ContentHash, RunId},
    outcome::Usage,
    ports::{CallKey, RecordedCall},
    seal,
};
use serde::{Deserialize, Serialize};
use tokio_postgres::error::SqlState;

use crate::{
    encode,
    failure::{Failure, damaged},
    pool::Prepares,
    runs,
};

/// A call ready to be written.
#[derive(Debug)]
pub(crate) struct CallText {
    call: RecordedCall,
    name: ContentHash,
    summary: String,
    sum: i64,
}

/// What is kept of a call beside its body.
#[derive(Debug, Serialize, Deserialize)]
struct Summary {
    model: String,
    content_type: String,
    usage: Usage,
}

impl CallText {
    pub(crate) fn of(call: RecordedCall) -> Self {
        let name = name(&call.key);
        let (model, content_type) = (call.model.clone(), call.content_type.clone());
        let summary = serde_json::to_string(&Summary { model, content_type, usage: call.usage })
            .expect("a summary can be written as JSON");
        let sum = checksum(name, call.attempt, &summary, &call.body);
        Self { call, name, summary, sum }
    }

    /// Keeps the call, unless one of its name is kept.
    pub(crate) async fn write(&self, db: &impl Prepares) -> Result<(), Failure> {
        const SQL: &str = "INSERT INTO model_calls (run_id, call, effect, attempt, summary, body, sum) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (run_id, call) DO NOTHING";
        let Self { call, name, summary, sum } = self;
        let run = call.key.run_id;
        let (name, effect): (&[u8], _) = (name.as_bytes(), encode::name(&[&call.key.effect_key]).as_bytes().to_vec());
        let attempt = i64::from(call.attempt);
        let kept = db.change(SQL, &[&encode::uuid(run), &name, &effect, &attempt, summary, &call.body, sum]).await;
        match kept {
            Err(failure) if failure.state() == Some(&SqlState::FOREIGN_KEY_VIOLATION) => Err(runs::not_found(run)),
            other => other.map(drop),
        }
    }
}

/// The call of this name.
pub(crate) async fn find(db: &impl Prepares, key: &CallKey) -> Result<Option<RecordedCall>, Failure> {
    const SQL: &str = "SELECT attempt, summary, sum, body FROM model_calls WHERE run_id = $1 AND call = $2";
    let name = name(key);
    let rows = db.rows(SQL, &[&encode::uuid(key.run_id), &name.as_bytes().as_slice()]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let what = || format!("a model's answer of {}", key.effect_key);
    let attempt = u32::try_from(row.try_get::<_, i64>(0)?).unwrap_or(u32::MAX);
    let (summary, sum, body): (&str, i64, Vec<u8>) = (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
    if sum != checksum(name, attempt, summary, &body) {
        return Err(damaged(what(), "does not match its checksum"));
    }
    let Summary { model, content_type, usage } =
        serde_json::from_str(summary).map_err(|error| damaged(what(), &format!("cannot be read: {error}")))?;
    Ok(Some(RecordedCall { key: key.clone(), attempt, model, content_type, body, usage }))
}

/// What an attempt's calls have consumed.
pub(crate) async fn usage(db: &impl Prepares, run: RunId, effect_key: &str, attempt: u32) -> Result<Usage, Failure> {
    const SQL: &str = "SELECT summary FROM model_calls WHERE run_id = $1 AND effect = $2 AND attempt = $3";
    let effect = encode::name(&[effect_key]).as_bytes().to_vec();
    let mut sum = Usage::default();
    for row in db.rows(SQL, &[&encode::uuid(run), &effect, &i64::from(attempt)]).await? {
        let summary: Summary = serde_json::from_str(row.try_get(0)?)
            .map_err(|error| damaged(format!("what {effect_key} consumed"), &format!("cannot be read: {error}")))?;
        sum += summary.usage;
    }
    Ok(sum)
}

/// The calls of a run that are not what was recorded, by their name.
pub(crate) async fn damaged_in(db: &impl Prepares, run: RunId) -> Result<Vec<String>, Failure> {
    const SQL: &str = "SELECT call, attempt, summary, sum, body FROM model_calls WHERE run_id = $1 AND call > $2 \
         ORDER BY call LIMIT 50";
    let (mut found, mut after) = (Vec::new(), Vec::<u8>::new());
    loop {
        let page = db.rows(SQL, &[&encode::uuid(run), &after]).await?;
        let Some(last) = page.last() else { return Ok(found) };
        after = last.try_get(0)?;
        for row in &page {
            let name = encode::hash(row.try_get(0)?);
            let attempt = u32::try_from(row.try_get::<_, i64>(1)?).unwrap_or(u32::MAX);
            if row.try_get::<_, i64>(3)? != checksum(name, attempt, row.try_get(2)?, row.try_get(4)?) {
                found.push(name.to_string());
            }
        }
    }
}

/// Of all parts of the name but the run.
fn name(key: &CallKey) -> ContentHash {
    let CallKey { run_id: _, effect_key, since, hash, nth } = key;
    let place = [since.to_le_bytes(), nth.to_le_bytes()].concat();
    ContentHash::of(effect_key.as_bytes()).chained(ContentHash::of(&place)).chained(*hash)
}

fn checksum(name: ContentHash, attempt: u32, summary: &str, body: &[u8]) -> i64 {
    let all = ContentHash::of(&attempt.to_le_bytes()).chained(ContentHash::of(summary.as_bytes()));
    seal::checksum(name.as_bytes(), all.chained(ContentHash::of(body)).as_bytes())
}
