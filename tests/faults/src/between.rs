//! An engine at work while its connections to PostgreSQL are disturbed.

use std::{net::SocketAddr, panic::AssertUnwindSafe, panic::catch_unwind};

use segue_postgres::{PostgresOptions, PostgresStore, PostgresUpkeep};
use segue_testkit::services::{self, Database, PostgresServer};
use tokio::runtime::Runtime;

use crate::{
    campaign::text_of,
    checks::Judge,
    place::{Place, until},
    proxy::Proxy,
    snapshot::{Snapshot, Store},
    workload,
};

const STEPS: usize = 24;
/// How often something happens to the connections: each time that four more steps have begun.
pub const TIMES: usize = 5;

/// A database, and the way to it for the program under test.
pub struct Between {
    /// What stands in the way.
    pub proxy: Proxy,
    /// The server, if it is one of its own, which may be stopped.
    pub server: Option<PostgresServer>,
    database: Database,
    store: PostgresStore,
    upkeep: PostgresUpkeep,
    runtime: Runtime,
}

impl Between {
    /// On the shared server.
    pub fn on_shared_server() -> Self {
        Self::new(None)
    }

    /// On a server of its own.
    pub fn on_own_server() -> Self {
        Self::new(Some(PostgresServer::start().unwrap()))
    }

    fn new(server: Option<PostgresServer>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (database, store) = runtime.block_on(async {
            let database = match &server {
                Some(server) => Database::on(&server.url()).await,
                None => services::postgres().await,
            };
            let store = PostgresStore::connect(&database.url(), PostgresOptions::default()).await.unwrap();
            (database, store)
        });
        let upkeep = PostgresUpkeep::at(&database.url(), PostgresOptions::default()).unwrap();
        let proxy = Proxy::start(address_in(&database.url()).parse::<SocketAddr>().unwrap());
        proxy.commits_by("UPDATE runs SET version = step.version");
        Self { proxy, server, database, store, upkeep, runtime }
    }

    /// Lets an engine carry out a run, with a bug that is planted or none, and something happen [`TIMES`] times meanwhile;
    /// says what is broken then.
    pub fn disturbed(&mut self, mutant: Option<&str>, disturb: impl FnMut(&mut Self, usize)) -> Vec<String> {
        // A wait that is given up panics.
        catch_unwind(AssertUnwindSafe(|| self.carry_out(mutant, disturb)))
            .unwrap_or_else(|panic| vec![text_of(&*panic)])
    }

    fn carry_out(&mut self, mutant: Option<&str>, mut disturb: impl FnMut(&mut Self, usize)) -> Vec<String> {
        let mut place = Place::bare();
        let url = self.database.url();
        place.set("SEGUE_STORE", &url.replace(address_in(&url), &self.proxy.address().to_string()));
        if let Some(mutant) = mutant {
            place.set("SEGUE_MUTANT", mutant);
        }
        let workload = workload::chain(STEPS, 0.01);
        place.write("chain.json", workload.document.to_string());
        let mut engine = place.start(&["serve", "--listen", "127.0.0.1:0", "--lease", "3", "--json"]);
        until("the engine is ready", || engine.printed().contains("ready").then_some(()));
        let submitted = place.segue(&["submit", "chain.json", "--json"]);
        let mut judge = Judge::new(&workload);
        if submitted.code() != 0 {
            judge.complain(format!("submit ended with {}: {}", submitted.code(), submitted.stderr.trim()));
        }
        judge.acknowledge(submitted.documents());
        for n in 1..=TIMES {
            until("the run goes on", || (place.effects().0.len() >= 4 * n).then_some(()));
            disturb(self, n);
        }
        let last = format!("s{}", STEPS - 1);
        until("the last step is done", || (place.effects().of_task(&last) > 0).then_some(()));
        until("the run has ended", || self.look().is_ok_and(|now| now.runs[0].row.status.is_terminal()).then_some(()));
        engine.leave();
        let left = engine.wait();
        if left.code() != 0 {
            judge.complain(format!("{} left with {}: {}", left.what, left.code(), left.stderr.trim()));
        }
        judge.ended(&place.effects(), self.look());
        judge.problems()
    }

    /// The answer to the next commit never arrives.
    pub fn lose_an_answer(&mut self, n: usize) {
        self.proxy.swallow_commits(1);
        until("the answer to a commit is lost", || (self.proxy.swallowed() == n).then_some(()));
    }

    fn look(&self) -> Result<Snapshot, String> {
        let store = Store { runs: &self.store, limits: &self.store, upkeep: &self.upkeep };
        self.runtime.block_on(Snapshot::of(store)).map_err(|error| error.to_string())
    }
}

/// `HOST:PORT` in a URL.
fn address_in(url: &str) -> &str {
    url.rsplit_once('@').unwrap().1.split_once('/').unwrap().0
}
