//! The rules of groups, loops, waiting, other workflows, secrets, `on_failure` and `finally`: what is said, and where.
#![allow(clippy::unwrap_used)]

use segue_core::{
    ids::HandlerId,
    spec::{CheckOptions, Diagnostic, Format, check, codes, parse},
};

fn options() -> CheckOptions {
    let handlers = ["pass", "process.run"].map(HandlerId::from).to_vec();
    CheckOptions { handlers, default_handler: Some(HandlerId::from("pass")), limits: Some(vec!["model:gpt-4o".into()]) }
}

fn diagnose(text: &str) -> Vec<Diagnostic> {
    parse(text, Format::guess(None, text), &options()).diagnostics
}

/// `line:column code`, one a line. Line 1 is `id: w`, line 2 `nodes:`.
fn places(text: &str) -> Vec<String> {
    let place = |diagnostic: &Diagnostic| {
        let span = diagnostic.span.unwrap();
        format!("{}:{} {}", span.line, span.column, diagnostic.code)
    };
    diagnose(text).iter().map(place).collect()
}

/// Each document, and everything that is said about it.
fn check_all(documents: &[(&str, &[&str])]) {
    let mut wrong = String::new();
    for (nodes, expected) in documents {
        let text = format!("id: w\nnodes:\n{nodes}");
        let found = places(&text);
        if found != *expected {
            wrong += &format!("{text}\nexpected {expected:?}\nfound {found:?}\n{:#?}\n\n", diagnose(&text));
        }
        let diagnostics = diagnose(&text);
        for diagnostic in &diagnostics {
            let cure = diagnostic.help.as_deref().unwrap_or_default();
            assert!(!cure.is_empty(), "no cure: {diagnostic:?}\n{text}");
            assert!(codes::find(&diagnostic.code).is_some(), "{diagnostic:?}");
        }
        // The same is said of the types, where the document could be read.
        if let Some(spec) = parse(&text, Format::Yaml, &options()).spec {
            assert_eq!(check(&spec, &options()).len(), diagnostics.len(), "{text}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn one_kind_of_work_and_only_what_it_takes() {
    check_all(&[
        ("- { id: a, task: pass, wait: { seconds: 1 } }\n", &["3:24 several-kinds-of-work"]),
        ("- { id: a, group: { nodes: [{ id: b }] }, approval: { title: x } }\n", &["3:43 several-kinds-of-work"]),
        ("- id: a\n  approval:\n", &["4:11 wrong-type"]),
        ("- { id: a, task: null, group: null, wait: null }\n", &[]),
        ("- { id: a, approval: { title: x }, inputs: { x: 1 } }\n", &["3:36 misplaced-field"]),
        (
            "- id: a\n  group: { nodes: [{ id: b }] }\n  retry_policy: { max_attempts: 2 }\n  cache: {}\n  hints: { x: {} }\n  output_schema: {}\n",
            &["5:3 misplaced-field", "6:3 misplaced-field", "7:3 misplaced-field", "8:3 misplaced-field"],
        ),
        ("- { id: a, group: { nodes: [{ id: b }] }, timeout_seconds: 5, deadline_seconds: 5 }\n", &[]),
        ("- { id: a, wait: { seconds: 1 }, timeout_seconds: 5 }\n", &["3:34 misplaced-field"]),
        ("- { id: a, wait: { event: x }, timeout_seconds: 5, deadline_seconds: 5 }\n", &[]),
        (
            "- { id: a, workflow: { id: v }, inputs: { x: 1 }, retry_policy: { max_attempts: 2 }, timeout_seconds: 5 }\n",
            &[],
        ),
        ("- { id: a, workflow: { id: v }, cache: {} }\n", &["3:33 misplaced-field"]),
        ("- { id: a, parallelism: 3 }\n", &["3:12 misplaced-field"]),
        ("- { id: a, on_failure: { action: pause, output: 1 } }\n", &["3:41 misplaced-field"]),
        ("- { id: a, task: segue.workflow }\n", &["3:18 unknown-handler"]),
    ]);
}

#[test]
fn loops_over_lists_and_repetitions() {
    check_all(&[
        ("- { id: a, foreach: [1, 2], parallelism: 2, inputs: { x: '{{ item }} {{ index }}' } }\n", &[]),
        ("- { id: a, foreach: 'params.list' }\nparams: { list: { type: array } }\n", &[]),
        ("- { id: a, foreach: 'range(3)' }\n", &[]),
        ("- { id: a, foreach: 3 }\n", &["3:21 wrong-type"]),
        ("- { id: a, foreach: '3 + 4' }\n", &["3:21 wrong-type"]),
        ("- { id: a, foreach: '\"a,b\"' }\n", &["3:21 wrong-type"]),
        ("- { id: a, foreach: '{{ params.list }}' }\nparams: { list: {} }\n", &["3:21 braces-in-condition"]),
        ("- { id: a, foreach: ['{{ run.idd }}'] }\n", &["3:26 unknown-name"]),
        ("- { id: a, foreach: [1], parallelism: 0 }\n", &["3:39 out-of-range"]),
        ("- { id: a, foreach: '[item]' }\n", &["3:23 unknown-name"]),
        ("- { id: a, foreach: [1], when: item > 0 }\n", &["3:32 unknown-name"]),
        ("- { id: a, foreach: [1], on_failure: { action: continue, output: '{{ index }} {{ error.kind }}' } }\n", &[]),
        ("- { id: a, repeat: { until: 'output.x and previous and iteration > 1', max_iterations: 3 } }\n", &[]),
        ("- { id: a, repeat: { until: output.ok } }\n", &["3:12 missing-field"]),
        ("- { id: a, repeat: 3 }\n", &["3:20 wrong-type"]),
        (
            "- { id: a, repeat: { max_iterations: 0, delay_seconds: -1 } }\n",
            &["3:38 out-of-range", "3:56 out-of-range"],
        ),
        ("- { id: a, repeat: { max_iterations: 5000000000 } }\n", &["3:38 out-of-range"]),
        (
            "- { id: a, repeat: { max_iterations: 2 }, inputs: { x: '{{ previous }}{{ iteration }}{{ output }}' } }\n",
            &["3:89 unknown-name"],
        ),
        ("- { id: a, repeat: { max_iterations: 2 }, when: iteration > 1 }\n", &["3:49 unknown-name"]),
        (
            "- { id: a, repeat: { max_iterations: 2 }, on_failure: { action: continue, output: '{{ iteration }}' } }\n",
            &["3:87 unknown-name"],
        ),
        ("- { id: a, inputs: { x: '{{ output }}', y: '{{ error }}' } }\n", &["3:29 unknown-name", "3:48 unknown-name"]),
        ("- { id: a }\n- { id: b, depends_on: [a], join: any_failure, inputs: { x: '{{ error.message }}' } }\n", &[]),
    ]);
}

#[test]
fn loop_edges() {
    let chain =
        "- { id: a }\n- { id: b, depends_on: [a] }\n- { id: c, depends_on: [b] }\n- { id: d, depends_on: [c] }\n";
    let with = |more: &str| format!("{chain}{more}");
    let cases: Vec<(String, &[&str])> = vec![
        (with("edges: [{ from: c, to: b, max_iterations: 3, when: nodes.c.output.again and iteration < 3 }]\n"), &[]),
        (with("edges: [{ from: b, to: b, max_iterations: 3 }]\n"), &[]),
        (with("edges: [{ from: c, to: b }]\n"), &["5:25 cycle"]),
        (with("edges: [{ from: c, to: b, on_exhausted: continue }]\n"), &["7:9 missing-field"]),
        (with("edges: [{ from: c, to: b, max_iterations: 0 }]\n"), &["7:43 out-of-range"]),
        (with("edges: [{ from: c, to: b, max_iterations: x }]\n"), &["7:43 wrong-type"]),
        (with("edges: [{ from: b, to: c, max_iterations: 3 }]\n"), &["7:9 loop-not-closed"]),
        (with("edges: [{ from: x, to: b, max_iterations: 3 }]\n"), &["7:17 unknown-dependency"]),
        // Only the last node of a loop has dependents outside.
        (with("- { id: e, depends_on: [b] }\nedges: [{ from: c, to: b, max_iterations: 3 }]\n"), &["7:25 loop-escape"]),
        (with("- { id: e, depends_on: [c] }\nedges: [{ from: c, to: b, max_iterations: 3 }]\n"), &[]),
        (with("edges: [{ from: c, to: a, max_iterations: 3 }, { from: b, to: a, max_iterations: 3 }]\n"), &[]),
        (with("edges: [{ from: c, to: a, max_iterations: 3 }, { from: d, to: b, max_iterations: 3 }]\n"), &["7:48 loop-overlap"]),
        (with("edges: [{ from: c, to: a, max_iterations: 3 }, { from: c, to: b, max_iterations: 3 }]\n"), &["7:48 loop-overlap"]),
        (with("edges: [{ from: b, to: a, max_iterations: 3 }, { from: d, to: c, max_iterations: 3 }]\n"), &[]),
        // `iteration` is there in the loop, and nowhere else.
        (
            "- { id: a, inputs: { x: '{{ iteration }}' } }\n- { id: b, depends_on: [a], inputs: { x: '{{ iteration }}' } }\nedges: [{ from: b, to: b, max_iterations: 2 }]\n".to_owned(),
            &["3:29 unknown-name"],
        ),
        (
            "- { id: a, inputs: { x: '{{ nodes.b.output }}' } }\n- { id: b, depends_on: [a] }\nedges: [{ from: b, to: a, max_iterations: 2 }]\n".to_owned(),
            &["3:29 not-an-ancestor"],
        ),
    ];
    check_all(&cases.iter().map(|(text, expected)| (&**text, *expected)).collect::<Vec<_>>());
    let found = diagnose(&format!("id: w\nnodes:\n{}", cases[15].0));
    assert!(found[0].help.as_ref().unwrap().contains("`previous`"), "{found:?}");
    let found = diagnose(&format!("id: w\nnodes:\n{}", cases[6].0));
    assert!(found[0].help.as_ref().unwrap().contains("swap"), "{found:?}");
}

#[test]
fn groups_are_one_to_others_and_see_what_is_before_them() {
    check_all(&[
        (
            "- { id: a }\n- id: g\n  depends_on: [a]\n  foreach: [1]\n  repeat: { max_iterations: 2 }\n  group:\n    nodes:\n    - { id: b, inputs: { x: '{{ nodes.a.output }} {{ item }} {{ iteration }} {{ previous }}' } }\n    - { id: c, depends_on: [b] }\n    output: '{{ nodes.c.output }} {{ nodes.b.output }} {{ nodes.a.output }} {{ index }}'\n- { id: d, depends_on: [g], inputs: { x: '{{ nodes.g.output }}' } }\n",
            &[],
        ),
        ("- { id: g, group: { nodes: [] } }\n", &["3:28 no-nodes"]),
        ("- { id: g, group: {} }\n", &["3:12 missing-field"]),
        ("- { id: g, group: [{ id: a }] }\n", &["3:19 wrong-type"]),
        ("- { id: g, group: { nodes: [{ id: g }] } }\n", &["3:35 duplicate-id"]),
        (
            "- { id: g, group: { nodes: [{ id: a }] } }\n- { id: h, group: { nodes: [{ id: a }] } }\n",
            &["4:35 duplicate-id"],
        ),
        ("- { id: g, group: { nodes: [{ id: a, depends_on: [b] }, { id: b, depends_on: [a] }] } }\n", &["3:79 cycle"]),
        ("- { id: a }\n- { id: g, group: { nodes: [{ id: b, depends_on: [a] }] } }\n", &["4:51 foreign-dependency"]),
        ("- { id: g, group: { nodes: [{ id: b, depends_on: [g] }] } }\n", &["3:51 foreign-dependency"]),
        ("- { id: g, group: { nodes: [{ id: b }] } }\n- { id: c, depends_on: [b] }\n", &["4:25 foreign-dependency"]),
        ("- { id: a }\n- { id: g, group: { nodes: [{ id: b }], edges: [[a, b]] } }\n", &["4:50 foreign-dependency"]),
        ("- { id: g, group: { nodes: [{ id: b }] } }\n- { id: c }\nedges: [[b, c]]\n", &["5:10 foreign-dependency"]),
        (
            "- { id: a }\n- { id: g, group: { nodes: [{ id: b, inputs: { x: '{{ nodes.a.output }}' } }] } }\n",
            &["4:55 not-an-ancestor"],
        ),
        (
            "- { id: g, group: { nodes: [{ id: b }] } }\n- { id: c, depends_on: [g], inputs: { x: '{{ nodes.b.output }}' } }\n",
            &["4:46 not-an-ancestor"],
        ),
        (
            "- { id: g, group: { nodes: [{ id: b, inputs: { x: '{{ nodes.g.output }}' } }] } }\n",
            &["3:55 not-an-ancestor"],
        ),
        ("- { id: g, group: { nodes: [{ id: b }], output: '{{ nodes.g.output }}' } }\n", &["3:53 not-an-ancestor"]),
        (
            "- { id: g, group: { nodes: [{ id: b }] } }\noutputs: { x: '{{ nodes.b.output }} {{ nodes.g.output }}' }\n",
            &["4:19 not-an-ancestor"],
        ),
        (
            "- { id: g, foreach: [1], group: { nodes: [{ id: h, group: { nodes: [{ id: b, when: item > 0 }] } }] } }\n",
            &[],
        ),
        ("- { id: g, group: { nodes: [{ id: b, join: all_done }] } }\n", &["3:44 join-without-dependencies"]),
    ]);
    let found = diagnose("id: w\nnodes:\n- { id: a }\n- { id: g, group: { nodes: [{ id: b, depends_on: [a] }] } }\n");
    assert_eq!(found[0].help.as_deref(), Some("let the group depend on it: add `a` to the `depends_on` of `g`"));
    let found = diagnose(
        "id: w\nnodes:\n- { id: a }\n- { id: g, group: { nodes: [{ id: b, inputs: { x: '{{ nodes.a.output }}' } }] } }\n",
    );
    assert_eq!(found[0].help.as_deref(), Some("add `a` to the `depends_on` of `g`"));
}

#[test]
fn groups_are_nested_to_a_limit() {
    let nested = |depth: usize| {
        let inner = (0..depth)
            .fold("{ id: x }".to_owned(), |inner, n| format!("{{ id: g{n}, group: {{ nodes: [{inner}] }} }}"));
        format!("id: w\nnodes: [{inner}]\n")
    };
    assert_eq!(places(&nested(16)), Vec::<String>::new());
    let found = diagnose(&nested(17));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].code == "too-deep" && found[0].message.contains("16"), "{found:?}");
}

#[test]
fn questions_and_waits() {
    check_all(&[
        (
            "- id: a\n  timeout_seconds: 60\n  approval:\n    title: 'Ship {{ run.id }}?'\n    message: see\n    form: { n: { type: integer, minimum: 1 }, why: { type: string, required: false } }\n    approvers: [ann, bob]\n    on_timeout: reject\n    on_reject: continue\n",
            &[],
        ),
        ("- { id: a, approval: {} }\n", &["3:12 missing-field"]),
        ("- { id: a, approval: Ship? }\n", &["3:22 wrong-type"]),
        ("- { id: a, approval: { title: x, form: { n: { type: int } } } }\n", &["3:53 unknown-value"]),
        ("- { id: a, approval: { title: x, form: { n: string } } }\n", &["3:45 wrong-type"]),
        ("- { id: a, approval: { title: x, on_timeout: approve } }\n", &["3:46 unused-on-timeout"]),
        ("- { id: a, approval: { title: x, on_reject: no } }\n", &["3:45 unknown-value"]),
        (
            "- { id: a, approval: { title: '{{ params.x }}', approvers: ann } }\n",
            &["3:35 unknown-param", "3:60 wrong-type"],
        ),
        ("- { id: a, wait: { seconds: 0 } }\n- { id: b, wait: { until: '2026-12-24T18:00:00+01:00' } }\n", &[]),
        ("- { id: a, wait: { event: 'paid/{{ run.id }}', match: output.amount > 3 } }\n", &[]),
        ("- { id: a, wait: { until: '{{ params.t }}' } }\nparams: { t: {} }\n", &[]),
        ("- { id: a, wait: {} }\n", &["3:18 bad-wait"]),
        ("- { id: a, wait: 5 }\n", &["3:18 wrong-type"]),
        ("- { id: a, wait: { seconds: 5m } }\n", &["3:29 duration"]),
        ("- { id: a, wait: { seconds: 1, event: x } }\n", &["3:32 bad-wait"]),
        ("- { id: a, wait: { seconds: -1 } }\n", &["3:29 out-of-range"]),
        ("- { id: a, wait: { until: tomorrow } }\n", &["3:27 bad-time"]),
        ("- { id: a, wait: { until: '2026-12-24' } }\n", &["3:27 bad-time"]),
        ("- { id: a, wait: { seconds: 1, match: output.x } }\n", &["3:32 misplaced-field"]),
        (
            "- { id: a, wait: { seconds: 1 } }\n- { id: b, depends_on: [a], join: any_failure }\n",
            &["4:35 join-never-fires"],
        ),
        ("- { id: a, wait: { event: x } }\n- { id: b, depends_on: [a], join: any_failure }\n", &[]),
        (
            "- { id: a, foreach: 'params.l', on_failure: { action: continue } }\n- { id: b, depends_on: [a], join: any_failure }\nparams: { l: {} }\n",
            &[],
        ),
    ]);
}

#[test]
fn other_workflows() {
    check_all(&[
        ("- { id: a, workflow: { id: v, version: 0badcafe, detach: true } }\n", &[]),
        ("- { id: a, workflow: v }\n", &["3:22 wrong-type"]),
        ("- { id: a, workflow: {} }\n", &["3:12 missing-field"]),
        ("- { id: a, workflow: { id: a b, detach: maybe } }\n", &["3:28 bad-id", "3:41 wrong-type"]),
        ("- { id: a, workflow: { id: v, version: v1 } }\n", &["3:40 bad-version"]),
        ("- { id: a, workflow: { id: v, version: 0BADCAFE } }\n", &["3:40 bad-version"]),
        ("- { id: a, workflow: { id: v, version: 12345678 } }\n", &["3:40 wrong-type"]),
        ("- { id: a, workflow: { id: w } }\n", &["3:28 endless-recursion"]),
        (
            "- { id: z }\n- { id: g, depends_on: [z], group: { nodes: [{ id: a, workflow: { id: w } }] } }\n",
            &["4:71 endless-recursion"],
        ),
        ("- { id: a, workflow: { id: w }, when: params.n > 0 }\nparams: { n: {} }\n", &[]),
        (
            "- { id: z, when: params.n > 0 }\n- { id: a, depends_on: [z], workflow: { id: w } }\nparams: { n: {} }\n",
            &[],
        ),
    ]);
}

#[test]
fn data_schemas_caches_and_secrets() {
    check_all(&[
        (
            "- { id: a, output_schema: { type: object, required: [x] }, cache: { key: '{{ params.x }}', ttl_seconds: 60 } }\nparams: { x: {} }\n",
            &[],
        ),
        ("- { id: a, output_schema: object }\n", &["3:27 wrong-type"]),
        ("- { id: a, output_schema: { type: strng, minimum: x } }\n", &["3:35 bad-schema", "3:51 bad-schema"]),
        ("- { id: a, output_schema: { $ref: 'https://example.com/x' } }\n", &["3:35 bad-schema"]),
        ("- { id: a, cache: true }\n", &["3:19 wrong-type"]),
        ("- { id: a, cache: { key: 5, ttl_seconds: 0 } }\n", &["3:26 wrong-type", "3:42 out-of-range"]),
        ("- { id: a, cache: { key: '{{ nodes.b.output }}' } }\n- { id: b }\n", &["3:30 not-an-ancestor"]),
        ("- { id: a, inputs: { key: { $secret: KEY }, list: [{ deep: { $secret: KEY } }] } }\nsecrets: [KEY]\n", &[]),
        (
            "- { id: a, inputs: { key: { $secret: KYE } } }\nsecrets: [KEY]\n",
            &["3:38 unknown-secret", "4:11 unused-secret"],
        ),
        ("- { id: a, inputs: { $secret: KEY } }\nsecrets: [KEY]\n", &["3:31 misplaced-secret"]),
        ("- { id: a, inputs: { x: { $secret: KEY, y: 1 } } }\nsecrets: [KEY]\n", &["3:36 misplaced-secret"]),
        ("- { id: a, inputs: { x: 'Bearer { $secret: KEY }' } }\nsecrets: [KEY]\n", &["3:25 misplaced-secret"]),
        ("- { id: a, inputs: { x: 'The price is $secret, and KEY is a word' } }\n", &[]),
        ("- { id: a, inputs: { x: { $secret: '{{ params.n }}' } } }\nparams: { n: {} }\n", &["3:36 misplaced-secret"]),
        ("- { id: a, inputs: { x: { $secret: 5 } } }\n", &["3:36 wrong-type"]),
        (
            "- { id: a, workflow: { id: v }, inputs: { x: { $secret: KEY } } }\nsecrets: [KEY]\n",
            &["3:57 misplaced-secret"],
        ),
        ("- { id: a, hints: { x: { k: { $secret: KEY } } } }\nsecrets: [KEY]\n", &["3:40 misplaced-secret"]),
        ("- { id: a, foreach: [{ $secret: KEY }] }\nsecrets: [KEY]\n", &["3:33 misplaced-secret"]),
        ("- { id: a }\noutputs: { x: { $secret: KEY } }\nsecrets: [KEY]\n", &["4:26 misplaced-secret"]),
        (
            "- { id: a, inputs: { x: { $secret: K }, y: { $secret: '-' } } }\nsecrets: [K, K, '-', 5]\n",
            &["4:14 duplicate-id", "4:17 bad-id", "4:22 unused-secret"],
        ),
    ]);
}

#[test]
fn limits_are_declared_and_their_keys_can_be_read() {
    check_all(&[
        ("- { id: a, limits: [site, 'model:gpt-4o'] }\nlimits: { site: { concurrent: 2, per_minute: 30 } }\n", &[]),
        (
            "- { id: a, limits: [sites] }\nlimits: { site: { concurrent: 2 } }\n",
            &["3:21 unknown-limit", "4:11 unused-limit"],
        ),
        ("- { id: a, limits: ['model:gpt-4'] }\n", &["3:21 unknown-limit"]),
        ("- { id: a, limits: x }\n", &["3:20 wrong-type"]),
        ("- { id: a }\ndefaults: { limits: [l] }\nlimits: { l: { per_minute: 1 } }\n", &[]),
        ("- { id: a }\ndefaults: { limits: [m] }\n", &["4:22 unknown-limit"]),
        ("- { id: a, limits: [l] }\nlimits: { l: {} }\n", &["4:14 missing-field"]),
        ("- { id: a, limits: [l] }\nlimits: { l: { tokens_per_minute: 2000000000 } }\n", &["4:35 out-of-range"]),
        ("- { id: a, limits: ['a b'] }\nlimits: { 'a b': { concurrent: 1 } }\n", &["4:11 bad-id"]),
        (
            "- { id: a, wait: { seconds: 1 }, limits: [l] }\nlimits: { l: { concurrent: 1 } }\n",
            &["3:34 misplaced-field"],
        ),
        (
            "- { id: a, limits: [l] }\n- { id: b, limits: [l] }\nlimits: { l: { concurrent: 1, key: params.who } }\n",
            &["5:36 unknown-param"],
        ),
        (
            "- { id: a, limits: [l] }\nlimits: { l: { concurrent: 1, key: '{{ params.n }}' } }\n",
            &["4:36 braces-in-condition"],
        ),
        (
            "- { id: a, limits: [l] }\nlimits: { l: { concurrent: 1, key: 'params.n +' } }\nparams: { n: {} }\n",
            &["4:46 bad-expression"],
        ),
        (
            "- { id: a }\n- { id: b, limits: [l] }\nlimits: { l: { concurrent: 1, key: nodes.a.output.id } }\n",
            &["5:36 not-an-ancestor"],
        ),
        (
            "- { id: a, foreach: [1, 2], limits: [l] }\n- { id: b, limits: [l] }\nlimits: { l: { concurrent: 1, key: item } }\n",
            &["5:36 unknown-name"],
        ),
    ]);
}

#[test]
fn nodes_that_come_after_the_rest() {
    check_all(&[
        (
            "- { id: a }\n- { id: g, group: { nodes: [{ id: b }] } }\non_failure:\n- { id: tell, inputs: { why: '{{ error.message }} {{ nodes.a.output }} {{ nodes.g.status }}' } }\n- { id: more, depends_on: [tell], inputs: { x: '{{ nodes.tell.output }}' } }\nfinally:\n- { id: clean, when: 'run.status == \"FAILED\"', inputs: { x: '{{ nodes.a.output }}' } }\n",
            &[],
        ),
        ("- { id: a }\non_failure: []\nfinally: []\n", &["4:13 no-nodes"]),
        ("- { id: a }\nfinally: [{ id: a }]\n", &["4:17 duplicate-id"]),
        ("- { id: a }\nfinally: [{ id: c, depends_on: [a] }]\n", &["4:33 foreign-dependency"]),
        ("- { id: a, depends_on: [c] }\nfinally: [{ id: c }]\n", &["3:25 foreign-dependency"]),
        ("- { id: a }\nfinally: [{ id: c, inputs: { x: '{{ error }}' } }]\n", &[]),
        ("- { id: a, inputs: { x: '{{ nodes.c.output }}' } }\nfinally: [{ id: c }]\n", &["3:29 not-an-ancestor"]),
        ("- { id: a }\nfinally: [{ id: c }]\noutputs: { x: '{{ nodes.c.output }}' }\n", &["5:19 not-an-ancestor"]),
        (
            "- { id: a }\non_failure: [{ id: b }]\nfinally: [{ id: c, inputs: { x: '{{ nodes.b.output }}' } }]\n",
            &["5:37 not-an-ancestor"],
        ),
        (
            "- { id: g, group: { nodes: [{ id: a }] } }\nfinally: [{ id: c, inputs: { x: '{{ nodes.a.output }}' } }]\n",
            &["4:37 not-an-ancestor"],
        ),
        (
            "- { id: a }\nfinally: [{ id: c, inputs: { x: '{{ nodes.d.output }}' } }, { id: d }]\n",
            &["4:37 not-an-ancestor"],
        ),
        (
            "- { id: a }\nfinally: [{ id: g, group: { nodes: [{ id: c, inputs: { x: '{{ nodes.a.output }}' } }] } }]\n",
            &[],
        ),
        ("- { id: a }\non_failure: { action: continue }\n", &["4:13 wrong-type"]),
        ("- { id: a }\nfinally: [c]\n", &["4:11 wrong-type"]),
        ("- { id: a }\nfinally: { id: c }\n", &["4:10 wrong-type"]),
        ("- { id: a }\nfinally: [{ id: c, task: pss }]\n", &["4:26 unknown-handler"]),
    ]);
}
