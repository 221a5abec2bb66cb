//! Where an attempt works, what it keeps, and which models its agents get.

use std::{collections::BTreeMap, fs};

use segue_core::ports::Adapter;
use segue_testkit::{conformance::adapter::Case, provider::StubProvider};
use serde_json::{Value, json};

use crate::common::{adapter, agent, project, run, success};

const CODE: &str = r#"
import os
from crewai import Agent, Crew, Task

def crew():
    storage = os.environ["CREWAI_STORAGE_DIR"]
    kept = os.path.join(storage, "kept")
    known = os.path.exists(kept)
    open(kept, "w").close()
    agent = Agent(role="Poet", goal="G", backstory="B")
    return Crew(agents=[agent], tasks=[
        Task(name=f"{storage} {known}", description="d", expected_output="e", agent=agent, output_file="out.txt")])
"#;

fn case(folder: &tempfile::TempDir, hints: Value) -> Case {
    let case = Case::new("crewai.crew", json!({ "crew": "mine:crew" })).with_hints(json!({ "crewai": hints }));
    Case { base_dir: Some(folder.path().to_owned()), ..case }
}

#[tokio::test]
async fn storage_is_of_the_attempt_or_of_the_project() {
    let provider = StubProvider::start();
    let adapter = adapter(&provider);
    let folder = project(BTreeMap::from([("mine.py", CODE)]));
    let mut told = Vec::new();
    for storage in ["run", "run", "project", "project"] {
        let (output, ..) = success(run(&adapter, &case(&folder, json!({ "storage": storage }))).await);
        let name = output["tasks"][0]["name"].as_str().unwrap().to_owned();
        let (path, known) = name.rsplit_once(' ').unwrap();
        told.push((path.to_owned(), known == "True"));
    }
    let known: Vec<bool> = told.iter().map(|(_, known)| *known).collect();
    assert_eq!(known, [false, false, false, true], "{told:?}");
    assert!(told[0].0 != told[1].0 && told[2].0 == told[3].0, "{told:?}");
    assert!(!fs::exists(&told[1].0).unwrap() && fs::exists(&told[3].0).unwrap());
    // A rehearsal does not touch what real runs use.
    let rehearsed = Case { rehearsal: true, ..case(&folder, json!({ "storage": "project" })) };
    let (output, ..) = success(run(&adapter, &rehearsed).await);
    assert!(!output["tasks"][0]["name"].as_str().unwrap().starts_with(&told[3].0));
    fs::remove_dir_all(&told[3].0).unwrap();
    adapter.shutdown().await;
}

#[tokio::test]
async fn a_working_folder_for_each_task() {
    let provider = StubProvider::start();
    let adapter = adapter(&provider);
    let folder = project(BTreeMap::from([("mine.py", CODE)]));
    let case = case(&folder, json!({ "workdir": "out/{run_id}/{task_id}" }));
    let (invocation, _controls) = case.invocation("each[3]", 1);
    let run = invocation.context.run_id.to_string();
    success(adapter.execute(invocation).await);
    assert!(folder.path().join("out").join(run).join("each_3_/out.txt").is_file());
    assert!(!folder.path().join("out.txt").exists());
}

#[tokio::test]
async fn an_agent_has_the_model_of_its_role() {
    let provider = StubProvider::start();
    let adapter = adapter(&provider);
    let mut case =
        agent("Hello").with_hints(json!({ "crewai": { "models": { "Poet": "gpt-4.1" }, "model": "gpt-4o" } }));
    success(run(&adapter, &case).await);
    case.inputs["role"] = json!("Poet");
    success(run(&adapter, &case).await);
    let models: Vec<String> = provider.requests().iter().map(|request| request.model().to_owned()).collect();
    assert_eq!(models, ["gpt-4o", "gpt-4.1"]);
}
