//! The adapter in a managed environment with real CrewAI, made by the first test that needs it and kept for the next.
#![allow(unreachable_pub)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Once},
};

use segue_core::{
    ids::HandlerId,
    outcome::{ErrorKind, TaskError, TaskOutcome, Usage},
    ports::{Adapter, Invocation, ModelAccess, ModelDoor},
    spec::WorkflowSpec,
};
use segue_crewai::{CrewaiAdapter, CrewaiOptions, Prepare};
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

/// An adapter whose crews talk to `provider` directly: what happens on the way is the gateway's affair, and tested there.
pub fn adapter(provider: &StubProvider) -> CrewaiAdapter {
    adapter_with(Some(Arc::new(Direct(provider.base_url()))))
}

pub fn adapter_with(models: Option<Arc<dyn ModelAccess>>) -> CrewaiAdapter {
    make_environment();
    CrewaiAdapter::new(CrewaiOptions {
        models,
        on_build: Arc::new(|progress| eprintln!("{progress}")),
        ..CrewaiOptions::new(envs())
    })
}

/// Leads straight to a provider.
struct Direct(String);

impl ModelAccess for Direct {
    fn open(&self, invocation: &Invocation) -> Result<Box<dyn ModelDoor>, TaskError> {
        let key = format!("sk-of-{}", invocation.context.task_id);
        Ok(Box::new(DirectDoor { base_url: self.0.clone(), key }))
    }
}

struct DirectDoor {
    base_url: String,
    key: String,
}

impl ModelDoor for DirectDoor {
    fn base_url(&self) -> &str {
        &self.base_url
    }

    fn api_key(&self) -> &str {
        &self.key
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }

    fn refusal(&self) -> Option<TaskError> {
        None
    }

    /// Nobody has counted but the worker.
    fn settle(&self, outcome: TaskOutcome) -> TaskOutcome {
        outcome
    }
}

/// No provider, and a rehearsal model at this address.
pub struct OnlyRehearsals(pub String);

impl ModelAccess for OnlyRehearsals {
    fn open(&self, invocation: &Invocation) -> Result<Box<dyn ModelDoor>, TaskError> {
        match invocation.rehearsal {
            true => Direct(self.0.clone()).open(invocation),
            false => Err(TaskError::new(ErrorKind::Auth, "no model provider is set up")),
        }
    }
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
