//! A run as lines of text, one an event, for where nothing can be redrawn. Of a node with many instances every so many
//! are one line: ten thousand lines that say the same hide the one that does not.

use std::collections::HashMap;

use segue_core::event::Envelope;

use super::RunView;
use crate::{
    graph::Address,
    render::{event_line, waits},
    run_ref::short,
    terminal::Paint,
};

/// Nodes with more instances than this are counted.
const INSTANCES_MAX: u32 = 10;
/// A node that is counted gets a line each time this part of its instances has ended.
const STEPS: u32 = 10;
/// Of the failures among them so many are told one by one.
const FAILURES_MAX: u32 = 20;

/// Turns events into lines.
#[derive(Debug, Default)]
pub(crate) struct EventLines {
    /// By node: how many instances it has.
    mapped: HashMap<String, u32>,
    /// By node: the last step that was told, and the failures.
    told: HashMap<String, (u32, u32)>,
}

impl EventLines {
    /// The lines for `event`, which `view` has taken in already.
    pub(crate) fn of(&mut self, event: &Envelope, view: &RunView, paint: Paint) -> Vec<String> {
        let Some(task) = &event.task_id else { return vec![event_line::of(event, paint)] };
        // What a model says as it says it: a few letters, and the whole of it comes with the result.
        if event.name == "task.token" {
            return Vec::new();
        }
        let node = Address::of(task.as_str()).node;
        if event.name == "task.mapped" {
            let n = event.data["n"].as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
            self.mapped.insert(task.to_string(), n);
            self.told.remove(node);
        }
        match self.many(task.as_str()) {
            Some(mapped) if is_routine(event) => self.step(&mapped, event, view, paint),
            Some(mapped) => {
                let (_, failures) = self.told.entry(mapped).or_default();
                *failures += 1;
                if *failures <= FAILURES_MAX { vec![event_line::of(event, paint)] } else { Vec::new() }
            }
            None => self.whole(event, view, paint),
        }
    }

    fn whole(&self, event: &Envelope, view: &RunView, paint: Paint) -> Vec<String> {
        let mut lines = vec![event_line::of(event, paint)];
        if let Some(task) = &event.task_id
            && let Some(waiting) = view.waiting.get(task.as_str()).filter(|_| event.name == "task.waiting")
            && let Some(command) = waits::choice(&short(event.run_id), task.as_str(), waiting)
        {
            lines.push(format!("{:14}{} {command}", "", paint.help("answer with:")));
        }
        lines
    }

    /// The `foreach` task that this one is a part of, if that has many.
    fn many(&self, task: &str) -> Option<String> {
        let mut known = self.mapped.iter().filter(|(_, n)| **n > INSTANCES_MAX).map(|(mapped, _)| mapped);
        known.find(|mapped| task.strip_prefix(mapped.as_str()).is_some_and(|rest| rest.starts_with('['))).cloned()
    }

    fn step(&mut self, mapped: &str, event: &Envelope, view: &RunView, paint: Paint) -> Vec<String> {
        let Some(node) = view.node(Address::of(mapped).node) else { return Vec::new() };
        let Some(parts) = view.state(node).parts else { return Vec::new() };
        let step = parts.done * STEPS / parts.total.max(1);
        let (told, _) = self.told.entry(mapped.to_owned()).or_default();
        if step <= *told {
            return Vec::new();
        }
        *told = step;
        let time = event.time.to_string();
        vec![format!("{}  {:<15}  {mapped}  {}", paint.dim(time.get(11..23).unwrap_or(&time)), "", parts.text())]
    }
}

/// Does it say of one instance among many what all of them say?
fn is_routine(event: &Envelope) -> bool {
    let is_ordinary = matches!(
        event.name.as_str(),
        "task.started" | "task.succeeded" | "task.skipped" | "task.cancelled" | "loop.iterated" | "task.mapped"
    );
    is_ordinary || event.transient
}
