//! `segue chaos FILE`: rehearses a workflow while its engine and its workers are killed, and says whether the promises
//! held.
//!
//! * [`lab`]: the folder and the processes. A round is one run, killed at one moment, and brought to its end by others.
//! * [`choice`]: the moments there are, and which of them get a round.
//! * [`results`]: what a run came to, and in what two of them differ.
//! * [`mod@judge`]: what the ledger of a round says about the promises. [`tally`]: the sum over the rounds.
//! * [`people`]: answers in the place of people. [`show`]: how it looks.

mod choice;
mod judge;
mod lab;
mod people;
mod results;
mod show;
mod tally;

use std::{path::PathBuf, time::Duration};

use segue_core::{ids::HandlerId, plan::Plan, spec::WorkflowSpec};
use segue_worker::contain::sweep_dead_engines;

use self::{
    choice::{Round, instead, points, rounds},
    judge::{Case, judge},
    lab::{Ended, Lab},
    results::Baseline,
    show::Progress,
    tally::Tally,
};
use crate::{
    args::ChaosArgs,
    config::Settings,
    document::Document,
    exit::Exit,
    failure::{Failure, Outcome},
    family::Family,
    inputs,
    signals::Signals,
    subject::Subject,
    terminal,
};

pub(super) async fn chaos(args: ChaosArgs, settings: Settings) -> Outcome {
    let victim = victim(&args, &settings).await?;
    let mut signals = Signals::listen()?;
    let mut lab = Lab::set_up(&args, settings)?;
    let outcome = tokio::select! {
        outcome = experiment(&args, &victim, &mut lab) => outcome,
        _ = signals.next() => {
            terminal::keep_frame();
            terminal::say("interrupted; nothing is decided");
            Ok(Exit::Interrupted)
        }
    };
    // What the last killed engine has started is ended too.
    let _ = tokio::task::spawn_blocking(sweep_dead_engines).await;
    lab.clear_away();
    outcome
}

/// The workflow, with its child workflows, and where its relative paths start.
struct Victim {
    spec: WorkflowSpec,
    family: Family,
    base_dir: PathBuf,
}

/// The workflow, checked as `segue run` does it, so that each process can start it.
async fn victim(args: &ChaosArgs, settings: &Settings) -> Outcome<Victim> {
    if args.workflow == "-" || args.inputs_file.as_deref() == Some("-") {
        return Err(Failure::usage("every process reads the workflow and its inputs anew; stdin can be read once")
            .help("write them to files"));
    }
    let Subject::File(file) = Subject::of(&args.workflow) else {
        return Err(Failure::usage(format!("`{}` is no file, and chaos takes its own stores", args.workflow)).help(
            format!("write the deployed workflow to a file: segue workflows show {} > workflow.yaml", args.workflow),
        ));
    };
    let (document, family) = Document::read(file, settings)?.with_family(settings).await?;
    let (spec, base_dir) = document.into_workflow(args.json)?;
    inputs::gather(&spec, args.inputs_file.as_deref(), &args.inputs)?;
    Ok(Victim { spec, family, base_dir })
}

async fn experiment(args: &ChaosArgs, victim: &Victim, lab: &mut Lab) -> Outcome {
    let progress = Progress::new(args.json);
    let baseline = undisturbed(args, victim, lab, &progress).await?;
    let points = points(&baseline.ledger);
    let mut chosen = rounds(&points, args);
    let most = 2 * chosen.len();
    let mut tally = Tally::new(victim.spec.id.clone(), args.seed, &baseline, points.len(), chosen.len());
    progress.begins(&tally, &baseline);
    for n in 0..most {
        let Some(round) = chosen.get(n) else { break };
        progress.round(n, round, &tally);
        let ran = lab.round(&round.name(n), round.plan(), Duration::from_secs_f64(args.timeout)).await?;
        let findings = judge(&Case { round, ran: &ran, baseline: &baseline });
        let is_broken = !findings.broken.is_empty();
        progress.found(round, &findings);
        let is_unreached = tally.add(n, round, findings);
        lab.finish(&round.name(n), is_broken);
        if is_unreached {
            chosen.extend(instead(round, &points, &chosen));
        }
    }
    progress.ends();
    terminal::print(if args.json { tally.to_json(lab.kept()).to_string() } else { show::table(&tally, lab.kept()) });
    Ok(if tally.holds() { Exit::Ok } else { Exit::PromiseBroken })
}

/// Two runs that nobody disturbs: what they come to, and what already differs between them.
async fn undisturbed(args: &ChaosArgs, victim: &Victim, lab: &mut Lab, progress: &Progress) -> Outcome<Baseline> {
    progress.prepares();
    lab.prepare(victim, args.json).await?;
    let mut two = Vec::new();
    for name in ["undisturbed-1", "undisturbed-2"] {
        progress.undisturbed(two.len());
        let ran = lab.round(name, Round::undisturbed(), Duration::from_secs_f64(args.timeout)).await?;
        if let Ended::TooLate = ran.ended {
            return Err(Failure::new(Exit::TimedOut, "the workflow does not end by itself in time, undisturbed")
                .help("give it more: --timeout SECONDS")
                .help("a workflow that waits for hours or days has that time in a param: -i wait_seconds=1"));
        }
        if let Ended::Badly(why) = &ran.ended {
            return Err(Failure::new(Exit::Invalid, format!("the workflow cannot be run, undisturbed: {why}"))
                .help(format!("see it fail: segue run {} --rehearse", args.workflow)));
        }
        lab.finish(name, false);
        two.push(ran);
    }
    let plan = Plan::compile(&victim.spec, &HandlerId::new(lab.default_task()))
        .map_err(|error| Failure::internal(error.to_string()))?;
    let [first, second] = <[_; 2]>::try_from(two).unwrap_or_else(|_| unreachable!("two runs were made"));
    Ok(Baseline::of(first, second, plan))
}
