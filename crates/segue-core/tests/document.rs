//! Documents, right and wrong: what is said about them, and where.
#![allow(clippy::unwrap_used)]

use segue_core::{
    ids::HandlerId,
    spec::{
        CheckOptions, Diagnostic, Format, Severity, WorkflowSpec, check, codes, input_from_text, parse, parse_bytes,
        resolve_inputs,
    },
};

fn options() -> CheckOptions {
    let handlers = ["pass", "process.run", "crewai.agent", "crewai.crew"].map(HandlerId::from).to_vec();
    CheckOptions { handlers, default_handler: Some(HandlerId::from("crewai.agent")), limits: Some(Vec::new()) }
}

fn diagnose(text: &str) -> Vec<Diagnostic> {
    parse(text, Format::guess(None, text), &options()).diagnostics
}

/// `line:column code`, one a line.
fn places(diagnostics: &[Diagnostic]) -> Vec<String> {
    let place = |diagnostic: &Diagnostic| {
        let span = diagnostic.span.unwrap();
        format!("{}:{} {}", span.line, span.column, diagnostic.code)
    };
    diagnostics.iter().map(place).collect()
}

const SEED: &str = r#"id: example_linear
name: example linear workflow
nodes:
  - id: n1
    name: generate
    inputs:
      prompt: "Write hello world"
  - id: n2
    name: summarize
    depends_on: [ n1 ]
edges: [ ]
"#;

#[test]
fn the_seed_document_is_valid_as_it_is() {
    let parsed = parse(SEED, Format::Yaml, &options());
    assert_eq!(parsed.diagnostics, []);
    let spec = parsed.spec.unwrap();
    assert_eq!(spec.id.as_str(), "example_linear");
    assert_eq!(spec.nodes[0].spec.inputs["prompt"], "Write hello world");
    assert_eq!(spec.nodes[1].depends_on[0].as_str(), "n1");
}

/// A whole document of everything that is built, as YAML and, through the types, as JSON.
const FULL: &str = r#"segue: 1
id: full
name: Full
description: Everything that is built.
x-own: { anything: goes }
params:
  text: { type: string, description: The text }
  count: { type: integer, default: 3, minimum: 1, maximum: 10 }
  mode: { enum: [a, b], default: a }
  list: { type: array, items: { type: object, properties: { n: { type: number } } }, required: false }
defaults:
  task: pass
  retry_policy: { max_attempts: 2, jitter: none, x-why: because }
  timeout_seconds: 60
  hints: { crewai: { model: m } }
  on_failure: { action: fail }
timeout_seconds: 3600.5
max_parallel_nodes: 4
nodes:
  - id: classify
    inputs: { text: "{{ params.text }}", "n": "{{ params.count }}", big: 18446744073709551615, pi: 3.0, no: NO, time: 012 }
    x-note: ignored
  - id: a.b-c
    depends_on: [classify]
    when: nodes.classify.output.kind == "a"
    join: all_success
    retry_policy:
      max_attempts: 5
      initial_interval_seconds: 0.5
      backoff_coefficient: 1.5
      max_interval_seconds: 30
      retry_on: [timeout, rate_limited]
    timeout_seconds: 10
    deadline_seconds: 100
    on_failure: { action: continue, output: { error: "{{ error.message }}" } }
    hints: { process: { concurrency: 2 } }
    metadata: { anything: [1, 2] }
  - id: other
    task: process.run
    inputs: { argv: [echo, "{{ nodes.classify.output.kind }}"] }
  - id: merge
    name: Merge
    depends_on: [a.b-c, other]
    join: any_success
    inputs:
      text: '{{ nodes["a.b-c"].output.x or nodes.other.output.x }}'
edges:
  - [classify, other]
  - { from: other, to: merge2, when: "nodes.other.output.code == 0 and nodes.classify.status == 'SUCCEEDED'" }
outputs:
  text: "{{ nodes.merge.output }}"
  run: "{{ run.id }} of {{ run.workflow_id }}: {{ run.status }}"
on_failure: cancel
metadata: { labels: { team: red } }
"#;

#[test]
fn a_document_of_everything_comes_back_from_its_json() {
    let text = FULL.replace("edges:\n", "  - { id: merge2, task: pass }\nedges:\n");
    let parsed = parse(&text, Format::Yaml, &options());
    assert_eq!(parsed.diagnostics, []);
    let spec = parsed.spec.unwrap();
    let inputs = &spec.nodes[0].spec.inputs;
    assert_eq!(inputs["big"], u64::MAX);
    assert_eq!(inputs["pi"].to_string(), "3.0");
    assert_eq!((&inputs["no"], &inputs["time"]), (&"NO".into(), &"012".into()));

    let json = serde_json::to_string_pretty(&spec).unwrap();
    assert_eq!(serde_json::from_str::<WorkflowSpec>(&json).unwrap(), spec, "through serde");
    let again = parse(&json, Format::Json, &options());
    assert_eq!(again.diagnostics, []);
    assert_eq!(again.spec.unwrap(), spec, "through the reader");
    assert_eq!(check(&spec, &options()), []);
}

#[test]
fn windows_files_are_read() {
    let text = format!("\u{feff}{}", SEED.replace('\n', "\r\n").replace("n2", "n 2"));
    assert_eq!(places(&diagnose(&text)), ["8:9 bad-id"]);
    let json = format!("\u{feff}{}", r#"{"id": "a", "nodes": [{"id": "a b"}]}"#);
    assert_eq!(places(&diagnose(&json)), ["1:30 bad-id"]);
    // The mark before the first character is no column.
    assert_eq!(places(&diagnose("\u{feff}id: a b\nnodes: [{id: a}]")), ["1:5 bad-id"]);
}

/// Node lines below `id: w` and `nodes:`.
fn nodes(lines: &str) -> String {
    format!("id: w\nnodes:\n{lines}")
}

/// Every rule once at least: the document, and everything that is said about it.
fn wrong_documents() -> Vec<(String, &'static [&'static str])> {
    let n = nodes;
    let s = str::to_owned;
    vec![
        // The text.
        (s("id: a\u{0}b"), &["1:6 not-text"]),
        (s(""), &["1:1 empty-document"]),
        (s("# only a comment\n\n"), &["1:1 empty-document"]),
        (s("id: w\nnodes: [{id: a}]\n---\nid: v\n"), &["3:1 several-documents"]),
        (s("{\"id\": \"w\"} {}"), &["1:13 several-documents"]),
        (s("id: w\nnodes:\n\t- id: a\n"), &["3:2 yaml-syntax"]),
        (s("id: \"w\nnodes: []"), &["1:5 yaml-syntax"]),
        (s("{\"id\": \"w\",\n \"nodes\": [{\"id\": \"a\"},]}"), &["2:24 json-syntax"]),
        (s("{\"id\": 'w'}"), &["1:8 json-syntax"]),
        (s("{\"id\": \"w\" // no\n}"), &["1:12 json-syntax"]),
        (n(&format!("- id: a\n  inputs: {{ x: {} }}\n", "[".repeat(100))), &["4:80 too-deep"]),
        (n("- id: a\n  inputs: { x: !!python/object 1, y: !include f }\n"), &["4:32 yaml-tag", "4:47 yaml-tag"]),
        (n("- id: a\n  name: *b\n"), &["4:9 yaml-alias"]),
        (n("- &a\n  id: a\n  inputs: { x: *a }\n"), &["5:16 yaml-alias"]),
        (n("- id: a\n  inputs: { <<: { y: 1 } }\n"), &["4:13 yaml-merge"]),
        (n("- id: a\n  inputs: { x: {{ params.x }} }\n"), &["4:16 bad-key"]),
        (n("- id: a\n  id: b\n"), &["4:3 duplicate-key"]),
        (s("{\"id\": \"w\", \"id\": \"v\", \"nodes\": [{\"id\": \"a\"}]}"), &["1:13 duplicate-key"]),
        (n("- id: a\n  inputs: { x: .nan, y: 99999999999999999999 }\n"), &["4:16 bad-number", "4:25 bad-number"]),
        // The shape.
        (s("- id: w"), &["1:1 not-a-mapping"]),
        (s("just words"), &["1:1 not-a-mapping"]),
        (s("segue: 2\nid: w\nnodes: [{id: a}]"), &["1:8 unsupported-version"]),
        (n("- id: a\n  dependson: []\n"), &["4:3 unknown-field"]),
        (s("id: w\nnodes: [{id: a}]\nlimits: [a]"), &["3:9 wrong-type"]),
        (
            s("id: w\nnodes: [{id: a, limits: [l]}]\nlimits: { l: { concurency: 1 } }"),
            &["3:14 missing-field", "3:16 unknown-field"],
        ),
        (
            s("id: w\nnodes: [{id: a, limits: [l]}]\nlimits: { l: { concurrent: 0, per_minute: -1 } }"),
            &["3:28 out-of-range", "3:43 out-of-range"],
        ),
        (s("id: w\nnodes: [{id: a}]\nbudget: {}"), &["3:9 missing-field"]),
        (
            n("- id: a\n  budget: { usd: 0, tokens: 0, on_exceeded: stop }\n"),
            &["4:18 out-of-range", "4:29 out-of-range", "4:45 unknown-value"],
        ),
        (n("- id: a\n  budget: { usd: x, tokens: 1.5 }\n"), &["4:18 wrong-type", "4:29 wrong-type"]),
        (n("- id: a\n  wait: { seconds: 1 }\n  budget: { tokens: 1 }\n"), &["5:3 misplaced-field"]),
        (n("- id: a\n  task: langgraph.graph\n"), &["4:9 not-available"]),
        (n("- id: a\n  heartbeat_seconds: 1\n  limits: [x]\n"), &["4:3 not-available", "5:12 unknown-limit"]),
        (s("id: w\nnodes: [{id: a}]\non_failure: [a]"), &["3:14 wrong-type"]),
        (s("nodes: [{id: a}]"), &["1:1 missing-field"]),
        (s("id: w\n"), &["1:1 missing-field"]),
        (n("- name: x\n"), &["3:3 missing-field"]),
        (n("- id: a\n  depends_on: b\n  name: 5\n"), &["4:15 wrong-type", "5:9 wrong-type"]),
        (n("- id: a\n- just words\n"), &["4:3 wrong-type"]),
        (s("id: w\nnodes: { a: {} }"), &["2:8 wrong-type"]),
        (s("id: w\nnodes: [{id: a}]\nedges: [[a], {from: a}]"), &["3:9 wrong-type", "3:14 missing-field"]),
        (n("- id: a\n  join: all\n"), &["4:9 unknown-value"]),
        (n("- id: a\n  timeout_seconds: 5m\n"), &["4:20 duration"]),
        (n("- id: a\n  task: pass\n  wait: { seconds: 1 }\n"), &["5:3 several-kinds-of-work"]),
        // The meaning.
        (s("id: my workflow\nnodes: [{id: .a}]"), &["1:5 bad-id", "2:14 bad-id"]),
        (s("id: w\nnodes: []"), &["2:8 no-nodes"]),
        (n("- id: a\n- id: a\n"), &["4:7 duplicate-id"]),
        (n("- id: a\n  depends_on: [b]\n"), &["4:16 unknown-dependency"]),
        (
            s("id: w\nnodes: [{id: a}]\nedges: [[a, b], {from: c, to: a}]"),
            &["3:13 unknown-dependency", "3:24 unknown-dependency"],
        ),
        (n("- id: a\n  depends_on: [a]\n"), &["4:16 self-dependency"]),
        (n("- id: a\n  depends_on: [c]\n- id: b\n  depends_on: [a]\n- id: c\n  depends_on: [b]\n"), &["6:16 cycle"]),
        (s("id: w\nnodes: [{id: a}, {id: b}]\nedges: [[a, b], [b, a]]"), &["3:9 cycle"]),
        (n("- id: a\n- id: b\n  depends_on: [a, a]\n"), &["5:19 duplicate-edge"]),
        (
            s(
                "id: w\nnodes: [{id: a}, {id: b}]\nedges: [{from: a, to: b, when: 'params.x'}, {from: a, to: b, when: 'not params.x'}]\nparams: {x: {}}",
            ),
            &["3:45 conflicting-edges"],
        ),
        (n("- id: a\n  task: crewai.crw\n"), &["4:9 unknown-handler"]),
        (
            n("- id: a\n  retry_policy: { max_attempts: 0, backoff_coefficient: 0.5 }\n"),
            &["4:33 out-of-range", "4:57 out-of-range"],
        ),
        (
            n("- id: a\n  timeout_seconds: -1\n  retry_policy: { max_attempts: -1 }\n"),
            &["4:20 out-of-range", "5:33 out-of-range"],
        ),
        (s("id: w\nmax_parallel_nodes: 0\nnodes: [{id: a}]"), &["2:21 out-of-range"]),
        (n("- id: a\n  retry_policy: { retry_on: [timeout], do_not_retry_on: [timeout] }\n"), &["4:58 retry-conflict"]),
        (n("- id: a\n  timeout_seconds: 10\n  deadline_seconds: 5\n"), &["5:21 deadline-too-short"]),
        (n("- id: a\n  on_failure: { output: 1 }\n"), &["4:25 unused-output"]),
        (n("- id: a\n  join: any_failure\n"), &["4:9 join-never-fires"]),
        (
            n("- id: a\n  on_failure: { action: continue }\n- id: b\n  depends_on: [a]\n  join: any_failure\n"),
            &["7:9 join-never-fires"],
        ),
        (
            n(
                "- id: a\n- id: h\n  depends_on: [a]\n  join: any_failure\n- id: b\n  depends_on: [a, h]\n  join: all_success\n",
            ),
            &["9:9 join-never-fires"],
        ),
        (n("- id: a\n  join: all_done\n"), &["4:9 join-without-dependencies"]),
        // Expressions.
        (n("- id: a\n  when: 1 +\n"), &["4:11 bad-expression"]),
        (
            n("- id: a\n  inputs: { x: 'see {{ params', y: '{% if x %}' }\n"),
            &["4:21 bad-expression", "4:37 bad-expression"],
        ),
        (n(&format!("- id: a\n  when: {}1\n", "-".repeat(100))), &["4:9 expression-too-complex"]),
        (n("- id: a\n  when: \"{{ run.id }}\"\n"), &["4:9 braces-in-condition"]),
        (n("- id: a\n  when: run.id | uper == stats\n"), &["4:18 unknown-name"]),
        (n("- id: a\n  when: run.idd or item\n"), &["4:9 unknown-name", "4:20 unknown-name"]),
        (n("- id: a\n- id: b\n  depends_on: [a]\n  when: nodes.a.outptu\n"), &["6:9 unknown-name"]),
        (n("- id: a\n  when: run.cost > 1\n"), &["4:9 not-available"]),
        (n("- id: a\n  when: nodes.zz.output\n"), &["4:9 unknown-node"]),
        (n("- id: a\n  inputs: { x: [\"{{ params.x }}\"] }\n"), &["4:21 unknown-param"]),
        (n("- id: a\n- id: b\n  when: nodes.a.output\n"), &["5:9 not-an-ancestor"]),
        (n("- id: a\n  inputs: { x: '{{ nodes.a.output }}' }\n"), &["4:20 not-an-ancestor"]),
        (n("- id: a\n  when: nodes[run.id].output\n"), &["4:9 dynamic-reference"]),
        // Params.
        (
            s(
                "id: w\nparams:\n  a: { type: integer, default: x }\n  b: { minimum: 2, maximum: 1 }\n  c: string\nnodes: [{id: a}]",
            ),
            &["3:32 bad-param", "4:17 bad-param", "5:6 wrong-type"],
        ),
        (
            s("id: w\nparams: { a: { type: string, minimum: 1, enum: [x, 2] } }\nnodes: [{id: a}]"),
            &["2:30 bad-param", "2:52 bad-param"],
        ),
    ]
}

#[test]
fn every_wrong_document_is_told_what_and_where() {
    let mut wrong = String::new();
    for (text, expected) in wrong_documents() {
        let found = diagnose(&text);
        if places(&found) != expected {
            wrong += &format!("{text}\nexpected {expected:?}\nfound {:?}\n\n", places(&found));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// What is said of a document, and of a start if it begins with a comment that starts it.
fn said_of(text: &str) -> Vec<String> {
    let parsed = parse(&text.replace("·NUL·", "\0"), Format::guess(None, text), &options());
    let mut codes: Vec<String> = parsed.diagnostics.into_iter().map(|diagnostic| diagnostic.code).collect();
    if let (Some(start), Some(spec)) = (text.lines().next().filter(|line| line.starts_with("# segue run")), parsed.spec)
    {
        let given = start.split(" -i ").skip(1).map(|given| given.trim().split_once('=').unwrap());
        let given = given.map(|(name, value)| (name.to_owned(), input_from_text(&spec, name, value))).collect();
        codes.extend(resolve_inputs(&spec, given).err().into_iter().flatten().map(|diagnostic| diagnostic.code));
    }
    codes
}

#[test]
fn every_rule_has_a_document_that_breaks_it_and_one_that_does_not() {
    // What depends on files beside the document, on a run, or on the sheer number of problems.
    let surroundings = ["child-not-found", "child-not-valid", "bad-answer", "too-many-problems"];
    let mut wrong = String::new();
    for code in codes::ALL {
        let example = code.example().unwrap_or_else(|| panic!("`{}` has no example", code.name));
        let (broken, right) = (said_of(example.wrong), said_of(example.right));
        if !surroundings.contains(&code.name) && broken != [code.name] {
            wrong += &format!("{} is broken by\n{}and said is {broken:?}\n", code.name, example.wrong);
        }
        if !right.is_empty() {
            wrong += &format!("{} is not broken by\n{}but said is {right:?}\n", code.name, example.right);
        }
        let page = code.page();
        assert!(page.starts_with(&format!("# {}\n", code.name)) && page.contains(code.cure), "{page}");
    }
    assert!(wrong.is_empty(), "{wrong}");
    for (text, _) in wrong_documents() {
        assert!(diagnose(&text).iter().all(|said| codes::find(&said.code).is_some()), "{text}");
    }
}

/// What a JSON Pointer says and what a place says are the same thing.
#[test]
fn a_specification_built_in_rust_is_told_the_same() {
    for (text, _) in wrong_documents() {
        let parsed = parse(&text, Format::guess(None, &text), &options());
        let shape_is_right = |diagnostic: &Diagnostic| diagnostic.severity == Severity::Warning;
        if !parsed.diagnostics.is_empty() && parsed.diagnostics.iter().all(shape_is_right) {
            let mut again = check(&parsed.spec.unwrap(), &options());
            let mut before = parsed.diagnostics;
            for diagnostic in &mut before {
                diagnostic.span = None;
            }
            let key = |diagnostic: &Diagnostic| (diagnostic.path.clone(), diagnostic.code.clone());
            again.sort_by_key(key);
            before.sort_by_key(key);
            assert_eq!(again, before, "{text}");
        }
    }
}

#[test]
fn all_problems_come_at_once_with_the_nearest_names() {
    let text = r#"id: w
nmae: x
nodes:
  - id: fetch_page
    task: crewai.crw
    timeout_seconds: "1h30m"
    inputs:
      text: |
        Dear {{ params.name }},
          see {{ nodes.summary.output }}
        and {{ nodes.fetch-page.output }}
      more: "it's \"{{ run.sttus }}\""
  - id: summary
    depends_on: [fetch_pge]
    join: any_failur
"#;
    let found = diagnose(text);
    let expected = [
        ("2:1 unknown-field", "did you mean `name`?"),
        ("5:11 unknown-handler", "did you mean `crewai.crew`?"),
        ("6:22 duration", "write `timeout_seconds: 5400`"),
        ("11:16 bad-expression", "write `nodes[\"fetch-page\"]`"),
        ("12:24 unknown-name", "did you mean `status`?"),
        ("14:18 unknown-dependency", "did you mean `fetch_page`?"),
        ("15:11 unknown-value", "did you mean `any_failure`?"),
    ];
    let said: Vec<_> =
        places(&found).into_iter().zip(found.iter().map(|d| d.help.clone().unwrap_or_default())).collect();
    assert_eq!(said, expected.map(|(place, help)| (place.to_owned(), help.to_owned())), "{found:#?}");
}

#[test]
fn a_place_inside_a_text_is_found_in_every_style() {
    let texts = [
        "x: see {{ params.q }}",
        "x: 'see {{ params.q }}'",
        "x: \"see {{ params.q }}\"",
        "x: |\n        one\n         two {{ params.q }}",
        "x: >-\n        folded\n        see {{ params.q }} here",
        "x: [{ y: \"{{ params.q }}\" }]",
    ];
    for text in texts {
        let document = nodes(&format!("- id: a\n  inputs:\n    {text}\n"));
        let found = diagnose(&document);
        let span = found[0].span.unwrap();
        assert_eq!(&document[span.start..span.end], "params.q", "{document}");
    }
    // Behind an escape the whole text is shown.
    let document = nodes("- id: a\n  when: \"params.\\u0071\"\n");
    let span = diagnose(&document)[0].span.unwrap();
    assert_eq!(&document[span.start..span.end], "\"params.\\u0071\"");
    // The second of two equal ones, where the first is right.
    let document = nodes("- id: a\n  inputs: { x: 'params.q {{ params.q }}' }\n");
    assert_eq!(places(&diagnose(&document)), ["4:29 unknown-param"]);
}

#[test]
fn long_circles_are_shown_in_part_and_each_once() {
    let mut text = String::from("id: w\nnodes:\n");
    for node in 0..100 {
        text.push_str(&format!("- {{ id: n{node}, depends_on: [n{}] }}\n", (node + 99) % 100));
    }
    text.push_str("- { id: a, depends_on: [b, n5] }\n- { id: b, depends_on: [a] }\n- { id: after, depends_on: [a] }\n");
    let found = diagnose(&text);
    let circles: Vec<_> = found.iter().filter(|d| d.code == "cycle").map(|d| d.message.as_str()).collect();
    assert_eq!(circles.len(), 2, "{found:#?}");
    assert!(circles[0].contains('…') && circles[0].contains("n1 → n2"), "{}", circles[0]);
    assert!(circles.iter().any(|circle| circle.ends_with("b → a → b") || circle.ends_with("a → b → a")), "{circles:?}");
}

#[test]
fn what_adapters_find_gets_its_place() {
    let mut parsed = parse(SEED, Format::Yaml, &options());
    parsed.add([
        Diagnostic::warning("later", "/nodes/1/inputs/prompt", "is not there"),
        Diagnostic::error("crew", "/nodes/0/inputs/prompt", "is wrong"),
    ]);
    assert_eq!(places(&parsed.diagnostics), ["7:15 crew", "8:5 later"]);
    assert!(parsed.spec.is_none() && parsed.has_errors());
    assert_eq!(parsed.line(7), Some("      prompt: \"Write hello world\""));
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    for (bytes, place) in [
        (&b"id: w\nname: \xff\xfe"[..], "2:7 not-text"),
        (b"\xff\xfei\0d\0", "1:1 not-text"),
        (b"\x7fELF\x02\x01", "1:1 not-text"),
    ] {
        assert_eq!(places(&parse_bytes(bytes, None, &options()).diagnostics), [place]);
    }
}

/// The language's own example uses what is not built yet, and says so once a place, without any other complaint.
#[test]
fn what_is_not_built_yet_is_named_as_such() {
    let text = r#"id: support_triage
params:
  text: { type: string }
nodes:
  - id: classify
    task: langchain.runnable
    inputs: { runnable: "triage.chains:classifier", text: "{{ params.text }}" }
    output_schema: { type: object, required: [kind], properties: { kind: { enum: [billing, bug, other] } } }
  - id: bug
    workflow: { id: bug_report }
    depends_on: [classify]
    when: nodes.classify.output.kind == "bug"
    inputs: { text: "{{ params.text }}" }
  - id: person
    depends_on: [classify]
    approval: { title: "Answer this ticket", message: "{{ params.text }}" }
  - id: reply
    task: http.request
    depends_on: [bug, person]
    inputs:
      body: "{{ nodes.bug.output.answer or nodes.person.output.form.answer }}"
edges:
  - { from: reply, to: bug, max_iterations: 3 }
"#;
    let found = diagnose(text);
    let others: Vec<_> = found.iter().filter(|d| !matches!(d.code.as_str(), "not-available" | "cycle")).collect();
    assert!(others.is_empty(), "{others:#?}");
    assert_eq!(found.iter().filter(|d| d.code == "not-available").count(), 2, "{found:#?}");
}
