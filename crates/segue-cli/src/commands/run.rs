//! `segue run FILE|WORKFLOW`: start a run and see it to its end. `segue submit`: start it, and leave it to others.

use std::{collections::BTreeMap, path::Path, time::Duration};

use segue_core::{
    ids::{ContentHash, RunId, WorkflowId},
    ports::{Orchestrator, OrchestratorError, StartRun, Started},
    spec::WorkflowSpec,
};
use serde_json::json;
use tokio::time::Instant;

use super::{
    drive::{Manner, Seen, Show, Watch, as_json, conclude, inherit, report, watch},
    stuck::Patience,
};
use crate::{
    answers::Answers,
    args::{RunArgs, StartArgs, SubmitArgs},
    config::{Settings, StoreUrl},
    document::Document,
    exit::Exit,
    failure::{Failure, Outcome},
    family::Family,
    inputs,
    render::document,
    run_ref::short,
    signals::Signals,
    subject::{self, Subject},
    terminal,
    wiring::{self, Purpose, Session},
};

pub(super) async fn run(args: RunArgs, settings: Settings) -> Outcome {
    let deadline = args.timeout.map(|seconds| Instant::now() + Duration::from_secs_f64(seconds));
    let manner = Manner { deadline, patience: Patience::suitable(args.no_wait), json: args.json };
    let answers = Answers::of(args.start.script(), args.record.as_deref(), args.replay.as_deref())?;
    let ready = Ready::of(&args.start, answers.is_replay(), &settings, args.json).await?;
    let mut signals = Signals::listen()?;
    let session = Session::start_with(settings, Purpose { quiet: args.json }, answers.clone()).await?;
    tokio::select! {
        prepared = ready.prepare(&session) => prepared?,
        _ = signals.next() => {
            terminal::say("left before the run began; nothing was started");
            return Ok(Exit::Interrupted);
        }
    }
    let outcome = start_and_see(ready, &session, signals, manner).await;
    if !matches!(outcome, Ok(Exit::Interrupted)) {
        session.end().await;
    }
    if !args.json {
        answers.report();
    }
    outcome
}

pub(super) async fn submit(args: SubmitArgs, settings: Settings) -> Outcome {
    if settings.store == StoreUrl::Memory {
        return Err(Failure::usage("a submitted run stays in the store, and `memory:` is gone with this process")
            .help("name a store: --store sqlite:PATH; or carry the run out here: segue run"));
    }
    if args.start.script().is_some() {
        return Err(Failure::usage("a run that is only recorded keeps no script: another process carries it out")
            .help("carry it out here: segue run … --rehearse SCRIPT; or leave the script out"));
    }
    let ready = Ready::of(&args.start, true, &settings, args.json).await?;
    let session = Session::start(settings, Purpose { quiet: args.json }).await?;
    let outcome = record(ready, &session, args.json).await;
    session.end().await;
    outcome
}

/// A workflow with everything that a start needs, checked.
struct Ready {
    spec: WorkflowSpec,
    /// Of a document: its child workflows that stand in files beside it.
    family: Family,
    /// Of a deployed workflow: its version.
    version: Option<ContentHash>,
    start: StartRun,
}

impl Ready {
    /// `elsewhere`: models are asked by somebody else, who may know providers that this process does not.
    async fn of(args: &StartArgs, elsewhere: bool, settings: &Settings, json: bool) -> Outcome<Self> {
        let Some(workflow) = args.workflow() else {
            return Err(Failure::usage("no workflow is named").help("segue run workflow.yaml --rehearse"));
        };
        if workflow == "-" && args.inputs_file.as_deref() == Some("-") {
            return Err(Failure::usage("the workflow and its inputs cannot both come from stdin")
                .help("write one of them to a file, or give the inputs with -i"));
        }
        let (spec, family, base_dir, version) = match Subject::of(workflow) {
            Subject::File(file) => {
                let (document, family) = Document::read(file, settings)?.with_family(settings).await?;
                let (spec, base_dir) = document.into_workflow(json)?;
                (spec, family, text_of(&base_dir)?, None)
            }
            Subject::Deployed(id, digits) => deployed(&id, digits, settings).await?,
        };
        let inputs = inputs::gather(&spec, args.inputs_file.as_deref(), &args.inputs)?;
        if !args.is_rehearsal() && !elsewhere {
            wiring::needs_provider(&spec, Path::new(&base_dir), settings)?;
        }
        let start = StartRun {
            inputs,
            idempotency_key: args.idempotency_key.clone(),
            base_dir: Some(base_dir),
            rehearsal: args.is_rehearsal(),
            ..StartRun::default()
        };
        Ok(Self { spec, family, version, start })
    }

    /// Makes what the tasks will need and what takes long, those of child workflows included.
    async fn prepare(&self, session: &Session) -> Outcome<()> {
        let base_dir = Path::new(self.start.base_dir.as_deref().unwrap_or("."));
        session.prepare(&self.spec, base_dir).await?;
        for child in self.family.members() {
            session.prepare(child, base_dir).await?;
        }
        Ok(())
    }

    /// Keeps the versions, and gives what is to be started.
    async fn keep(mut self, session: &Session) -> Outcome<(ContentHash, StartRun)> {
        let mut workflows = BTreeMap::new();
        for child in self.family.members() {
            workflows.insert(child.id.clone(), session.engine.deploy_workflow(child).await?);
        }
        self.start.workflows = workflows;
        let version = match self.version {
            Some(version) => version,
            None => session.engine.deploy_workflow(&self.spec).await?,
        };
        Ok((version, self.start))
    }
}

/// A deployed workflow: its specification, no family of files, its folder, its version.
async fn deployed(
    id: &WorkflowId,
    digits: Option<&str>,
    settings: &Settings,
) -> Outcome<(WorkflowSpec, Family, String, Option<ContentHash>)> {
    let store = match wiring::open_store(settings).await {
        Ok(store) => store,
        Err(failure) if failure.exit == Exit::NotFound => {
            return Err(Failure::not_found(format!("`{id}` is no file, and there is no store with workflows yet"))
                .help("name a workflow document, or deploy one: segue workflows deploy FILE"));
        }
        Err(failure) => return Err(failure),
    };
    let deployment = subject::find(&*store, id, digits).await?;
    let spec = subject::spec_of(&*store, &deployment).await?;
    let base_dir = match deployment.base_dir {
        Some(base_dir) => base_dir,
        None => text_of(Path::new("."))?,
    };
    Ok((spec, Family::default(), base_dir, Some(deployment.hash)))
}

async fn start_and_see(ready: Ready, session: &Session, signals: Signals, manner: Manner) -> Outcome {
    let (workflow, start) = ready.keep(session).await?;
    let Started { run_id, is_new } = session.engine.start_run(workflow, start).await.map_err(refused_start)?;
    if !is_new {
        terminal::say(format!("the key was used before: this is run {run_id}"));
        return attach(session, run_id, signals, manner).await;
    }
    see_to_its_end(session, run_id, 0, true, signals, manner).await
}

/// Records a run: it is on disk, and whoever serves carries it out.
async fn record(ready: Ready, session: &Session, json: bool) -> Outcome {
    let (workflow, start) = ready.keep(session).await?;
    let Started { run_id, is_new } = session.engine.submit(workflow, start).await.map_err(refused_start)?;
    if json {
        terminal::print(as_json(&document::of_run(&*session.store, run_id).await?));
    } else {
        terminal::print(run_id.to_string());
        terminal::say(match is_new {
            true => format!(
                "recorded; an engine that serves this store carries it out (segue serve), or you do: segue resume {}",
                short(run_id)
            ),
            false => format!("the key was used before; see what has come of it: segue runs show {}", short(run_id)),
        });
    }
    Ok(Exit::Ok)
}

/// A start can conflict with one thing only: what its key was used for before.
fn refused_start(error: OrchestratorError) -> Failure {
    match error {
        OrchestratorError::Conflict(message) => Failure::new(Exit::Conflict, message)
            .help("use another key for another request, or the same workflow and inputs for the same one"),
        other => other.into(),
    }
}

/// Shows a run that exists already: its result if it ended, its progress if another process carries it out; if nobody
/// does, this process takes it over.
pub(super) async fn attach(session: &Session, run: RunId, signals: Signals, manner: Manner) -> Outcome {
    let row = session.store.get_run(run).await?;
    if row.status.is_terminal() {
        report(&document::of_run(&*session.store, run).await?, manner.json);
        return Ok(Exit::of_run(row.status));
    }
    let ours = session.take_over(run).await?;
    see_to_its_end(session, run, row.version, ours, signals, manner).await
}

/// Follows a run from the event after `after`, whoever carries it out, and says what has come of it.
pub(super) async fn see_to_its_end(
    session: &Session,
    run: RunId,
    after: u64,
    ours: bool,
    signals: Signals,
    manner: Manner,
) -> Outcome {
    let (show, driven_by) = (Show::suitable(manner.json), ours.then_some(session));
    let what = Watch { run, after, show, manner, driven_by, bus: session.bus_for(ours) };
    let seen = tokio::select! {
        seen = watch(&session.store, signals, what) => seen?,
        never = inherit(session, run), if !ours => match never {},
    };
    match seen {
        seen if ours => conclude(session, run, seen, manner.json).await,
        Seen::Ended => {
            let document = document::of_run(&*session.store, run).await?;
            report(&document, manner.json);
            Ok(Exit::of_run(document.status))
        }
        other => Ok(leave_others_run(run, other)),
    }
}

/// Stops watching a run that another process carries out.
pub(super) fn leave_others_run(run: RunId, seen: Seen) -> Exit {
    terminal::say(format!(
        "run {} goes on in its own process; watch it with: segue runs watch {}",
        short(run),
        short(run)
    ));
    match seen {
        Seen::TimedOut => Exit::TimedOut,
        Seen::Waiting => Exit::RunWaiting,
        Seen::Ended | Seen::Leave | Seen::LeaveAtOnce => Exit::Interrupted,
    }
}

fn text_of(path: &Path) -> Outcome<String> {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    path.to_str().map(str::to_owned).ok_or_else(|| {
        Failure::usage(format!("the folder {} has a name that is not UTF-8", path.display()))
            .help("rename it, or move the workflow to another folder")
            .details(json!([]))
    })
}
