//! The live picture of a run: as many lines as fit, the ones that matter first.

use segue_core::{status::Status, time::Timestamp};

use super::view::RunView;
use crate::{
    graph::{BlockKind, Line, Work},
    render::{
        text::{count, grouped, harmless, one_line, span},
        waits,
    },
    run_ref::short,
    terminal::Paint,
};

/// Instances of one node that get a line of their own.
const INSTANCES_MAX: usize = 4;
/// Columns of the tree and the ids in it; what is longer pushes its remarks to the right.
const WIDTH_MAX: usize = 40;

/// The size of the terminal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) columns: usize,
    pub(crate) rows: usize,
}

impl Size {
    /// Of the process's terminal.
    pub(crate) fn of_terminal() -> Self {
        let (columns, rows) = crossterm::terminal::size().unwrap_or((80, 24));
        Self { columns: usize::from(columns).max(20), rows: usize::from(rows).max(4) }
    }
}

/// The picture at `now`: fewer lines than `size` has rows, none as wide as it has columns.
pub(crate) fn frame(view: &RunView, now: Timestamp, size: Size, paint: Paint) -> Vec<String> {
    let room = size.rows - 1;
    let canvas = Canvas { view, now, columns: size.columns - 1, paint };
    let mut lines = vec![canvas.headline()];
    let questions = canvas.questions(room / 3);
    let room_for_tasks = room - questions.len() - 1;
    let mut entries = canvas.tree(INSTANCES_MAX);
    if entries.len() > room_for_tasks {
        entries = canvas.tree(0);
    }
    if entries.len() <= room_for_tasks {
        lines.extend(canvas.drawn(&entries));
    } else {
        lines.extend(canvas.what_matters(room_for_tasks));
    }
    lines.extend(questions);
    lines
}

const fn importance(status: Status) -> u8 {
    match status {
        Status::Running => 0,
        Status::Failed => 1,
        Status::Waiting => 2,
        Status::Cancelled => 3,
        Status::Succeeded => 4,
        Status::Pending => 5,
        Status::Skipped => 6,
    }
}

/// What a line of the picture is about.
enum Entry {
    Heading(&'static str),
    Task { prefix: String, id: String, status: Status, facts: String },
}

struct Canvas<'a> {
    view: &'a RunView,
    now: Timestamp,
    columns: usize,
    paint: Paint,
}

impl Canvas<'_> {
    fn headline(&self) -> String {
        let Self { view, columns, paint, .. } = self;
        let (done, all) = view.done();
        let state = if view.cancelling && !view.status.is_terminal() { "CANCELLING" } else { view.status.as_str() };
        let mut facts = vec![format!("{}/{} done", grouped(done as u64), grouped(all as u64))];
        if let Some(started) = view.started_at {
            facts.push(span(view.finished_at.unwrap_or(self.now).since(started)));
        }
        if view.tokens > 0 {
            facts.push(count(view.tokens, "token"));
        }
        let facts = one_line_kept(&format!("  {}", facts.join(" · ")), columns.saturating_sub(state.len() + 2));
        let title = one_line(&view.title, columns.saturating_sub(state.len() + 1 + chars(&facts)));
        format!("{} {}{}", paint.status(view.status, state), paint.bold(&title), paint.dim(&facts))
    }

    /// What waits for somebody, and how to answer it: at most `most` lines.
    fn questions(&self, most: usize) -> Vec<String> {
        let Some(run) = self.view.run.filter(|_| !self.view.status.is_terminal()) else { return Vec::new() };
        let run = short(run);
        let commands = |(task, waiting): (&String, _)| waits::choice(&run, task, waiting);
        let mut lines: Vec<String> = self.view.waiting.iter().filter_map(commands).take(most + 1).collect();
        let all = self.view.waiting.values().filter(|waiting| waits::is_for_somebody(waiting)).count();
        if all > most {
            lines.truncate(most.saturating_sub(1));
            lines.push(format!("… {} tasks wait for an answer: segue approvals list", all));
            lines.truncate(most);
        }
        let label = "answer: ";
        let line = |text: String| {
            format!("{}{}", self.paint.help(label), one_line_kept(&text, self.columns.saturating_sub(label.len())))
        };
        lines.into_iter().map(line).collect()
    }

    /// The lines of the tree, and of the instances that are of interest: at most so many a node.
    fn tree(&self, instances_max: usize) -> Vec<Entry> {
        let mut entries = Vec::new();
        let mut lines = self.view.lines.iter().peekable();
        while let Some(line) = lines.next() {
            match line {
                // What was not needed is not shown.
                Line::Heading(_) if !self.is_needed(lines.peek().copied()) => {
                    while lines.next_if(|line| matches!(line, Line::Node { .. })).is_some() {}
                }
                Line::Heading(heading) => entries.push(Entry::Heading(heading)),
                Line::Node { node, prefix, below, .. } => {
                    entries.push(self.of_node(*node, prefix));
                    if instances_max > 0 {
                        self.instances(*node, below, instances_max, &mut entries);
                    }
                }
            }
        }
        entries
    }

    /// Is there anything to say about the block that begins with this line? Nodes for a failure may never be needed.
    fn is_needed(&self, first: Option<&Line>) -> bool {
        let Some(Line::Node { node, .. }) = first else { return false };
        let block = &self.view.graph.blocks[self.view.graph.nodes[*node].block];
        let idle = |node: &usize| matches!(self.view.state(*node).status, Status::Pending | Status::Skipped);
        block.kind != BlockKind::OnFailure || !block.nodes.iter().all(idle)
    }

    fn of_node(&self, at: usize, prefix: &str) -> Entry {
        let (view, node) = (self.view, &self.view.graph.nodes[at]);
        let state = view.state(at);
        let task = view.task_of(at);
        let mut facts = Vec::new();
        facts.extend(state.parts.map(|parts| parts.text()));
        facts.extend(state.iteration.map(|iteration| match &node.repeat {
            Some((most, _)) => format!("#{iteration}/{most}"),
            None => format!("#{iteration}"),
        }));
        facts.extend(task.and_then(|task| task.elapsed(self.now)).map(span));
        let note = task.map_or("", |task| task.note.as_str());
        // What is said of an attempt that failed begins with its number.
        if state.attempts > 1 && !note.starts_with("attempt ") {
            facts.push(format!("attempt {}", state.attempts));
        }
        if state.reused {
            facts.push("reused".to_owned());
        }
        let tokens = view.nodes[at].tokens;
        if tokens > 0 {
            facts.push(count(tokens, "token"));
        }
        let name = node.name.as_deref().unwrap_or_default();
        let limits = view.limits_of(at).map(|limits| format!("waits for {limits}"));
        let remark = match &limits {
            Some(limits) if note.is_empty() || state.status == Status::Pending => limits,
            _ if note.is_empty() && state.status == Status::Pending => name,
            _ => note,
        };
        Entry::Task {
            prefix: prefix.to_owned(),
            id: node.id.clone(),
            status: state.status,
            facts: joined(&facts, remark),
        }
    }

    fn instances(&self, at: usize, below: &str, most: usize, entries: &mut Vec<Entry>) {
        // What a group does is seen in its members.
        let is_group = self.view.graph.nodes[at].work == Work::Group;
        let worth_a_line = |status| !(is_group && status == Status::Running);
        let before = entries.len();
        for (id, task) in self.view.notable(at).filter(|(_, task)| worth_a_line(task.status)).take(most) {
            let mut facts = Vec::new();
            facts.extend(task.iteration.map(|iteration| format!("#{iteration}")));
            facts.extend(task.elapsed(self.now).map(span));
            if task.attempt > 1 && !task.note.starts_with("attempt ") {
                facts.push(format!("attempt {}", task.attempt));
            }
            entries.push(Entry::Task {
                prefix: format!("{below}  "),
                id: id.to_owned(),
                status: task.status,
                facts: joined(&facts, &task.note),
            });
        }
        let more = self.view.notable_len(at).saturating_sub(entries.len() - before);
        if more > 0
            && !is_group
            && let Some(Entry::Task { facts, .. }) = entries.last_mut()
        {
            *facts = format!("{facts}  (and {more} more)");
        }
    }

    fn drawn(&self, entries: &[Entry]) -> Vec<String> {
        let long = |entry: &Entry| match entry {
            Entry::Task { prefix, id, .. } => chars(prefix) + chars(id),
            Entry::Heading(_) => 0,
        };
        let width = entries.iter().map(long).max().unwrap_or(0).min(WIDTH_MAX);
        entries.iter().map(|entry| self.line(entry, width)).collect()
    }

    fn line(&self, entry: &Entry, width: usize) -> String {
        let (prefix, id, status, facts) = match entry {
            Entry::Heading(heading) => return self.paint.dim(&one_line_kept(&format!("  {heading}"), self.columns)),
            Entry::Task { prefix, id, status, facts } => (prefix, id, *status, facts),
        };
        let prefix = prefix.replace("|--", "├──").replace("`--", "└──").replace('|', "│").replace(": ", "┊ ");
        let pad = " ".repeat(width.saturating_sub(chars(&prefix) + chars(id)));
        let used = 2 + 2 + 9 + 1 + chars(&prefix) + chars(id) + pad.len() + 2;
        let facts = one_line_kept(&harmless(facts), self.columns.saturating_sub(used));
        let prefix = one_line_kept(&prefix, self.columns.saturating_sub(14));
        let id = one_line_kept(id, self.columns.saturating_sub(14 + chars(&prefix)));
        format!(
            "{} {}  {}{id}{pad}  {}",
            self.paint.status(status, mark(status, self.now)),
            self.paint.status(status, &format!("{:<9}", status.as_str())),
            self.paint.dim(&prefix),
            self.paint.dim(&facts)
        )
        .trim_end()
        .to_owned()
    }

    /// What does not fit is counted. First what runs, the longest first, and what failed; then what ended last.
    fn what_matters(&self, room: usize) -> Vec<String> {
        let mut shown: Vec<usize> = (0..self.view.nodes.len()).collect();
        shown.sort_by_cached_key(|&node| {
            let status = self.view.state(node).status;
            let task = self.view.task_of(node);
            let age = match status {
                Status::Running => task.and_then(|task| task.started_at).map_or(0, Timestamp::as_micros),
                _ => task.and_then(|task| task.finished_at).map_or(0, |time| -time.as_micros()),
            };
            (importance(status), age)
        });
        let rest = shown.split_off(room.saturating_sub(1).min(shown.len()));
        let entries: Vec<Entry> = shown.into_iter().map(|node| self.of_node(node, "")).collect();
        let mut lines = self.drawn(&entries);
        let counts: Vec<String> = self
            .view
            .counts(&rest)
            .iter()
            .map(|(status, n)| format!("{n} {}", status.as_str().to_lowercase()))
            .collect();
        let more = format!("  … and {}: {}", count(rest.len() as u64, "task"), counts.join(", "));
        lines.push(self.paint.dim(&one_line_kept(&more, self.columns)));
        lines
    }
}

fn joined(facts: &[String], remark: &str) -> String {
    let facts = facts.join(" · ");
    match (facts.is_empty(), remark.is_empty()) {
        (_, true) => facts,
        (true, false) => remark.to_owned(),
        (false, false) => format!("{facts}  {remark}"),
    }
}

/// One sign a state, so that a picture without colour can be read at a glance too.
fn mark(status: Status, now: Timestamp) -> &'static str {
    match status {
        Status::Running => ["◐", "◓", "◑", "◒"][usize::try_from(now.as_micros() / 250_000 % 4).unwrap_or(0)],
        Status::Succeeded => "✔",
        Status::Failed => "✘",
        Status::Waiting => "⏸",
        Status::Cancelled => "■",
        Status::Skipped => "↷",
        Status::Pending => "·",
    }
}

fn chars(text: &str) -> usize {
    text.chars().count()
}

/// Cut to `width` characters; leading spaces stay.
fn one_line_kept(text: &str, width: usize) -> String {
    if chars(text) <= width {
        return text.replace('\n', " ");
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    if width == 0 { String::new() } else { format!("{}…", kept.replace('\n', " ")) }
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
