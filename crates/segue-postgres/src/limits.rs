//! Slots of limits: rows that are locked, judged by [`segue_core::limits`], and written back in one transaction.
//!
//! The rows of limits are locked in the order of their keys, so that two transactions never wait for each other. What
//! becomes free is told by `NOTIFY`.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use async_trait::async_trait;
use deadpool_postgres::Object;
use futures_channel::mpsc;
use futures_core::stream::BoxStream;
use segue_core::{
    ids::{EngineId, LimitKey, TaskRunId},
    limits::{Limit, LimitState, admit, leave, pause, settle},
    ports::{
        Acquire, Admission, EngineRecord, Freed, LimitRequest, LimitStore, LimitView, LimitWait, OwnerProof,
        StoreError, WaitReason,
    },
    seal::checksum,
    time::Timestamp,
};

use crate::{
    failure::Failure,
    leases,
    listener::{Heard, Listener},
    pool::{Prepares, Tries, doing},
    store::PostgresStore,
};

/// The channel on which limits are named.
const CHANNEL: &str = "segue_limits";
/// Signals kept for a listener that is behind.
const SIGNALS_MAX: usize = 1024;

/// An engine, and how long its lease still holds.
struct Neighbour {
    record: EngineRecord,
    left: Duration,
}

type Held = (LimitKey, EngineId, TaskRunId);

/// Some limits, as this transaction holds them.
struct Table {
    now: Timestamp,
    engines: BTreeMap<EngineId, Neighbour>,
    before: BTreeMap<LimitKey, LimitState>,
    limits: BTreeMap<LimitKey, Limit>,
    held: BTreeSet<Held>,
    taken: Vec<Held>,
    given_back: Vec<Held>,
}

impl Table {
    fn is_alive(&self, engine: &EngineId) -> bool {
        self.engines.get(engine).is_some_and(|neighbour| !neighbour.left.is_zero())
    }

    fn decide(&mut self, engine: &EngineId, request: &LimitRequest) -> Admission {
        if !self.is_alive(engine) {
            let on = request.asks[0].key.clone();
            return Admission::Wait(LimitWait { on, why: WaitReason::NoLease, again_in: None, holders: Vec::new() });
        }
        let slot = |key: &LimitKey| (key.clone(), engine.clone(), request.slot.clone());
        let bound: Vec<Held> =
            request.asks.iter().filter(|ask| ask.bounds.concurrent.is_some()).map(|ask| slot(&ask.key)).collect();
        if !bound.is_empty() && bound.iter().all(|slot| self.held.contains(slot)) {
            return Admission::Granted(vec![0; request.asks.len()]);
        }
        let mut limits: Vec<Limit> = request.asks.iter().map(|ask| self.limits[&ask.key].clone()).collect();
        let mut admission = admit(&mut limits, engine, request, self.now, &|id| self.is_alive(id));
        for (ask, limit) in request.asks.iter().zip(limits) {
            self.limits.insert(ask.key.clone(), limit);
        }
        match &mut admission {
            Admission::Granted(_) => {
                self.held.extend(bound.iter().cloned());
                self.taken.extend(bound);
            }
            Admission::Wait(wait) if wait.why == WaitReason::Full => self.name_holders(engine, wait),
            Admission::Wait(_) => {}
        }
        admission
    }

    /// Who else holds slots, and when the first of their leases ends.
    fn name_holders(&self, engine: &EngineId, wait: &mut LimitWait) {
        let holders: BTreeSet<&EngineId> = self
            .held
            .iter()
            .filter(|(key, holder, _)| *key == wait.on && holder != engine)
            .map(|(_, id, _)| id)
            .collect();
        for neighbour in holders.into_iter().filter_map(|id| self.engines.get(id)) {
            let left = neighbour.left + Duration::from_millis(1);
            wait.again_in = Some(wait.again_in.map_or(left, |known| known.min(left)));
            wait.holders.push(neighbour.record.clone());
        }
    }

    fn give_back(&mut self, engine: &EngineId, freed: &Freed) {
        for charge in &freed.charges {
            let slot = (charge.key.clone(), engine.clone(), freed.slot.clone());
            if self.held.remove(&slot) {
                self.given_back.push(slot);
            }
            let limit = self.limits.get_mut(&charge.key).expect("its row was locked");
            settle(limit, charge, freed.tokens, self.now);
        }
    }
}

/// Changes some limits in one transaction. `work` may be done again.
async fn change<T>(
    db: &mut Object,
    keys: &BTreeSet<LimitKey>,
    dead: &[EngineId],
    work: impl Fn(&mut Table) -> T,
) -> Result<T, Failure> {
    let change = db.transaction().await?;
    let names: Vec<&str> = keys.iter().map(LimitKey::as_str).collect();
    let states = lock(&change, &names).await?;
    let mut engines = neighbours(&change).await?;
    dead.iter().for_each(|engine| {
        engines.remove(engine);
    });
    let living: BTreeSet<&EngineId> =
        engines.iter().filter(|(_, neighbour)| !neighbour.left.is_zero()).map(|(id, _)| id).collect();
    let mut held = BTreeSet::new();
    let mut gone = Vec::new();
    for slot in slots(&change, &names).await? {
        if living.contains(&slot.1) {
            held.insert(slot);
        } else {
            gone.push(slot);
        }
    }
    let limits = states.iter().map(|(key, state)| {
        let count = held.iter().filter(|(of, ..)| of == key).count();
        let limit = Limit { state: state.clone(), held: u32::try_from(count).unwrap_or(u32::MAX), wakes: false };
        (key.clone(), limit)
    });
    let limits = limits.collect();
    let now = leases::now(&change).await?;
    let mut table = Table { now, engines, before: states, limits, held, taken: Vec::new(), given_back: gone };
    let done = work(&mut table);
    write(&change, &table).await?;
    change.commit().await?;
    Ok(done)
}

/// The states of limits, locked. A row that others remove in between is made again.
async fn lock(db: &impl Prepares, names: &[&str]) -> Result<BTreeMap<LimitKey, LimitState>, Failure> {
    const MAKE: &str = "INSERT INTO limits (key, state, sum, idle_from) SELECT key, '{}', $2, 0 \
         FROM unnest($1::text[]) AS key ON CONFLICT (key) DO NOTHING";
    const LOCK: &str = "SELECT key, state, sum FROM limits WHERE key = ANY ($1::text[]) ORDER BY key FOR UPDATE";
    loop {
        let rows = db.rows(LOCK, &[&names]).await?;
        if rows.len() == names.len() {
            let mut states = BTreeMap::new();
            for row in &rows {
                let key = LimitKey::new(row.try_get::<_, &str>(0)?);
                states.insert(key, read(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
            }
            return Ok(states);
        }
        // The checksum of what says nothing is not looked at.
        db.change(MAKE, &[&names, &0_i64]).await?;
    }
}

/// What is damaged says nothing: all that is lost with it is gone after a minute anyway.
fn read(key: &str, state: &str, sum: i64) -> LimitState {
    if state == "{}" {
        return LimitState::default();
    }
    let state = (checksum(key.as_bytes(), state.as_bytes()) == sum).then(|| serde_json::from_str(state).ok()).flatten();
    state.unwrap_or_else(|| {
        tracing::warn!(key, "the state of a limit is damaged; it starts anew");
        LimitState::default()
    })
}

async fn neighbours(db: &impl Prepares) -> Result<BTreeMap<EngineId, Neighbour>, Failure> {
    const SQL: &str = "SELECT engine_id, boot_id, pid, started_ticks, \
         greatest(0, (extract(epoch FROM lease_until - clock_timestamp()) * 1000)::bigint) FROM engines ORDER BY engine_id";
    let mut found = BTreeMap::new();
    for row in db.rows(SQL, &[]).await? {
        let engine_id = EngineId::new(row.try_get::<_, &str>(0)?);
        let proof = OwnerProof {
            boot_id: row.try_get(1)?,
            pid: u32::try_from(row.try_get::<_, i64>(2)?).unwrap_or(0),
            started_ticks: row.try_get::<_, i64>(3)?.cast_unsigned(),
        };
        let left = Duration::from_millis(row.try_get::<_, i64>(4)?.cast_unsigned());
        found.insert(engine_id.clone(), Neighbour { record: EngineRecord { engine_id, proof }, left });
    }
    Ok(found)
}

async fn slots(db: &impl Prepares, names: &[&str]) -> Result<Vec<Held>, Failure> {
    const SQL: &str = "SELECT key, engine_id, slot FROM limit_slots WHERE key = ANY ($1::text[])";
    let mut found = Vec::new();
    for row in db.rows(SQL, &[&names]).await? {
        let (key, engine, slot): (&str, &str, &str) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        found.push((LimitKey::from(key), EngineId::from(engine), TaskRunId::from(slot)));
    }
    Ok(found)
}

/// Writes what has changed, and wakes those who wait.
async fn write(db: &impl Prepares, table: &Table) -> Result<(), Failure> {
    const TAKE: &str = "INSERT INTO limit_slots (key, engine_id, slot) \
         SELECT * FROM unnest($1::text[], $2::text[], $3::text[]) ON CONFLICT DO NOTHING";
    const GIVE: &str = "DELETE FROM limit_slots USING unnest($1::text[], $2::text[], $3::text[]) AS gone (key, engine_id, slot) \
         WHERE limit_slots.key = gone.key AND limit_slots.engine_id = gone.engine_id AND limit_slots.slot = gone.slot";
    const KEEP: &str = "UPDATE limits SET state = kept.state, sum = kept.sum, idle_from = kept.idle_from \
         FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[]) AS kept (key, state, sum, idle_from) \
         WHERE limits.key = kept.key";
    const FORGET: &str = "DELETE FROM limits WHERE key IN ( \
             SELECT key FROM limits WHERE idle_from < $1 ORDER BY idle_from LIMIT 4 FOR UPDATE SKIP LOCKED \
         ) AND key <> ALL ($2::text[])";
    const TELL: &str = "SELECT pg_notify('segue_limits', key)::text FROM unnest($1::text[]) AS key";
    for (sql, rows) in [(GIVE, &table.given_back), (TAKE, &table.taken)] {
        if !rows.is_empty() {
            let keys: Vec<&str> = rows.iter().map(|(key, ..)| key.as_str()).collect();
            let engines: Vec<&str> = rows.iter().map(|(_, engine, _)| engine.as_str()).collect();
            let slots: Vec<&str> = rows.iter().map(|(.., slot)| slot.as_str()).collect();
            db.change(sql, &[&keys, &engines, &slots]).await?;
        }
    }
    let changed: Vec<_> = table.limits.iter().filter(|(key, limit)| table.before[*key] != limit.state).collect();
    if !changed.is_empty() {
        let keys: Vec<&str> = changed.iter().map(|(key, _)| key.as_str()).collect();
        let json = |limit: &Limit| serde_json::to_string(&limit.state).expect("a state can be written as JSON");
        let states: Vec<String> = changed.iter().map(|(_, limit)| json(limit)).collect();
        let sums: Vec<i64> =
            keys.iter().zip(&states).map(|(key, state)| checksum(key.as_bytes(), state.as_bytes())).collect();
        let idle: Vec<i64> = changed.iter().map(|(_, limit)| limit.state.idle_from(table.now).as_micros()).collect();
        db.change(KEEP, &[&keys, &states, &sums, &idle]).await?;
        let own: Vec<&str> = table.limits.keys().map(LimitKey::as_str).collect();
        db.change(FORGET, &[&table.now.as_micros(), &own]).await?;
    }
    let woken: Vec<&str> = table.limits.iter().filter(|(_, limit)| limit.wakes).map(|(key, _)| key.as_str()).collect();
    if !woken.is_empty() {
        db.rows(TELL, &[&woken]).await?;
    }
    Ok(())
}

async fn held(db: &impl Prepares, engine: &EngineId) -> Result<Vec<(TaskRunId, LimitKey)>, Failure> {
    const SQL: &str = "SELECT slot, key FROM limit_slots WHERE engine_id = $1 ORDER BY slot, key";
    let rows = db.rows(SQL, &[&engine.as_str()]).await?;
    let slot = |row: &tokio_postgres::Row| {
        Ok((TaskRunId::from(row.try_get::<_, &str>(0)?), LimitKey::from(row.try_get::<_, &str>(1)?)))
    };
    rows.iter().map(slot).collect()
}

/// The limits of which something is kept.
async fn in_use(db: &impl Prepares) -> Result<Vec<LimitKey>, Failure> {
    const SQL: &str = "SELECT key FROM limits ORDER BY key LIMIT $1";
    let most = i64::try_from(SIGNALS_MAX / 2).expect("it is a small number");
    let rows = db.rows(SQL, &[&most]).await?;
    rows.iter().map(|row| Ok(LimitKey::from(row.try_get::<_, &str>(0)?))).collect()
}

/// How limits stand. Only reads.
async fn views(db: &impl Prepares, keys: &[LimitKey]) -> Result<Vec<LimitView>, Failure> {
    const SQL: &str = "SELECT key, state, sum FROM limits WHERE key = ANY ($1::text[])";
    let names: Vec<&str> = keys.iter().map(LimitKey::as_str).collect();
    let engines = neighbours(db).await?;
    let is_alive = |id: &EngineId| engines.get(id).is_some_and(|neighbour| !neighbour.left.is_zero());
    let slots = slots(db, &names).await?;
    let mut states = BTreeMap::new();
    for row in db.rows(SQL, &[&names]).await? {
        let key: &str = row.try_get(0)?;
        states.insert(LimitKey::from(key), read(key, row.try_get(1)?, row.try_get(2)?));
    }
    let now = leases::now(db).await?;
    let view = |key: &LimitKey| {
        let held = slots.iter().filter(|(of, engine, _)| of == key && is_alive(engine)).count();
        let mut state = states.remove(key).unwrap_or_default();
        state.tidy(now, &is_alive);
        LimitView::of(key.clone(), u32::try_from(held).unwrap_or(u32::MAX), &state, now)
    };
    Ok(keys.iter().map(view).collect())
}

fn keys_of<'a>(requests: impl IntoIterator<Item = &'a LimitRequest>) -> BTreeSet<LimitKey> {
    requests.into_iter().flat_map(|request| request.asks.iter().map(|ask| ask.key.clone())).collect()
}

#[async_trait]
impl LimitStore for PostgresStore {
    async fn acquire(&self, acquire: Acquire) -> Result<Vec<Admission>, StoreError> {
        let Acquire { engine, dead, requests } = &acquire;
        let keys = keys_of(requests);
        doing!(self.pool, Tries::of_writing(), db => change(&mut db, &keys, dead, |table| {
            requests.iter().map(|request| table.decide(engine, request)).collect::<Vec<_>>()
        }))
    }

    async fn release(&self, engine: &EngineId, freed: Vec<Freed>) -> Result<(), StoreError> {
        let keys = freed.iter().flat_map(|freed| freed.charges.iter().map(|charge| charge.key.clone())).collect();
        doing!(self.pool, Tries::of_writing(), db => change(&mut db, &keys, &[], |table| {
            freed.iter().for_each(|freed| table.give_back(engine, freed));
        }))
    }

    async fn leave(&self, engine: &EngineId, requests: Vec<LimitRequest>) -> Result<(), StoreError> {
        let keys = keys_of(&requests);
        doing!(self.pool, Tries::of_writing(), db => change(&mut db, &keys, &[], |table| {
            for (request, ask) in requests.iter().flat_map(|request| request.asks.iter().map(move |ask| (request, ask))) {
                leave(table.limits.get_mut(&ask.key).expect("its row was locked"), engine, request, ask);
            }
        }))
    }

    async fn pause(&self, keys: Vec<LimitKey>, span: Duration) -> Result<(), StoreError> {
        let keys = keys.into_iter().collect();
        doing!(self.pool, Tries::of_writing(), db => change(&mut db, &keys, &[], |table| {
            let now = table.now;
            table.limits.values_mut().for_each(|limit| pause(&mut limit.state, span, now));
        }))
    }

    async fn held(&self, engine: &EngineId) -> Result<Vec<(TaskRunId, LimitKey)>, StoreError> {
        doing!(self.pool, Tries::of_reading(), db => held(&db, engine))
    }

    async fn look(&self, keys: Vec<LimitKey>) -> Result<Vec<LimitView>, StoreError> {
        doing!(self.pool, Tries::of_reading(), db => views(&db, &keys))
    }

    fn limit_signals(&self) -> BoxStream<'static, LimitKey> {
        let (mut sender, receiver) = mpsc::channel(SIGNALS_MAX);
        let pool = self.pool.clone();
        // Ends with the first signal that nobody hears.
        self.runtime().spawn(async move {
            let mut listener = Listener::start(pool.clone(), CHANNEL);
            while let Some(heard) = listener.next().await {
                let keys = match heard {
                    Heard::Said(key) => vec![LimitKey::new(key)],
                    // What was said before may have been missed. If this fails, those who wait ask again by themselves.
                    Heard::Connected => doing!(pool, Tries::of_reading(), db => in_use(&db)).unwrap_or_default(),
                };
                for key in keys {
                    if sender.try_send(key).is_err_and(|error| error.is_disconnected()) {
                        return;
                    }
                }
            }
        });
        Box::pin(receiver)
    }
}
