//! Graphs and crews on servers, by the whole program: killed while they run, asked by them, and with keys that are nowhere to
//! be found afterwards.

use std::{
    fs,
    path::Path,
    process::{Child, Stdio},
};

use crate::support::{Place, Ran, end_of, until};
use segue_testkit::{
    crewai_server::{CrewaiServer, Shape},
    langgraph_server::LanggraphServer,
};

const KEY: &str = "key-canary-4711";

fn spawn(place: &Place, args: &[&str]) -> Child {
    let mut command = place.command(args);
    command.env("SERVER_KEY", KEY);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn segue(place: &Place, args: &[&str]) -> Ran {
    end_of(spawn(place, args))
}

/// A hosted crew and a graph on a server, side by side.
fn place(crews: &CrewaiServer, graphs: &LanggraphServer, behave: &str, graph: &str) -> Place {
    let place = Place::new();
    let (crews, graphs) = (crews.url(), graphs.url());
    place.write(
        "remote.yaml",
        &format!(
            "id: remote
secrets: [SERVER_KEY]
defaults: {{ hints: {{ http: {{ allow_private: [127.0.0.1] }} }} }}
nodes:
  - id: crew
    task: crewai.remote
    inputs: {{ url: \"{crews}\", token: {{ $secret: SERVER_KEY }}, topic: bees, behave: {behave} }}
  - id: graph
    task: langgraph.remote
    inputs: {{ url: \"{graphs}\", assistant: {graph}, api_key: {{ $secret: SERVER_KEY }}, input: {{ n: 1 }} }}
"
        ),
    );
    place
}

fn servers() -> (CrewaiServer, LanggraphServer) {
    let graphs = LanggraphServer::start();
    graphs.require_key(KEY);
    (CrewaiServer::start(Shape::Documented, KEY), graphs)
}

/// Every file below this folder, as bytes.
fn search(folder: &Path, what: &str) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            search(&path, what);
        } else if let Ok(bytes) = fs::read(&path) {
            let is_there = bytes.windows(what.len()).any(|window| window == what.as_bytes());
            assert!(!is_there, "{} holds the key", path.display());
        }
    }
}

fn polls(server: &CrewaiServer) -> usize {
    server.web().calls().iter().filter(|call| call.path.starts_with("/status/")).count()
}

fn streams(server: &LanggraphServer) -> usize {
    server.web().calls().iter().filter(|call| call.path.ends_with("/stream")).count()
}

#[test]
fn what_runs_on_servers_is_found_again_after_a_kill() {
    let (crews, graphs) = servers();
    let place = place(&crews, &graphs, "endless", "held");
    let mut child = spawn(&place, &["run", "remote.yaml", "--json"]);
    until("both run", || (polls(&crews) > 0 && streams(&graphs) > 0).then_some(()));
    child.kill().unwrap();
    child.wait().unwrap();
    let before = (polls(&crews), streams(&graphs));
    let child = spawn(&place, &["resume", "@last", "--json"]);
    until("both are found", || (polls(&crews) > before.0 && streams(&graphs) > before.1).then_some(()));
    crews.finish();
    graphs.finish();
    let ran = end_of(child);
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert_eq!((crews.executions().len(), graphs.runs().len()), (1, 1), "nothing is done twice");
    let document = ran.document();
    assert_eq!(document["tasks"]["crew"]["output"]["output"], "about it");
    assert_eq!(document["tasks"]["graph"]["output"]["n"], 1);
    assert_eq!(document["usage"]["model_calls"], 2, "{document:#}");
    search(place.path(), KEY);
}

#[test]
fn what_servers_ask_is_answered_by_people() {
    let (crews, graphs) = servers();
    let place = place(&crews, &graphs, "asks", "ask");
    let ran = segue(&place, &["run", "remote.yaml", "--no-wait", "--json"]);
    assert_eq!(ran.code, 6, "both wait: {ran:#?}");
    let told = segue(&place, &["signal", "@last", "crew", "--data", r#"{"answer": "yes"}"#, "--json"]);
    assert_eq!(told.code, 6, "one waits: {told:#?}");
    let answers = r#"{"answers": {"i1": "yes", "i2": 3}}"#;
    let ran = segue(&place, &["signal", "@last", "graph", "--data", answers, "--json"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let document = ran.document();
    assert_eq!(document["tasks"]["graph"]["output"]["answers"], serde_json::json!({ "i1": "yes", "i2": 3 }));
    assert_eq!((crews.executions().len(), graphs.runs().len()), (1, 2));
    assert_eq!((crews.running(), graphs.running()), (0, 0));
    search(place.path(), KEY);
}

#[test]
fn a_cancel_ends_what_runs_on_servers() {
    let (crews, graphs) = servers();
    let place = place(&crews, &graphs, "endless", "endless");
    let child = spawn(&place, &["run", "remote.yaml", "--json"]);
    until("both run", || (polls(&crews) > 0 && streams(&graphs) > 0).then_some(()));
    crate::support::signal(&child, nix::sys::signal::Signal::SIGINT);
    let ran = end_of(child);
    assert_ne!(ran.code, 0, "{ran:#?}");
    assert_eq!((crews.running(), graphs.running()), (0, 0), "{ran:#?}");
}
