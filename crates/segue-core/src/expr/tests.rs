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
        ("nodes.b.output", UnknownName, "did you mean `a`?"),
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
