//! A real failover: a primary and a standby that follows it, the primary dies, the standby is promoted.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use futures_util::future::join_all;
use segue_core::ports::RunStore;
use segue_testkit::{
    conformance::{
        block_on, eventually,
        run_store::{Live, engine},
    },
    services::{self, PostgresServer},
};
use tokio_postgres::NoTls;

use crate::{LONG, persist, support::open};

/// With a standby that confirms every commit nothing acknowledged is lost, nothing happens twice, and the store finds the new
/// primary by itself.
#[test]
fn a_failover_to_a_standby_that_confirms_loses_nothing() {
    const RUNS: u32 = 4;
    let mut primary = PostgresServer::start().unwrap();
    let standby = primary.standby().unwrap();
    block_on(async {
        let database = services::Database::on(&primary.url()).await;
        let admin = database.client().await;
        admin.batch_execute("ALTER SYSTEM SET synchronous_standby_names = 'standby'").await.unwrap();
        admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        let confirms = "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'";
        eventually("the standby confirms", async || {
            (!admin.query(confirms, &[]).await.unwrap().is_empty()).then_some(())
        })
        .await;
        // The standby is named first: it is passed over until it takes writes.
        let both = database.url().replace('@', &format!("@127.0.0.1:{},", standby.port()));
        let store: Arc<dyn RunStore> = open(&both).await;
        let owner = engine(&store, "a", LONG).await;
        let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let stop = Arc::new(AtomicBool::new(false));
        let runs = (1..=RUNS).map(|n| {
            let (store, owner, told, stop) = (store.clone(), owner.clone(), told.clone(), stop.clone());
            tokio::spawn(async move {
                let mut live = Live::create(&store, n, &owner).await;
                while !stop.load(Ordering::SeqCst) {
                    let task = format!("t{}", live.row.version % 7);
                    persist(&store, &mut live, &task).await;
                    told.send(()).unwrap();
                }
                live
            })
        });
        let runs: Vec<_> = runs.collect();
        for _ in 0..50 {
            heard.recv().await.unwrap();
        }
        tokio::task::spawn_blocking(move || primary.stop_immediate().unwrap()).await.unwrap();
        let (promoting, connection) = tokio_postgres::connect(&standby.url(), NoTls).await.unwrap();
        tokio::spawn(connection);
        promoting.batch_execute("SELECT pg_promote()").await.unwrap();
        // What was said before the primary died is heard too: so many can only come from the new one.
        while heard.try_recv().is_ok() {}
        for _ in 0..50 {
            heard.recv().await.unwrap();
        }
        stop.store(true, Ordering::SeqCst);
        let (server, _) =
            standby.url().rsplit_once('/').map(|(server, name)| (server.to_owned(), name.to_owned())).unwrap();
        let direct = format!("{server}/{}", database.name());
        let another: Arc<dyn RunStore> = open(&direct).await;
        for live in join_all(runs).await {
            live.unwrap().assert_kept(&another).await;
        }
    });
}
