//! The workflows that stand in the guides and the examples: nothing is wrong with them, not even a little.

use std::{fs, path::Path};

use segue_core::{
    ids::HandlerId,
    spec::{CheckOptions, Format, parse},
};

const HANDLERS: [&str; 12] = [
    "pass",
    "process.run",
    "python.call",
    "http.request",
    "llm.chat",
    "crewai.agent",
    "crewai.crew",
    "crewai.flow",
    "crewai.remote",
    "langchain.runnable",
    "langgraph.graph",
    "langgraph.remote",
];

fn check(place: &str, text: &str) {
    let handlers = HANDLERS.map(HandlerId::from).to_vec();
    let options = CheckOptions { handlers, default_handler: Some(HandlerId::from("crewai.agent")), limits: None };
    assert_eq!(parse(text, Format::Yaml, &options).diagnostics, [], "{place}:\n{text}");
}

#[test]
fn the_workflows_of_guides_and_examples() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut found = 0;
    for entry in fs::read_dir(root.join("docs/guides")).unwrap() {
        let page = entry.unwrap().path();
        let text = fs::read_to_string(&page).unwrap();
        for block in text.split("```yaml\n").skip(1) {
            check(&page.display().to_string(), block.split_once("\n```").unwrap().0);
            found += 1;
        }
    }
    for entry in fs::read_dir(root.join("examples")).unwrap() {
        for file in fs::read_dir(entry.unwrap().path()).unwrap() {
            let file = file.unwrap().path();
            // What a rehearsal follows is no workflow.
            let is_script = file.file_stem().is_some_and(|name| name == "script");
            if file.extension().is_some_and(|ending| ending == "yaml") && !is_script {
                check(&file.display().to_string(), &fs::read_to_string(&file).unwrap());
                found += 1;
            }
        }
    }
    assert!(found >= 35, "{found} workflows");
}
