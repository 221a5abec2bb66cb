//! Slots of limits: rows that are loaded, judged by [`segue_core::limits`], and written back in one transaction.
//!
//! Time is the clock of the machine's boot, as for leases: nobody can set it.

use std::{collections::BTreeSet, time::Duration};

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use rusqlite::{Connection, params};
use segue_core::{
    ids::{EngineId, LimitKey, TaskRunId},
    limits::{Limit, LimitState, admit, leave, pause, settle},
    ports::{
        Acquire, Admission, EngineRecord, Freed, LimitRequest, LimitStore, LimitView, LimitWait, OwnerProof,
        StoreError, WaitReason,
    },
    time::Timestamp,
};

use crate::{
    boot,
    encode::{self, RowText},
    failure::Failure,
    readers::Reader,
    store::SqliteStore,
};

/// Signals that are kept: who is further behind asks again by itself.
const SIGNALS_KEPT: i64 = 1_000;

/// Rows that say nothing any more are removed so many at a time, with what others write.
const FORGOTTEN_AT_ONCE: i64 = 4;

fn now() -> Timestamp {
    Timestamp::from_micros(boot::now_ms().saturating_mul(1_000))
}

/// The engines whose lease holds.
struct Living {
    engines: BTreeSet<EngineId>,
    now: Timestamp,
}

impl Living {
    fn read(db: &Connection, dead: &[EngineId]) -> Result<Self, Failure> {
        const SQL: &str = "SELECT engine_id FROM engines WHERE lease_boot = ?1 AND lease_until_ms > ?2";
        let now = now();
        let mut query = db.prepare_cached(SQL)?;
        let rows =
            query.query_map(params![boot::id(), millis(now)], |row| Ok(EngineId::new(row.get::<_, String>(0)?)))?;
        let mut engines = rows.collect::<Result<BTreeSet<_>, _>>()?;
        dead.iter().for_each(|engine| {
            engines.remove(engine);
        });
        Ok(Self { engines, now })
    }

    fn has(&self, engine: &EngineId) -> bool {
        self.engines.contains(engine)
    }
}

/// Decides requests one after the other.
fn decide_all(db: &Connection, acquire: &Acquire) -> Result<Vec<Admission>, Failure> {
    let living = Living::read(db, &acquire.dead)?;
    let answers = acquire.requests.iter().map(|request| decide(db, &acquire.engine, request, &living));
    answers.collect()
}

fn decide(db: &Connection, engine: &EngineId, request: &LimitRequest, living: &Living) -> Result<Admission, Failure> {
    if !living.has(engine) {
        let on = request.asks[0].key.clone();
        return Ok(Admission::Wait(LimitWait { on, why: WaitReason::NoLease, again_in: None, holders: Vec::new() }));
    }
    if is_held(db, engine, request)? {
        return Ok(Admission::Granted(vec![0; request.asks.len()]));
    }
    let before = request.asks.iter().map(|ask| load(db, &ask.key, living)).collect::<Result<Vec<_>, _>>()?;
    let mut after = before.clone();
    let mut admission = admit(&mut after, engine, request, living.now, &|id| living.has(id));
    for ((ask, before), after) in request.asks.iter().zip(before).zip(after) {
        keep(db, &ask.key, &before, &after, living.now)?;
        if matches!(admission, Admission::Granted(_)) && ask.bounds.concurrent.is_some() {
            const SQL: &str =
                "INSERT INTO limit_slots (key, engine_id, slot) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
            db.prepare_cached(SQL)?.execute(params![ask.key.as_str(), engine.as_str(), request.slot.as_str()])?;
        }
    }
    if let Admission::Wait(wait) = &mut admission
        && wait.why == WaitReason::Full
    {
        others(db, engine, wait, living.now)?;
    }
    Ok(admission)
}

/// Does the request hold its slots already? Where only rates are asked there is nothing to hold.
fn is_held(db: &Connection, engine: &EngineId, request: &LimitRequest) -> Result<bool, Failure> {
    const SQL: &str = "SELECT EXISTS (SELECT 1 FROM limit_slots WHERE key = ?1 AND engine_id = ?2 AND slot = ?3)";
    let mut query = db.prepare_cached(SQL)?;
    let mut any = false;
    for ask in request.asks.iter().filter(|ask| ask.bounds.concurrent.is_some()) {
        let slot = params![ask.key.as_str(), engine.as_str(), request.slot.as_str()];
        if !query.query_row(slot, |row| row.get::<_, bool>(0))? {
            return Ok(false);
        }
        any = true;
    }
    Ok(any)
}

/// A limit as it stands. Slots of engines that are gone are given up.
fn load(db: &Connection, key: &LimitKey, living: &Living) -> Result<Limit, Failure> {
    const HELD: &str = "SELECT engine_id, count(*) FROM limit_slots WHERE key = ?1 GROUP BY engine_id";
    const GONE: &str = "DELETE FROM limit_slots WHERE key = ?1 AND engine_id = ?2";
    let mut query = db.prepare_cached(HELD)?;
    let rows = query.query_map([key.as_str()], |row| Ok((row.get::<_, String>(0)?, row.get::<_, u32>(1)?)))?;
    let mut held = 0;
    for (engine, count) in rows.collect::<Result<Vec<_>, _>>()? {
        let engine = EngineId::new(engine);
        if living.has(&engine) {
            held += count;
        } else {
            db.prepare_cached(GONE)?.execute(params![key.as_str(), engine.as_str()])?;
        }
    }
    Ok(Limit { state: state(db, key)?, held, wakes: false })
}

/// What is damaged says nothing: all that is lost with it is gone after a minute anyway.
fn state(db: &Connection, key: &LimitKey) -> Result<LimitState, Failure> {
    const SQL: &str = "SELECT state, state_sum FROM limits WHERE key = ?1 AND boot = ?2";
    let mut query = db.prepare_cached(SQL)?;
    let mut rows = query.query([key.as_str(), boot::id()])?;
    match rows.next()? {
        None => Ok(LimitState::default()),
        Some(row) => match encode::read_row(key.as_str().as_bytes(), row, 0, 1, &|| format!("the limit {key}")) {
            Err(Failure::Refused(error)) => {
                tracing::warn!(%error, "a limit starts anew");
                Ok(LimitState::default())
            }
            read => read,
        },
    }
}

/// Writes what has changed, and wakes those who wait.
fn keep(db: &Connection, key: &LimitKey, before: &Limit, after: &Limit, now: Timestamp) -> Result<(), Failure> {
    const PUT: &str = "INSERT INTO limits (key, boot, idle_from_ms, state, state_sum) VALUES (?1, ?2, ?3, ?4, ?5) \
         ON CONFLICT DO UPDATE SET boot = excluded.boot, idle_from_ms = excluded.idle_from_ms, state = excluded.state, \
         state_sum = excluded.state_sum";
    if before.state != after.state {
        let row = RowText::of(key.as_str().as_bytes(), &after.state);
        let idle_from = millis(after.state.idle_from(now));
        db.prepare_cached(PUT)?.execute(params![key.as_str(), boot::id(), idle_from, row.text, row.sum])?;
        forget_idle(db, now)?;
    }
    if after.wakes {
        signal(db, key)?;
    }
    Ok(())
}

fn forget_idle(db: &Connection, now: Timestamp) -> Result<(), Failure> {
    const SQL: &str = "DELETE FROM limits WHERE key IN ( \
             SELECT key FROM limits WHERE idle_from_ms < ?1 ORDER BY idle_from_ms LIMIT ?2 \
         )";
    db.prepare_cached(SQL)?.execute(params![millis(now), FORGOTTEN_AT_ONCE])?;
    Ok(())
}

fn signal(db: &Connection, key: &LimitKey) -> Result<(), Failure> {
    const PUT: &str = "INSERT INTO limit_signals (key) VALUES (?1)";
    const CUT: &str = "DELETE FROM limit_signals WHERE number <= ?1";
    db.prepare_cached(PUT)?.execute([key.as_str()])?;
    db.prepare_cached(CUT)?.execute([db.last_insert_rowid() - SIGNALS_KEPT])?;
    Ok(())
}

/// Who else holds slots, and when the first of their leases ends.
fn others(db: &Connection, engine: &EngineId, wait: &mut LimitWait, now: Timestamp) -> Result<(), Failure> {
    const SQL: &str = "SELECT engine_id, boot_id, pid, started_ticks, lease_until_ms FROM engines WHERE engine_id <> ?2 \
         AND EXISTS (SELECT 1 FROM limit_slots WHERE key = ?1 AND limit_slots.engine_id = engines.engine_id)";
    let mut query = db.prepare_cached(SQL)?;
    let mut rows = query.query([wait.on.as_str(), engine.as_str()])?;
    while let Some(row) = rows.next()? {
        let proof = OwnerProof { boot_id: row.get(1)?, pid: row.get(2)?, started_ticks: row.get(3)? };
        wait.holders.push(EngineRecord { engine_id: EngineId::new(row.get::<_, String>(0)?), proof });
        let left = row.get::<_, i64>(4)?.saturating_sub(millis(now)).saturating_add(1);
        let left = Duration::from_millis(u64::try_from(left).unwrap_or(0));
        wait.again_in = Some(wait.again_in.map_or(left, |known| known.min(left)));
    }
    Ok(())
}

/// Gives slots back.
fn give_back(db: &Connection, engine: &EngineId, freed: &[Freed]) -> Result<(), Failure> {
    const SQL: &str = "DELETE FROM limit_slots WHERE key = ?1 AND engine_id = ?2 AND slot = ?3";
    for Freed { slot, charges, tokens } in freed {
        for charge in charges {
            db.prepare_cached(SQL)?.execute(params![charge.key.as_str(), engine.as_str(), slot.as_str()])?;
            change(db, &charge.key, |limit, now| settle(limit, charge, *tokens, now))?;
        }
    }
    Ok(())
}

/// Takes requests out of their lines.
fn withdraw(db: &Connection, engine: &EngineId, requests: &[LimitRequest]) -> Result<(), Failure> {
    for request in requests {
        for ask in &request.asks {
            change(db, &ask.key, |limit, _| leave(limit, engine, request, ask))?;
        }
    }
    Ok(())
}

/// Lets nobody go for a while.
fn hold_up(db: &Connection, keys: &[LimitKey], span: Duration) -> Result<(), Failure> {
    keys.iter().try_for_each(|key| change(db, key, |limit, now| pause(&mut limit.state, span, now)))
}

fn change(db: &Connection, key: &LimitKey, change: impl FnOnce(&mut Limit, Timestamp)) -> Result<(), Failure> {
    let before = Limit { state: state(db, key)?, held: 0, wakes: false };
    let (mut after, now) = (before.clone(), now());
    change(&mut after, now);
    keep(db, key, &before, &after, now)
}

/// The slots of an engine.
fn slots_of(db: &Connection, engine: &EngineId) -> Result<Vec<(TaskRunId, LimitKey)>, Failure> {
    const SQL: &str = "SELECT slot, key FROM limit_slots WHERE engine_id = ?1";
    let mut query = db.prepare_cached(SQL)?;
    let rows = query.query_map([engine.as_str()], |row| {
        Ok((TaskRunId::new(row.get::<_, String>(0)?), LimitKey::new(row.get::<_, String>(1)?)))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// How limits stand. Only reads.
fn views(db: &Connection, keys: Vec<LimitKey>) -> Result<Vec<LimitView>, Failure> {
    const SQL: &str = "SELECT engine_id, count(*) FROM limit_slots WHERE key = ?1 GROUP BY engine_id";
    let living = Living::read(db, &[])?;
    let mut query = db.prepare_cached(SQL)?;
    let views = keys.into_iter().map(|key| {
        let rows = query.query_map([key.as_str()], |row| Ok((row.get::<_, String>(0)?, row.get::<_, u32>(1)?)))?;
        let held = rows.collect::<Result<Vec<_>, _>>()?;
        let held = held.into_iter().filter(|(engine, _)| living.has(&EngineId::new(engine.as_str())));
        let held = held.map(|(_, count)| count).sum();
        let mut kept = state(db, &key)?;
        kept.tidy(living.now, &|id| living.has(id));
        Ok(LimitView::of(key, held, &kept, living.now))
    });
    views.collect()
}

/// The limits of signals newer than `last`, and the newest signal.
pub(crate) fn signalled_since(db: &Connection, last: i64) -> Result<(Vec<LimitKey>, i64), Failure> {
    const SQL: &str = "SELECT key, max(number) FROM limit_signals WHERE number > ?1 GROUP BY key";
    let mut query = db.prepare_cached(SQL)?;
    let mut rows = query.query([last])?;
    let (mut found, mut newest) = (Vec::new(), last);
    while let Some(row) = rows.next()? {
        found.push(LimitKey::new(row.get::<_, String>(0)?));
        newest = newest.max(row.get(1)?);
    }
    Ok((found, newest))
}

fn millis(time: Timestamp) -> i64 {
    time.as_micros() / 1_000
}

/// A handle's part of [`LimitStore`]: each method names the work and the thread that does it.
#[async_trait]
impl LimitStore for SqliteStore {
    async fn acquire(&self, acquire: Acquire) -> Result<Vec<Admission>, StoreError> {
        let answers = self.writer.write(0, move |db| decide_all(db, &acquire)).await;
        self.limit_watch.wake();
        answers
    }

    async fn release(&self, engine: &EngineId, freed: Vec<Freed>) -> Result<(), StoreError> {
        let engine = engine.clone();
        let done = self.writer.write(0, move |db| give_back(db, &engine, &freed)).await;
        self.limit_watch.wake();
        done
    }

    async fn leave(&self, engine: &EngineId, requests: Vec<LimitRequest>) -> Result<(), StoreError> {
        let engine = engine.clone();
        let done = self.writer.write(0, move |db| withdraw(db, &engine, &requests)).await;
        self.limit_watch.wake();
        done
    }

    async fn pause(&self, keys: Vec<LimitKey>, span: Duration) -> Result<(), StoreError> {
        self.writer.write(0, move |db| hold_up(db, &keys, span)).await
    }

    async fn held(&self, engine: &EngineId) -> Result<Vec<(TaskRunId, LimitKey)>, StoreError> {
        let engine = engine.clone();
        self.readers.read(move |db| slots_of(db, &engine)).await
    }

    async fn look(&self, keys: Vec<LimitKey>) -> Result<Vec<LimitView>, StoreError> {
        self.readers.read(move |db| views(db, keys)).await
    }

    fn limit_signals(&self) -> BoxStream<'static, LimitKey> {
        Box::pin(self.limit_watch.listen(|| Reader::new(&self.path, &self.options)))
    }
}
