//! The live picture of a run: as many lines as fit, the ones that matter first.

use segue_core::{status::Status, time::Timestamp};

use super::view::{RunView, TaskView};
use crate::{
    render::text::{count, harmless, one_line, span},
    terminal::Paint,
};

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
    let mut lines = vec![headline(view, now, size, paint)];
    if view.tasks.len() < room {
        let width = view.tasks.iter().map(|task| chars(&task.prefix) + chars(&task.id)).max().unwrap_or(0).min(40);
        lines.extend(view.tasks.iter().map(|task| line(task, true, width, now, size, paint)));
        return lines;
    }
    // What does not fit is counted. First what runs, the longest first, and what failed; then what ended last.
    let mut shown: Vec<&TaskView> = view.tasks.iter().collect();
    let age = |task: &TaskView| match task.status {
        Status::Running => task.started_at.map_or(0, Timestamp::as_micros),
        _ => task.finished_at.map_or(0, |time| -time.as_micros()),
    };
    shown.sort_by_key(|task| (rank(task.status), age(task)));
    let rest = shown.split_off(room.saturating_sub(2).min(shown.len()));
    let width = shown.iter().map(|task| chars(&task.id)).max().unwrap_or(0).min(40);
    lines.extend(shown.iter().map(|task| line(task, false, width, now, size, paint)));
    let counts: Vec<String> =
        RunView::counts(&rest).iter().map(|(status, n)| format!("{n} {}", status.as_str().to_lowercase())).collect();
    let more = format!("  … and {}: {}", count(rest.len() as u64, "task"), counts.join(", "));
    lines.push(paint.dim(&one_line_kept(&more, size.columns - 1)));
    lines
}

const fn rank(status: Status) -> u8 {
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

fn headline(view: &RunView, now: Timestamp, size: Size, paint: Paint) -> String {
    let done = view.tasks.iter().filter(|task| task.status.is_terminal()).count();
    let state = if view.cancelling && !view.status.is_terminal() { "CANCELLING" } else { view.status.as_str() };
    let mut facts = vec![format!("{done}/{} done", view.tasks.len())];
    if let Some(started) = view.started_at {
        facts.push(span(view.finished_at.unwrap_or(now).since(started)));
    }
    if view.tokens() > 0 {
        facts.push(count(view.tokens(), "token"));
    }
    let facts = one_line_kept(&format!("  {}", facts.join(" · ")), (size.columns - 1).saturating_sub(state.len() + 2));
    let title = one_line(&view.title, (size.columns - 1).saturating_sub(state.len() + 1 + chars(&facts)));
    format!("{} {}{}", paint.status(view.status, state), paint.bold(&title), paint.dim(&facts))
}

fn line(task: &TaskView, tree: bool, width: usize, now: Timestamp, size: Size, paint: Paint) -> String {
    let prefix = if tree {
        task.prefix.replace("|--", "├──").replace("`--", "└──").replace('|', "│")
    } else {
        String::new()
    };
    let pad = " ".repeat(width.saturating_sub(chars(&prefix) + chars(&task.id)));
    let mut facts = Vec::new();
    facts.extend(task.elapsed(now).map(span));
    // What is said of an attempt that failed begins with its number.
    if task.attempt > 1 && !task.note.starts_with("attempt ") {
        facts.push(format!("attempt {}", task.attempt));
    }
    if task.tokens() > 0 {
        facts.push(count(task.tokens(), "token"));
    }
    let mut rest = facts.join(" · ");
    let remark = if task.note.is_empty() && task.status == Status::Pending {
        task.name.clone().unwrap_or_default()
    } else {
        task.note.clone()
    };
    if !remark.is_empty() {
        rest = if rest.is_empty() { remark } else { format!("{rest}  {remark}") };
    }
    let state = format!("{:<9}", task.status);
    let used = 2 + 2 + 9 + 1 + chars(&prefix) + chars(&task.id) + pad.len() + 2;
    let rest = one_line_kept(&harmless(&rest), (size.columns - 1).saturating_sub(used));
    let id = one_line_kept(&task.id, (size.columns - 1).saturating_sub(14 + chars(&prefix)));
    format!(
        "{} {}  {}{id}{pad}  {}",
        paint.status(task.status, mark(task.status, now)),
        paint.status(task.status, &state),
        paint.dim(&prefix),
        paint.dim(&rest)
    )
    .trim_end()
    .to_owned()
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
#[allow(clippy::unwrap_used)]
mod tests {
    use segue_core::{
        event::Envelope,
        ids::{RunId, TaskId, WorkflowId},
        spec::WorkflowSpec,
    };
    use serde_json::{Value, json};

    use super::*;

    const RUN: RunId = RunId::from_bytes([7; 16]);

    fn event(seq: u64, name: &str, task: Option<&str>, data: Value) -> Envelope {
        Envelope {
            seq,
            name: name.to_owned(),
            time: Timestamp::from_micros(i64::try_from(seq).unwrap() * 1_000_000),
            workflow_id: WorkflowId::new("w"),
            run_id: RUN,
            task_id: task.map(TaskId::from),
            attempt: task.map(|_| 1),
            data,
            transient: false,
        }
    }

    fn chain(n: usize) -> RunView {
        let nodes: Vec<Value> = (0..n)
            .map(|at| match at {
                0 => json!({"id": "t0"}),
                at => json!({"id": format!("t{at}"), "depends_on": [format!("t{}", at - 1)]}),
            })
            .collect();
        let spec: WorkflowSpec = serde_json::from_value(json!({"id": "w", "name": "A chain", "nodes": nodes})).unwrap();
        RunView::new(&spec)
    }

    #[test]
    fn a_small_run_is_shown_whole() {
        let mut view = chain(2);
        view.apply(&event(1, "run.created", None, json!({})));
        view.apply(&event(2, "run.started", None, json!({})));
        view.apply(&event(3, "task.started", Some("t0"), json!({})));
        view.apply(&event(5, "task.succeeded", Some("t0"), json!({"usage": {"input_tokens": 10, "output_tokens": 2}})));
        view.apply(&event(5, "task.started", Some("t1"), json!({})));
        let now = Timestamp::from_micros(6_000_000);
        let lines = frame(&view, now, Size { columns: 80, rows: 24 }, Paint::none());
        assert_eq!(
            lines,
            [
                "RUNNING A chain  1/2 done · 4.0 s · 12 tokens",
                "✔ SUCCEEDED  t0  2.0 s · 12 tokens",
                "◐ RUNNING    t1  1.0 s"
            ]
        );
    }

    #[test]
    fn a_large_run_fits_and_shows_what_matters() {
        let mut view = chain(10_000);
        view.apply(&event(2, "run.started", None, json!({})));
        view.apply(&event(3, "task.failed", Some("t7000"), json!({"error": {"kind": "exit", "message": "code 1"}})));
        view.apply(&event(4, "task.started", Some("t9000"), json!({})));
        let now = Timestamp::from_micros(4_000_000);
        for size in [Size { columns: 80, rows: 10 }, Size { columns: 20, rows: 4 }] {
            let lines = frame(&view, now, size, Paint::none());
            assert!(lines.len() < size.rows, "{lines:#?}");
            assert!(lines.iter().all(|line| chars(line) < size.columns), "{lines:#?}");
            assert!(lines[1].contains("RUNNING"), "{lines:#?}");
        }
        let lines = frame(&view, now, Size { columns: 80, rows: 10 }, Paint::none());
        assert_eq!(lines[2], "✘ FAILED     t7000  exit: code 1");
        assert_eq!(lines[8], "  … and 9,993 tasks: 9993 pending");
    }
}
