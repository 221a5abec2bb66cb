//! `segue approve`, `reject` and `signal`: answers to what waits. If no process carries the run out, this one goes on
//! with it.

use segue_core::{
    event::Waiting,
    ids::{RunId, TaskId},
    ports::{RunStore, WaitingTask},
    run::Address,
    spec::{Diagnostic, codes},
};
use segue_engine::{AnswerError, Answered, answer};
use serde_json::{Map, Value, json};

use super::{
    approvals::{find, waiting},
    drive::{Manner, as_json},
    run::see_to_its_end,
    stuck::Patience,
    workflows::param_line,
};
use crate::{
    args::{AnswerArgs, SignalArgs, ThenArgs},
    config::Settings,
    exit::Exit,
    failure::{Failure, Outcome},
    inputs,
    render::{document, text::second, waits},
    run_ref::{self, short},
    signals::Signals,
    terminal,
    wiring::{self, Purpose, Session},
};

pub(super) async fn approve(args: AnswerArgs, settings: Settings) -> Outcome {
    decide(args, settings, Decision::Yes).await
}

pub(super) async fn reject(args: AnswerArgs, settings: Settings) -> Outcome {
    decide(args, settings, Decision::No).await
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    Yes,
    No,
}

impl Decision {
    /// The word for it, in the terms of what is asked.
    const fn word(self, asked: Option<&Waiting>) -> &'static str {
        match (self, asked) {
            (Self::Yes, Some(Waiting::Failure { .. })) => "retry",
            (Self::No, Some(Waiting::Failure { .. })) => "fail",
            (Self::Yes, _) => "approve",
            (Self::No, _) => "reject",
        }
    }
}

async fn decide(args: AnswerArgs, settings: Settings, decision: Decision) -> Outcome {
    let store = wiring::open_store(&settings).await?;
    let run = run_ref::resolve(&*store, &args.question.run).await?;
    let (task, asked) = match &args.question.task {
        // Whether it waits, and if not why, the answer's own check says best.
        Some(name) => (TaskId::from(name.as_str()), question_of(&*store, run, name).await?),
        None => {
            let task = find(&*store, &args.question).await?;
            (task.task_id, Some(task.waiting))
        }
    };
    if let Some(Waiting::Event { event, .. }) = &asked {
        return Err(Failure::usage(format!("{task} waits for the event {event}, not for a decision"))
            .help(format!("segue signal {} {event} --data JSON", short(run))));
    }
    let mut data = json!({ "decision": decision.word(asked.as_ref()) });
    if !args.form.is_empty() {
        let fields = match &asked {
            Some(Waiting::Approval { form, .. }) => form.clone(),
            Some(Waiting::Question { question, .. }) => waits::fields(question),
            _ => Map::new(),
        };
        data["form"] = Value::Object(inputs::of_form(&fields, &args.form)?);
    }
    if let Some(comment) = &args.comment {
        data["comment"] = json!(comment);
    }
    let by = args.by.clone().or_else(user);
    let said = answer(&*store, run, Address::Task(task.clone()), data, by.as_deref()).await;
    let answered = match said {
        Ok(answered) => answered,
        Err(error) => return Err(refused(&*store, run, task.as_str(), asked.as_ref(), error).await?),
    };
    go_on(&*store, run, task.as_str(), answered, args.then, settings).await
}

pub(super) async fn signal(args: SignalArgs, settings: Settings) -> Outcome {
    let store = wiring::open_store(&settings).await?;
    let run = run_ref::resolve(&*store, &args.run).await?;
    let asked = question_of(&*store, run, &args.to).await?;
    let to = match asked {
        Some(_) => Address::Task(TaskId::from(args.to.as_str())),
        None => Address::Event(args.to.clone()),
    };
    let answered = match answer(&*store, run, to, args.data, user().as_deref()).await {
        Ok(answered) => answered,
        Err(error) => return Err(refused(&*store, run, &args.to, asked.as_ref(), error).await?),
    };
    go_on(&*store, run, &args.to, answered, args.then, settings).await
}

async fn question_of(store: &dyn RunStore, run: RunId, task: &str) -> Outcome<Option<Waiting>> {
    let tasks: Vec<WaitingTask> = waiting(store, Some(run)).await?;
    Ok(tasks.into_iter().find(|waits| waits.task_id.as_str() == task).map(|task| task.waiting))
}

/// Who sits here.
fn user() -> Option<String> {
    ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok()).filter(|name| !name.is_empty())
}

/// Tells what has become of the answer; where nobody carries the run out, goes on with it here.
async fn go_on(
    store: &dyn RunStore,
    run: RunId,
    to: &str,
    answered: Answered,
    then: ThenArgs,
    settings: Settings,
) -> Outcome {
    let tell = |text: String| {
        if !then.json {
            terminal::say(text);
        }
    };
    match answered {
        Answered::Taken { at } => tell(format!("{to} is answered at {} (UTC); run {} goes on", second(at), short(run))),
        Answered::Recorded if then.no_wait => {
            tell(format!("the answer to {to} is recorded; go on with: segue resume {}", short(run)));
        }
        Answered::Recorded => {
            tell(format!("the answer to {to} is recorded; run {} goes on here", short(run)));
            return resume_whole(run, then.json, settings).await;
        }
    }
    if then.json {
        terminal::print(as_json(&document::of_run(store, run).await?));
    }
    Ok(Exit::Ok)
}

/// Goes on with a run, and with those that wait for it: they move on when it does.
async fn resume_whole(run: RunId, json: bool, settings: Settings) -> Outcome {
    let signals = Signals::listen()?;
    let session = Session::start(settings, Purpose { quiet: json }).await?;
    let outcome = async {
        let mut family = vec![run];
        let mut top = session.store.get_run(run).await?;
        while let Some(parent) = top.parent {
            match session.store.get_run(parent).await {
                Ok(row) if !row.status.is_terminal() => {
                    family.push(parent);
                    top = row;
                }
                // A parent that is gone, or has ended, waits for nothing.
                _ => break,
            }
        }
        let taken = session.engine.resume(&family).await?;
        let manner = Manner { patience: Patience::suitable(false), ..Manner::to_the_end(json) };
        let ours = taken.contains(&top.run_id);
        see_to_its_end(&session, top.run_id, top.version, ours, signals, manner).await
    }
    .await;
    if !matches!(outcome, Ok(Exit::Interrupted)) {
        session.end().await;
    }
    outcome
}

async fn refused(
    store: &dyn RunStore,
    run: RunId,
    to: &str,
    asked: Option<&Waiting>,
    error: AnswerError,
) -> Outcome<Failure> {
    Ok(match error {
        AnswerError::Invalid(problems) => misfit(to, asked, &problems),
        AnswerError::Conflict(why) => Failure::new(Exit::Conflict, why)
            .help(format!("segue approvals list --run {} lists what waits", short(run))),
        AnswerError::NotFound(what) => {
            let failure = Failure::not_found(format!("{what} not found"));
            let waits = waiting(store, Some(run)).await?;
            let names: Vec<&str> = waits.iter().take(10).map(|task| task.task_id.as_str()).collect();
            match names.is_empty() {
                true => failure.help(format!("nothing in run {} waits for an answer", short(run))),
                false => failure.help(format!("these wait: {}", names.join(", "))),
            }
        }
        AnswerError::Read(error) => {
            Failure::new(Exit::Unreachable, format!("run {} cannot be read: {error}", short(run)))
                .help("`segue doctor` checks the store")
        }
    })
}

/// All that is wrong with an answer, and what would be right.
fn misfit(to: &str, asked: Option<&Waiting>, problems: &[Diagnostic]) -> Failure {
    let name = |problem: &Diagnostic| problem.path.rsplit('/').next().unwrap_or_default().to_owned();
    let message = |problem: &Diagnostic| match &problem.code {
        code if code == codes::UNKNOWN_INPUT.name => format!("the form has no field `{}`", name(problem)),
        code if code == codes::MISSING_INPUT.name => format!("the field `{}` is missing", name(problem)),
        _ => problem.message.clone(),
    };
    let mut failure = match problems {
        [problem] => Failure::invalid(format!("the answer to {to} does not fit: {}", message(problem))),
        several => {
            let failure = Failure::invalid(format!("the answer to {to} does not fit: {} problems", several.len()));
            several.iter().fold(failure, |failure, problem| failure.note(message(problem)))
        }
    };
    if let Some(Waiting::Approval { form, approvers, .. }) = asked {
        failure = form
            .iter()
            .fold(failure, |failure, (name, field)| failure.help(format!("--form {}", param_line(name, field))));
        if form.is_empty() {
            failure = failure.help("it has no form: leave out --form");
        }
        if !approvers.is_empty() {
            failure = failure.help(format!("--by is one of {}", approvers.join(", ")));
        }
    }
    if let Some(Waiting::Question { question, .. }) = asked {
        failure = question.items.iter().fold(failure, |failure, item| failure.help(format!("--form {}=…", item.id)));
    }
    failure.details(json!(problems))
}
