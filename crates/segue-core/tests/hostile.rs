//! Hostile and broken texts: every one is answered, with bounded stack and memory, and places always lie in the text.
#![allow(clippy::unwrap_used)]

use segue_core::{
    expr::{Expression, Scope, Template},
    ids::HandlerId,
    spec::{CheckOptions, Format, Parsed, parse, parse_bytes},
};
use serde_json::json;

/// A stack much smaller than any that Segue runs on.
const STACK_BYTES: usize = 512 * 1024;

fn on_a_small_stack(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(test).unwrap();
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn read(text: &str, format: Format) -> Parsed {
    let options = CheckOptions { handlers: vec![HandlerId::from("pass")], default_handler: None, limits: None };
    let parsed = parse(text, format, &options);
    assert_eq!(parsed.spec.is_none(), parsed.has_errors());
    for diagnostic in &parsed.diagnostics {
        let span = diagnostic.span.unwrap_or_else(|| panic!("{diagnostic:?} has no place"));
        assert!(diagnostic.code == "too-large" || text.get(span.start..span.end).is_some(), "{diagnostic:?}");
        assert!(span.line >= 1 && span.column >= 1, "{diagnostic:?}");
    }
    parsed
}

fn only_code(parsed: &Parsed) -> &str {
    assert_eq!(parsed.diagnostics.len(), 1, "{:#?}", parsed.diagnostics);
    &parsed.diagnostics[0].code
}

/// Pieces that have hung, crashed or blown up parsers.
const TOKENS: [&str; 44] = [
    "[",
    "{",
    "]",
    "}",
    "{a: ",
    "[[",
    "- ",
    "? ",
    ": ",
    "a: ",
    "a:\n ",
    "&a ",
    "*a ",
    "&a [*a, ",
    "!!x ",
    "!",
    "|\n",
    ">\n",
    "\"",
    "'",
    "\\",
    "#",
    "---\n",
    "...\n",
    "%YAML 1.2\n",
    ",",
    "\t",
    "\n",
    "\r",
    "\r\n",
    "\u{feff}",
    "é",
    "\u{2028}",
    "{\"a\":",
    "[\"a\",",
    "0",
    "-",
    "1e",
    "{{",
    "}}",
    "{%",
    "{#",
    "<<: ",
    "~",
];

#[test]
fn repeated_pieces_are_answered() {
    on_a_small_stack(|| {
        for token in TOKENS {
            for count in [1, 2, 63, 64, 65, 66, 1000, 200_000] {
                let bare = token.repeat(count);
                read(&bare, Format::Yaml);
                read(&bare, Format::Json);
                if count > 1000 {
                    continue;
                }
                read(&format!("id: w\nnodes:\n- id: a\n  inputs:\n    x: {bare}\n"), Format::Yaml);
                read(
                    &format!("{{\"id\": \"w\", \"nodes\": [{{\"id\": \"a\", \"inputs\": {{\"x\": {bare}"),
                    Format::Json,
                );
            }
        }
    });
}

#[test]
fn nested_declarations_are_read_to_the_limit() {
    on_a_small_stack(|| {
        for depth in [10, 28, 60, 70] {
            let nested = format!("{}{{type: string}}{}", "{type: array, items: ".repeat(depth), "}".repeat(depth));
            let parsed = read(&format!("id: w\nparams: {{ p: {nested} }}\nnodes: [{{id: a}}]"), Format::Yaml);
            assert_eq!(parsed.spec.is_some(), depth <= 60, "{depth}: {:?}", parsed.diagnostics);
            let texts = format!("{}\"{{{{ run.id }}}}\"{}", "[".repeat(depth), "]".repeat(depth));
            let parsed = read(&format!("id: w\nnodes: [{{id: a, inputs: {{x: {texts}}}}}]"), Format::Yaml);
            assert_eq!(parsed.spec.is_some(), depth <= 60, "{depth}: {:?}", parsed.diagnostics);
        }
    });
}

#[test]
fn aliases_cannot_multiply() {
    let mut bomb = String::from("l0: &l0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..30 {
        let all = vec![format!("*l{}", level - 1); 9].join(", ");
        bomb.push_str(&format!("l{level}: &l{level} [{all}]\n"));
    }
    assert_eq!(only_code(&read(&bomb, Format::Yaml)), "too-large");

    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(1_000_000), "*a, ".repeat(100));
    assert_eq!(only_code(&read(&long, Format::Yaml)), "too-large");

    // Nested as deep as allowed, then put inside itself as often.
    let deep = format!("a: &a {}1{}\nb: {}*a{}\n", "[".repeat(60), "]".repeat(60), "[".repeat(60), "]".repeat(60));
    assert_eq!(only_code(&read(&deep, Format::Yaml)), "too-deep");

    let fair = "id: w\nx-common: &common { task: pass }\nx-id: &id a\nnodes:\n- id: *id\n  metadata: *common\n- { id: b, *id : 1 }\n";
    let parsed = read(fair, Format::Yaml);
    assert_eq!(only_code(&parsed), "unknown-field");
}

#[test]
fn what_is_too_large_is_refused_and_what_is_large_is_read() {
    let blank = " ".repeat((32 << 20) + 1);
    assert_eq!(only_code(&read(&blank, Format::Yaml)), "too-large");
    assert_eq!(only_code(&parse_bytes(blank.as_bytes(), None, &CheckOptions::default())), "too-large");
    let many = format!("[{}0]", "0,".repeat(3_000_000));
    assert_eq!(only_code(&read(&many, Format::Json)), "too-large");

    let mut large = String::from("id: w\nnodes:\n");
    for node in 0..100_000 {
        let before = if node == 0 { String::new() } else { format!("n{}", node - 1) };
        large.push_str(&format!(
            "- id: n{node}\n  task: pass\n  depends_on: [{before}]\n  inputs: {{ x: \"{}\" }}\n",
            "y".repeat(50)
        ));
    }
    assert!(large.len() > 10_000_000);
    let parsed = read(&large, Format::Yaml);
    assert_eq!(parsed.diagnostics, []);
    assert_eq!(parsed.spec.unwrap().nodes.len(), 100_000);
}

/// Every node reads one from the far end of the graph; every node reads another one. Quadratic work would take minutes.
#[test]
fn references_across_a_large_graph_are_judged() {
    let layered = |read: &dyn Fn(usize) -> usize| {
        let mut nodes = Vec::new();
        for node in 0..20_000_usize {
            let dependencies: Vec<String> =
                (1..=3).filter_map(|back| Some(format!("n{}", node.checked_sub(back)?))).collect();
            let mut declared = json!({"id": format!("n{node}"), "task": "pass", "depends_on": dependencies});
            if node > 0 {
                declared["when"] = json!(format!("nodes.n{}.output", read(node)));
            }
            nodes.push(declared);
        }
        json!({"id": "w", "nodes": nodes}).to_string()
    };
    assert_eq!(parse(&layered(&|_| 0), Format::Json, &CheckOptions::default()).diagnostics, []);
    assert_eq!(parse(&layered(&|node| node / 2), Format::Json, &CheckOptions::default()).diagnostics, []);
    let wrong = parse(&layered(&|node| 19_999 - node / 2), Format::Json, &CheckOptions::default()).diagnostics;
    assert!(wrong.iter().all(|d| matches!(d.code.as_str(), "not-an-ancestor" | "too-many-problems")), "{:?}", wrong[0]);
    assert!(wrong[0].message.contains("runs after it"), "{:?}", wrong[0]);
}

#[test]
fn ten_thousand_mistakes_are_answered_with_a_thousand() {
    let nodes: Vec<_> = (0..10_000)
        .map(|n| json!({"id": format!("node_{n}"), "depends_on": [format!("nod_{n}")], "nmae": 1}))
        .collect();
    let parsed = read(&json!({"id": "w", "nodes": nodes}).to_string(), Format::Json);
    assert_eq!(parsed.diagnostics.len(), 1001);
    assert_eq!(parsed.diagnostics[1000].code, "too-many-problems");
}

/// A small generator of its own, so that a failure can be repeated from its number.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }
}

const DOCUMENT: &str = r#"segue: 1
id: w
params: { p: { type: string, default: "x" }, q: { type: array, items: { type: integer } } }
defaults: { retry_policy: { max_attempts: 2 } }
nodes:
  - id: a
    task: pass
    inputs: { text: "{{ params.p }} and {{ params['q'][0] | default(1) }}", more: [1, 2.5, true, null] }
    when: params.p == 'x' and not (run.id in params.q)
  - id: b
    depends_on: [a]
    join: any_success
    inputs:
      long: |
        Dear {{ nodes.a.output.name }},
        é {{ nodes["a"].status }}
    on_failure: { action: continue, output: { e: "{{ error.message }}" } }
edges: [[a, b], { from: a, to: b, when: nodes.a.output.x > 1 }]
outputs: { all: "{{ nodes.b.output }}" }
"#;

#[test]
fn mangled_documents_are_answered() {
    let json = serde_json::to_string(&parse(DOCUMENT, Format::Yaml, &CheckOptions::default()).spec.unwrap()).unwrap();
    for seed in 1..2000_u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let format = if seed % 2 == 0 { Format::Json } else { Format::Yaml };
        let mut chars: Vec<char> = if seed % 2 == 0 { &json } else { DOCUMENT }.chars().collect();
        for _ in 0..=dice.below(6) {
            let at = dice.below(chars.len());
            match dice.below(5) {
                0 => drop(chars.remove(at)),
                1 => drop(chars.splice(at..at, TOKENS[dice.below(TOKENS.len())].chars())),
                2 => chars.truncate(at),
                3 => {
                    let end = (at + dice.below(30)).min(chars.len());
                    let copy: Vec<char> = chars[at..end].to_vec();
                    let to = dice.below(chars.len());
                    drop(chars.splice(to..to, copy));
                }
                _ => chars[at] = char::from_u32(dice.below(0x300) as u32).unwrap_or(' '),
            }
            if chars.is_empty() {
                break;
            }
        }
        let text: String = chars.into_iter().collect();
        read(&text, format);
    }
}

const PIECES: [&str; 46] = [
    "-", "+", "not ", "(", ")", "[", "]", "{", "}", "{}", "()", "[]", ".b", "|e", "|upper", " is ", " is not ", " if ",
    " else ", " and ", " or ", " in ", "1", "1.5", "1e9", "'x'", "\"", "\\", "params", "params.p", "nodes.a", "['x']",
    "[0]", "[-1]", "[1:]", ",", ":", "~", "*", "**", "//", "%", "=", "==", "é", "}}",
];

#[test]
fn expressions_never_panic_or_overflow() {
    let scope =
        Scope { params: json!({"p": [1, "x", {"x": null}]}).as_object().cloned().unwrap().into(), ..Scope::default() };
    on_a_small_stack(move || {
        let try_it = |source: &str| {
            let inside = |error: segue_core::expr::ExprError, text: &str| {
                assert!(error.offset.start <= error.offset.end && error.offset.end <= text.len(), "{text}: {error:?}");
            };
            match Expression::compile(source) {
                Ok(expression) => {
                    if let Err(error) = expression.evaluate(&scope) {
                        inside(error, source);
                    }
                    let _ = expression.is_true(&scope);
                }
                Err(error) => inside(error, source),
            }
            let text = format!("a {{{{ {source} }}}} b");
            match Template::compile(&json!(text)) {
                Ok(template) => drop(template.render(&scope).map_err(|error| inside(error.error, &text))),
                Err(errors) => errors.into_iter().for_each(|error| inside(error.error, &text)),
            }
        };
        for piece in PIECES {
            for count in [1, 2, 31, 32, 33, 63, 64, 65, 300, 1023, 200_000] {
                let repeated = piece.repeat(count);
                try_it(&repeated);
                try_it(&format!("{repeated}1"));
                try_it(&format!("params.p{repeated}"));
                try_it(&format!("1{repeated} or {repeated}"));
            }
        }
        for seed in 1..5000_u64 {
            let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let source: String = (0..1 + dice.below(25)).map(|_| PIECES[dice.below(PIECES.len())]).collect();
            try_it(&source);
        }
    });
}
