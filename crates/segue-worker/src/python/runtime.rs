//! Carries out Python code of the user's: in which environment, folder and process, and with which way to models.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use segue_core::{
    ids::HandlerId,
    outcome::{ErrorKind, TaskError, TaskOutcome, Usage},
    ports::{CheckpointStore, Invocation, ModelAccess, ModelDoor},
    problems::Problem,
    spec::WorkflowSpec,
};
use serde_json::{Value, json};

use super::{Hints, Isolation};
use crate::{
    environment::{EnvironmentError, Environments, Explanation, Framework, OnProgress, Wanted},
    pool::{AttemptOrder, Mode, Pool, PoolOptions, Workers, ZygoteSpec},
    protocol::{Provider, Start, ZygoteHello},
};

/// What clients of models find as their key in a host: none that any server takes. The attempt's own is put in its place
/// when a call is made.
const NO_KEY: &str = "segue-the-attempts-own-key-comes-with-its-calls";
/// Tells code in a worker that nothing real is to be done.
const REHEARSAL_VARIABLE: &str = "SEGUE_REHEARSAL";
/// The gateway is on this machine: no proxy is asked for it.
const NEAR: &str = "127.0.0.1,localhost";
/// A variable that begins so is a model provider's: none of these gets into a rehearsal.
const OF_PROVIDERS: [&str; 18] = [
    "OPENAI_",
    "ANTHROPIC_",
    "AZURE_",
    "AWS_",
    "CEREBRAS_",
    "COHERE_",
    "DASHSCOPE_",
    "DEEPINFRA_",
    "DEEPSEEK_",
    "FIREWORKS_",
    "GEMINI_",
    "GOOGLE_",
    "GROQ_",
    "MISTRAL_",
    "NVIDIA_",
    "OPENROUTER_",
    "TOGETHER_",
    "XAI_",
];

/// What a runtime is made with.
pub struct RuntimeOptions {
    /// Where environments and the worker's files are kept: `.segue`.
    pub root: PathBuf,
    /// Bounds of the worker pool.
    pub pool: PoolOptions,
    /// The way to models. Without it, code has what the environment variables it is given lead to, and nothing in a
    /// rehearsal.
    pub models: Option<Arc<dyn ModelAccess>>,
    /// Keeps the checkpoints of graphs. Without it, a graph that is lost begins anew, and none can ask.
    pub checkpoints: Option<Arc<dyn CheckpointStore>>,
    /// Told while an environment is made.
    pub on_build: OnProgress,
}

impl RuntimeOptions {
    /// Everything under `root`; no way to models, nothing that keeps checkpoints.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            pool: PoolOptions::default(),
            models: None,
            checkpoints: None,
            on_build: Arc::new(|progress| tracing::info!("{progress}")),
        }
    }
}

/// Environments, a pool, a way to models and a place for checkpoints, for one framework. Starts nothing before it is
/// needed.
pub struct Runtime {
    framework: Framework,
    /// What every worker is told.
    settings: &'static [(&'static str, &'static str)],
    environments: Environments,
    pool: Pool,
    models: Option<Arc<dyn ModelAccess>>,
    checkpoints: Option<Arc<dyn CheckpointStore>>,
}

/// What an adapter says about an attempt beside its invocation.
#[derive(Debug, Clone)]
pub struct Work<'a> {
    /// The node's hints.
    pub hints: Hints<'a>,
    /// Those of them that the worker is to know.
    pub for_the_worker: Value,
    /// Is it of use to stream tokens?
    pub may_stream: bool,
}

/// The user's code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Its folder.
    pub folder: PathBuf,
    /// The file of settings that the hints name.
    pub config: Option<PathBuf>,
}

impl Project {
    /// What `hints.<adapter>.project` names, a folder or a file in one; without it, the workflow's folder.
    pub fn of(hints: Hints<'_>, adapter: &str, base_dir: Option<&Path>) -> Result<Self, TaskError> {
        let base = base_dir.map_or_else(std::env::temp_dir, Path::to_owned);
        let Some(named) = hints.text("project") else { return Ok(Self { folder: base, config: None }) };
        let path = base.join(named);
        let path = std::path::absolute(&path).unwrap_or(path);
        if path.is_dir() {
            return Ok(Self { folder: path, config: None });
        }
        match path.parent() {
            Some(folder) if path.is_file() => Ok(Self { folder: folder.to_owned(), config: Some(path) }),
            _ => {
                let message = format!("`hints.{adapter}.project` names `{named}`, which is not there");
                Err(Problem::new(&["project"], message).into_error())
            }
        }
    }
}

impl Runtime {
    /// One for a framework; `settings` are variables for all of its workers.
    pub fn new(
        framework: Framework,
        settings: &'static [(&'static str, &'static str)],
        options: RuntimeOptions,
    ) -> Self {
        Self {
            framework,
            settings,
            environments: Environments::new(options.root, options.on_build),
            pool: Pool::new(options.pool),
            models: options.models,
            checkpoints: options.checkpoints,
        }
    }

    /// Carries out one attempt. An error is one of preparation: nothing has begun.
    pub async fn carry_out(&self, invocation: &Invocation, work: Work<'_>) -> Result<TaskOutcome, TaskError> {
        let name = self.framework.name;
        let project = Project::of(work.hints, name, invocation.base_dir.as_deref())?;
        let wanted = self.wanted(work.hints, invocation.base_dir.as_deref(), &project);
        // Code that asks no model needs no way to one, so that there is none may turn out not to matter.
        let (door, closed) = match self.models.as_ref().map(|models| models.open(invocation)) {
            Some(Ok(door)) => (Some(door), None),
            Some(Err(error)) => (None, Some(error)),
            None => (None, None),
        };
        let shared = self.variables(invocation, work.hints, door.as_deref());
        let zygote = tokio::select! {
            zygote = self.zygote(&wanted) => zygote?,
            () = invocation.cancel.cancelled() => return Ok(TaskOutcome::Cancelled { usage: Usage::default() }),
        };
        let (zygote, env) = match work.hints.isolation() {
            Isolation::Process => (zygote, own_variables(shared, door.as_deref())),
            Isolation::Shared => (
                ZygoteSpec { mode: Mode::Shared, env: shared, cwd: Some(project.folder.clone()), ..zygote },
                BTreeMap::new(),
            ),
        };
        let order = AttemptOrder {
            start: start(invocation, &work, &project, door.as_deref()),
            env,
            cwd: project.folder,
            storage_variable: None,
            checkpoints: self.checkpoints.clone(),
        };
        let outcome = self.pool.execute(&zygote, order, invocation).await;
        Ok(match (door, outcome, closed) {
            (Some(door), outcome, _) => door.settle(outcome),
            (None, TaskOutcome::Failed { error, usage }, Some(why)) if error.kind == ErrorKind::Auth => {
                TaskOutcome::Failed { error: explained(error, &why), usage }
            }
            (None, outcome, _) => outcome,
        })
    }

    /// Makes the environments that a workflow's nodes will need, which may take minutes, so that it does not happen in
    /// the time of a task.
    pub async fn prepare(
        &self,
        workflow: &WorkflowSpec,
        default_handler: &HandlerId,
        handlers: &[&str],
        base_dir: Option<&Path>,
    ) -> Result<(), TaskError> {
        let defaults = workflow.defaults.as_ref();
        let default = defaults.and_then(|defaults| defaults.task.as_ref()).unwrap_or(default_handler);
        let name = self.framework.name;
        let mut done: Vec<Wanted> = Vec::new();
        for (_, node) in workflow.every_node() {
            if !node.has_handler() || !handlers.contains(&node.spec.task.as_ref().unwrap_or(default).as_str()) {
                continue;
            }
            let own = Hints::of(&node.spec.hints, name);
            let project = Project::of(own, name, base_dir)?;
            let mut wanted = self.wanted(own, base_dir, &project);
            if let (None, Some(defaults)) = (&wanted.hint, defaults) {
                wanted.hint = Hints::of(&defaults.hints, name).text("python").map(str::to_owned);
            }
            if !done.contains(&wanted) {
                self.environments.resolve(&self.framework, &wanted).await.map_err(load)?;
                done.push(wanted);
            }
        }
        Ok(())
    }

    /// Which Python a workflow in this folder would get, and why. Makes nothing.
    pub async fn explain(&self, base_dir: Option<&Path>) -> Explanation {
        let wanted = Wanted { base_dir: base_dir.map(Path::to_owned), ..Wanted::default() };
        self.environments.explain(&self.framework, &wanted).await
    }

    /// Starts a worker with the environment that is there or makes one, and tells the versions in it.
    pub async fn probe(&self, base_dir: Option<&Path>) -> Result<ZygoteHello, TaskError> {
        let wanted = Wanted { base_dir: base_dir.map(Path::to_owned), ..Wanted::default() };
        self.pool.probe(&self.zygote(&wanted).await?).await
    }

    /// What its worker processes do at this moment.
    pub fn workers(&self) -> Workers {
        self.pool.workers()
    }

    /// Ends every process.
    pub async fn shutdown(&self) {
        self.pool.shutdown().await;
    }

    fn wanted(&self, hints: Hints<'_>, base_dir: Option<&Path>, project: &Project) -> Wanted {
        Wanted {
            hint: hints.text("python").map(str::to_owned),
            base_dir: base_dir.map(Path::to_owned),
            project: Some(project.folder.clone()),
        }
    }

    async fn zygote(&self, wanted: &Wanted) -> Result<ZygoteSpec, TaskError> {
        let environment = self.environments.resolve(&self.framework, wanted).await.map_err(load)?;
        let program = self.environments.worker_program().map_err(load)?;
        Ok(ZygoteSpec::process(environment.python, program, self.framework.name))
    }

    /// What all attempts of a host have in common: nothing that is one attempt's own is in it.
    fn variables(
        &self,
        invocation: &Invocation,
        hints: Hints<'_>,
        door: Option<&dyn ModelDoor>,
    ) -> BTreeMap<String, String> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let mut variables: BTreeMap<String, String> = self.settings.iter().map(own).collect();
        for name in hints.env() {
            let is_kept_out = invocation.rehearsal && OF_PROVIDERS.iter().any(|prefix| name.starts_with(prefix));
            if let (Ok(value), false) = (std::env::var(name), is_kept_out) {
                variables.insert(name.to_owned(), value);
            }
        }
        if invocation.rehearsal {
            variables.insert(REHEARSAL_VARIABLE.to_owned(), "1".to_owned());
        }
        if let Some(door) = door {
            for name in ["OPENAI_BASE_URL", "OPENAI_API_BASE"] {
                variables.insert(name.to_owned(), door.base_url().to_owned());
            }
            variables.insert("OPENAI_API_KEY".to_owned(), NO_KEY.to_owned());
            for name in ["NO_PROXY", "no_proxy"] {
                let given = std::env::var(name).unwrap_or_default();
                let both = if given.is_empty() { NEAR.to_owned() } else { format!("{given},{NEAR}") };
                variables.insert(name.to_owned(), both);
            }
        }
        variables
    }
}

/// What an attempt in a process of its own gets: its key is in its environment, for clients that nobody knows.
fn own_variables(shared: BTreeMap<String, String>, door: Option<&dyn ModelDoor>) -> BTreeMap<String, Option<String>> {
    let mut variables: BTreeMap<String, Option<String>> =
        shared.into_iter().map(|(name, value)| (name, Some(value))).collect();
    if let Some(door) = door {
        variables.insert("OPENAI_API_KEY".to_owned(), Some(door.api_key().to_owned()));
    }
    variables
}

fn start(invocation: &Invocation, work: &Work<'_>, project: &Project, door: Option<&dyn ModelDoor>) -> Start {
    let mut start = Start::of(invocation);
    start.stream &= work.may_stream;
    start.hints = work.for_the_worker.clone();
    start.target = json!({ "project": project.folder, "config": project.config });
    start.provider = door.map(|door| Provider {
        base_url: Some(door.base_url().to_owned()),
        api_key_env: None,
        api_key: Some(door.api_key().to_owned()),
    });
    start
}

/// A model refused for want of a key: what we know about that is added.
fn explained(mut error: TaskError, why: &TaskError) -> TaskError {
    error.message = format!("{}. {}", error.message.trim_end_matches('.'), why.message);
    error
}

fn load(error: EnvironmentError) -> TaskError {
    TaskError::new(ErrorKind::Load, error.to_string())
}
