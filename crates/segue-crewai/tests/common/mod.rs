//! The adapter in a managed environment with real CrewAI, made by the first test that needs it and kept for the next.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Once},
};

use segue_core::{
    ids::HandlerId,
    outcome::{TaskError, TaskOutcome, Usage},
    ports::Adapter,
    spec::WorkflowSpec,
};
use segue_crewai::{CrewaiAdapter, CrewaiOptions, Prepare, ProviderSettings, RehearsalEndpoint};
use segue_testkit::{conformance::adapter::Case, provider::StubProvider};
use serde_json::{Value, json};

/// The workspace's folder.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Where tests keep managed environments: `SEGUE_TEST_ENVS`, or `.segue/test-envs` in the workspace.
pub fn envs() -> PathBuf {
    std::env::var_os("SEGUE_TEST_ENVS").map_or_else(|| workspace().join(".segue/test-envs"), PathBuf::from)
}

/// An adapter whose crews talk to `provider`: as a rehearsal model, and as the provider of the user's settings.
pub fn adapter(provider: &StubProvider) -> CrewaiAdapter {
    let settings = [("OPENAI_API_KEY", "sk-of-the-user".to_owned()), ("OPENAI_BASE_URL", provider.base_url())];
    adapter_with(provider, settings.map(|(name, value)| (name.to_owned(), value)).into_iter().collect())
}

pub fn adapter_with(provider: &StubProvider, settings: ProviderSettings) -> CrewaiAdapter {
    make_environment();
    let base_url = provider.base_url();
    CrewaiAdapter::new(CrewaiOptions {
        provider: settings,
        rehearsal: Some(Arc::new(move |context| RehearsalEndpoint {
            base_url: base_url.clone(),
            api_key: format!("sk-of-{}", context.task_id),
            held: Box::new(()),
        })),
        on_build: Arc::new(|progress| eprintln!("{progress}")),
        ..CrewaiOptions::new(envs())
    })
}

/// Makes the environment, which may take minutes, before any test waits for something else.
fn make_environment() {
    static MADE: Once = Once::new();
    MADE.call_once(|| {
        let options =
            CrewaiOptions { on_build: Arc::new(|progress| eprintln!("{progress}")), ..CrewaiOptions::new(envs()) };
        let workflow: WorkflowSpec = serde_json::from_value(json!({ "id": "w", "nodes": [{ "id": "a" }] })).unwrap();
        let make = async {
            let adapter = CrewaiAdapter::new(options);
            let prepare =
                Prepare { workflow: &workflow, default_handler: &HandlerId::from("crewai.agent"), base_dir: None };
            adapter.prepare(prepare).await.unwrap();
            adapter.shutdown().await;
        };
        // Tests are asynchronous, and this must hold up all of them: a thread and a runtime of its own.
        std::thread::scope(|scope| {
            scope.spawn(|| tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(make));
        });
    });
}

pub fn agent(prompt: &str) -> Case {
    Case::new("crewai.agent", json!({ "prompt": prompt }))
}

pub async fn run(adapter: &CrewaiAdapter, case: &Case) -> TaskOutcome {
    adapter.execute(case.invocation("task", 1).0).await
}

pub fn success(outcome: TaskOutcome) -> (Value, Usage, Vec<String>) {
    match outcome {
        TaskOutcome::Succeeded { output, usage, warnings } => ((**output.value().unwrap()).clone(), usage, warnings),
        other => panic!("{other:?}"),
    }
}

pub fn failure(outcome: TaskOutcome) -> TaskError {
    match outcome {
        TaskOutcome::Failed { error, .. } => error,
        other => panic!("{other:?}"),
    }
}

/// Does a process run whose environment or command line holds this text?
pub fn runs(text: &str) -> bool {
    fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let file = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
        entry.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok())
            && [file("environ"), file("cmdline")]
                .iter()
                .any(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes()))
    })
}

/// Files of a project, in a folder of its own.
pub fn project(files: BTreeMap<&str, &str>) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}
