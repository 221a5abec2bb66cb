//! `segue runs rerun RUN [--from TASK]...`: a new run that takes over the results of an old one, as far as they are good.

use segue_core::ids::{NodeId, RunId};

use crate::{
    args::RerunArgs,
    commands::{drive::Manner, run::see_to_its_end, stuck::Patience},
    config::Settings,
    exit::Exit,
    failure::{Failure, Outcome},
    render::document,
    run_ref::{self, short},
    signals::Signals,
    terminal,
    wiring::{self, Purpose, Session},
};

pub(super) async fn rerun(args: RerunArgs, settings: Settings) -> Outcome {
    wiring::must_exist(&settings)?;
    let signals = Signals::listen()?;
    let session = Session::start(settings, Purpose { quiet: args.json }).await?;
    let outcome = start_and_see(&session, &args, signals).await;
    if !matches!(outcome, Ok(Exit::Interrupted)) {
        session.end().await;
    }
    outcome
}

async fn start_and_see(session: &Session, args: &RerunArgs, signals: Signals) -> Outcome {
    let run = run_ref::resolve(&*session.store, &args.run.run).await?;
    let status = session.store.get_run(run).await?.status;
    if !status.is_terminal() {
        return Err(Failure::new(Exit::Conflict, format!("run {} has not ended: it is {status}", short(run)))
            .help(format!("segue runs watch {} follows it; segue runs cancel {} stops it", short(run), short(run))));
    }
    let from: Vec<NodeId> = args.from.iter().map(|task| NodeId::from(task.as_str())).collect();
    must_be_there(session, run, &args.from).await?;
    let started = session.engine.rerun(run, &from).await?;
    if !args.json {
        terminal::say(format!("run {} takes over what is still good of run {}", started.run_id, short(run)));
    }
    let manner = Manner { patience: Patience::suitable(args.no_wait), ..Manner::to_the_end(args.json) };
    see_to_its_end(session, started.run_id, 0, true, signals, manner).await
}

/// Only nodes of the workflow itself can be started from: what is inside a group or an instance goes with it.
async fn must_be_there(session: &Session, run: RunId, from: &[String]) -> Outcome<()> {
    let hash = session.store.get_run(run).await?.workflow_hash;
    let spec = document::workflow(&*session.store, hash).await?;
    let known: Vec<&str> = spec.nodes.iter().map(|node| node.id.as_str()).collect();
    let Some(lost) = from.iter().find(|task| !known.contains(&task.as_str())) else { return Ok(()) };
    let failure = Failure::not_found(format!("workflow {} has no task `{lost}` to start from", spec.id));
    let near = known.iter().min_by_key(|known| strsim::damerau_levenshtein(known, lost));
    Err(match near.filter(|near| strsim::damerau_levenshtein(near, lost) <= 1 + lost.len() / 3) {
        Some(near) => failure.help(format!("did you mean `{near}`?")),
        None => failure
            .help(format!("name one of its nodes: {}", known.iter().take(20).copied().collect::<Vec<_>>().join(", "))),
    })
}
