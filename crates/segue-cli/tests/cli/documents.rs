//! What people read about bad documents: `tests/documents/NAME.yaml` (or `.json`) and beside it, in `NAME.txt`, what
//! `segue validate` says about it. `SEGUE_BLESS=1 cargo test -p segue-cli documents` writes the texts anew.

use std::{fs, path::PathBuf};

use crate::support::Place;

fn documents() -> Vec<PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documents");
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension != "txt"));
    files.sort();
    files
}

#[test]
fn every_bad_document_is_answered_with_place_cause_and_cure() {
    let bless = std::env::var_os("SEGUE_BLESS").is_some();
    let place = Place::new();
    let files = documents();
    assert!(files.len() >= 20);
    for path in files {
        let name = path.file_name().unwrap().to_str().unwrap();
        fs::copy(&path, place.file(name)).unwrap();
        let ran = place.segue(&["validate", name]);
        let said = format!("{}{}", ran.stdout, ran.stderr);
        assert_eq!(ran.code, 3, "{name}: {said}");
        assert!(said.contains(&format!(" --> {name}:")), "{name}: line and column are missing: {said}");
        assert!(said.contains("= help: "), "{name}: the cure is missing: {said}");

        let golden = path.with_extension("txt");
        if bless {
            fs::write(&golden, &said).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap();
        assert!(said == expected, "{name} is answered with\n{said}\nand not as in {}", golden.display());
    }
}

#[test]
fn reports_for_programs_say_the_same() {
    let place = Place::new();
    place.write("good.yaml", "id: good\nnodes:\n  - { id: a, task: pass }\n");
    place.write("bad.yaml", "id: bad\nnodes:\n  - { id: a, task: pass, depends_on: [b] }\n  - { id: c, tsk: pass }\n");

    let ran = place.segue(&["validate", "good.yaml", "bad.yaml", "--format", "json"]);
    assert_eq!(ran.code, 3, "{ran:#?}");
    let report = ran.document();
    assert_eq!(report["valid"], false);
    assert_eq!(report["files"][0]["valid"], true);
    let problems = report["files"][1]["diagnostics"].as_array().unwrap();
    let codes: Vec<&str> = problems.iter().map(|problem| problem["code"].as_str().unwrap()).collect();
    assert!(codes.contains(&"unknown-dependency") && codes.contains(&"unknown-field"), "{report:#}");

    let ran = place.segue(&["validate", "bad.yaml", "--format", "sarif"]);
    let log = ran.document();
    assert_eq!(log["version"], "2.1.0");
    let results = log["runs"][0]["results"].as_array().unwrap();
    assert_eq!(results.len(), problems.len());
    assert_eq!(results[0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"], "bad.yaml");
    assert!(results[0]["locations"][0]["physicalLocation"]["region"]["startLine"].is_u64());
}

#[test]
fn stdin_is_a_document_too() {
    use std::io::Write;
    let place = Place::new();
    let mut child = place
        .command(&["run", "-", "--json", "--store", "memory:"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"id: piped\nnodes:\n  - { id: a, task: pass, inputs: { x: 1 } }\n").unwrap();
    let ran = crate::support::end_of(child);
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert_eq!(ran.document()["outputs"]["a"]["x"], 1);
}

/// Documents that are made to break their reader.
#[test]
fn no_document_makes_the_program_hang_or_panic() {
    let place = Place::new();
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..40 {
        let before = n - 1;
        bomb += &format!("a{n}: &a{n} [{}]\n", vec![format!("*a{before}"); 9].join(", "));
    }
    let cases: Vec<(&str, String)> = vec![
        (
            "bomb.yaml",
            format!("id: bomb\nx-bomb:\n{}nodes: []\n", bomb.lines().map(|l| format!("  {l}\n")).collect::<String>()),
        ),
        ("deep.json", "[".repeat(200_000)),
        ("deep.yaml", format!("id: deep\nmetadata: {}1{}\nnodes: []\n", "[".repeat(50_000), "]".repeat(50_000))),
        ("dashes.yaml", format!("id: d\nnodes:\n  - {{ id: a, task: pass, when: \"{}1\" }}\n", "-".repeat(4_800))),
        ("large.yaml", format!("id: large\ndescription: \"{}\"\n", "x".repeat(64 << 20))),
        ("empty.yaml", String::new()),
        ("colons.yaml", ": : : :\n".repeat(1_000)),
        ("bom.yaml", "\u{feff}id: 1\nnodes: [".to_owned()),
    ];
    for (name, text) in cases {
        place.write(name, &text);
        let ran = place.segue(&["validate", name]);
        assert_eq!(ran.code, 3, "{name}: {} {}", ran.code, ran.stderr.chars().take(400).collect::<String>());
        let said = ran.stdout + &ran.stderr;
        assert!(!said.contains("panicked"), "{name}: {said}");
        assert!(said.len() < 100_000, "{name}: an answer of {} bytes", said.len());
    }
}
