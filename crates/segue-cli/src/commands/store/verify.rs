//! `segue store verify`: is everything what was written, and every summary what its log says?

use std::collections::BTreeSet;

use segue_core::{
    ids::RunId,
    ports::{Finding, FindingKind, StoreError},
    verify::{Report, Verifier},
};
use serde_json::{Value, json};

use crate::{
    args::StoreVerifyArgs,
    config::Settings,
    exit::Exit,
    failure::{Failure, Outcome},
    render::text::{count, grouped},
    run_ref,
    terminal::{self, Paint},
    wiring,
};

pub(super) async fn verify(args: StoreVerifyArgs, settings: Settings) -> Outcome {
    wiring::must_exist(&settings)?;
    let report = match check(&args, &settings).await {
        Ok(report) => report,
        Err(Stop::Damage(why)) => damaged(why),
        Err(Stop::Failure(failure)) => return Err(failure),
    };
    if args.json {
        terminal::print(document(&settings, &report).to_string());
    } else {
        show(&settings, &report);
    }
    Ok(if report.findings.is_clean() { Exit::Ok } else { Exit::Internal })
}

/// How [`StoreError::Broken`] begins when it is told.
const BROKEN: &str = "the store cannot be used: ";

/// Why a check came to no report of its own.
enum Stop {
    /// The store cannot even be opened: that is what is wrong.
    Damage(String),
    Failure(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Broken(why) => Self::Damage(why),
            other => Self::Failure(other.into()),
        }
    }
}

async fn check(args: &StoreVerifyArgs, settings: &Settings) -> Result<Report, Stop> {
    let upkeep = wiring::upkeep(settings).await?;
    // Says what is wrong with a file that is none of ours, or of a newer program.
    upkeep.schema().await?;
    let store = wiring::open_store(settings).await.map_err(|failure| match failure.message.strip_prefix(BROKEN) {
        Some(why) => Stop::Damage(why.to_owned()),
        None => Stop::Failure(failure),
    })?;
    let mut verifier = Verifier::new(&*store, &*upkeep);
    let Some(run) = &args.run else {
        verifier.verify_all().await?;
        return Ok(verifier.report);
    };
    // A whole id is not looked up: the row that says so may be what is damaged.
    let id = match run.parse::<RunId>() {
        Ok(id) => id,
        Err(_) => run_ref::resolve(&*store, run).await?,
    };
    verifier.verify_run(id).await?;
    if verifier.report.runs == 0 {
        return Err(Failure::from(StoreError::NotFound(format!("run {id}"))).into());
    }
    Ok(verifier.report)
}

fn damaged(why: String) -> Report {
    let mut report = Report::default();
    report.findings.push(Finding::new(FindingKind::Storage, why));
    report
}

fn document(settings: &Settings, report: &Report) -> Value {
    let mut document = json!(report);
    let finding = |finding: &Finding| {
        let mut document = json!(finding);
        document["cure"] = json!(finding.kind.cure());
        document
    };
    document["findings"] = report.findings.items.iter().map(finding).collect();
    document["found"] = json!(report.findings.total);
    document["clean"] = json!(report.findings.is_clean());
    document["store"] = json!(settings.store.to_string());
    document
}

fn show(settings: &Settings, report: &Report) {
    let paint = Paint::stdout();
    terminal::print(paint.bold(&settings.store.to_string()));
    report.findings.items.iter().for_each(|finding| terminal::print(line(finding)));
    let unnamed = report.findings.total - report.findings.items.len() as u64;
    if unnamed > 0 {
        terminal::print(format!("  … and {} more", grouped(unnamed)));
    }
    let kinds: BTreeSet<FindingKind> = report.findings.items.iter().map(|finding| finding.kind).collect();
    for kind in kinds {
        terminal::print(format!("{}: {}", name(kind), kind.cure()));
    }
    if report.moving > 0 {
        terminal::print(format!(
            "{} changed so fast that the rows of their tasks were not compared; check again when they rest",
            count(report.moving, "run")
        ));
    }
    let outcome = match report.findings.total {
        0 => "all is as it was written, and every summary is what its log says".to_owned(),
        1 => "1 thing is wrong".to_owned(),
        n => format!("{} things are wrong", grouped(n)),
    };
    terminal::print(format!(
        "checked {}, {}, {}, {}: {outcome}",
        count(report.runs, "run"),
        count(report.events, "event"),
        count(report.tasks, "task"),
        count(report.values, "large value")
    ));
}

fn line(finding: &Finding) -> String {
    let mut place = String::new();
    if let Some(run) = finding.run_id {
        place += &format!(" run {run}");
    }
    if let Some(seq) = finding.seq {
        place += &format!(" seq {seq}");
    }
    if let Some(task) = &finding.task_id {
        place += &format!(" task {task}");
    }
    format!("  {}{place}: {}", name(finding.kind), finding.found)
}

/// As JSON has it.
fn name(kind: FindingKind) -> String {
    json!(kind).as_str().unwrap_or_default().to_owned()
}
