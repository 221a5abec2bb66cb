//! `segue runs watch` beside an engine in another process: it hears by the bus where there is one, and misses nothing
//! where the bus goes away.

use std::{
    io::{BufRead as _, BufReader, Read, Write},
    net::TcpStream,
    process::Child,
};

use crate::support::{
    Place, Ran, end_of,
    serving::{Serving, submit},
    until,
};
use segue_testkit::services::RedisServer;

/// A task that waits for a file, and one after it.
const GATED: &str = "id: gated\nnodes:\n  - id: a\n    task: process.run\n    inputs: { argv: [sh, -c, 'while [ ! -e go ]; do sleep 0.02; done'] }\n  - { id: b, task: process.run, depends_on: [a], inputs: { argv: ['true'] } }\n";

fn place_with(server: &RedisServer) -> Place {
    let place = Place::new();
    place.write("segue.toml", &format!("bus = \"{}\"\n", server.url()));
    place.write("gated.yaml", GATED);
    place
}

/// Does anybody listen to a run, by what Redis says itself?
fn is_listened(server: &RedisServer) -> bool {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    write!(stream, "AUTH {}\r\nPUBSUB CHANNELS segue:run:*\r\nQUIT\r\n", server.password()).unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    answers.contains("segue:run:")
}

fn watch(place: &Place, server: &RedisServer, run: &str) -> Child {
    let watcher = place.spawn(&["runs", "watch", run, "--json"]);
    until("the watcher listens", || is_listened(server).then_some(()));
    watcher
}

/// Every fact once, in order, to the end.
fn assert_whole(watched: &Ran, place: &Place, run: &str) {
    assert_eq!(watched.code, 0, "{watched:#?}");
    assert_eq!(watched.lines_of_json(), place.events(run), "{watched:#?}");
}

#[test]
fn a_watcher_hears_what_another_process_does() {
    let server = RedisServer::start().unwrap();
    let place = place_with(&server);
    let run = submit(&place, &["gated.yaml"]);
    let watcher = watch(&place, &server, &run);
    let serving = Serving::start(&place, &[]);
    place.write("go", "");
    assert_whole(&end_of(watcher), &place, &run);
    assert_eq!(serving.leave().code, 0);
    until("nobody listens any more", || (!is_listened(&server)).then_some(()));
}

#[test]
fn neither_engine_nor_watcher_need_the_bus() {
    let mut server = RedisServer::start().unwrap();
    let place = place_with(&server);
    let run = submit(&place, &["gated.yaml"]);
    let serving = Serving::start(&place, &[]);
    let watcher = watch(&place, &server, &run);
    server.stop().unwrap();
    place.write("go", "");
    assert_whole(&end_of(watcher), &place, &run);
    let late = place.segue(&["runs", "watch", &run, "--json"]);
    assert_whole(&late, &place, &run);
    let alone = place.segue(&["run", "gated.yaml", "--json"]);
    assert_eq!(alone.code, 0, "{alone:#?}");
    let served = serving.leave();
    assert_eq!(served.code, 0, "{served:#?}");
    assert!(!format!("{served:?}{late:?}{alone:?}").contains(server.password()));
}

/// One of two may run: the other one waits for a limit, which no event tells. A watcher in another process says so, once,
/// beside the events and not among them.
#[test]
fn a_watcher_says_which_limit_a_task_waits_for() {
    let place = Place::new();
    let node = |id: &str| {
        format!(
            "  - id: {id}\n    task: process.run\n    limits: [site]\n    inputs: {{ argv: [sh, -c, 'touch begun; while [ ! -e go ]; do sleep 0.02; done'] }}\n"
        )
    };
    let document = format!("id: two\nlimits:\n  site: {{ concurrent: 1 }}\nnodes:\n{}{}", node("a"), node("b"));
    place.write("two.yaml", &document);
    let child = place.spawn(&["run", "two.yaml", "--json"]);
    until("one of them runs", || place.file("begun").exists().then_some(()));
    let mut watcher = place.spawn(&["runs", "watch", "@last"]);
    let mut said = BufReader::new(watcher.stderr.take().unwrap()).lines();
    let line = said.find(|line| line.as_ref().is_ok_and(|line| line.contains("limit"))).unwrap().unwrap();
    assert!(["a", "b"].iter().any(|id| line == format!("{id} waits for the limit site: 1 of 1 run")), "{line}");
    place.write("go", "");
    let rest: Vec<String> = said.map_while(Result::ok).filter(|line| line.contains("limit")).collect();
    assert_eq!(rest, [""; 0], "it is said once");
    let watched = end_of(watcher);
    assert_eq!(watched.code, 0, "{watched:#?}");
    assert!(watched.stdout.contains("run.succeeded") && !watched.stdout.contains("limit site"), "{watched:#?}");
    assert_eq!(end_of(child).code, 0);
}
