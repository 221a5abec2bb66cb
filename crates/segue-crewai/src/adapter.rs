//! The adapter: what an attempt gets, and who carries it out.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use segue_core::{
    ids::HandlerId,
    outcome::{ErrorKind, TaskError, TaskOutcome, Usage},
    ports::{Adapter, Invocation, ModelAccess, ModelDoor, Progress, ProgressSink},
    spec::{Diagnostic, TaskNode, WorkflowSpec},
};
use segue_worker::{
    environment::{EnvironmentError, Environments, Explanation, Framework, OnProgress, Wanted},
    pool::{AttemptOrder, Pool, PoolOptions, Workers, ZygoteSpec},
    protocol::{Provider, Start, ZygoteHello},
};
use serde_json::{Map, Value, json};

use crate::{
    hints::{HINTS, Hints},
    inputs::{self, AGENT, CREW, FLOW},
    place, provider,
};

/// The variable in which a rehearsed attempt finds its key.
const MODEL_KEY: &str = "SEGUE_MODEL_KEY";
/// The variable that names the folder of memory and knowledge.
const STORAGE: &str = "CREWAI_STORAGE_DIR";
/// What every worker of CrewAI is told: report to nobody, ask nobody, keep no lock where others are.
const SETTINGS: [(&str, Option<&str>); 6] = [
    ("CREWAI_DISABLE_TELEMETRY", Some("true")),
    ("OTEL_SDK_DISABLED", Some("true")),
    ("CREWAI_TRACING_ENABLED", Some("false")),
    ("CREWAI_DISABLE_VERSION_CHECK", Some("1")),
    ("LITELLM_LOCAL_MODEL_COST_MAP", Some("True")),
    ("REDIS_URL", None),
];

/// What the adapter is made with.
pub struct CrewaiOptions {
    /// Where environments and the worker's files are kept: `.segue`.
    pub root: PathBuf,
    /// Bounds of the worker pool.
    pub pool: PoolOptions,
    /// Who gives attempts their way to models. Without it rehearsals fail, and others find only what they bring along.
    pub models: Option<Arc<dyn ModelAccess>>,
    /// Told while an environment is made.
    pub on_build: OnProgress,
}

impl CrewaiOptions {
    /// Everything under `root`, no way to models.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            pool: PoolOptions::default(),
            models: None,
            on_build: Arc::new(|progress| tracing::info!("{progress}")),
        }
    }
}

/// For whom [`CrewaiAdapter::prepare`] makes ready.
#[derive(Debug, Clone, Copy)]
pub struct Prepare<'a> {
    /// The workflow.
    pub workflow: &'a WorkflowSpec,
    /// The handler of nodes that name none.
    pub default_handler: &'a HandlerId,
    /// The workflow's folder.
    pub base_dir: Option<&'a Path>,
}

/// Carries out `crewai.agent`, `crewai.crew` and `crewai.flow`. Starts and makes nothing before it is needed.
pub struct CrewaiAdapter {
    root: PathBuf,
    environments: Environments,
    pool: Pool,
    models: Option<Arc<dyn ModelAccess>>,
    model_names: BTreeMap<String, String>,
}

impl CrewaiAdapter {
    /// An adapter with these options.
    pub fn new(options: CrewaiOptions) -> Self {
        Self {
            root: options.root.clone(),
            environments: Environments::new(options.root, options.on_build),
            pool: Pool::new(options.pool),
            models: options.models,
            model_names: provider::model_names(),
        }
    }

    /// Makes the environments that a workflow's nodes will need, which may take minutes, so that it does not happen in
    /// the time of a task.
    pub async fn prepare(&self, prepare: Prepare<'_>) -> Result<(), TaskError> {
        let Prepare { workflow, default_handler, base_dir } = prepare;
        let default = workflow.defaults.as_ref().and_then(|defaults| defaults.task.as_ref()).unwrap_or(default_handler);
        let none = Map::new();
        let hints = workflow.defaults.as_ref().map_or(&none, |defaults| &defaults.hints);
        let mut done: Vec<Wanted> = Vec::new();
        for (_, node) in workflow.every_node() {
            let handler = node.spec.task.as_ref().unwrap_or(default).as_str();
            if !node.has_handler() || !self.handlers().contains(&handler) {
                continue;
            }
            let python = Hints::of(&node.spec.hints).python().or_else(|| Hints::of(hints).python());
            let wanted = Wanted {
                hint: python.map(str::to_owned),
                base_dir: base_dir.map(Path::to_owned),
                project: project(named(&node.spec.inputs), base_dir),
            };
            if !done.iter().any(|other| same(other, &wanted)) {
                self.environments.resolve(&Framework::CREWAI, &wanted).await.map_err(load)?;
                done.push(wanted);
            }
        }
        Ok(())
    }

    /// Which Python a workflow in this folder would get, and why. Makes nothing.
    pub async fn explain(&self, base_dir: Option<&Path>) -> Explanation {
        let wanted = Wanted { base_dir: base_dir.map(Path::to_owned), ..Wanted::default() };
        self.environments.explain(&Framework::CREWAI, &wanted).await
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

    async fn zygote(&self, wanted: &Wanted) -> Result<ZygoteSpec, TaskError> {
        let environment = self.environments.resolve(&Framework::CREWAI, wanted).await.map_err(load)?;
        let program = self.environments.worker_program().map_err(load)?;
        Ok(ZygoteSpec::process(environment.python, program, HINTS))
    }

    /// What is wrong with the node, else its way to models.
    fn begin(&self, invocation: &Invocation) -> Result<Option<Box<dyn ModelDoor>>, TaskError> {
        let hints = Hints::of(&invocation.hints);
        let none = Map::new();
        let given = invocation.inputs.as_object().unwrap_or(&none);
        let problems = inputs::problems(invocation.handler.as_str(), given, false);
        match problems.into_iter().chain(hints.problems()).next() {
            Some(problem) => Err(problem.into_error()),
            None => self.door(invocation, &hints),
        }
    }

    async fn carry_out(&self, invocation: &Invocation, door: Option<&dyn ModelDoor>) -> Result<TaskOutcome, TaskError> {
        let hints = Hints::of(&invocation.hints);
        let base_dir = invocation.base_dir.as_deref();
        let project = project(invocation.inputs.as_object().and_then(named), base_dir);
        let wanted = Wanted {
            hint: hints.python().map(str::to_owned),
            base_dir: base_dir.map(Path::to_owned),
            project: project.clone(),
        };
        let zygote = tokio::select! {
            zygote = self.zygote(&wanted) => zygote?,
            () = invocation.cancel.cancelled() => return Ok(TaskOutcome::Cancelled { usage: Usage::default() }),
        };
        let order = self.order(invocation, &hints, door, project.as_deref())?;
        let outcome = self.pool.execute(&zygote, order, invocation).await;
        Ok(match (door, outcome) {
            (Some(door), outcome) => door.settle(outcome),
            (None, TaskOutcome::Failed { error, usage }) => {
                TaskOutcome::Failed { error: provider::explain(error), usage }
            }
            (None, outcome) => outcome,
        })
    }

    fn order(
        &self,
        invocation: &Invocation,
        hints: &Hints<'_>,
        door: Option<&dyn ModelDoor>,
        project: Option<&Path>,
    ) -> Result<AttemptOrder, TaskError> {
        let base_dir = invocation.base_dir.as_deref();
        let home = project.or(base_dir);
        let cwd = match hints.workdir() {
            Some(hint) => place::workdir(hint, base_dir, &invocation.context)?,
            None => home.map_or_else(std::env::temp_dir, Path::to_owned),
        };
        let mut env = self.environment(hints, invocation.rehearsal, door);
        // A rehearsal must not fill the memory that real runs use.
        let kept = hints.keeps_storage() && !invocation.rehearsal;
        if let (true, Some(home)) = (kept, home) {
            let folder = place::storage(&self.root, home)?;
            env.insert(STORAGE.to_owned(), Some(folder.to_string_lossy().into_owned()));
        }
        let storage_variable = (!env.contains_key(STORAGE)).then_some(STORAGE);
        Ok(AttemptOrder { start: start(invocation, hints, door), env, cwd, storage_variable, checkpoints: None })
    }

    /// The attempt's way to models. Where there is none the attempt may bring its own, as far as can be told: a crew of
    /// the user's, a hint that names a key.
    fn door(&self, invocation: &Invocation, hints: &Hints<'_>) -> Result<Option<Box<dyn ModelDoor>>, TaskError> {
        let Some(models) = &self.models else {
            return match invocation.rehearsal {
                true => Err(TaskError::new(ErrorKind::InvalidInput, "this engine has no rehearsal model")),
                false => self.without_door(invocation, hints, provider::missing()),
            };
        };
        match models.open(invocation) {
            Ok(door) => Ok(Some(door)),
            Err(error) if error.kind == ErrorKind::Auth && !invocation.rehearsal => {
                self.without_door(invocation, hints, provider::explain(error))
            }
            Err(error) => Err(error),
        }
    }

    fn without_door(
        &self,
        invocation: &Invocation,
        hints: &Hints<'_>,
        error: TaskError,
    ) -> Result<Option<Box<dyn ModelDoor>>, TaskError> {
        let needs_no_key = hints.model().is_some_and(|model| model.starts_with("ollama"));
        let passes_own = hints.env().any(|name| std::env::var_os(name).is_some());
        let has_env_file = invocation.base_dir.as_ref().is_some_and(|folder| folder.join(".env").exists());
        let brings_none = invocation.handler.as_str() == AGENT && !needs_no_key && !passes_own && !has_env_file;
        if brings_none { Err(error) } else { Ok(None) }
    }

    /// The attempt's variables, over the short list that every process gets. The door's come last: whatever a node names,
    /// no key of a provider stands where the attempt's own belongs.
    fn environment(
        &self,
        hints: &Hints<'_>,
        rehearsal: bool,
        door: Option<&dyn ModelDoor>,
    ) -> BTreeMap<String, Option<String>> {
        let own = |text: &str| Some(text.to_owned());
        let mut variables: BTreeMap<String, Option<String>> =
            SETTINGS.iter().map(|(name, value)| ((*name).to_owned(), value.and_then(own))).collect();
        if !rehearsal {
            variables.extend(self.model_names.iter().map(|(name, value)| (name.clone(), own(value))));
        }
        for name in hints.env() {
            // In a rehearsal nothing may reach a provider that is paid.
            if let (Ok(value), true) = (std::env::var(name), !rehearsal || !provider::is_of_a_provider(name)) {
                variables.insert(name.to_owned(), Some(value));
            }
        }
        match door {
            Some(door) if rehearsal => {
                variables.insert(MODEL_KEY.to_owned(), own(door.api_key()));
            }
            Some(door) => {
                variables.extend(provider::variables(door).map(|(name, value)| (name.to_owned(), Some(value))))
            }
            None => {}
        }
        variables
    }
}

#[async_trait]
impl Adapter for CrewaiAdapter {
    fn name(&self) -> &'static str {
        HINTS
    }

    fn handlers(&self) -> &[&'static str] {
        &[AGENT, CREW, FLOW]
    }

    fn translate_workflow(&self, workflow: &WorkflowSpec) -> Vec<Diagnostic> {
        inputs::diagnose(workflow)
    }

    fn translate_task(&self, node: &TaskNode) -> Result<Value, TaskError> {
        let handler = node.spec.task.as_ref().map_or(AGENT, HandlerId::as_str);
        let hints = Hints::of(&node.spec.hints);
        let problems = inputs::problems(handler, &node.spec.inputs, true).into_iter().chain(hints.problems());
        if let Some(problem) = { problems }.next() {
            return Err(problem.into_error());
        }
        let inputs = &node.spec.inputs;
        let what = match handler {
            CREW => json!({ "crew": inputs.get("crew") }),
            FLOW => json!({ "flow": inputs.get("flow") }),
            _ => json!({ "prompt": inputs.get("prompt"), "name": node.name, "role": inputs.get("role") }),
        };
        Ok(json!({ handler: what, "hints": hints.for_the_worker() }))
    }

    async fn execute(&self, mut invocation: Invocation) -> TaskOutcome {
        if invocation.cancel.is_cancelled() {
            return TaskOutcome::Cancelled { usage: Usage::default() };
        }
        let door = match self.begin(&invocation) {
            Ok(door) => door,
            Err(error) => return TaskOutcome::Failed { error, usage: Usage::default() },
        };
        if door.is_some() {
            // The gateway tells of model calls, and exactly; what the crew says of them is progress like any other.
            invocation.progress = Arc::new(CallsAreProgress(invocation.progress));
        }
        match self.carry_out(&invocation, door.as_deref()).await {
            Ok(outcome) => outcome,
            Err(error) => TaskOutcome::Failed { error, usage: Usage::default() },
        }
    }

    async fn shutdown(&self) {
        self.pool.shutdown().await;
    }
}

fn start(invocation: &Invocation, hints: &Hints<'_>, door: Option<&dyn ModelDoor>) -> Start {
    let mut start = Start::of(invocation);
    start.inputs = inputs::with_texts(invocation.handler.as_str(), &invocation.inputs);
    start.hints = hints.for_the_worker();
    if invocation.handler.as_str() == AGENT {
        let material: Vec<Value> =
            invocation.material.iter().map(|(node, output)| json!({ "node": node, "output": &**output })).collect();
        start.target = json!({ "name": invocation.name, "description": invocation.description, "material": material });
    }
    start.provider = door.filter(|_| invocation.rehearsal).map(|door| Provider {
        base_url: Some(door.base_url().to_owned()),
        api_key_env: Some(MODEL_KEY.to_owned()),
        api_key: None,
    });
    start
}

/// What is to be run: a crew or a flow.
fn named(inputs: &Map<String, Value>) -> Option<&Value> {
    inputs.get("crew").or_else(|| inputs.get("flow"))
}

/// The crew's or flow's own folder, if that is what is named.
fn project(named: Option<&Value>, base_dir: Option<&Path>) -> Option<PathBuf> {
    let folder = base_dir?.join(named?.as_str()?);
    folder.is_dir().then_some(folder)
}

fn same(one: &Wanted, other: &Wanted) -> bool {
    one.hint == other.hint && one.project == other.project && one.base_dir == other.base_dir
}

fn load(error: EnvironmentError) -> TaskError {
    TaskError::new(ErrorKind::Load, error.to_string())
}

/// Passes on everything, model calls as progress.
struct CallsAreProgress(Arc<dyn ProgressSink>);

impl ProgressSink for CallsAreProgress {
    fn emit(&self, progress: Progress) {
        let name = if progress.name == "model.call" { "task.progress" } else { progress.name };
        self.0.emit(Progress { name, ..progress });
    }

    fn is_wanted(&self) -> bool {
        self.0.is_wanted()
    }
}
