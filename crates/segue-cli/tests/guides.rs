//! The workflows in README and the guides: each is valid, and those that need neither a model nor a network end well.
#![allow(clippy::unwrap_used)]

mod support;

use std::{fs, path::Path};

use support::Place;

/// The workflows of a page, with its name.
fn workflows() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let guides = fs::read_dir(root.join("docs/guides")).unwrap().map(|entry| entry.unwrap().path());
    let mut found = Vec::new();
    for page in guides.chain([root.join("README.md")]) {
        let text = fs::read_to_string(&page).unwrap();
        let name = page.file_name().unwrap().to_str().unwrap();
        let blocks = text.split("```yaml\n").skip(1).map(|block| block.split_once("\n```").unwrap().0);
        found.extend(blocks.map(|block| (name.to_owned(), block.to_owned())));
    }
    found
}

#[test]
fn every_workflow_of_the_guides_is_valid() {
    let workflows = workflows();
    assert!(workflows.len() >= 10, "{} workflows", workflows.len());
    for (page, text) in workflows {
        let place = Place::new();
        place.write("workflow.yaml", &text);
        let ran = place.segue(&["validate", "workflow.yaml"]);
        assert_eq!(ran.code, 0, "{page}:\n{text}\n{ran:#?}");
    }
}

#[test]
fn workflows_that_need_nothing_end_well() {
    let mut ended = 0;
    for (page, text) in workflows() {
        let asks_a_model = text.contains("crewai.") || text.contains("prompt:");
        // A person, a signal, a secret of the environment, a workflow in another file.
        let needs = ["approval:", "event:", "$secret", "workflow: {", "curl"];
        if asks_a_model || needs.iter().any(|what| text.contains(what)) {
            continue;
        }
        let place = Place::new();
        place.write("workflow.yaml", &text);
        let inputs: &[&str] = if text.contains("params.topic") { &["-i", "topic=rivers"] } else { &[] };
        let ran = place.segue(&[&["run", "workflow.yaml", "--json"], inputs].concat());
        assert_eq!(ran.code, 0, "{page}:\n{text}\n{ran:#?}");
        ended += 1;
    }
    assert!(ended >= 6, "{ended} workflows");
}
