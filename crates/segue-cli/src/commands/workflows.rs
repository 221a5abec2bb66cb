//! `segue workflows …`: what is deployed.

use segue_core::{
    ids::WorkflowId,
    ports::{Deployment, RunStore},
    spec::WorkflowSpec,
};
use serde_json::{Value, json};

use super::deploy;
use crate::{
    args::{WorkflowsCommand, WorkflowsHistoryArgs, WorkflowsListArgs, WorkflowsShowArgs},
    config::Settings,
    exit::Exit,
    failure::{Failure, Outcome},
    graph::{Graph, ascii},
    render::{
        table::{Cell, table},
        text::{one_line, second},
    },
    subject::{self, Subject, short_version},
    terminal::{self, Paint},
    wiring,
};

pub(super) async fn workflows(command: WorkflowsCommand, settings: Settings) -> Outcome {
    match command {
        WorkflowsCommand::List(args) => list(args, settings).await,
        WorkflowsCommand::Show(args) => show(args, settings).await,
        WorkflowsCommand::Deploy(args) => deploy::deploy(args, settings).await,
        WorkflowsCommand::History(args) => history(args, settings).await,
    }
}

async fn list(args: WorkflowsListArgs, settings: Settings) -> Outcome {
    // Where nothing was ever deployed there is nothing to list, and that is no error.
    let deployments = match wiring::open_store(&settings).await {
        Ok(store) => store.deployments(None, args.limit).await?,
        Err(failure) if failure.exit == Exit::NotFound => Vec::new(),
        Err(failure) => return Err(failure),
    };
    if args.json {
        terminal::print(json!({ "items": as_items(&deployments) }).to_string());
    } else if deployments.is_empty() {
        terminal::say("no workflow is deployed yet; `segue workflows deploy FILE` does it");
    } else {
        let paint = Paint::stdout();
        let mut rows = vec![head(["WORKFLOW", "VERSION", "DEPLOYED (UTC)", "FOLDER"], paint)];
        rows.extend(deployments.iter().map(|deployment| {
            [
                Cell::new(deployment.workflow_id.as_str()),
                Cell::new(short_version(deployment.hash)),
                Cell::new(second(deployment.deployed_at)),
                Cell::new(deployment.base_dir.clone().unwrap_or_default()),
            ]
        }));
        terminal::print(table(&rows));
    }
    Ok(Exit::Ok)
}

async fn history(args: WorkflowsHistoryArgs, settings: Settings) -> Outcome {
    let store = wiring::open_store(&settings).await?;
    let id = WorkflowId::from(args.workflow.as_str());
    let deployments = store.deployments(Some(&id), args.limit).await?;
    if deployments.is_empty() {
        return Err(subject::not_deployed(&*store, &id).await?);
    }
    if args.json {
        terminal::print(json!({ "items": as_items(&deployments) }).to_string());
        return Ok(Exit::Ok);
    }
    let paint = Paint::stdout();
    let mut rows = vec![head(["VERSION", "DEPLOYED (UTC)", "", "FOLDER"], paint)];
    rows.extend(deployments.iter().enumerate().map(|(at, deployment)| {
        let current = if at == 0 { "current" } else { "" };
        [
            Cell::new(short_version(deployment.hash)),
            Cell::new(second(deployment.deployed_at)),
            Cell::painted(paint.bold(current), current),
            Cell::new(deployment.base_dir.clone().unwrap_or_default()),
        ]
    }));
    terminal::print(table(&rows));
    Ok(Exit::Ok)
}

async fn show(args: WorkflowsShowArgs, settings: Settings) -> Outcome {
    let (id, version) = match Subject::of(&args.workflow) {
        Subject::Deployed(id, version) => (id, version),
        Subject::File(file) => {
            return Err(Failure::usage(format!("`{file}` is a file, not a deployed workflow"))
                .help(format!("segue graph {file} draws it; segue workflows deploy {file} deploys it")));
        }
    };
    let store = wiring::open_store(&settings).await?;
    let deployment = subject::find(&*store, &id, version).await?;
    let spec = subject::spec_of(&*store, &deployment).await?;
    if args.json {
        let mut shown = as_item(&deployment);
        shown["workflow"] = json!(spec);
        terminal::print(shown.to_string());
    } else {
        terminal::print(for_people(&*store, &deployment, &spec, &settings).await?);
    }
    Ok(Exit::Ok)
}

async fn for_people(
    store: &dyn RunStore,
    deployment: &Deployment,
    spec: &WorkflowSpec,
    settings: &Settings,
) -> Outcome<String> {
    let paint = Paint::stdout();
    let is_current =
        store.deployments(Some(&spec.id), 1).await?.first().is_some_and(|current| current.hash == deployment.hash);
    let current = if is_current { ", the current one" } else { ", not the current one" };
    let mut lines = vec![ascii(&Graph::of_spec(spec, &settings.default_task), paint), String::new()];
    if let Some(description) = &spec.description {
        lines.push(format!("{}\n", description.trim()));
    }
    lines.push(format!("version {}{current}", short_version(deployment.hash)));
    lines.push(format!("deployed {} (UTC)", second(deployment.deployed_at)));
    lines.extend(deployment.base_dir.iter().map(|folder| format!("folder {folder}")));
    if !spec.params.is_empty() {
        lines.push(format!("\n{}", paint.bold("params:")));
        lines.extend(spec.params.iter().map(|(name, param)| format!("  {}", param_line(name, param))));
    }
    Ok(lines.join("\n"))
}

/// `depth: integer, default 3  how far to look`
pub(super) fn param_line(name: &str, param: &Value) -> String {
    let text = |field: &str| param.get(field).and_then(Value::as_str);
    let mut line = name.to_owned();
    line += &text("type").map_or(String::new(), |kind| format!(": {kind}"));
    if let Some(choices) = param.get("enum").and_then(Value::as_array) {
        let choices: Vec<String> = choices.iter().take(12).map(Value::to_string).collect();
        line += &format!(", one of {}", choices.join(" | "));
    }
    for (field, word) in [("minimum", "at least"), ("maximum", "at most")] {
        line += &param.get(field).map_or(String::new(), |bound| format!(", {word} {bound}"));
    }
    line += &match param.get("default") {
        Some(default) => format!(", default {}", one_line(&default.to_string(), 40)),
        None if param.get("required") == Some(&Value::Bool(false)) => String::new(),
        None => ", required".to_owned(),
    };
    line + &text("description").map_or(String::new(), |what| format!("  {}", one_line(what, 80)))
}

fn head<const N: usize>(names: [&str; N], paint: Paint) -> [Cell; N] {
    names.map(|name| Cell::painted(paint.dim(name), name))
}

pub(super) fn as_item(deployment: &Deployment) -> Value {
    json!({
        "workflow_id": deployment.workflow_id,
        "version": deployment.hash,
        "deployed_at": deployment.deployed_at,
        "base_dir": deployment.base_dir,
    })
}

fn as_items(deployments: &[Deployment]) -> Vec<Value> {
    deployments.iter().map(as_item).collect()
}
