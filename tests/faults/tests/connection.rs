//! Between an engine and PostgreSQL connections are cut, delayed and half closed, and answers to commits are lost, while
//! runs go on. Each step is done once, all the same.
#![allow(clippy::unwrap_used)]

use std::{net::SocketAddr, time::Duration};

use segue_faults::{
    checks::Judge,
    place::{Place, until},
    proxy::Proxy,
    snapshot::Snapshot,
    workload,
};
use segue_postgres::{PostgresOptions, PostgresStore};
use segue_testkit::services;

const STEPS: usize = 24;

/// Lets something happen to the connections each time that four more steps have begun.
fn disturbed(mut disturb: impl FnMut(&Proxy, usize)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (database, store) = runtime.block_on(async {
        let database = services::postgres().await;
        let store = PostgresStore::connect(&database.url(), PostgresOptions::default()).await.unwrap();
        (database, store)
    });
    let url = database.url();
    let server = url.rsplit_once('@').unwrap().1.split_once('/').unwrap().0;
    let proxy = Proxy::start(server.parse::<SocketAddr>().unwrap());
    proxy.commits_by("UPDATE runs SET version = step.version");

    let mut place = Place::bare();
    place.set("SEGUE_STORE", &url.replace(server, &proxy.address().to_string()));
    let workload = workload::chain(STEPS, 0.01);
    place.write("chain.json", workload.document.to_string());
    let engine = place.start(&["serve", "--listen", "127.0.0.1:0", "--lease", "3", "--json"]);
    until("the engine is ready", || engine.printed().contains("ready").then_some(()));
    let submitted = place.segue(&["submit", "chain.json", "--json"]);
    assert_eq!(submitted.code(), 0, "{submitted:#?}");
    let mut judge = Judge::new(&workload);
    judge.acknowledge(submitted.documents());
    for n in 1..=5 {
        until("the run goes on", || (place.effects().0.len() >= 4 * n).then_some(()));
        disturb(&proxy, n);
    }
    let all = format!("s{}", STEPS - 1);
    until("the last step is done", || (place.effects().of_task(&all) > 0).then_some(()));
    let snapshot = || runtime.block_on(Snapshot::of(&store)).map_err(|error| error.to_string());
    until("the run has ended", || snapshot().unwrap().runs[0].row.status.is_terminal().then_some(()));
    engine.leave();
    let left = engine.wait();
    assert_eq!(left.code(), 0, "{left:#?}");
    judge.ended(&place.effects(), snapshot());
    assert_eq!(judge.problems(), [""; 0], "{}", left.stderr);
}

#[test]
fn connections_are_cut() {
    disturbed(|proxy, _| proxy.cut());
}

#[test]
fn connections_are_half_closed() {
    disturbed(|proxy, _| proxy.half_close());
}

#[test]
fn every_answer_takes_its_time() {
    disturbed(|proxy, n| proxy.delay(Duration::from_millis(20 * n as u64)));
}

#[test]
fn the_answers_to_commits_are_lost() {
    disturbed(|proxy, n| {
        proxy.swallow_commits(1);
        until("the answer to a commit is lost", || (proxy.swallowed() == n).then_some(()));
    });
}

#[test]
fn the_database_is_away_for_longer_than_a_lease() {
    disturbed(|proxy, n| {
        if n == 3 {
            proxy.refuse(true);
            proxy.cut();
            std::thread::sleep(Duration::from_secs(5));
            proxy.refuse(false);
        }
    });
}
