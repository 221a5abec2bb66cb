use super::*;
#[test]
fn seed() {
    let text = "id: example_linear\nname: example linear workflow\nnodes:\n  - id: n1\n    name: generate\n    inputs:\n      prompt: \"Write hello world\"\n  - id: n2\n    name: summarize\n    depends_on: [ n1 ]\nedges: [ ]\n";
    let parsed = parse(text, Format::Yaml, &CheckOptions::default());
    assert_eq!(parsed.diagnostics, []);
}
