//! Connections: made ready, shared, made again after they were lost.

use std::{borrow::Cow, fmt, time::Duration};

use async_trait::async_trait;
use deadpool_postgres::{
    GenericClient, Hook, HookError, Manager, ManagerConfig, Object, Pool as Deadpool, RecyclingMethod, Runtime,
};
use futures_core::stream::BoxStream;
use futures_util::stream;
use segue_core::ports::StoreError;
use tokio_postgres::{AsyncMessage, Client, Config, Connection, NoTls, Row, Socket, tls::TlsStream, types::ToSql};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::{
    address::Address,
    failure::{self, Failure},
    options::PostgresOptions,
    tls,
};

/// What an answer with the next message of a connection looks like.
pub(crate) type Messages = BoxStream<'static, Result<AsyncMessage, tokio_postgres::Error>>;

/// How much longer than the server its client waits.
const GRACE: Duration = Duration::from_secs(5);
/// A batch finds each of its rows by an index, however few the planner believes there to be: its plan is made once, and
/// that may be while the tables are still empty.
const BY_INDEX: &str = "SET enable_hashjoin = off; SET enable_mergejoin = off; \
     SET plan_cache_mode = force_generic_plan";
/// How often work that was undone because of others is begun again, and reading that was cut off.
const TRIES_MAX: u32 = 5;

/// Connections to one database. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Pool {
    shared: Deadpool,
    commits: Deadpool,
    config: Config,
    tls: Option<MakeRustlsConnect>,
    setup: String,
    shown: String,
    timeout: Duration,
}

impl Pool {
    /// Connects nowhere yet.
    pub(crate) fn new(address: Address, options: &PostgresOptions) -> Result<Self, StoreError> {
        let tls = tls::connector(&address.tls)?;
        let setup = setup(options);
        let lane = |connections: usize, setup: String| {
            let recycling_method = RecyclingMethod::Fast;
            let config = ManagerConfig { recycling_method };
            let manager = match tls.clone() {
                Some(tls) => Manager::from_config(address.config.clone(), tls, config),
                None => Manager::from_config(address.config.clone(), NoTls, config),
            };
            let hook = Hook::async_fn(move |client, _| {
                let setup = setup.clone();
                Box::pin(async move { client.batch_execute(&setup).await.map_err(HookError::Backend) })
            });
            Deadpool::builder(manager)
                .max_size(connections.max(1))
                .post_create(hook)
                .runtime(Runtime::Tokio1)
                .wait_timeout(Some(options.timeout))
                .create_timeout(Some(options.connect_timeout * 2))
                .build()
                .map_err(|error| StoreError::Broken(format!("the connections cannot be set up: {error}")))
        };
        Ok(Self {
            shared: lane(options.connections, setup.clone())?,
            commits: lane(1, format!("{setup}; {BY_INDEX}"))?,
            config: address.config.clone(),
            tls: tls.clone(),
            setup: setup.clone(),
            shown: address.shown,
            timeout: options.timeout,
        })
    }

    /// A connection for reading and for small writes: a free one, or a new one.
    pub(crate) async fn get(&self) -> Result<Object, Failure> {
        self.shared.get().await.map_err(|error| failure::explain_pool(error, &self.shown).into())
    }

    /// The connection that commits, so that no reader is waited for.
    pub(crate) async fn committer(&self) -> Result<Object, Failure> {
        self.commits.get().await.map_err(|error| failure::explain_pool(error, &self.shown).into())
    }

    /// A connection of its own, made ready, with everything that the server says on it. Nothing happens on it unless the
    /// messages are asked for.
    pub(crate) async fn alone(&self) -> Result<(Client, Messages), StoreError> {
        let made = match self.tls.clone() {
            Some(tls) => self.config.connect(tls).await.map(|(client, connection)| (client, messages(connection))),
            None => self.config.connect(NoTls).await.map(|(client, connection)| (client, messages(connection))),
        };
        made.map_err(|error| failure::explain(&error, &self.shown))
    }

    /// What makes a session ready: to be run on a connection that is [alone](Self::alone).
    pub(crate) fn setup(&self) -> &str {
        &self.setup
    }

    /// The URL without its password.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    /// Waits for `work`, but not for ever. The server gives up first; this is for a server that says nothing any more.
    /// What did not end in time may still happen: the caller closes the connection.
    pub(crate) async fn in_time<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        tokio::time::timeout(self.timeout + GRACE, work).await.unwrap_or(Err(Failure::Slow))
    }
}

/// What asks with prepared statements: a connection, or a transaction on one.
#[async_trait]
pub(crate) trait Prepares: Sync {
    /// The rows that a statement gives. It is prepared once a connection.
    async fn rows(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Failure>;

    /// How many rows a statement changes.
    async fn change(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<u64, Failure>;
}

#[async_trait]
impl<C: GenericClient + Sync> Prepares for C {
    async fn rows(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Failure> {
        let sql = as_planted(sql);
        Ok(self.query(&self.prepare_cached(&sql).await?, values).await?)
    }

    async fn change(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<u64, Failure> {
        let sql = as_planted(sql);
        Ok(self.execute(&self.prepare_cached(&sql).await?, values).await?)
    }
}

#[cfg(feature = "mutants")]
fn as_planted(sql: &str) -> Cow<'_, str> {
    crate::mutants::doctored(sql)
}

#[cfg(not(feature = "mutants"))]
const fn as_planted(sql: &str) -> Cow<'_, str> {
    Cow::Borrowed(sql)
}

/// Says whether work is to be begun again.
#[derive(Debug)]
pub(crate) struct Tries {
    reads: bool,
    left: u32,
}

impl Tries {
    /// Of work that only reads: it is begun again on another connection too.
    pub(crate) const fn of_reading() -> Self {
        Self { reads: true, left: TRIES_MAX }
    }

    /// Of work that may be done twice, because the second time changes nothing: as of reading.
    pub(crate) const fn of_repeating() -> Self {
        Self::of_reading()
    }

    /// Of a transaction that changes something: begun again only if the server says that it undid all of it. A lost
    /// connection says nothing of the kind.
    pub(crate) const fn of_writing() -> Self {
        Self { reads: false, left: TRIES_MAX }
    }

    /// Is it to be begun again after this?
    pub(crate) fn again(&mut self, failure: &Failure) -> bool {
        self.again_if(failure, false)
    }

    /// As [`Tries::again`], or because of what else the server said while it undid all of it.
    pub(crate) fn again_if(&mut self, failure: &Failure, else_undone: bool) -> bool {
        let again = self.left > 0 && (failure.is_undone() || else_undone || self.reads && failure.is_cut());
        self.left = self.left.saturating_sub(1);
        again
    }
}

/// Does work on a connection of the pool, by `Tries`: `doing!(pool, Tries::of_reading(), db => work(&db))`.
macro_rules! doing {
    ($pool:expr, $tries:expr, $db:ident => $work:expr) => {{
        let (pool, mut tries): (&$crate::pool::Pool, $crate::pool::Tries) = (&$pool, $tries);
        loop {
            #[allow(unused_mut)]
            let mut $db = match pool.get().await {
                Ok(db) => db,
                Err(failure) => break Err(failure.explain(pool.shown())),
            };
            let done: Result<_, $crate::failure::Failure> = pool.in_time($work).await;
            match done {
                Ok(done) => break Ok(done),
                Err(failure) => {
                    if matches!(failure, $crate::failure::Failure::Slow) {
                        // Closed, and not used by others: nobody knows what still happens on it.
                        drop(deadpool_postgres::Object::take($db));
                    }
                    if !tries.again(&failure) {
                        break Err(failure.explain(pool.shown()));
                    }
                }
            }
        }
    }};
}

pub(crate) use doing;

/// What makes a session ours. A commit is durable when it is answered, whatever the server's own setting; a stronger one
/// stays. The planner's compiler costs more than such short statements; and a plan that was made while the tables were
/// empty is not to walk them when they are full.
fn setup(options: &PostgresOptions) -> String {
    let schema = options.schema.replace('"', "\"\"");
    let timeout_ms = options.timeout.as_millis();
    format!(
        "SELECT set_config('synchronous_commit', 'on', false) \
             WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply'); \
         SET search_path TO \"{schema}\"; \
         SET default_transaction_isolation = 'read committed'; \
         SET statement_timeout = {timeout_ms}; \
         SET idle_in_transaction_session_timeout = {timeout_ms}; \
         SET client_min_messages = warning; \
         SET enable_seqscan = off; \
         SET jit = off"
    )
}

fn messages<S: TlsStream + Unpin + Send + 'static>(mut connection: Connection<Socket, S>) -> Messages {
    Box::pin(stream::poll_fn(move |context| connection.poll_message(context)))
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("shown", &self.shown).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use segue_testkit::{conformance::block_on, services};

    use super::*;

    /// Whatever the server's own setting: a lazy one is not taken over, a stronger one is.
    #[test]
    fn a_commit_is_durable_when_it_is_answered() {
        let database = block_on(services::postgres());
        block_on(async {
            for (own, expected) in [("off", "on"), ("local", "on"), ("remote_apply", "remote_apply")] {
                let set = format!("ALTER DATABASE {} SET synchronous_commit = {own}", database.name());
                database.client().await.batch_execute(&set).await.expect("set");
                let options = PostgresOptions::default();
                let address = Address::parse(&database.url(), &options).expect("an address");
                let pool = Pool::new(address, &options).expect("a pool");
                for db in [pool.get().await.expect("a connection"), pool.committer().await.expect("a connection")] {
                    let rows = db.rows("SHOW synchronous_commit", &[]).await.expect("a setting");
                    assert_eq!(rows[0].get::<_, &str>(0), expected, "{own}");
                }
            }
        });
    }

    /// What may have happened is never done again.
    #[test]
    fn only_what_was_undone_for_certain_is_begun_again() {
        let slow = Failure::Slow;
        assert!(!Tries::of_writing().again(&slow) && !Tries::of_reading().again(&slow));
        let mut tries = Tries::of_writing();
        let again = (0..10).filter(|_| tries.again_if(&slow, true)).count();
        assert_eq!(again, TRIES_MAX as usize);
    }
}
