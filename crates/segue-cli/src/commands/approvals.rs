//! `segue approvals …`: what waits for somebody.

use std::collections::{BTreeMap, btree_map::Entry};

use segue_core::{
    event::Waiting,
    ids::RunId,
    ports::{RunStore, WaitingTask},
};
use serde_json::{Value, json};

use super::{drive::now, workflows::param_line};
use crate::{
    args::{ApprovalsCommand, ApprovalsListArgs, ApprovalsShowArgs, QuestionArg},
    config::Settings,
    exit::Exit,
    failure::{Failure, Outcome},
    render::{
        table::{Cell, table},
        text::{harmless, one_line, second, span, value},
        waits,
    },
    run_ref::{self, short, unique},
    terminal::{self, Paint},
    wiring,
};

/// Characters of a question in the list.
const QUESTION_CHARS_MAX: usize = 60;

pub(super) async fn approvals(command: ApprovalsCommand, settings: Settings) -> Outcome {
    match command {
        ApprovalsCommand::List(args) => list(args, settings).await,
        ApprovalsCommand::Show(args) => show(args, settings).await,
    }
}

async fn list(args: ApprovalsListArgs, settings: Settings) -> Outcome {
    // Where nothing has run yet nothing waits, and that is no error.
    let store = match wiring::open_store(&settings).await {
        Ok(store) => Some(store),
        Err(failure) if failure.exit == Exit::NotFound && args.run.is_none() => None,
        Err(failure) => return Err(failure),
    };
    let mut tasks = Vec::new();
    let mut names = BTreeMap::new();
    let mut all = 0;
    if let Some(store) = &store {
        let run = match &args.run {
            Some(run) => Some(run_ref::resolve(&**store, run).await?),
            None => None,
        };
        tasks = waiting(&**store, run).await?;
        all = tasks.len();
        tasks.truncate(if args.limit == 0 { usize::MAX } else { args.limit });
        for task in &tasks {
            if let Entry::Vacant(unnamed) = names.entry(task.run_id) {
                unnamed.insert(unique(&**store, task.run_id).await?);
            }
        }
    }
    if args.json {
        let items: Vec<Value> = tasks.iter().map(as_json).collect();
        terminal::print(json!({ "items": items }).to_string());
    } else if tasks.is_empty() {
        terminal::say("nothing waits for an answer");
    } else {
        let paint = Paint::stdout();
        let head = ["RUN", "TASK", "WAITS FOR", "SINCE", "WORKFLOW"];
        let mut rows = vec![head.map(|name| Cell::painted(paint.dim(name), name))];
        rows.extend(tasks.iter().map(|task| {
            [
                Cell::new(names[&task.run_id].as_str()),
                Cell::new(task.task_id.as_str()),
                Cell::new(one_line(&waits::what(&task.waiting), QUESTION_CHARS_MAX)),
                Cell::new(span(now().since(task.since))),
                Cell::new(task.workflow_id.as_str()),
            ]
        }));
        terminal::print(table(&rows));
        if all > tasks.len() {
            terminal::say(format!("… and {} more; --limit 0 lists all", all - tasks.len()));
        }
        terminal::say("segue approvals show RUN TASK tells more; segue approve, reject and signal answer");
    }
    Ok(Exit::Ok)
}

async fn show(args: ApprovalsShowArgs, settings: Settings) -> Outcome {
    let store = wiring::open_store(&settings).await?;
    let task = find(&*store, &args.question).await?;
    terminal::print(if args.json {
        as_json(&task).to_string()
    } else {
        for_people(&task, &unique(&*store, task.run_id).await?, Paint::stdout())
    });
    Ok(Exit::Ok)
}

/// The tasks of a run, or of all, that wait for somebody.
pub(super) async fn waiting(store: &dyn RunStore, run: Option<RunId>) -> Outcome<Vec<WaitingTask>> {
    let mut tasks = store.list_waiting(run, 0).await?;
    tasks.retain(|task| waits::is_for_somebody(&task.waiting));
    Ok(tasks)
}

/// The task that a question names; the only one that waits if it names none.
pub(super) async fn find(store: &dyn RunStore, question: &QuestionArg) -> Outcome<WaitingTask> {
    let run = run_ref::resolve(store, &question.run).await?;
    let mut tasks = waiting(store, Some(run)).await?;
    if let Some(name) = &question.task {
        return match tasks.iter().position(|task| task.task_id.as_str() == name) {
            Some(at) => Ok(tasks.swap_remove(at)),
            None => Err(not_waiting(store, run, name).await?),
        };
    }
    match tasks.len() {
        1 => Ok(tasks.remove(0)),
        0 => Err(nothing_waits(store, run).await?),
        n => {
            let names: Vec<&str> = tasks.iter().take(10).map(|task| task.task_id.as_str()).collect();
            let more = if n > names.len() { ", …" } else { "" };
            Err(Failure::usage(format!("{n} tasks of run {} wait", short(run)))
                .help(format!("name one of them: {}{more}", names.join(", "))))
        }
    }
}

async fn nothing_waits(store: &dyn RunStore, run: RunId) -> Outcome<Failure> {
    let status = store.get_run(run).await?.status;
    let failure =
        Failure::new(Exit::Conflict, format!("nothing in run {} waits for an answer: it is {status}", short(run)));
    for task in store.list_waiting(Some(run), 0).await? {
        if let Waiting::Child { run_id, .. } = task.waiting {
            return Ok(failure.help(format!(
                "it waits for run {}: segue approvals list --run {}",
                short(run_id),
                short(run_id)
            )));
        }
    }
    Ok(failure.help("`segue approvals list` shows what waits in all runs"))
}

/// A task that does not wait, or that there is none of.
async fn not_waiting(store: &dyn RunStore, run: RunId, name: &str) -> Outcome<Failure> {
    let known = store.list_tasks(run).await?;
    if let Some(task) = known.iter().find(|task| task.task_id.as_str() == name) {
        let what = format!("task {name} of run {} does not wait for an answer: it is {}", short(run), task.status);
        return Ok(
            Failure::new(Exit::Conflict, what).help(format!("segue runs show {} shows how things stand", short(run)))
        );
    }
    let tasks = waiting(store, Some(run)).await?;
    let names: Vec<&str> = tasks.iter().take(10).map(|task| task.task_id.as_str()).collect();
    let failure = Failure::not_found(format!("run {} has no task `{name}` that waits", short(run)));
    Ok(match names.is_empty() {
        true => failure.help(format!("nothing in run {} waits for an answer", short(run))),
        false => failure.help(format!("these wait: {}", names.join(", "))),
    })
}

/// One task that waits, for programs: what it waits for, and the command that answers it.
fn as_json(task: &WaitingTask) -> Value {
    json!({
        "run_id": task.run_id,
        "workflow_id": task.workflow_id,
        "task_id": task.task_id,
        "since": task.since,
        "waiting": task.waiting,
        "command": waits::command(&task.run_id.to_string(), task.task_id.as_str(), &task.waiting),
    })
}

fn for_people(task: &WaitingTask, run: &str, paint: Paint) -> String {
    let mut lines = Vec::new();
    match &task.waiting {
        Waiting::Approval { title, message, form, approvers, .. } => {
            lines.push(paint.bold(&harmless(title)));
            lines.extend(message.iter().map(|message| format!("\n{}", harmless(message.trim_end()))));
            if !form.is_empty() {
                lines.push(format!("\n{}", paint.bold("to fill in:")));
                lines.extend(form.iter().map(|(name, field)| format!("  {}", param_line(name, field))));
            }
            if !approvers.is_empty() {
                lines.push(format!("\nanswered by {} (--by)", approvers.join(" or ")));
            }
        }
        Waiting::Failure { error, .. } => {
            lines.push(paint.bold(&format!("{} failed: what now?", task.task_id)));
            lines.push(format!("\n{}: {}", error.kind, harmless(&error.message)));
            lines.extend(error.detail.iter().map(value));
        }
        Waiting::Question { question, .. } => {
            lines.push(paint.bold(&harmless(question.prompt.trim())));
            for item in &question.items {
                if !item.value.is_null() {
                    lines.push(format!("\n{}", paint.bold(&format!("{}:", harmless(&item.id)))));
                    lines.push(value(&item.value));
                }
                lines.extend(item.schema.iter().map(|schema| format!("answered by: {schema}")));
            }
        }
        other => lines.push(paint.bold(&harmless(&waits::what(other)))),
    }
    lines.push(String::new());
    lines.push(format!("task {} of run {} ({})", task.task_id, task.run_id, task.workflow_id));
    let due = task.waiting.due().map_or(String::new(), |due| format!(", until {} (UTC)", second(due)));
    lines.push(format!("waits since {} (UTC){due}", second(task.since)));
    if let Some(command) = waits::choice(run, task.task_id.as_str(), &task.waiting) {
        lines.push(format!("\n{} {command}", paint.help("answer with:")));
    }
    lines.join("\n")
}
