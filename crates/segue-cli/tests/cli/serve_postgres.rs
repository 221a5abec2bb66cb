//! `segue serve` on PostgreSQL, with buses that reach other processes.

use crate::support::{
    Place, Ran,
    serving::{Serving, ended, submit},
    until,
};
use segue_testkit::services::{self, Database, PostgresServer};

/// A task that writes a line, waits for a file, and a task after it.
const GATED: &str = "id: gated\nnodes:\n  - id: a\n    task: process.run\n    inputs: { argv: [sh, -c, 'echo begun >> begun; while [ ! -e go ]; do sleep 0.02; done; echo a >> log'] }\n  - { id: b, task: process.run, depends_on: [a], inputs: { argv: [sh, -c, 'echo b >> log'] } }\n";

fn database() -> Database {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(services::postgres())
}

/// A folder whose commands use this store.
fn place_on(store: &str, settings: &str) -> Place {
    let place = Place::new();
    place.write("segue.toml", &format!("store = \"{store}\"\n{settings}"));
    place.write("gated.yaml", GATED);
    place
}

fn begun(place: &Place, lines: usize) {
    until("the tasks have begun", || (place.read("begun").lines().count() >= lines).then_some(()));
}

/// The password of a URL.
fn password_of(url: &str) -> &str {
    let (_, rest) = url.split_once("://").unwrap();
    rest.split_once('@').unwrap().0.split_once(':').unwrap().1
}

fn share(bus: &str) {
    const RUNS: usize = 50;
    let database = database();
    let place = place_on(&database.url(), &format!("max_live_runs = 4\nbus = \"{bus}\""));
    let runs: Vec<String> = (0..RUNS).map(|_| submit(&place, &["gated.yaml"])).collect();
    let engines = [Serving::start(&place, &[]), Serving::start(&place, &[])];
    begun(&place, 8);
    place.write("go", "");
    for run in &runs {
        let shown = ended(&place, run);
        assert_eq!(shown["status"], "SUCCEEDED", "{shown}");
        assert_eq!((&shown["tasks"]["a"]["attempts"], &shown["tasks"]["b"]["attempts"]), (&1.into(), &1.into()));
    }
    let log = place.read("log");
    assert_eq!([log.matches("a\n").count(), log.matches("b\n").count()], [RUNS, RUNS]);
    let done = engines.each_ref().map(|engine| engine.sample("segue_runs_total{status=\"SUCCEEDED\"}"));
    assert!(done[0] >= 4.0 && done[1] >= 4.0 && done[0] + done[1] == RUNS as f64, "{done:?}");
    for engine in engines {
        let served = engine.leave();
        assert_eq!(served.code, 0, "{served:#?}");
    }
}

#[test]
fn two_engines_share_a_database_and_its_bus() {
    share("postgres:");
}

#[test]
fn two_engines_share_a_database_and_a_redis() {
    share(&services::redis());
}

#[test]
fn an_engine_whose_store_is_away_says_so_and_goes_on_with_it() {
    let mut server = PostgresServer::start().unwrap();
    let place = place_on(&server.url(), "");
    let serving = Serving::start(&place, &["--lease", "600"]);
    let run = submit(&place, &["gated.yaml"]);
    begun(&place, 1);
    assert_eq!(serving.ready().0, 200);
    server.stop_immediate().unwrap();
    let document = until("it says that the store is away", || {
        Some(serving.ready()).filter(|(status, _)| *status == 503).map(|(_, document)| document)
    });
    assert_eq!(document["reasons"][0]["check"], "store", "{document}");
    assert_eq!(serving.get("/healthz").0, 200, "nothing is gained by starting it again");
    let ran = place.segue(&["submit", "gated.yaml"]);
    assert_eq!(ran.code, 8, "{ran:#?}");
    assert!(ran.stderr.contains("help: "), "{ran:#?}");
    place.write("go", "");
    server.restart().unwrap();
    until("it is ready again", || (serving.ready().0 == 200).then_some(()));
    let shown = ended(&place, &run);
    assert_eq!((&shown["status"], &shown["tasks"]["a"]["attempts"]), (&"SUCCEEDED".into(), &1.into()), "{shown}");
    assert_eq!(place.read("log"), "a\nb\n");
    let served = serving.leave();
    assert_eq!(served.code, 0, "{served:#?}");
    assert!(!served.stderr.contains(server.password()), "{served:#?}");
}

#[test]
fn no_password_is_shown() {
    let database = database();
    let (url, redis) = (database.url(), services::redis());
    let place = place_on(&url, &format!("bus = \"{redis}\""));
    place.write("go", "");
    let serving = Serving::start(&place, &["-vvv"]);
    ended(&place, &submit(&place, &["gated.yaml"]));
    let mut said = vec![format!("{:?}", serving.leave())];
    for args in [
        &["config", "show", "--origin"][..],
        &["config", "show", "--json"],
        &["doctor"],
        &["doctor", "--json"],
        &["run", "gated.yaml", "-vvv"],
        &["run", "gated.yaml", "--store", &format!("{url}_not_there")],
        &["run", "gated.yaml", "--store", &url.replace("postgres://", "mysql://")],
        &["run", "gated.yaml", "--bus", &redis.replace("redis://", "amqp://")],
        &["runs", "list"],
    ] {
        let Ran { stdout, stderr, .. } = place.segue(args);
        said.push(format!("{args:?} {stdout} {stderr}").replace(&format!("{args:?}"), ""));
    }
    for (what, text) in said.iter().enumerate() {
        for url in [&url, &redis] {
            assert!(!text.contains(password_of(url)), "{what}: {text}");
        }
    }
    assert!(said[1].contains(database.name()), "{}", said[1]);
}

#[test]
fn a_password_may_lie_in_a_file() {
    let database = database();
    let url = database.url();
    let (password, bare) = (password_of(&url), url.replace(&format!(":{}@", password_of(&url)), "@"));
    let place = place_on(&bare, "store_password_file = \"secret/password\"");
    let ran = place.segue(&["runs", "list"]);
    assert_eq!(ran.code, 3, "{ran:#?}");
    assert!(ran.stderr.contains("store_password_file") && ran.stderr.contains("cannot be read"), "{ran:#?}");
    place.write("secret/password", "wrong\n");
    let ran = place.segue(&["runs", "list"]);
    assert_eq!(ran.code, 8, "{ran:#?}");
    place.write("secret/password", &format!("{password}\n"));
    let ran = place.segue(&["runs", "list"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
}
