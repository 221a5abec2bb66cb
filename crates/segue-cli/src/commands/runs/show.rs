//! `segue runs show RUN`: what a run has come to, task by task.

use std::collections::HashMap;

use segue_core::{event::Envelope, status::Status};
use segue_engine::limit_waits;
use serde_json::Value;

use crate::{
    args::ShowArgs,
    commands::drive::{as_json, summary},
    config::Settings,
    exit::Exit,
    failure::Outcome,
    graph::{Address, Line, Tally},
    live::RunView,
    render::{
        document::{self, RunDocument},
        text::{grouped, harmless, named_value, one_line, span, value},
        waits,
    },
    run_ref::{self, short},
    terminal::{self, Paint},
    wiring,
};

/// Characters of a task's output in the overview.
const OUTPUT_CHARS_MAX: usize = 100;
/// Instances and iterations of a node that are shown one by one, unless all are asked for.
const PARTS_MAX: usize = 6;

pub(super) async fn show(args: ShowArgs, settings: Settings) -> Outcome {
    let (store, limits) = wiring::open_store_and_limits(&settings).await?;
    let run = run_ref::resolve(&*store, &args.run.run).await?;
    let mut document = document::of_run(&*store, run).await?;
    if !document.status.is_terminal() {
        // What cannot be told now is no reason to tell nothing.
        match limit_waits(&*store, &*limits, &settings.limits.specs(), run).await {
            Ok(waits) => document.add_limit_waits(&waits),
            Err(error) => tracing::debug!(run_id = %run, %error, "what tasks wait for cannot be told"),
        }
    }
    if args.json {
        terminal::print(as_json(&document));
        return Ok(Exit::Ok);
    }
    let row = store.get_run(run).await?;
    let mut view = RunView::new(&document::workflow(&*store, row.workflow_hash).await?, "");
    for event in store.events(run, 0, 0).await? {
        view.apply(&Envelope::of(&event, &row.workflow_id, run));
    }
    let overview = Overview { document: &document, view: &view, paint: Paint::stdout(), all: args.all };
    terminal::print(overview.text());
    Ok(Exit::Ok)
}

struct Overview<'a> {
    document: &'a RunDocument,
    view: &'a RunView,
    paint: Paint,
    all: bool,
}

impl Overview<'_> {
    fn text(&self) -> String {
        let Self { document, paint, .. } = self;
        let mut lines = vec![format!("{} {}", paint.bold(document.workflow_id.as_str()), summary(document, *paint))];
        lines.extend(self.relations());
        if let Some(error) = &document.error {
            let place = error.node.as_ref().map_or(String::new(), |node| format!("{node}: "));
            lines.push(format!("{} {place}{}: {}", paint.bad("error:"), error.kind, harmless(&error.message)));
        }
        lines.push(String::new());
        lines.extend(self.tasks());
        let questions = self.questions();
        if !questions.is_empty() {
            lines.push(String::new());
            lines.extend(questions);
        }
        if let Value::Object(outputs) = &document.outputs
            && !outputs.is_empty()
        {
            lines.push(String::new());
            lines.extend(outputs.iter().map(|(name, value)| named_value(name, value)));
        }
        lines.join("\n")
    }

    /// The runs that it belongs to, that belong to it, and that it took results from.
    fn relations(&self) -> Vec<String> {
        let Self { document, paint, .. } = self;
        let mut lines = Vec::new();
        if let Some(parent) = &document.parent {
            lines.push(format!("{} {} of run {}", paint.dim("started by"), parent.task_id, parent.run_id));
        }
        if let Some(old) = document.rerun_of {
            lines.push(format!("{} run {old}", paint.dim("rerun of")));
        }
        let children = &document.children;
        for child in children.iter().take(PARTS_MAX) {
            let status = paint.status(child.status, child.status.as_str());
            lines.push(format!("{} {} of {}  {status}", paint.dim("child run"), child.run_id, child.workflow_id));
        }
        if children.len() > PARTS_MAX {
            let more = children.len() - PARTS_MAX;
            let run = short(document.run_id);
            lines.push(format!("… and {more} child runs more: segue runs list --parent {run}"));
        }
        lines
    }

    fn tasks(&self) -> Vec<String> {
        let mut by_node: HashMap<&str, Vec<(&str, &Value)>> = HashMap::new();
        for (id, task) in &self.document.tasks {
            by_node.entry(Address::of(id).node).or_default().push((id, task));
        }
        let width = self.width();
        let mut lines = Vec::new();
        for line in &self.view.lines {
            let (node, prefix, below) = match line {
                Line::Heading(heading) => {
                    lines.push(format!("{:11}{}", "", self.paint.dim(heading)));
                    continue;
                }
                Line::Node { node, prefix, below, .. } => (*node, prefix, below),
            };
            let own = self.view.nodes[node].task.as_deref();
            let mut parts = by_node.remove(self.view.graph.nodes[node].id.as_str()).unwrap_or_default();
            // By number: `m[9]` comes before `m[10]`.
            parts.sort_by_key(|(id, _)| (id.len(), *id));
            // Of a node in a loop the last iteration is the one that counts.
            let is_itself = |(id, _): &(&str, &Value)| {
                Address::of(id).iteration.is_none() && Some(Address::lasting(id).as_str()) == own
            };
            let itself = parts.iter().rposition(is_itself).map(|at| parts.remove(at));
            lines.push(self.node_line(node, prefix, itself.map(|(_, task)| task), width));
            lines.extend(self.parts(parts, below, width));
        }
        lines
    }

    fn width(&self) -> usize {
        let long = |line: &Line| match line {
            Line::Node { node, prefix, .. } => prefix.len() + self.view.graph.nodes[*node].id.chars().count(),
            Line::Heading(_) => 0,
        };
        self.view.lines.iter().map(long).max().unwrap_or(0).min(40)
    }

    fn node_line(&self, node: usize, prefix: &str, task: Option<&Value>, width: usize) -> String {
        let state = self.view.state(node);
        let mut facts: Vec<String> = task.and_then(took).into_iter().collect();
        let repeat = self.view.graph.nodes[node].repeat.as_ref();
        facts.extend(state.facts(repeat.map(|(most, _)| *most)));
        let remark = task.map_or(String::new(), |task| remark(task, self.view.graph.nodes[node].members.is_none()));
        self.line(state.status, prefix, &self.view.graph.nodes[node].id, &facts, &remark, width)
    }

    /// Instances and iterations: those that failed first, unless all are asked for.
    fn parts(&self, mut parts: Vec<(&str, &Value)>, below: &str, width: usize) -> Vec<String> {
        let prefix = format!("{below}  ");
        let mut rest = Vec::new();
        if !self.all && parts.len() > PARTS_MAX {
            parts.sort_by_key(|(_, task)| status_of(task) != Status::Failed);
            rest = parts.split_off(PARTS_MAX);
        }
        let mut lines: Vec<String> = parts
            .iter()
            .map(|(id, task)| {
                let mut facts: Vec<String> = took(task).into_iter().collect();
                facts.extend(task["attempts"].as_u64().filter(|n| *n > 1).map(|n| format!("{n} attempts")));
                self.line(status_of(task), &prefix, id, &facts, &remark(task, true), width)
            })
            .collect();
        if !rest.is_empty() {
            let mut tally = Tally::default();
            rest.iter().for_each(|(_, task)| tally.moved(None, Some(status_of(task))));
            let counts: Vec<String> = tally
                .present()
                .map(|(status, n)| format!("{} {}", grouped(n.into()), status.as_str().to_lowercase()))
                .collect();
            let more = format!("{prefix}… and {} more: {}  (--all)", grouped(rest.len() as u64), counts.join(", "));
            lines.push(format!("{:11}{}", "", self.paint.dim(&more)));
        }
        lines
    }

    fn line(&self, status: Status, prefix: &str, id: &str, facts: &[String], remark: &str, width: usize) -> String {
        let pad = " ".repeat(width.saturating_sub(prefix.len() + id.chars().count()));
        let shown = self.paint.status(status, &format!("{:<9}", status.as_str()));
        let facts = format!("{:<8}", facts.join(" · "));
        let (prefix, facts) = (self.paint.dim(prefix), self.paint.dim(&facts));
        format!("{shown}  {prefix}{id}{pad}  {facts}  {remark}").trim_end().to_owned()
    }

    /// What waits for somebody, and the commands that answer it.
    fn questions(&self) -> Vec<String> {
        let run = short(self.document.run_id);
        let commands = self.view.waiting.iter().filter_map(|(task, waiting)| waits::choice(&run, task, waiting));
        let mut lines: Vec<String> = commands
            .take(PARTS_MAX + 1)
            .map(|command| format!("{} {command}", self.paint.help("answer with:")))
            .collect();
        if lines.len() > PARTS_MAX {
            lines.truncate(PARTS_MAX);
            lines.push(format!("… and more: segue approvals list --run {run}"));
        }
        lines
    }
}

fn status_of(task: &Value) -> Status {
    task["status"].as_str().and_then(Status::from_name).unwrap_or(Status::Pending)
}

/// The error, what it waits for, why it was skipped, or, if that is asked for, the output.
fn remark(task: &Value, with_output: bool) -> String {
    let text = match (&task["error"], &task["output"]) {
        (Value::Object(error), _) => {
            let part = |key: &str| error.get(key).and_then(Value::as_str).unwrap_or_default();
            format!("{}: {}", part("kind"), part("message"))
        }
        (_, Value::Null) => match (serde_json::from_value(task["waiting"].clone()), task["waits_for"].as_array()) {
            (Ok(waiting), _) => format!("waits for {}", waits::what(&waiting)),
            (Err(_), Some(limits)) => format!("waits for {}", waits::told_limits(limits)),
            (Err(_), None) => task["reason"]["message"].as_str().unwrap_or_default().to_owned(),
        },
        _ if !with_output => String::new(),
        (_, Value::String(text)) => text.clone(),
        (_, other) => other.to_string(),
    };
    one_line(&text, OUTPUT_CHARS_MAX)
}

fn took(task: &Value) -> Option<String> {
    let time = |key: &str| task[key].as_str()?.parse::<segue_core::time::Timestamp>().ok();
    Some(span(time("finished_at")?.since(time("started_at")?)))
}

/// A task's output, whole: used by `runs result`.
pub(super) fn whole(output: &Value, json: bool) -> String {
    if json { output.to_string() } else { value(output) }
}
