//! A workflow that maps, loops and asks, killed with SIGKILL fifty times: it ends as if nothing had happened.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Child,
    time::{Duration, Instant},
};

use crate::support::{Place, end_of, until};
use serde_json::{Map, Value, json};

const KILLS: usize = 50;
const ITEMS: usize = 120;
const ITERATIONS: usize = 25;
const QUESTIONS: usize = 3;
/// Effects of a run that nobody disturbs: each step has one.
const STEPS: usize = 2 * ITEMS + 2 * ITERATIONS;
/// A step notes its key, and answers when as many effects are permitted: the run never leaves its killer behind, however
/// slow the machine is. A step that a kill has shaken goes on at once.
const STEP: &str = r#"
echo "$SEGUE_IDEMPOTENCY_KEY" >> effects
effects=$(wc -l < effects)
until [ "$effects" -le "$(cat permitted)" ] || grep -qxF "${SEGUE_IDEMPOTENCY_KEY#*/}" shaken; do sleep 0.01; done
printf %s "$PRINT""#;
/// How many effects a run may be ahead of who watches it.
const AHEAD: usize = 4;
/// As many effects as a run likes: more than any has.
const FREELY: usize = 1_000_000;

/// Maps and loops side by side, asks three people, maps again.
fn workflow() -> Value {
    let step = |print: &str| json!({ "argv": ["sh", "-c", STEP], "env": { "PRINT": print } });
    json!({ "id": "survivor", "max_parallel_nodes": 4, "nodes": [
        { "id": "work", "task": "process.run", "foreach": format!("range({ITEMS}) | list"), "parallelism": 3,
          "inputs": step("{{ item * 2 }}") },
        { "id": "improve", "repeat": { "until": format!("output.n == {ITERATIONS}"), "max_iterations": ITERATIONS },
          "group": { "nodes": [
              { "id": "write", "task": "process.run", "inputs": step("{{ (previous.n if previous else 0) + 1 }}") },
              { "id": "score", "task": "process.run", "depends_on": ["write"], "inputs": step("{{ nodes.write.output }}") }
          ], "output": { "n": "{{ nodes.score.output }}" } } },
        { "id": "ask", "depends_on": ["work", "improve"], "foreach": ["ada", "grace", "linus"], "parallelism": QUESTIONS,
          "approval": { "title": "Well, {{ item }}?", "form": { "note": { "type": "string" } } } },
        { "id": "send", "task": "process.run", "depends_on": ["ask"], "foreach": "nodes.work.output", "parallelism": 3,
          "inputs": step("{{ item + 1 }}") }
    ], "outputs": {
        "sum": "{{ nodes.send.output | sum }}",
        "rounds": "{{ nodes.improve.output.n }}",
        "notes": "{{ nodes.ask.output | map(attribute='form') | map(attribute='note') | list }}"
    } })
}

fn answer(place: &Place, run: &str, question: usize, more: &[&str]) -> Child {
    let (task, note) = (format!("ask[{question}]"), format!("note=note {question}"));
    place.spawn(&[&["approve", run, &task, "--form", &note, "--by", "somebody"], more].concat())
}

/// Lets the steps go on until there are so many effects, repeated ones among them.
fn permit(place: &Place, effects: usize) {
    place.write("permitted.new", &effects.to_string());
    std::fs::rename(place.file("permitted.new"), place.file("permitted")).unwrap();
}

/// A folder with the workflow and what its steps read.
fn place_of_workflow() -> Place {
    let place = Place::new();
    place.write("survivor.json", &workflow().to_string());
    place.write("effects", "");
    place.write("shaken", "");
    permit(&place, FREELY);
    place
}

/// How often each step's effect happened, by the id of its task. The last line may be cut off by a kill.
fn effects(place: &Place) -> BTreeMap<String, usize> {
    let mut effects = BTreeMap::new();
    for line in place.read("effects").lines() {
        let task = line.split_once('/').map_or(line, |(_, task)| task);
        *effects.entry(task.to_owned()).or_default() += 1;
    }
    effects
}

fn tasks_of(events: &[Value], kinds: &[&str]) -> BTreeSet<String> {
    let found = events.iter().filter(|event| kinds.contains(&event["type"].as_str().unwrap()));
    found.filter_map(|event| Some(event["task_id"].as_str()?.to_owned())).collect()
}

/// The tasks whose attempts have begun and not ended.
fn under_way(events: &[Value]) -> BTreeSet<String> {
    let mut open = BTreeSet::new();
    for event in events.iter().filter(|event| event.get("attempt").is_some()) {
        let task = event["task_id"].as_str().unwrap().to_owned();
        if event["type"] == "task.started" {
            open.insert(task)
        } else {
            open.remove(&task)
        };
    }
    open
}

/// What a run that is over came to: its outputs, and status and output of every task.
fn results(place: &Place, run: &str) -> (Value, Map<String, Value>) {
    let mut tasks = Map::new();
    for event in place.events(run) {
        if event["type"] == "task.succeeded" {
            let output = event["data"]["output"].clone();
            assert_eq!(tasks.insert(event["task_id"].as_str().unwrap().to_owned(), output), None, "twice: {event}");
        }
    }
    let shown = place.json(&["runs", "show", run, "--json"]);
    assert_eq!(shown["status"], "SUCCEEDED", "{shown:#}");
    for question in 0..QUESTIONS {
        // Of the answer only what was said counts here, not when.
        tasks[&format!("ask[{question}]")] = json!(question);
    }
    tasks.insert("ask".to_owned(), Value::Null);
    (shown["outputs"].clone(), tasks)
}

fn last_run(place: &Place) -> String {
    place.json(&["runs", "list", "--json"])["items"][0]["run_id"].as_str().unwrap().to_owned()
}

fn undisturbed() -> (Value, Map<String, Value>) {
    let place = place_of_workflow();
    let asked = place.segue(&["run", "survivor.json", "--json", "--no-wait"]);
    assert_eq!(asked.code, 6, "{asked:#?}");
    let run = last_run(&place);
    for question in 0..QUESTIONS {
        let answered = end_of(answer(&place, &run, question, &["--json"]));
        assert_eq!(answered.code, if question + 1 < QUESTIONS { 6 } else { 0 }, "{answered:#?}");
    }
    assert_eq!(effects(&place).len(), STEPS);
    results(&place, &run)
}

/// A run that is killed again and again, and what is known of it.
struct Victim {
    place: Place,
    random: fastrand::Rng,
    run: Option<String>,
    kills: usize,
    /// What was under way at the last kill. It ends before the next one: a task that is lost with three engines is given
    /// up, rightly.
    shaken: BTreeSet<String>,
    /// The effects of the steps whose success was on record at a kill.
    recorded: BTreeMap<String, usize>,
}

impl Victim {
    fn kill(&mut self, mut child: Child, within: Duration) {
        let moment = Instant::now() + within.mul_f64(self.random.f64());
        while Instant::now() < moment {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        self.kills += 1;
        let run = self.run.get_or_insert_with(|| last_run(&self.place)).clone();
        let events = self.place.events(&run);
        self.shaken = under_way(&events);
        self.place.write("shaken", &self.shaken.iter().map(|task| format!("{task}\n")).collect::<String>());
        let now = effects(&self.place);
        for (task, times) in &self.recorded {
            assert_eq!(
                now[task], *times,
                "{task} ran again although its success was on record before kill {}",
                self.kills
            );
        }
        let done = tasks_of(&events, &["task.succeeded"]);
        self.recorded.extend(now.into_iter().filter(|(task, _)| done.contains(task)));
    }

    /// Waits for the kill's moment: so many effects, and what the last kill has shaken is over. The program's exit code if
    /// it ends before.
    fn moment(&self, child: &mut Child, moment: usize) -> Option<i32> {
        let mut permitted = 0;
        until("the run has come far enough", || {
            if let Some(status) = child.try_wait().unwrap() {
                return Some(Some(status.code().unwrap()));
            }
            let effects = effects(&self.place);
            let so_far = effects.values().sum::<usize>();
            if effects.len() < moment {
                permitted = so_far + AHEAD;
                permit(&self.place, permitted);
                return None;
            }
            let over = self.shaken.is_empty() || {
                let events = self.place.events(self.run.as_ref().unwrap());
                let ended = ["task.succeeded", "task.failed"];
                tasks_of(&events, &ended).is_superset(&self.shaken)
            };
            if !over {
                // Those that wait may hold the place that a shaken one needs: one after the other goes on.
                permitted = (permitted + 1).max(so_far.saturating_sub(AHEAD));
                permit(&self.place, permitted);
            }
            over.then_some(None)
        })
    }

    /// Everybody answers, some of them while their own process is killed.
    fn answered(&mut self) {
        let run = self.run.clone().unwrap_or_else(|| last_run(&self.place));
        for question in 0..QUESTIONS {
            let shaken = self.random.bool();
            if shaken {
                let child = answer(&self.place, &run, question, &["--no-wait"]);
                self.kill(child, Duration::from_millis(60));
            }
            let said = end_of(answer(&self.place, &run, question, &["--no-wait"]));
            let expected: &[i32] = if shaken { &[0, 10] } else { &[0] };
            assert!(expected.contains(&said.code), "{said:#?}");
        }
    }
}

#[test]
fn a_workflow_that_maps_loops_and_asks_survives_fifty_kills() {
    let seed = std::env::var("SEGUE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}; SEGUE_SEED={seed} replays it");
    let (outputs, tasks) = undisturbed();

    let mut random = fastrand::Rng::with_seed(seed);
    let mut moments: Vec<usize> = (0..KILLS).map(|_| random.usize(1..STEPS - 20)).collect();
    moments.sort_unstable();
    let place = place_of_workflow();
    let (shaken, recorded) = (BTreeSet::new(), BTreeMap::new());
    let mut victim = Victim { place, random, run: None, kills: 0, shaken, recorded };
    let mut asked = false;
    for moment in moments {
        loop {
            let args: &[&str] = match victim.run {
                None => &["run", "survivor.json", "--json", "--no-wait"],
                Some(_) => &["resume", "--all", "--json", "--no-wait"],
            };
            let mut child = victim.place.spawn(args);
            match victim.moment(&mut child, moment) {
                None => {
                    victim.kill(child, Duration::from_millis(15));
                    break;
                }
                Some(6) if !asked => {
                    victim.answered();
                    asked = true;
                }
                Some(code) => panic!("the program ended with {code} before kill {}", victim.kills + 1),
            }
        }
    }

    assert!(victim.kills >= KILLS);
    let Victim { place, run, recorded, kills, .. } = victim;
    let run = run.unwrap();
    permit(&place, FREELY);
    let ran = place.segue(&["resume", "--all", "--json"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let (got, tasks_now) = results(&place, &run);
    assert_eq!(got, outputs);
    assert_eq!(tasks_now, tasks, "the same results of the same tasks");

    let effects = effects(&place);
    assert_eq!(effects.len(), STEPS);
    for (task, times) in &recorded {
        assert_eq!(effects[task], *times, "{task} ran again although its success was on record");
    }
    assert!(effects.values().all(|times| *times <= 3), "{effects:?}");
    let again: usize = effects.values().map(|times| times - 1).sum();
    assert!(again <= kills * 4, "more ran again ({again}) than was under way at the kills");
    let events = place.events(&run);
    for (at, event) in events.iter().enumerate() {
        assert_eq!(event["seq"], at as u64 + 1, "a gap in the log");
    }
    for question in 0..QUESTIONS {
        let task = format!("ask[{question}]");
        let answers = events.iter().filter(|event| event["type"] == "task.signaled" && event["task_id"] == task);
        assert_eq!(answers.count(), 1, "{task} is answered once");
    }
}
