//! The adapter: what an attempt gets, and who carries it out.

use std::{
    any::Any,
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use segue_core::{
    ids::HandlerId,
    outcome::{ErrorKind, TaskError, TaskOutcome, Usage},
    ports::{Adapter, ExecutionContext, Invocation},
    spec::{Diagnostic, TaskNode, WorkflowSpec},
};
use segue_worker::{
    environment::{EnvironmentError, Environments, Explanation, Framework, OnProgress, Wanted},
    pool::{AttemptOrder, Pool, PoolOptions, ZygoteSpec},
    protocol::{Provider, Start, ZygoteHello},
};
use serde_json::{Map, Value, json};

use crate::{
    hints::{HINTS, Hints},
    inputs::{self, AGENT, CREW},
    provider::{self, ProviderSettings},
};

/// The variable in which an attempt finds its key to the rehearsal model.
const MODEL_KEY: &str = "SEGUE_MODEL_KEY";
/// What every worker of CrewAI is told: report to nobody, ask nobody, keep no lock where others are.
const SETTINGS: [(&str, Option<&str>); 6] = [
    ("CREWAI_DISABLE_TELEMETRY", Some("true")),
    ("OTEL_SDK_DISABLED", Some("true")),
    ("CREWAI_TRACING_ENABLED", Some("false")),
    ("CREWAI_DISABLE_VERSION_CHECK", Some("1")),
    ("LITELLM_LOCAL_MODEL_COST_MAP", Some("True")),
    ("REDIS_URL", None),
];

/// Where one attempt finds the rehearsal model.
pub struct RehearsalEndpoint {
    /// OpenAI-compatible.
    pub base_url: String,
    /// Good for this attempt.
    pub api_key: String,
    /// Dropped when the attempt is over: ends the key.
    pub held: Box<dyn Any + Send>,
}

/// Gives each attempt its own way to the rehearsal model.
pub type RehearsalModel = Arc<dyn Fn(&ExecutionContext) -> RehearsalEndpoint + Send + Sync>;

/// What the adapter is made with.
pub struct CrewaiOptions {
    /// Where environments and the worker's files are kept: `.segue`.
    pub root: PathBuf,
    /// Bounds of the worker pool.
    pub pool: PoolOptions,
    /// The model of rehearsals. Without it they fail.
    pub rehearsal: Option<RehearsalModel>,
    /// The settings of model providers.
    pub provider: ProviderSettings,
    /// Told while an environment is made.
    pub on_build: OnProgress,
}

impl CrewaiOptions {
    /// Everything under `root`, providers from this process's environment, no rehearsal model.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            pool: PoolOptions::default(),
            rehearsal: None,
            provider: ProviderSettings::of_this_process(),
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

/// Carries out `crewai.agent` and `crewai.crew`. Starts and makes nothing before it is needed.
pub struct CrewaiAdapter {
    environments: Environments,
    pool: Pool,
    rehearsal: Option<RehearsalModel>,
    provider: ProviderSettings,
}

impl CrewaiAdapter {
    /// An adapter with these options.
    pub fn new(options: CrewaiOptions) -> Self {
        Self {
            environments: Environments::new(options.root, options.on_build),
            pool: Pool::new(options.pool),
            rehearsal: options.rehearsal,
            provider: options.provider,
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
                project: project(node.spec.inputs.get("crew"), base_dir),
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

    /// The providers' variables that workers get.
    pub fn provider(&self) -> &ProviderSettings {
        &self.provider
    }

    async fn zygote(&self, wanted: &Wanted) -> Result<ZygoteSpec, TaskError> {
        let environment = self.environments.resolve(&Framework::CREWAI, wanted).await.map_err(load)?;
        let program = self.environments.worker_program().map_err(load)?;
        Ok(ZygoteSpec::process(environment.python, program, HINTS))
    }

    async fn carry_out(&self, invocation: &Invocation) -> Result<TaskOutcome, TaskError> {
        let hints = Hints::of(&invocation.hints);
        let handler = invocation.handler.as_str();
        let none = Map::new();
        let given = invocation.inputs.as_object().unwrap_or(&none);
        if let Some(problem) = inputs::problems(handler, given, false).into_iter().chain(hints.problems()).next() {
            return Err(problem.into_error());
        }
        let endpoint = self.endpoint(invocation, &hints)?;
        let base_dir = invocation.base_dir.as_deref();
        let project = project(given.get("crew"), base_dir);
        let wanted = Wanted {
            hint: hints.python().map(str::to_owned),
            base_dir: base_dir.map(Path::to_owned),
            project: project.clone(),
        };
        let zygote = tokio::select! {
            zygote = self.zygote(&wanted) => zygote?,
            () = invocation.cancel.cancelled() => return Ok(TaskOutcome::Cancelled { usage: Usage::default() }),
        };
        let order = AttemptOrder {
            start: start(invocation, &hints, endpoint.as_ref()),
            env: self.environment(&hints, endpoint.as_ref()),
            cwd: project.or_else(|| base_dir.map(Path::to_owned)).unwrap_or_else(std::env::temp_dir),
            storage_variable: Some("CREWAI_STORAGE_DIR"),
            checkpoints: None,
        };
        let outcome = self.pool.execute(&zygote, order, invocation).await;
        drop(endpoint);
        Ok(match outcome {
            TaskOutcome::Failed { error, usage } if !invocation.rehearsal && !self.provider.is_set_up() => {
                TaskOutcome::Failed { error: provider::explain(error), usage }
            }
            outcome => outcome,
        })
    }

    /// The rehearsal model, in a rehearsal. Otherwise there must be some way to a model, as far as can be told: a crew
    /// of the user's own may bring one along.
    fn endpoint(&self, invocation: &Invocation, hints: &Hints<'_>) -> Result<Option<RehearsalEndpoint>, TaskError> {
        if invocation.rehearsal {
            let Some(model) = &self.rehearsal else {
                return Err(TaskError::new(ErrorKind::InvalidInput, "this engine has no rehearsal model"));
            };
            return Ok(Some(model(&invocation.context)));
        }
        let needs_no_key = hints.model().is_some_and(|model| model.starts_with("ollama"));
        let passes_own = hints.env().any(|name| std::env::var_os(name).is_some());
        let has_env_file = invocation.base_dir.as_ref().is_some_and(|folder| folder.join(".env").exists());
        let brings_none = invocation.handler.as_str() == AGENT && !needs_no_key && !passes_own && !has_env_file;
        if brings_none && !self.provider.is_set_up() {
            return Err(provider::missing());
        }
        Ok(None)
    }

    /// The attempt's variables, over the short list that every process gets.
    fn environment(
        &self,
        hints: &Hints<'_>,
        rehearsal: Option<&RehearsalEndpoint>,
    ) -> BTreeMap<String, Option<String>> {
        let own = |text: &str| Some(text.to_owned());
        let mut variables: BTreeMap<String, Option<String>> =
            SETTINGS.iter().map(|(name, value)| ((*name).to_owned(), value.and_then(own))).collect();
        for name in hints.env() {
            // In a rehearsal nothing may reach a provider that is paid.
            if let (Ok(value), true) =
                (std::env::var(name), rehearsal.is_none() || !ProviderSettings::is_of_a_provider(name))
            {
                variables.insert(name.to_owned(), Some(value));
            }
        }
        match rehearsal {
            Some(endpoint) => {
                variables.insert(MODEL_KEY.to_owned(), Some(endpoint.api_key.clone()));
            }
            None => variables.extend(self.provider.iter().map(|(name, value)| (name.to_owned(), own(value)))),
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
        &[AGENT, CREW]
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
            _ => json!({ "prompt": inputs.get("prompt"), "name": node.name, "role": inputs.get("role") }),
        };
        Ok(json!({ handler: what, "hints": hints.for_the_worker() }))
    }

    async fn execute(&self, invocation: Invocation) -> TaskOutcome {
        if invocation.cancel.is_cancelled() {
            return TaskOutcome::Cancelled { usage: Usage::default() };
        }
        match self.carry_out(&invocation).await {
            Ok(outcome) => outcome,
            Err(error) => TaskOutcome::Failed { error, usage: Usage::default() },
        }
    }

    async fn shutdown(&self) {
        self.pool.shutdown().await;
    }
}

fn start(invocation: &Invocation, hints: &Hints<'_>, rehearsal: Option<&RehearsalEndpoint>) -> Start {
    let mut start = Start::of(invocation);
    start.inputs = inputs::with_texts(invocation.handler.as_str(), &invocation.inputs);
    start.hints = hints.for_the_worker();
    if invocation.handler.as_str() == AGENT {
        let material: Vec<Value> =
            invocation.material.iter().map(|(node, output)| json!({ "node": node, "output": &**output })).collect();
        start.target = json!({ "name": invocation.name, "description": invocation.description, "material": material });
    }
    start.provider = rehearsal.map(|endpoint| Provider {
        base_url: Some(endpoint.base_url.clone()),
        api_key_env: Some(MODEL_KEY.to_owned()),
        api_key: None,
    });
    start
}

/// The crew's own folder, if that is what `crew` names.
fn project(crew: Option<&Value>, base_dir: Option<&Path>) -> Option<PathBuf> {
    let folder = base_dir?.join(crew?.as_str()?);
    folder.is_dir().then_some(folder)
}

fn same(one: &Wanted, other: &Wanted) -> bool {
    one.hint == other.hint && one.project == other.project && one.base_dir == other.base_dir
}

fn load(error: EnvironmentError) -> TaskError {
    TaskError::new(ErrorKind::Load, error.to_string())
}
