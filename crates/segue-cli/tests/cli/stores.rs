//! `segue store verify`, `backup` and `migrate`, by the whole program.

use std::{fs, path::Path};

use crate::support::{Place, end_of, until};
use serde_json::{Value, json};

const STEPS: &str =
    "id: steps\nnodes:\n  - { id: a, task: pass, inputs: { n: 1 } }\n  - { id: b, task: pass, depends_on: [a] }\n";
const SLOW: &str = r#"id: slow
nodes:
  - { id: a, task: process.run, inputs: { argv: [sh, -c, "echo $SEGUE_IDEMPOTENCY_KEY >> effects"] } }
  - { id: b, task: process.run, depends_on: [a], inputs: { argv: [sh, -c, "echo begun >> effects; while [ ! -e go ]; do sleep 0.02; done"] } }
  - { id: c, task: process.run, depends_on: [b], inputs: { argv: [sh, -c, "echo done >> effects"] } }
"#;

/// Where the number of a SQLite file's schema stands.
const USER_VERSION: usize = 60;

fn file(place: &Place) -> std::path::PathBuf {
    place.file(".segue/segue.db")
}

/// Changes the bytes of the file, and of the write-ahead log beside it, in which this text stands.
fn change(path: &Path, text: &str, at: usize) -> usize {
    let mut changed = 0;
    for suffix in ["", "-wal"] {
        let path = format!("{}{suffix}", path.display());
        let Ok(mut bytes) = fs::read(&path) else { continue };
        let places: Vec<usize> = (0..bytes.len()).filter(|&from| bytes[from..].starts_with(text.as_bytes())).collect();
        places.iter().for_each(|from| bytes[from + at] ^= 1);
        changed += places.len();
        fs::write(&path, bytes).unwrap();
    }
    changed
}

#[test]
fn a_store_is_checked_and_its_damage_is_named() {
    let place = Place::new();
    place.write("steps.yaml", STEPS);
    let missing = place.segue(&["store", "verify"]);
    assert_eq!(missing.code, 7, "{missing:#?}");
    let run = place.json(&["run", "steps.yaml", "--json"])["run_id"].as_str().unwrap().to_owned();
    let other = place.json(&["run", "steps.yaml", "--json"])["run_id"].as_str().unwrap().to_owned();
    let clean = place.json(&["store", "verify", "--json"]);
    assert_eq!((&clean["clean"], &clean["found"], &clean["runs"]), (&json!(true), &json!(0), &json!(2)));
    assert_eq!(place.json(&["store", "verify", "--run", &run[..13], "--json"])["runs"], 1);
    let said = place.segue(&["store", "verify"]);
    assert!(said.code == 0 && said.stdout.contains("2 runs") && said.stdout.contains("as it was written"), "{said:#?}");

    // The time of an event of the second run.
    let events = place.events(&other);
    let event = events.iter().find(|event| event["type"] == "task.succeeded" && event["task_id"] == "b").unwrap();
    let time = event["time"].as_str().unwrap();
    assert!(change(&file(&place), &format!("\"time\":\"{time}\""), 9) > 0);
    let said = place.segue(&["store", "verify"]);
    assert_eq!(said.code, 1, "{said:#?}");
    assert!(
        said.stdout.contains(&format!("event run {other} seq ")) && said.stdout.contains("restore a copy"),
        "{said:#?}"
    );
    assert!(!said.stdout.contains(&run), "the other run is whole: {said:#?}");
    let ran = place.segue(&["store", "verify", "--run", &other, "--json"]);
    let found = &ran.document()["findings"][0];
    assert_eq!((ran.code, &found["kind"], &found["run_id"]), (1, &json!("event"), &json!(other)));
    assert!(found["seq"].is_u64() && found["found"].is_string() && found["cure"].is_string(), "{found}");
    assert_eq!(place.json(&["store", "verify", "--run", &run, "--json"])["clean"], true);
    let unknown = place.segue(&["store", "verify", "--run", "01998e3c-0a00-7000-8000-00000000002a"]);
    assert_eq!(unknown.code, 7, "{unknown:#?}");

    fs::write(file(&place), "not a database").unwrap();
    let said = place.segue(&["store", "verify", "--json"]);
    assert_eq!((said.code, &said.document()["findings"][0]["kind"]), (1, &json!("storage")), "{said:#?}");
}

/// The copy is made while a run goes on. The original is killed and lost; the copy goes on where it was.
#[test]
fn a_copy_goes_on_where_the_store_was() {
    let place = Place::new();
    place.write("slow.yaml", SLOW);
    let mut running = place.spawn(&["run", "slow.yaml", "--json"]);
    until("the second task runs", || place.read("effects").contains("begun").then_some(()));
    let copied = place.json(&["store", "backup", "copy.db", "--json"]);
    assert_eq!(copied["bytes"], fs::metadata(place.file("copy.db")).unwrap().len());
    let again = place.segue(&["store", "backup", "copy.db"]);
    assert!(again.code == 10 && again.stderr.contains("is there already"), "{again:#?}");
    running.kill().unwrap();
    end_of(running);
    fs::remove_dir_all(place.file(".segue")).unwrap();

    let store = ["--store", "sqlite:copy.db"];
    let checked = place.json(&[&["store", "verify", "--json"][..], &store].concat());
    assert_eq!((&checked["clean"], &checked["runs"]), (&json!(true), &json!(1)));
    place.write("go", "");
    let resumed = place.segue(&[&["resume", "--all"][..], &store].concat());
    assert_eq!(resumed.code, 0, "{resumed:#?}");
    let lines = place.read("effects");
    assert_eq!(
        lines.lines().filter(|line| line.ends_with("/a")).count(),
        1,
        "what was recorded is not done again: {lines}"
    );
    assert!(lines.ends_with("done\n"), "{lines}");
    assert_eq!(place.json(&[&["runs", "show", "@last", "--json"][..], &store].concat())["status"], "SUCCEEDED");
}

#[test]
fn a_schema_is_checked_before_it_is_migrated() {
    let place = Place::new();
    place.write("steps.yaml", STEPS);
    place.json(&["run", "steps.yaml", "--json"]);
    let now = place.json(&["store", "migrate", "--check", "--json"]);
    assert_eq!((&now["due"], &now["schema"]), (&json!(false), &now["known"]));
    let known = u8::try_from(now["known"].as_u64().unwrap()).unwrap();
    assert!(place.segue(&["store", "migrate"]).stderr.contains("nothing to do"));
    let set = |version: u8| {
        let mut bytes = fs::read(file(&place)).unwrap();
        bytes[USER_VERSION + 3] = version;
        fs::write(file(&place), bytes).unwrap();
    };
    set(known - 1);
    let before = fs::read(file(&place)).unwrap();
    let due = place.segue(&["store", "migrate", "--check"]);
    assert!(due.code == 1 && due.stderr.contains("segue store migrate"), "{due:#?}");
    let status = place.json(&["store", "status", "--json"]);
    assert_eq!(status["schema"], json!({"found": known - 1, "known": known}));
    assert!(fs::read(file(&place)).unwrap() == before, "a look changes nothing");
    set(known + 1);
    for command in [&["store", "status"][..], &["store", "migrate"], &["store", "migrate", "--check"]] {
        let refused = place.segue(command);
        assert!(refused.code == 8 && refused.stderr.contains("use a newer Segue"), "{refused:#?}");
    }
    let checked = place.segue(&["store", "verify", "--json"]);
    assert_eq!(checked.code, 1);
    let found: Value = checked.document()["findings"][0]["found"].clone();
    assert!(found.as_str().unwrap().contains("newer Segue"), "{found}");
}
