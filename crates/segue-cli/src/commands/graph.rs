//! `segue graph FILE|RUN [--format ascii|mermaid|dot|json]`

use std::{collections::HashMap, path::Path};

use crate::{
    args::{GraphArgs, GraphFormat},
    config::Settings,
    document::Document,
    exit::Exit,
    failure::{Failure, Outcome},
    graph::{Graph, ascii, dot, json, mermaid},
    render::document::workflow,
    run_ref,
    terminal::{self, Paint},
    wiring,
};

pub(super) async fn graph(args: GraphArgs, settings: Settings) -> Outcome {
    let picture = if is_run(&args.subject) {
        of_run(&args.subject, &settings).await?
    } else {
        if !Path::new(&args.subject).exists() && args.subject != "-" {
            return Err(Failure::not_found(format!("`{}` is neither a file nor a run", args.subject))
                .help("name a workflow document, or a run as `segue runs list` shows it"));
        }
        let (spec, _) = Document::read(&args.subject, &settings)?.into_workflow(false)?;
        Graph::of_spec(&spec, &settings.default_task)
    };
    terminal::print(match args.format {
        GraphFormat::Ascii => ascii(&picture, Paint::stdout()),
        GraphFormat::Mermaid => mermaid(&picture),
        GraphFormat::Dot => dot(&picture),
        GraphFormat::Json => json(&picture).to_string(),
    });
    Ok(Exit::Ok)
}

/// A file wins over a run whose id starts like its name.
fn is_run(subject: &str) -> bool {
    subject == "@last" || (run_ref::looks_like_an_id(subject) && subject != "-" && !Path::new(subject).exists())
}

async fn of_run(subject: &str, settings: &Settings) -> Outcome<Graph> {
    let store = wiring::open_store(settings)?;
    let run = run_ref::resolve(&*store, subject).await?;
    let row = store.get_run(run).await?;
    let spec = workflow(&*store, row.workflow_hash).await?;
    let mut picture = Graph::of_spec(&spec, &settings.default_task);
    let tasks: HashMap<String, _> =
        store.list_tasks(run).await?.into_iter().map(|task| (task.task_id.to_string(), task)).collect();
    for node in &mut picture.nodes {
        let task = tasks.get(&node.id);
        node.status = Some(task.map_or(segue_core::status::Status::Pending, |task| task.status));
        node.attempts = task.map_or(0, |task| task.attempts);
    }
    Ok(picture)
}
