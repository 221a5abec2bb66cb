//! An adapter of one's own: `files.wait` waits until a file is there, and gives its text. The guide is
//! `docs/guides/adapters.md`; this is its code, whole.
//!
//! ```text
//! cargo run -p segue-engine --example own_adapter
//! ```

use std::{fs, io, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use segue_core::{
    memory::MemoryStore,
    outcome::{ErrorKind, TaskError, TaskOutcome, Usage},
    ports::{Adapter, Invocation, Orchestrator, Progress, StartRun},
    spec::{CheckOptions, Diagnostic, Format, TaskNode, WorkflowSpec, parse},
};
use segue_engine::{Clock, Engine};
use serde_json::{Map, Value, json};

const HANDLER: &str = "files.wait";
/// How often to look.
const PAUSE: Duration = Duration::from_millis(20);
const BYTES_MAX: u64 = 1024 * 1024;

/// Carries out `files.wait`.
pub struct Files;

// What a document says, read in one place: `validate` and the attempt say the same about it.
fn path_of(inputs: &Map<String, Value>) -> Result<&str, String> {
    match inputs.get("path").map(Value::as_str) {
        Some(Some(path)) if !path.is_empty() => Ok(path),
        Some(_) => Err("`path` is a text that is not empty".to_owned()),
        None => Err("`files.wait` needs `path`: the file that is waited for".to_owned()),
    }
}

#[async_trait]
impl Adapter for Files {
    fn name(&self) -> &'static str {
        "files"
    }

    fn handlers(&self) -> &[&'static str] {
        &[HANDLER]
    }

    fn translate_workflow(&self, workflow: &WorkflowSpec) -> Vec<Diagnostic> {
        let own = |node: &&(String, &TaskNode)| node.1.spec.task.as_ref().is_some_and(|task| task.as_str() == HANDLER);
        let wrong = |(pointer, node): &(String, &TaskNode)| {
            let message = path_of(&node.spec.inputs).err()?;
            Some(Diagnostic::error("bad-inputs", format!("{pointer}/inputs"), message))
        };
        workflow.every_node().iter().filter(own).filter_map(wrong).collect()
    }

    fn translate_task(&self, node: &TaskNode) -> Result<Value, TaskError> {
        let path = path_of(&node.spec.inputs).map_err(|message| TaskError::new(ErrorKind::InvalidInput, message))?;
        Ok(json!({ "waits_for": path }))
    }

    async fn execute(&self, invocation: Invocation) -> TaskOutcome {
        let none = Map::new();
        let path = match path_of(invocation.inputs.as_object().unwrap_or(&none)) {
            Ok(path) => invocation.base_dir.clone().unwrap_or_else(|| PathBuf::from(".")).join(path),
            Err(message) => return TaskOutcome::failure(ErrorKind::InvalidInput, message),
        };
        if invocation.cancel.is_cancelled() {
            return TaskOutcome::Cancelled { usage: Usage::default() };
        }
        invocation.progress.emit(Progress { name: "task.progress", data: json!("ready: the file is waited for") });
        let mut cancelled = invocation.cancel.cancelled();
        loop {
            match read(&path) {
                Ok(text) => return TaskOutcome::success(json!({ "text": text })),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return TaskOutcome::failure(ErrorKind::Output, format!("{}: {error}", path.display())),
            }
            tokio::select! {
                () = &mut cancelled => return TaskOutcome::Cancelled { usage: Usage::default() },
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }
}

fn read(path: &PathBuf) -> io::Result<String> {
    if fs::metadata(path)?.len() > BYTES_MAX {
        return Err(io::Error::other(format!("the file is longer than {BYTES_MAX} bytes")));
    }
    fs::read_to_string(path)
}

const WORKFLOW: &str = "
id: mail
params:
  path: { type: string }
nodes:
  - { id: arrived, task: files.wait, inputs: { path: '{{ params.path }}' }, timeout_seconds: 60 }
";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::temp_dir().join(format!("segue-mail-{}", std::process::id()));
    fs::write(&path, "a letter")?;
    println!("{}", run(&path.to_string_lossy()).await?);
    fs::remove_file(&path)?;
    Ok(())
}

/// Runs the workflow on an engine that knows the adapter, and gives what came out.
async fn run(path: &str) -> Result<Value, Box<dyn std::error::Error>> {
    let clock = Clock::start();
    let store = Arc::new(MemoryStore::new(Arc::new(move || clock.now())));
    let engine = Engine::builder(store).adapter(Arc::new(Files)).start().await?;
    let workflow = parse(WORKFLOW, Format::Yaml, &CheckOptions::default()).spec.ok_or("the workflow cannot be read")?;
    let version = engine.deploy_workflow(&workflow).await?;
    let inputs = Map::from_iter([("path".to_owned(), json!(path))]);
    let run = engine.start_run(version, StartRun { inputs, ..StartRun::default() }).await?.run_id;
    engine.wait(run).await?;
    let result = engine.get_task_result(run, &"arrived".into()).await?;
    engine.shutdown().await;
    Ok(result.output.and_then(|output| output.value().map(|value| Value::clone(value))).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use segue_testkit::conformance::adapter::{AdapterCases, Case, check_adapter};

    use super::*;

    #[tokio::test]
    async fn it_keeps_what_every_adapter_promises() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("letter"), "hello").expect("a file");
        fs::create_dir(folder.path().join("drawer")).expect("a folder");
        let case = |inputs: Value| Case { base_dir: Some(folder.path().to_owned()), ..Case::new(HANDLER, inputs) };
        check_adapter(AdapterCases {
            adapter: Arc::new(Files),
            succeeds: (case(json!({ "path": "letter" })), json!({ "text": "hello" })),
            fails: vec![
                (case(json!({})), ErrorKind::InvalidInput),
                (case(json!({ "path": 7 })), ErrorKind::InvalidInput),
                (case(json!({ "path": "drawer" })), ErrorKind::Output),
            ],
            is_lost: vec![],
            endless: vec![case(json!({ "path": "never" }))],
            tells_context: None,
            counts_to: None,
            is_anything_left: Box::new(|| false),
        })
        .await;
    }

    #[tokio::test]
    async fn a_run_waits_for_its_file() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(&file, "a letter").expect("written");
        let output = run(&file.path().to_string_lossy()).await.expect("it runs");
        assert_eq!(output, json!({ "text": "a letter" }));
    }
}
