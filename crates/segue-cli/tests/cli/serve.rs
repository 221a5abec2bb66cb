//! `segue serve`: what is submitted is carried out; leaving loses nothing.

use crate::support::{
    Place,
    serving::{Serving, ended, submit},
    until,
};
use nix::sys::signal::Signal;

/// A task that writes a line, waits for a file, and a task after it.
const GATED: &str = "id: gated\nnodes:\n  - id: a\n    task: process.run\n    inputs: { argv: [sh, -c, 'echo begun >> begun; while [ ! -e go ]; do sleep 0.02; done; echo a >> log'] }\n  - { id: b, task: process.run, depends_on: [a], inputs: { argv: [sh, -c, 'echo b >> log'] } }\n";

fn begun(place: &Place, lines: usize) {
    until("the tasks have begun", || (place.read("begun").lines().count() >= lines).then_some(()));
}

#[test]
fn what_is_submitted_is_carried_out() {
    let place = Place::new();
    place.write("log.yaml", "id: log\nparams: { word: { type: string } }\nnodes:\n  - { id: a, task: process.run, inputs: { argv: [sh, -c, 'echo $0 >> log', '{{ params.word }}'] } }\n");
    let before = submit(&place, &["log.yaml", "-i", "word=before"]);
    let serving = Serving::start(&place, &[]);
    assert_eq!(ended(&place, &before)["status"], "SUCCEEDED");
    let keyed = ["log.yaml", "-i", "word=after", "--idempotency-key", "k"];
    let after = submit(&place, &keyed);
    assert_eq!(ended(&place, &after)["tasks"]["a"]["attempts"], 1);
    assert_eq!(submit(&place, &keyed), after, "one key, one run");
    assert_eq!(place.read("log"), "before\nafter\n");
    let document = place.json(&["submit", "log.yaml", "-i", "word=x", "--json"]);
    assert_eq!(document["workflow_id"], "log");
    ended(&place, document["run_id"].as_str().unwrap());
    let served = serving.leave();
    assert_eq!(served.code, 0, "{served:#?}");
    assert_eq!(served.told.last().unwrap()["event"], "left");
}

#[test]
fn on_sigterm_what_runs_may_finish_and_nothing_new_begins() {
    let place = Place::new();
    place.write("gated.yaml", GATED);
    let serving = Serving::start(&place, &["--drain", "600"]);
    let run = submit(&place, &["gated.yaml"]);
    begun(&place, 1);
    assert_eq!(serving.ready().0, 200);
    serving.signal(Signal::SIGTERM);
    let (status, document) = until("it says that it leaves", || Some(serving.ready()).filter(|ready| ready.0 != 200));
    assert_eq!((status, &document["ready"]), (503, &false.into()));
    assert_eq!(document["reasons"][0]["check"], "engine", "{document}");
    assert_eq!(serving.get("/healthz").0, 200, "what leaves is still alive");
    place.write("go", "");
    let served = serving.wait();
    assert_eq!(served.code, 0, "{served:#?}");
    assert_eq!(place.read("log"), "a\n", "the task had its time, and the next one was left to others");
    let next = Serving::start(&place, &[]);
    let shown = ended(&place, &run);
    assert_eq!((&shown["status"], &shown["tasks"]["a"]["attempts"]), (&"SUCCEEDED".into(), &1.into()), "{shown}");
    assert_eq!(place.read("log"), "a\nb\n");
    assert_eq!(next.leave().code, 0);
}

#[test]
fn what_hangs_is_handed_back_and_goes_on_elsewhere() {
    let place = Place::new();
    place.write("gated.yaml", GATED);
    let serving = Serving::start(&place, &["--drain", "0.1"]);
    let run = submit(&place, &["gated.yaml"]);
    begun(&place, 1);
    let served = serving.leave();
    assert_eq!(served.code, 0, "{served:#?}");
    place.write("go", "");
    let next = Serving::start(&place, &[]);
    assert_eq!(ended(&place, &run)["status"], "SUCCEEDED");
    assert_eq!(place.read("log"), "a\nb\n", "each was done once");
    assert_eq!(place.read("begun"), "begun\nbegun\n");
    assert_eq!(next.leave().code, 0);
}

#[test]
fn a_second_signal_leaves_at_once() {
    let place = Place::new();
    place.write("gated.yaml", GATED);
    let serving = Serving::start(&place, &["--drain", "600"]);
    let run = submit(&place, &["gated.yaml"]);
    begun(&place, 1);
    serving.signal(Signal::SIGINT);
    until("it leaves", || (serving.ready().0 == 503).then_some(()));
    serving.signal(Signal::SIGTERM);
    let served = serving.wait();
    assert_eq!(served.code, 130, "{served:#?}");
    assert_eq!(served.told.last().unwrap()["at_once"], true);
    place.write("go", "");
    let next = Serving::start(&place, &[]);
    assert_eq!(ended(&place, &run)["status"], "SUCCEEDED");
    assert_eq!(place.read("log"), "a\nb\n");
    assert_eq!(next.leave().code, 0);
}

/// Each engine takes only what it has room for, so both have a part; and nothing is done twice.
#[test]
fn two_engines_share_what_is_submitted() {
    const RUNS: usize = 50;
    let place = Place::new();
    place.write("gated.yaml", GATED);
    place.write("segue.toml", "max_live_runs = 4");
    let runs: Vec<String> = (0..RUNS).map(|_| submit(&place, &["gated.yaml"])).collect();
    let engines = [Serving::start(&place, &[]), Serving::start(&place, &[])];
    begun(&place, 8);
    assert_eq!(engines.each_ref().map(|engine| engine.sample("segue_runs_live")), [4.0, 4.0]);
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
        assert_eq!(engine.leave().code, 0);
    }
}

#[test]
fn what_cannot_be_served_is_said() {
    let place = Place::new();
    let taken = Serving::start(&place, &[]);
    let own = taken.address.to_string();
    for (args, code, part) in [
        (&["--listen", "0.0.0.0:0"][..], 2, "has no access tokens yet"),
        (&["--listen", "[::]:0"], 2, "reached from other machines"),
        (&["--listen", "nowhere"], 2, "127.0.0.1:7348"),
        (&["--listen", &own], 8, "--listen 127.0.0.1:0"),
        (&["--lease", "0.1"], 2, "between 0.5 and 3600"),
        (&["--store", "memory:"], 2, "nobody could submit"),
    ] {
        let ran = place.segue(&[&["serve"], args].concat());
        assert_eq!(ran.code, code, "{args:?}: {ran:#?}");
        assert!(ran.stderr.contains(part), "{args:?}: {ran:#?}");
    }
    assert_eq!(taken.leave().code, 0);
}
