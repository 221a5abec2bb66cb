use std::sync::Arc;

use serde_json::{Value, json};

use super::{ExprErrorKind, Expression, NodeView, Scope, Template};
use crate::{ids::NodeId, status::Status};

fn scope() -> Scope {
    let node = |output: Value, status| NodeView { output: Arc::new(output), status, error: None, attempts: 1 };
    Scope {
        params: Arc::new(
            json!({"t": "text", "n": 3, "list": [1, 2.0, "x"], "big": u64::MAX})
                .as_object()
                .cloned()
                .unwrap_or_default(),
        ),
        nodes: vec![
            (
                NodeId::new("a"),
                node(
                    json!({"x": 1, "docs": [{"s": "p"}, {"s": "q"}], "tpl": "{{ 7*7 }}", "f": 1.0}),
                    Status::Succeeded,
                ),
            ),
            (NodeId::new("a.b-c"), node(json!("dashed"), Status::Succeeded)),
            (NodeId::new("gone"), node(Value::Null, Status::Skipped)),
        ],
        ..Scope::default()
    }
}

fn eval(source: &str) -> Value {
    Expression::compile(source).and_then(|e| e.evaluate(&scope())).unwrap_or_else(|error| panic!("{source}: {error}"))
}

#[test]
fn values() {
    for (source, expected) in [
        ("nodes.a.output.x", json!(1)),
        ("nodes[\"a.b-c\"].output", json!("dashed")),
        ("nodes.a.output.docs[-1].s", json!("q")),
        ("nodes.a.output.f", json!(1.0)),
        ("nodes.a.output.f + 0", json!(1.0)),
        ("params.big", json!(u64::MAX)),
        ("params.big or 1", json!(u64::MAX)),
        ("params.n + 1", json!(4)),
        ("params.list", json!([1, 2.0, "x"])),
        ("params.list + [nodes.a.output.docs]", json!([1, 2.0, "x", [{"s": "p"}, {"s": "q"}]])),
        ("nodes.a.output.docs | map(attribute='s') | join(',')", json!("p,q")),
        ("nodes.gone.output.answer.deep or nodes.a.output.x", json!(1)),
        ("nodes.a.output.nope or nodes.gone.output", json!(null)),
        ("nodes.gone.status", json!("SKIPPED")),
        ("nodes.a.output.x == 1 and params.t is startingwith('te')", json!(true)),
        ("nodes.a.output.docs | length", json!(2)),
        ("{'k': nodes.a.output.x, \"l\": [params.n]}", json!({"k": 1, "l": [3]})),
        ("nodes.a.output.docs | tojson", json!("[{\"s\":\"p\"},{\"s\":\"q\"}]")),
        ("params.t[:2]", json!("te")),
        ("'x' if params.n > 2 else 'y'", json!("x")),
        ("params.n is not none", json!(true)),
        ("nodes.a.output.nope is defined", json!(false)),
        ("nodes.a.output.nope | default('d')", json!("d")),
        ("range(3) | list", json!([0, 1, 2])),
        ("-params.n", json!(-3)),
        ("params.n in params.list or 2 in params.list", json!(true)),
        ("nodes.a.output.docs == nodes.a.output.docs", json!(true)),
    ] {
        assert_eq!(eval(source), expected, "{source}");
    }
}

#[test]
fn mistakes() {
    use ExprErrorKind::{Evaluation, Syntax, TooComplex, UnknownName};
    for (source, kind, part) in [
        ("node.a.output", UnknownName, "did you mean `nodes`?"),
        ("params.lst", UnknownName, "did you mean `list`?"),
        ("nodes.goen.output", UnknownName, "did you mean `gone`?"),
        ("nodes.a.outptu", UnknownName, "did you mean `output`?"),
        ("nodes.a.output.dcos", Evaluation, "did you mean `docs`?"),
        ("nodes.a.output.nope.deep or 1", Evaluation, "has no field `nope`"),
        ("params.t | uper", UnknownName, "did you mean `upper`?"),
        ("params.t is strng", UnknownName, "did you mean `string`?"),
        ("params.t.upper()", Syntax, "write `value | upper`"),
        ("debug()", UnknownName, "there is no function"),
        ("1 +", Syntax, ""),
        ("(1", Syntax, "never closed"),
        ("1)", Syntax, "closes nothing"),
        ("", Syntax, "no expression"),
        ("a b", UnknownName, ""),
        ("params.n params.n", Syntax, ""),
        ("'x' * 1000000000", TooComplex, ""),
        ("[1] * 1000000000", Evaluation, "too large"),
        ("1 / 0", Evaluation, ""),
        ("params.big * params.big", Evaluation, ""),
        ("range(1000000000)", Evaluation, ""),
    ] {
        let error = match Expression::compile(source).and_then(|e| e.evaluate(&scope())) {
            Ok(value) => panic!("{source} gives {value}"),
            Err(error) => error,
        };
        assert!(error.kind == kind && error.to_string().contains(part), "{source}: {error:?}");
        assert!(error.offset.end <= source.len() && error.offset.start <= error.offset.end, "{source}: {error:?}");
    }
}

#[test]
fn templates() {
    let render = |value: Value| {
        Template::compile(&value)
            .map_err(|e| format!("{e:?}"))
            .and_then(|t| t.render(&scope()).map_err(|e| format!("{e:?}")))
    };
    assert_eq!(
        *render(json!("n={{ params.n }}, l={{ params.list }}, z={{ nodes.gone.output }}")).unwrap(),
        json!("n=3, l=[1,2.0,\"x\"], z=null")
    );
    assert_eq!(*render(json!(" {{ params.n }}")).unwrap(), json!(" 3"));
    assert_eq!(*render(json!("{{nodes.a.output.tpl}}")).unwrap(), json!("{{ 7*7 }}"));
    assert_eq!(*render(json!("{{ '{{' }} x }}")).unwrap(), json!("{{ x }}"));
    assert_eq!(*render(json!("{{ {'a': {'b': 1}} }}")).unwrap(), json!({"a": {"b": 1}}));
    assert!(render(json!("{% if x %}")).is_err());
    assert!(render(json!("{# x #}")).is_err());
    assert!(render(json!("{{ params.n")).is_err());
    let shared = scope();
    let template = Template::compile(&json!("{{ nodes.a.output }}")).unwrap();
    assert!(Arc::ptr_eq(&template.render(&shared).unwrap(), &shared.nodes[0].1.output));
}

/// Everything that could make a great deal of data or work out of little text ends in an error.
#[test]
fn bombs_are_bounded() {
    let mut scope = scope();
    scope.extra.push(("item", Arc::new(json!("y".repeat(1_000_000)))));
    scope.extra.push(("output", Arc::new(json!((0..10_000).collect::<Vec<_>>()))));
    let doubled = |times: usize| "(".repeat(times) + "params.t" + &")*60".repeat(times);
    for source in [
        "'x' * 10**9 * 10**9",
        "item * 1000",
        "params.t * 100000000",
        "('x' * 50000000) ~ ('x' * 50000000)",
        "[[1] * 99999] * 99999",
        "([params.t] * 99999) | join(item)",
        "(range(99999) | list) * 1000 | list",
        "range(99999) | map('string') | list | join(item)",
        "'%2000000000d' | format(1)",
        "'%2000000000s' | format('x')",
        "'%.2000000000f' | format(1.5)",
        "item | indent(2000000000)",
        "('\\n' * 100000) | indent(10000000)",
        "item | replace('y', item)",
        "item | replace('', item)",
        "item | list | join(item)",
        "[1] | batch(2000000000, 1) | list",
        "[1] | slice(2000000000) | list",
        "range(0, 4000000000, 1) | list",
        "10 ** 10 ** 10",
        "9999999999 ** 9999999999",
        "output | map('batch', 100000, 1) | list | tojson",
        "output | map('default', output) | map('list') | list | tojson * 100",
        "{'a': item, 'b': item, 'c': item, 'd': item, 'e': item, 'f': item} | tojson * 100000",
        "[item,item,item,item,item,item,item,item,item,item,item,item,item,item,item,item,item,item]",
        "item | int",
        "dict(a=item * 100)",
        &doubled(30),
    ] {
        let result = Expression::compile(source).and_then(|expression| expression.evaluate(&scope));
        assert!(result.is_err(), "{source} gives {} bytes", result.unwrap().to_string().len());
    }
    let wide = json!(vec!["{{ item }}"; 20]);
    assert_eq!(Template::compile(&wide).unwrap().render(&scope).unwrap_err().error.kind, ExprErrorKind::TooComplex);
    let long = json!("{{ item }}".repeat(20));
    assert_eq!(Template::compile(&long).unwrap().render(&scope).unwrap_err().error.kind, ExprErrorKind::TooComplex);
}

/// Ordinary work on ordinary data is far below the bounds.
#[test]
fn large_data_is_workable() {
    let mut scope = scope();
    let rows: Vec<Value> =
        (0..20_000).map(|n| json!({"id": n, "text": "some words of a row", "ok": n % 2 == 0})).collect();
    scope.nodes[0].1.output = Arc::new(json!({ "rows": rows, "text": "z".repeat(4 << 20) }));
    let eval = |source: &str| Expression::compile(source).and_then(|e| e.evaluate(&scope)).unwrap();
    assert_eq!(eval("nodes.a.output.rows | selectattr('ok') | map(attribute='id') | sum"), json!(99_990_000));
    assert_eq!(eval("nodes.a.output.rows[19999].id"), json!(19_999));
    assert_eq!(eval("(nodes.a.output.rows | last).id"), json!(19_999));
    assert_eq!(eval("nodes.a.output.rows | length"), json!(20_000));
    assert_eq!(eval("nodes.a.output.text | length"), json!(4 << 20));
    assert_eq!(eval("nodes.a.output.text[:10] | upper"), json!("ZZZZZZZZZZ"));
    assert_eq!(eval("'x' in nodes.a.output.text"), json!(false));
}

#[test]
fn truth_is_that_of_json() {
    for (source, expected) in [
        ("nodes.gone.output", false),
        ("nodes.gone.output.any.thing", false),
        ("nodes.a.output.nope", false),
        ("not nodes.a.output.nope", true),
        ("nodes.a.output", true),
        ("params.n - 3", false),
        ("''", false),
        ("[]", false),
        ("[0]", true),
        ("{}", false),
        ("none", false),
        ("nodes.gone.status == 'SKIPPED'", true),
    ] {
        assert_eq!(Expression::compile(source).unwrap().is_true(&scope()), Ok(expected), "{source}");
    }
    assert!(Expression::compile("params.nope").unwrap().is_true(&scope()).is_err(), "a wrong name is never just false");
    assert!(Expression::compile("nodes.a.output.nope.deeper").unwrap().is_true(&scope()).is_err());
}

#[test]
fn references_are_found_without_evaluating() {
    let expression = Expression::compile(
        "nodes.a.output.x or nodes['a.b-c'].status ~ params.t | default(run.id) if item.q is even else params['n']",
    )
    .unwrap();
    let references = expression.references();
    assert_eq!(references.nodes.iter().map(NodeId::as_str).collect::<Vec<_>>(), ["a", "a.b-c"]);
    assert_eq!(references.params.iter().collect::<Vec<_>>(), ["n", "t"]);
    assert_eq!(references.names.iter().copied().collect::<Vec<_>>(), ["item", "run"]);
    assert!(!references.all_nodes && !references.all_params);
    assert!(Expression::compile("nodes[params.t].output").unwrap().references().all_nodes);
    assert!(Expression::compile("params | length").unwrap().references().all_params);
    // Names of filters, tests and arguments, and texts, read nothing.
    let none = Expression::compile("[1] | join(d='nodes.a') is string and 2 is in [2] | sort(reverse=true)").unwrap();
    assert!(none.references().is_empty(), "{none:?}");
    let template = Template::compile(&json!({"a": ["{{ nodes.a.output }}", "x {{ params.t }}"], "b": 1})).unwrap();
    assert_eq!((template.references().nodes.len(), template.references().params.len()), (1, 1));
    let places: Vec<_> =
        template.expressions().map(|(pointer, start, e)| (pointer.to_owned(), start, e.source().to_owned())).collect();
    assert_eq!(places, [("/a/0".into(), 2, " nodes.a.output ".into()), ("/a/1".into(), 4, " params.t ".into())]);
}

#[test]
fn a_template_says_where_it_fails() {
    let template = Template::compile(&json!({"a/b": ["é {{ params.t }} {{ nodes.a.output.docz }}"]})).unwrap();
    let error = template.render(&scope()).unwrap_err();
    assert_eq!((error.pointer.as_str(), error.error.offset), ("/a~1b/0", 21..40));
    let errors = Template::compile(&json!({"a": "{{ 1 + }}", "b": ["{{ params.x"], "c": "{{ params }}"})).unwrap_err();
    assert_eq!(errors.iter().map(|e| e.pointer.as_str()).collect::<Vec<_>>(), ["/a", "/b/0"]);
}

#[test]
fn what_holds_no_expression_is_constant_and_shared() {
    let value = json!({"a": ["x", {"b": "} % {"}], "big": u64::MAX, "f": 1.0});
    let template = Template::compile(&value).unwrap();
    assert!(template.is_constant());
    let first = template.render(&scope()).unwrap();
    assert!(Arc::ptr_eq(&first, &template.render(&scope()).unwrap()));
    assert_eq!(*first, value);
}

#[test]
fn there_is_nothing_impure_and_nothing_of_html() {
    for source in [
        "now()",
        "debug()",
        "lipsum()",
        "namespace()",
        "random()",
        "env.HOME",
        "self",
        "loop",
        "super()",
        "x | safe",
        "1 | pprint",
        "1 | random",
    ] {
        assert!(Expression::compile(source).is_err(), "{source}");
    }
    let mut scope = scope();
    scope.extra.push(("item", Arc::new(json!("<a href=\"x\">&'</a>"))));
    for source in ["item", "item ~ ''", "[item] | join", "item | string"] {
        assert_eq!(
            Expression::compile(source).unwrap().evaluate(&scope),
            Ok(json!("<a href=\"x\">&'</a>")),
            "{source}"
        );
    }
    assert_eq!(
        Expression::compile("[item] | tojson").unwrap().evaluate(&scope),
        Ok(json!("[\"<a href=\\\"x\\\">&'</a>\"]"))
    );
}

/// Every filter, test and function that is offered exists.
#[test]
fn every_word_of_the_language_is_known_to_the_engine() {
    for name in super::engine::FILTERS {
        let error = Expression::compile(&format!("params.n | {name}")).unwrap().evaluate(&scope()).err();
        assert!(!error.as_ref().is_some_and(|e| e.message.contains("unknown")), "{name}: {error:?}");
    }
    for name in super::engine::TESTS {
        let error = Expression::compile(&format!("params.n is {name}(1)")).unwrap().evaluate(&scope()).err();
        assert!(!error.as_ref().is_some_and(|e| e.message.contains("unknown")), "{name}: {error:?}");
    }
    for name in super::engine::FUNCTIONS {
        let error = Expression::compile(&format!("{name}(x=1)")).unwrap().evaluate(&scope()).err();
        assert!(!error.as_ref().is_some_and(|e| e.message.contains("unknown")), "{name}: {error:?}");
    }
}

/// All that the engine has by default and the language does not: it cannot be reached, not even by a name that is
/// computed. What could be reached is listed: its globals are two functions, its filters and tests take values only.
#[test]
fn nothing_can_be_reached_but_the_words_of_the_language() {
    let globals: Vec<&str> = super::engine::ENGINE.globals().map(|(name, _)| name).collect();
    assert_eq!(globals, super::engine::FUNCTIONS);
    assert_eq!(super::engine::ENGINE.templates().count(), 0);
    for name in [
        "safe",
        "escape",
        "e",
        "pprint",
        "urlencode",
        "random",
        "forceescape",
        "xmlattr",
        "wordcount",
        "filesizeformat",
    ] {
        for source in [
            format!("params.t | {name}"),
            format!("params.list | map('{name}')"),
            format!("params.list | map('{}' ~ '{}') | list", &name[..1], &name[1..]),
            format!("params.t is filter('{name}') or none.x.y"),
        ] {
            let result = Expression::compile(&source).and_then(|expression| expression.evaluate(&scope()));
            assert!(result.is_err(), "{source} gives {result:?}");
        }
    }
    for source in [
        "range.__globals__",
        "dict.__class__",
        "range",
        "self.__init__",
        "cycler('a')",
        "joiner()",
        "lipsum.__globals__",
        "_0",
        "_1.output",
        "__builtins__",
        "env",
        "environ.HOME",
        "import('os')",
        "include('x')",
        "loop.index",
        "caller()",
        "varargs",
        "params.t.__class__()",
        "params.t.format(1)",
        "''.join([1])",
        "dict()()",
        "(range)(3)",
        "[range][0](3)",
        "range(3).__iter__()",
        "params['t'].upper()",
        "nodes.a.output.docs.append(1)",
        "'x' is debug",
        "1 if true else debug()",
        "{'f': debug}.f()",
    ] {
        let result = Expression::compile(source).and_then(|expression| expression.evaluate(&scope()));
        assert!(result.is_err(), "{source} gives {result:?}");
    }
}

/// An attribute is a field of a JSON object, and of nothing else.
#[test]
fn values_have_no_attributes_but_their_fields() {
    let names = [
        "__class__",
        "__dict__",
        "__init__",
        "__globals__",
        "__mro__",
        "__subclasses__",
        "__len__",
        "_0",
        "type",
        "len",
        "constructor",
    ];
    let values = [
        "params.t",
        "params.n",
        "params.list",
        "nodes.a.output",
        "nodes.gone.output",
        "''",
        "1",
        "[1]",
        "{'k': 1}",
        "range(3)",
        "none",
        "(params.n + 1)",
    ];
    for name in names {
        for value in values {
            let computed = format!("'{}' ~ '{}'", &name[..1], &name[1..]);
            for source in [
                format!("({value}).{name}"),
                format!("({value})['{name}']"),
                format!("({value})[{computed}]"),
                format!("{value} | attr('{name}')"),
                format!("[{value}] | map(attribute='{name}') | first"),
                format!("[{value}] | map('attr', {computed}) | first"),
                format!("[{value}] | selectattr('{name}') | list | length or none"),
                format!("{value} | items | map(attribute=0) | select('eq', '{name}') | first"),
            ] {
                let result = Expression::compile(&source).and_then(|expression| expression.evaluate(&scope()));
                assert!(matches!(result, Err(_) | Ok(Value::Null)), "{source} gives {result:?}");
            }
        }
    }
}

/// What comes in is data: its text is not looked at again, however often it passes through.
#[test]
fn data_is_never_read_as_a_template() {
    let mut scope = scope();
    for text in ["{{ params.t }}", "{% for x in y %}", "{{ 7*7 }}", "${7*7}", "{'$secret': 'KEY'}", "#{7*7}"] {
        scope.nodes[0].1.output = Arc::new(json!({ "tpl": text, "{{ key }}": text }));
        for source in ["{{ nodes.a.output.tpl }}", "{{ nodes.a.output.tpl ~ '' }}", "{{ [nodes.a.output.tpl] | join }}"]
        {
            assert_eq!(*Template::compile(&json!(source)).unwrap().render(&scope).unwrap(), json!(text), "{source}");
        }
        let whole = Template::compile(&json!({ "{{ params.t }}": "{{ nodes.a.output }}" })).unwrap();
        assert_eq!(*whole.render(&scope).unwrap(), json!({ "{{ params.t }}": { "tpl": text, "{{ key }}": text } }));
    }
}

/// Ten thousand operators, in every shape that a parser could recurse on: refused before the engine sees them.
#[test]
fn very_long_expressions_are_refused_by_counting() {
    for (first, more) in [
        ("1", "+1"),
        ("1", " and 1"),
        ("1", " if 1 else 1"),
        ("params.t", "|upper"),
        ("params", ".a"),
        ("params", "['a']"),
        ("1", " is odd"),
        ("", "not "),
        ("", "-"),
        ("", "("),
        ("", "["),
        ("", "{1:"),
        ("1", "~1"),
        ("1", " in 1"),
        ("'", "x"),
        ("1", " < 1"),
        ("range(", "range("),
    ] {
        let source = format!("{first}{}", more.repeat(10_000));
        let error = Expression::compile(&source).unwrap_err();
        assert!(matches!(error.kind, ExprErrorKind::TooComplex | ExprErrorKind::Syntax), "{first}{more}…: {error:?}");
        let errors = Template::compile(&json!(format!("{{{{ {source} }}}}"))).unwrap_err();
        assert_eq!(errors.len(), 1);
    }
}
