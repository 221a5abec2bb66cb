//! `segue graph FILE|RUN|WORKFLOW [--format ascii|mermaid|dot|json]`

use std::path::Path;

use segue_core::{event::Envelope, ids::WorkflowId};

use crate::{
    args::{GraphArgs, GraphFormat},
    config::Settings,
    document::Document,
    exit::Exit,
    failure::{Failure, Outcome},
    graph::{Graph, ascii, dot, json, mermaid},
    live::RunView,
    render::document::workflow,
    run_ref,
    subject::{self, Subject},
    terminal::{self, Paint},
    wiring,
};

pub(super) async fn graph(args: GraphArgs, settings: Settings) -> Outcome {
    let picture = if is_run(&args.subject) {
        of_run(&args.subject, &settings).await?
    } else {
        match Subject::of(&args.subject) {
            Subject::File(file) => {
                let (spec, _) = Document::read(file, &settings)?.into_workflow(false)?;
                Graph::of_spec(&spec, &settings.default_task)
            }
            Subject::Deployed(id, version) => of_deployed(&id, version, &settings).await?,
        }
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

async fn of_deployed(id: &WorkflowId, version: Option<&str>, settings: &Settings) -> Outcome<Graph> {
    let nothing = |failure: Failure| match failure.exit {
        Exit::NotFound if version.is_none() => {
            let message = format!("`{id}` is neither a file nor a run nor a deployed workflow");
            let failure = Failure { message, ..failure };
            failure.help("`segue runs list` and `segue workflows list` show what there is")
        }
        _ => failure,
    };
    let store = wiring::open_store(settings).await.map_err(nothing)?;
    let deployment = subject::find(&*store, id, version).await.map_err(nothing)?;
    Ok(Graph::of_spec(&subject::spec_of(&*store, &deployment).await?, &settings.default_task))
}

async fn of_run(subject: &str, settings: &Settings) -> Outcome<Graph> {
    let store = wiring::open_store(settings).await?;
    let run = run_ref::resolve(&*store, subject).await?;
    let row = store.get_run(run).await?;
    let mut view = RunView::new(&workflow(&*store, row.workflow_hash).await?, &settings.default_task);
    for event in store.events(run, 0, 0).await? {
        view.apply(&Envelope::of(&event, &row.workflow_id, run));
    }
    Ok(view.into_graph())
}
