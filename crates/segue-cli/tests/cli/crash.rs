//! `kill -9`, again and again: nothing that was recorded runs again, and the run ends all the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::support::{Place, until};
use segue_core::{
    event::Event,
    ids::{HandlerId, RunId},
    plan::Plan,
    run::Run,
    spec::WorkflowSpec,
};
use serde_json::{Value, json};

const STEPS: usize = 1_000;
const KILLS: usize = 20;

/// Each step appends its idempotency key to a file.
fn chain() -> WorkflowSpec {
    let nodes: Vec<Value> = (0..STEPS)
        .map(|n| {
            let depends_on: Vec<String> = n.checked_sub(1).map(|before| format!("s{before}")).into_iter().collect();
            json!({
                "id": format!("s{n}"),
                "task": "process.run",
                "depends_on": depends_on,
                "inputs": { "argv": ["sh", "-c", "echo $SEGUE_IDEMPOTENCY_KEY >> effects"] },
            })
        })
        .collect();
    serde_json::from_value(json!({ "id": "chain", "nodes": nodes })).unwrap()
}

/// How often each step's effect happened, by key. The last line may be cut off by a kill.
fn effects(place: &Place) -> BTreeMap<String, usize> {
    let text = place.read("effects");
    let mut effects = BTreeMap::new();
    for line in text.lines() {
        *effects.entry(line.to_owned()).or_default() += 1;
    }
    effects
}

#[test]
fn a_chain_of_a_thousand_steps_survives_twenty_kills() {
    let seed = std::env::var("SEGUE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}; SEGUE_SEED={seed} replays it");
    let mut random = fastrand::Rng::with_seed(seed);
    let place = Place::new();
    let spec = chain();
    place.write("chain.json", &serde_json::to_string(&spec).unwrap());

    // At least one step is recorded between two kills: a task that is lost with three engines is given up, rightly.
    let mut moments = BTreeSet::new();
    while moments.len() < KILLS {
        moments.insert(random.usize(1..STEPS / 3 - 10) * 3);
    }
    let mut run = None;
    let mut recorded: BTreeMap<String, usize> = BTreeMap::new();
    for (n, moment) in moments.iter().enumerate() {
        let args: &[&str] = if n == 0 { &["run", "chain.json", "--json"] } else { &["resume", "--all", "--json"] };
        let mut child = place.spawn(args);
        until("the chain has come far enough", || {
            assert!(child.try_wait().unwrap().is_none(), "the program ended by itself before kill {n}");
            (effects(&place).len() > *moment).then_some(())
        });
        let moment = Instant::now() + Duration::from_micros(random.u64(..15_000));
        while Instant::now() < moment {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        child.wait().unwrap();

        let run: &String = run.get_or_insert_with(|| {
            place.json(&["runs", "list", "--json"])["items"][0]["run_id"].as_str().unwrap().to_owned()
        });
        let done = place.events(run).into_iter().filter(|event| event["type"] == "task.succeeded").count();
        assert!(done > 0, "nothing was recorded before kill {n}");
        let after = effects(&place);
        for (key, times) in &recorded {
            assert_eq!(after[key], *times, "{key} ran again although its success was recorded before kill {n}");
        }
        for step in 0..done {
            let key = format!("{run}/s{step}");
            recorded.insert(key.clone(), after[&key]);
        }
    }

    let run = run.unwrap();
    let ran = place.segue(&["resume", "--all", "--json"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let document = ran.document();
    assert_eq!(document["status"], "SUCCEEDED");
    let effects = effects(&place);
    assert_eq!(effects.len(), STEPS, "every step has one key, over all its attempts");
    let twice: Vec<&String> = effects.iter().filter(|(_, times)| **times > 1).map(|(key, _)| key).collect();
    assert!(twice.len() <= KILLS, "more steps ran twice than were in flight at a kill: {twice:?}");
    assert!(effects.values().all(|times| *times <= 2), "a step ran three times: {effects:?}");
    for (key, times) in &recorded {
        assert_eq!(effects[key], *times, "{key} ran again although its success was recorded");
    }
    the_log_is_the_run(&place, &spec, &run, &document);
}

/// `seq` has no gaps, no task starts after its success, and the fold of the log is what `runs show` says.
fn the_log_is_the_run(place: &Place, spec: &WorkflowSpec, run: &str, document: &Value) {
    let events = place.events(run);
    let mut succeeded = BTreeSet::new();
    for (at, event) in events.iter().enumerate() {
        assert_eq!(event["seq"], at as u64 + 1, "a gap in the log");
        let task = event["task_id"].as_str().unwrap_or_default().to_owned();
        match event["type"].as_str().unwrap() {
            "task.started" => assert!(!succeeded.contains(&task), "{task} started after its success"),
            "task.succeeded" => assert!(succeeded.insert(task.clone()), "{task} succeeded twice"),
            _ => {}
        }
    }
    assert_eq!(succeeded.len(), STEPS);

    let log: Vec<Event> = events.into_iter().map(|event| serde_json::from_value(event).unwrap()).collect();
    let plan = Plan::compile(spec, &HandlerId::from("crewai.agent")).unwrap();
    let folded = Run::fold(Arc::new(plan), run.parse::<RunId>().unwrap(), &log).unwrap();
    let row = folded.run_row();
    assert_eq!(json!(row.status), document["status"]);
    assert_eq!(json!(row.started_at), document["started_at"]);
    assert_eq!(json!(row.finished_at), document["finished_at"]);
    assert_eq!(json!(row.usage), document["usage"]);
    assert_eq!(json!(row.error), document["error"]);
    let listed = place.json(&["runs", "list", "--json"])["items"][0].clone();
    assert_eq!(serde_json::to_value(&row).unwrap(), listed, "the summary is the fold of the log");
    for task in folded.all_task_rows() {
        let shown = &document["tasks"][task.task_id.as_str()];
        assert_eq!(json!(task.status), shown["status"]);
        assert_eq!(json!(task.attempts), shown["attempts"]);
        assert_eq!(json!(task.finished_at), shown["finished_at"]);
    }
}

/// A store that a killed process left in the middle of a write opens, and shows what was recorded.
#[test]
fn a_killed_process_leaves_a_readable_store() {
    let place = Place::new();
    place.write("chain.json", &serde_json::to_string(&chain()).unwrap());
    let mut child = place.spawn(&["run", "chain.json", "--json"]);
    until("some steps are done", || (effects(&place).len() > 5).then_some(()));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(fs::exists(place.file(".segue/segue.db")).unwrap());
    let shown = place.json(&["runs", "show", "@last", "--json"]);
    assert_eq!(shown["status"], "RUNNING");
    let ran = place.segue(&["runs", "cancel", "@last"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
}
