//! Every way to ask wrongly has its exit code, and says what to do next.

use crate::support::Place;

const GOOD: &str = "id: good\nnodes:\n  - { id: a, task: pass }\n";

#[test]
fn each_kind_of_wrong_question_has_its_code_and_its_help() {
    let place = Place::new();
    place.write("good.yaml", GOOD);
    place.write("bad.yaml", "id: bad\nnodes:\n  - { id: a, depends_on: [b] }\n");
    place.write("typed.yaml", "id: typed\nparams:\n  n: { type: integer }\nnodes:\n  - { id: a, task: pass }\n");
    place.write("inputs.json", "[1]");
    place.write("binary.yaml", "id: \u{0}");
    place.write("folder/workflow.yaml", GOOD);
    place.write("bad-settings/segue.toml", "stroe = 'x'");
    place.write(
        "broken.db",
        "this is no database, and it is long enough to be read as one, which needs a hundred bytes.....",
    );

    place.json(&["run", "good.yaml", "--json"]);
    let cases: &[(&[&str], i32, &str)] = &[
        (&["validat"], 2, "a similar subcommand exists: 'validate'"),
        (&["run"], 2, "<FILE|WORKFLOW>"),
        (&["run", "good.yaml", "--timeout", "5m"], 2, "numbers of seconds: 300"),
        (&["run", "good.yaml", "-i", "topic"], 2, "help: write -i topic=VALUE"),
        (&["run", "folder"], 2, "help: name the document in it: folder/workflow.yaml"),
        (&["run", "-", "--inputs", "-"], 2, "cannot both come from stdin"),
        (&["submit", "good.yaml", "--store", "memory:"], 2, "help: name a store"),
        (&["resume"], 2, "<RUN>"),
        (&["runs", "show", "x!"], 2, "help: a run is named by its id"),
        (&["runs", "list", "--store", "memory:"], 2, "gone with their process"),
        (&["run", "bad.yaml"], 3, "bad.yaml:3:27"),
        (&["run", "binary.yaml"], 3, "not-text"),
        (&["run", "typed.yaml"], 3, "the input `n` is missing"),
        (&["run", "typed.yaml", "-i", "n=x"], 3, "`n` does not fit"),
        (&["run", "typed.yaml", "-i", "m=1", "-i", "n=1"], 3, "the workflow takes no input `m`"),
        (&["run", "good.yaml", "--inputs", "inputs.json"], 3, "no JSON object"),
        (&["run", "good.yaml", "--store", "mysql:x"], 3, "`postgres://USER@HOST/DATABASE` or `memory:`"),
        (&["run", "none.yaml"], 7, "none.yaml: no such file"),
        (&["runs", "show", "@last", "--store", "sqlite:none.db"], 7, "there is no store at"),
        (&["graph", "nothing"], 7, "neither a file nor a run"),
        (&["runs", "list", "--store", "sqlite:broken.db"], 8, "broken.db"),
    ];
    for (args, code, says) in cases {
        let ran = place.segue(args);
        assert_eq!(ran.code, *code, "{args:?}: {ran:#?}");
        assert!(ran.stderr.contains(says), "{args:?} should say `{says}`: {ran:#?}");
        assert!(ran.stdout.is_empty(), "an error is no data: {args:?}: {ran:#?}");
    }

    let mut elsewhere = place.command(&["runs", "list"]);
    let ran = crate::support::Ran::from(elsewhere.current_dir(place.file("bad-settings")).output().unwrap());
    assert_eq!(ran.code, 3, "{ran:#?}");
    assert!(ran.stderr.contains("help: did you mean `store`?"), "{ran:#?}");
}

#[test]
fn a_run_that_is_not_there_or_not_clear_is_told_apart() {
    let place = Place::new();
    place.write("good.yaml", GOOD);
    let first = place.json(&["run", "good.yaml", "--json"]);
    place.json(&["run", "good.yaml", "--json"]);
    assert_eq!(place.segue(&["runs", "show", "ffff"]).code, 7);
    assert_eq!(place.segue(&["runs", "show", "00000000-0000-7000-8000-000000000000"]).code, 7);

    // Runs of one day share the beginning of their ids.
    let ran = place.segue(&["runs", "show", &first["run_id"].as_str().unwrap()[..3]]);
    assert_eq!(ran.code, 2, "{ran:#?}");
    assert!(ran.stderr.contains("help: give more of it: "), "{ran:#?}");

    let id = first["run_id"].as_str().unwrap().to_uppercase();
    assert_eq!(place.json(&["runs", "show", &id, "--json"]), first);
    let ran = place.segue(&["runs", "result", "@last", "aa"]);
    assert_eq!(ran.code, 7, "{ran:#?}");
    assert!(ran.stderr.contains("help: did you mean `a`?"), "{ran:#?}");
}

#[test]
fn how_a_run_ends_is_the_exit_code() {
    let place = Place::new();
    let script = |line: &str| {
        format!("id: w\nnodes:\n  - id: a\n    task: process.run\n    inputs: {{ argv: [sh, -c, '{line}'] }}\n")
    };
    place.write("fails.yaml", &script("exit 3"));
    place.write("waits.yaml", &script("sleep 600"));

    let ran = place.segue(&["run", "fails.yaml"]);
    assert_eq!(ran.code, 4, "{ran:#?}");
    assert!(ran.stderr.contains("error: a: exit: "), "{ran:#?}");
    assert!(ran.stderr.contains("segue runs retry "), "{ran:#?}");
    let ran = place.segue(&["run", "fails.yaml", "--json"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (4, ""), "with --json nothing but the document: {ran:#?}");
    assert_eq!(ran.document()["error"]["kind"], "exit");
    assert_eq!(place.segue(&["runs", "result", "@last"]).code, 4);

    let ran = place.segue(&["run", "waits.yaml", "--timeout", "0.5"]);
    assert_eq!(ran.code, 124, "{ran:#?}");
    assert!(ran.stderr.contains("segue resume "), "{ran:#?}");
    let ran = place.segue(&["runs", "retry", "@last"]);
    assert_eq!(ran.code, 10, "it has not ended: {ran:#?}");
    assert_eq!(place.segue(&["runs", "cancel", "@last"]).code, 0);
    assert_eq!(place.segue(&["resume", "@last"]).code, 10, "it has ended");
    let shown = place.json(&["runs", "show", "@last", "--json"]);
    assert_eq!(shown["status"], "CANCELLED");
}

#[test]
fn with_json_an_error_is_one_object_on_stderr() {
    let place = Place::new();
    place.write("bad.yaml", "id: bad\nnodes:\n  - { id: a, depends_on: [b] }\n");
    let ran = place.segue(&["run", "bad.yaml", "--json"]);
    assert_eq!(ran.code, 3, "{ran:#?}");
    let error: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!(error["error"]["code"], "invalid");
    assert_eq!(error["error"]["diagnostics"][0]["code"], "unknown-dependency");
    assert_eq!(error["error"]["diagnostics"][0]["span"]["line"], 3);
}
