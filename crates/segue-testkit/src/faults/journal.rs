//! What happened, in order.

use std::sync::{Mutex, MutexGuard, PoisonError};

use segue_core::event::Event;

/// Lines that stores and adapters of a test write, in the order in which things happened.
#[derive(Debug, Default)]
pub struct Journal(Mutex<Vec<String>>);

impl Journal {
    /// This happened.
    pub fn note(&self, what: String) {
        self.lock().push(what);
    }

    /// What happened so far.
    pub fn lines(&self) -> Vec<String> {
        self.lock().clone()
    }

    /// Forgets it.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Events in short: `task.started` of the first attempt at `b` is `started:b@1`.
pub fn names(events: &[Event]) -> Vec<String> {
    events
        .iter()
        .map(|event| {
            let name = event.kind.name();
            match (&event.task_id, event.attempt) {
                (Some(task), Some(attempt)) => format!("{}:{task}@{attempt}", name.trim_start_matches("task.")),
                (Some(task), None) => format!("{}:{task}", name.trim_start_matches("task.")),
                _ => name.to_owned(),
            }
        })
        .collect()
}
