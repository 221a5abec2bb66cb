//! What an engine that serves answers, and to whom.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use crate::support::{
    PATIENCE, Place,
    serving::{Serving, answer_of, ended, submit},
    until,
};

/// Every metric that is promised, its type and its labels.
const METRICS: [(&str, &str, &[&str]); 13] = [
    ("segue_cache_lookups_total", "counter", &["result"]),
    ("segue_model_calls_total", "counter", &["model", "outcome"]),
    ("segue_model_tokens_total", "counter", &["model", "direction"]),
    ("segue_runs_live", "gauge", &[]),
    ("segue_runs_total", "counter", &["status"]),
    ("segue_store_commit_events", "counter", &[]),
    ("segue_store_commit_seconds", "histogram", &[]),
    ("segue_task_duration_seconds", "histogram", &["adapter"]),
    ("segue_task_queue_seconds", "histogram", &["adapter"]),
    ("segue_task_retries_total", "counter", &["adapter", "kind"]),
    ("segue_tasks_running", "gauge", &["adapter"]),
    ("segue_tasks_total", "counter", &["adapter", "status"]),
    ("segue_workers", "gauge", &["adapter", "state"]),
];

/// Tasks of several adapters: data, a process that fails at first, a model, Python.
const MIXED: &str = "id: mixed
nodes:
  - { id: data, task: pass, inputs: { text: hello } }
  - id: flaky
    task: process.run
    retry_policy: { max_attempts: 2, initial_interval_seconds: 0, retry_on: [exit] }
    inputs: { argv: [sh, -c, 'test -e tried || { touch tried; exit 1; }'] }
  - { id: model, task: llm.chat, inputs: { model: gpt-4o-mini, prompt: A line about tea. } }
  - { id: code, task: python.call, inputs: { call: 'own:double', n: 4 } }
";

#[test]
fn everything_promised_is_measured_and_no_run_is_named() {
    let place = Place::new();
    place.write("mixed.yaml", MIXED);
    place.write("own.py", "def double(n):\n    return 2 * n\n");
    let serving = Serving::start(&place, &["--rehearse"]);
    let run = submit(&place, &["mixed.yaml"]);
    let shown = ended(&place, &run);
    assert_eq!(shown["status"], "SUCCEEDED", "{shown:#}");

    let (status, text) = serving.get("/metrics");
    assert_eq!(status, 200);
    let typed: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    assert_eq!(typed, METRICS.map(|(name, kind, _)| format!("{name} {kind}")), "the very names and types");
    for (sample, _) in serving.samples() {
        let (name, labels) = sample.split_once('{').unwrap_or((&sample, ""));
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        let (.., expected) = METRICS.iter().find(|(own, ..)| *own == family || *own == name).unwrap();
        let labels: Vec<&str> = labels.split(',').filter_map(|label| Some(label.split_once('=')?.0)).collect();
        let labels: Vec<&str> = labels.into_iter().filter(|label| *label != "le").collect();
        assert_eq!(labels, **expected, "{sample}");
    }
    let ids = ["run_id", "task_id", &run, &run[..8], "flaky", "mixed"];
    assert!(ids.iter().all(|id| !text.contains(id)), "labels are bounded: {text}");
    for (sample, value) in [
        ("segue_runs_total{status=\"SUCCEEDED\"}", 1.0),
        ("segue_runs_live", 0.0),
        ("segue_tasks_total{adapter=\"process\",status=\"SUCCEEDED\"}", 1.0),
        ("segue_tasks_total{adapter=\"process\",status=\"FAILED\"}", 1.0),
        ("segue_task_retries_total{adapter=\"process\",kind=\"exit\"}", 1.0),
        ("segue_task_duration_seconds_count{adapter=\"python\"}", 1.0),
        ("segue_task_queue_seconds_count{adapter=\"pass\"}", 1.0),
        ("segue_tasks_running{adapter=\"process\"}", 0.0),
        ("segue_model_calls_total{model=\"gpt-4o-mini\",outcome=\"answered\"}", 1.0),
        ("segue_workers{adapter=\"python\",state=\"idle\"}", 1.0),
        ("segue_workers{adapter=\"crewai\",state=\"busy\"}", 0.0),
    ] {
        assert_eq!(serving.sample(sample), value, "{sample}\n{text}");
    }
    let events = place.events(&run).len() as f64;
    assert!(serving.sample("segue_store_commit_events") >= events - 2.0, "the first ones are the submitter's");
    for direction in ["input", "output"] {
        let sample = format!("segue_model_tokens_total{{model=\"gpt-4o-mini\",direction=\"{direction}\"}}");
        assert!(serving.sample(&sample) > 0.0, "{sample}");
    }
    assert_eq!(serving.leave().code, 0);
}

#[test]
fn every_log_line_about_a_run_names_it() {
    let place = Place::new();
    place.write("mixed.yaml", MIXED);
    place.write("own.py", "def double(n):\n    return 2 * n\n");
    let serving = Serving::start(&place, &["--rehearse", "-vv"]);
    let run = submit(&place, &["mixed.yaml"]);
    ended(&place, &run);
    until("the end is logged", || serving.log().iter().any(|line| line["message"] == "run.succeeded").then_some(()));
    let engine = serving.engine.clone();
    let served = serving.leave();
    let lines: Vec<serde_json::Value> = served
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect();
    let about = |what: &str| lines.iter().filter(|line| line["message"] == what).collect::<Vec<_>>();
    for (what, task, attempt) in [
        ("run.succeeded", None, None),
        ("task.retrying", Some("flaky"), Some(1)),
        ("task.succeeded", Some("code"), Some(1)),
    ] {
        let found = about(what);
        let line =
            found.iter().find(|line| line["task_id"].as_str() == task).unwrap_or_else(|| panic!("{what}: {lines:#?}"));
        assert_eq!((&line["run_id"], &line["engine_id"]), (&run.as_str().into(), &engine.as_str().into()), "{line}");
        assert_eq!(line["attempt"].as_u64(), attempt, "{line}");
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z') && line["level"].is_string(), "{line}");
    }
    let of_runs = ["segue_engine::drive", "segue_engine::observe", "segue_worker::python"];
    for line in &lines {
        let target = line["target"].as_str().unwrap();
        let is_about_a_run =
            of_runs.iter().any(|own| target.starts_with(own)) && line["message"] != "the store refused";
        assert!(!is_about_a_run || line["run_id"] == run.as_str(), "{line}");
        assert!(line["task_id"].is_null() || line["run_id"].is_string(), "{line}");
        assert!(line["run_id"].is_null() || line["engine_id"] == engine.as_str(), "{line}");
    }
}

#[test]
fn strangers_are_refused() {
    let place = Place::new();
    let serving = Serving::start(&place, &[]);
    let port = serving.address.port();
    let ask = |head: &str| answer_of(&serving.send(&format!("{head}\r\nConnection: close\r\n\r\n")));
    for host in [format!("localhost:{port}"), "127.0.0.1".to_owned(), format!("[::1]:{port}")] {
        assert_eq!(ask(&format!("GET /healthz HTTP/1.1\r\nHost: {host}")).0, 200, "{host}");
    }
    for (head, status) in [
        (format!("GET /healthz HTTP/1.1\r\nHost: rebound.example:{port}"), 421),
        (format!("GET /metrics HTTP/1.1\r\nHost: 127.0.0.1.rebound.example:{port}"), 421),
        ("GET http://rebound.example/healthz HTTP/1.1\r\nHost: localhost".to_owned(), 400),
        ("GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: localhost".to_owned(), 400),
        ("GET /healthz HTTP/1.1".to_owned(), 400),
        (
            "POST /v1/runs HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\nContent-Length: 0".to_owned(),
            403,
        ),
        (
            "POST /v1/runs HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: cross-site\r\nContent-Length: 0".to_owned(),
            403,
        ),
        ("POST /v1/runs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999".to_owned(), 413),
        ("POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0".to_owned(), 405),
        ("GET /nothing HTTP/1.1\r\nHost: localhost".to_owned(), 404),
    ] {
        assert_eq!(ask(&head).0, status, "{head}");
    }
    let (_, problem) = ask("GET /v1/nothing HTTP/1.1\r\nHost: localhost");
    let problem: serde_json::Value = serde_json::from_str(&problem).unwrap();
    assert_eq!((&problem["status"], &problem["code"]), (&404.into(), &"not-found".into()), "{problem}");
    let answer = serving.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    for header in ["x-content-type-options: nosniff", "cache-control: no-store", "frame-ancestors 'none'"] {
        assert!(answer.contains(header), "{header}: {answer}");
    }
    let many: String = (0..200).map(|n| format!("X-{n}: 1\r\n")).collect();
    assert!(
        serving.send(&format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{many}\r\n")).starts_with("HTTP/1.1 431")
    );
    assert_eq!(serving.leave().code, 0);
}

#[test]
fn a_client_that_takes_its_time_is_cut_off() {
    let place = Place::new();
    let serving = Serving::start(&place, &[]);
    let mut slow = TcpStream::connect(serving.address).unwrap();
    slow.set_read_timeout(Some(PATIENCE)).unwrap();
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHo").unwrap();
    assert_eq!(serving.get("/healthz").0, 200, "nobody waits for it");
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(serving.leave().code, 0);
}
