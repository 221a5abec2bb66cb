//! The workflows in README and the guides: each is valid, and those that need neither a model nor a network end well, or
//! wait where they say so.
//!
//! A block whose first line is `# name.yaml` is a file that the others of its page find beside them.

use std::{fs, path::Path};

use crate::support::Place;

/// A workflow of a page.
struct Block {
    page: String,
    name: String,
    text: String,
}

fn workflows() -> Vec<Block> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let guides = fs::read_dir(root.join("docs/guides")).unwrap().map(|entry| entry.unwrap().path());
    let mut found = Vec::new();
    for path in guides.chain([root.join("README.md")]) {
        let text = fs::read_to_string(&path).unwrap();
        let page = path.file_name().unwrap().to_str().unwrap();
        for block in text.split("```yaml\n").skip(1) {
            let text = block.split_once("\n```").unwrap().0.to_owned();
            let first = text.lines().next().unwrap().strip_prefix("# ").filter(|name| name.ends_with(".yaml"));
            let name = first.unwrap_or("workflow.yaml").to_owned();
            found.push(Block { page: page.to_owned(), name, text });
        }
    }
    found
}

/// A place with the named files of a block's page and the block itself.
fn place_of(block: &Block, all: &[Block]) -> Place {
    let place = Place::new();
    for beside in all.iter().filter(|other| other.page == block.page && other.name != "workflow.yaml") {
        place.write(&beside.name, &beside.text);
    }
    place.write(&block.name, &block.text);
    place
}

#[test]
fn every_workflow_of_the_guides_is_valid() {
    let all = workflows();
    assert!(all.len() >= 25, "{} workflows", all.len());
    for block in &all {
        let ran = place_of(block, &all).segue(&["validate", &block.name]);
        assert_eq!(ran.code, 0, "{}:\n{}\n{ran:#?}", block.page, block.text);
    }
}

/// A block that begins with ```` ```yaml script ```` is the script of a rehearsal.
#[test]
fn every_script_of_the_guides_can_be_followed() {
    let guides = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guides");
    let mut followed = 0;
    for path in fs::read_dir(guides).unwrap().map(|entry| entry.unwrap().path()) {
        for block in fs::read_to_string(&path).unwrap().split("```yaml script\n").skip(1) {
            let place = Place::new();
            place.write("script.yaml", block.split_once("\n```").unwrap().0);
            place.write("workflow.yaml", "id: w\nnodes: [{ id: a, task: pass }]\n");
            let ran = place.segue(&["run", "workflow.yaml", "--rehearse", "script.yaml"]);
            assert_eq!(ran.code, 0, "{}: {ran:#?}", path.display());
            followed += 1;
        }
    }
    assert!(followed > 0);
}

/// What a workflow needs that has params without a default.
const INPUTS: [(&str, &str); 4] = [
    ("params.topic }}", "topic=rivers"),
    ("params.name", "name=Ada"),
    ("params.city", "city=Bergen"),
    ("params.days", "days=5"),
];

#[test]
fn workflows_that_need_nothing_end_well() {
    let all = workflows();
    let mut ended = 0;
    for block in &all {
        let Block { page, name, text } = block;
        let asks_a_model = ["crewai.", "langchain.", "langgraph.", "python.call", "llm.chat", "prompt:"]
            .iter()
            .any(|what| text.contains(what));
        // A person, a signal, a secret of the environment, a workflow in another file.
        let needs = ["approval:", "event:", "$secret", "workflow: {", "curl", "http.request"];
        if asks_a_model || needs.iter().any(|what| text.contains(what)) {
            continue;
        }
        let given = INPUTS.iter().filter(|(param, _)| text.contains(param)).flat_map(|(_, input)| ["-i", input]);
        let args: Vec<&str> = ["run", name, "--no-wait", "--json"].into_iter().chain(given).collect();
        let ran = place_of(block, &all).segue(&args);
        let waits = text.contains("approval:") || text.contains("event:");
        assert_eq!(ran.code, if waits { 6 } else { 0 }, "{page}:\n{text}\n{ran:#?}");
        ended += 1;
    }
    assert!(ended >= 20, "{ended} workflows");
}

/// What the guide shows is code that is compiled, run and tested: the example program, and the example workflow.
#[test]
fn the_code_of_the_guide_of_adapters_is_that_of_the_examples() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    let guide = read("docs/guides/adapters.md");
    let sources = [
        ("rust", read("crates/segue-engine/examples/own_adapter.rs"), 4),
        ("python", read("examples/own_handler/tickets.py"), 1),
        ("yaml", read("examples/own_handler/workflow.yaml"), 1),
    ];
    for (language, source, count) in sources {
        let fence = format!("```{language}\n");
        let blocks: Vec<&str> =
            guide.split(fence.as_str()).skip(1).map(|rest| rest.split("\n```").next().unwrap()).collect();
        assert_eq!(blocks.len(), count, "{language}");
        for block in blocks {
            assert!(source.contains(block), "the example has no such part:\n{block}");
        }
    }
}
