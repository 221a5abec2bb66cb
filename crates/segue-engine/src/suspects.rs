//! Tasks that may be what kills engines.
//!
//! The third engine that dies over a task puts it in quarantine, and whatever else was under way there is charged with that
//! death too. So a task over which two have died runs without others of its kind: the third death is that of one, and the
//! innocent ones get to their end.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard},
};

use segue_core::ports::Slot;

type Wake = Box<dyn FnOnce() + Send>;

/// The one place for them in an engine.
#[derive(Clone, Default)]
pub(crate) struct Suspects(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    is_taken: bool,
    waiting: Vec<Wake>,
}

/// A task's place that is also the one for suspects.
struct Alone {
    suspects: Suspects,
    _slot: Box<dyn Slot>,
}

impl Slot for Alone {}

impl Suspects {
    /// Is another one under way? Then `wake` is told when that is over.
    pub(crate) fn is_taken(&self, wake: impl FnOnce() -> Wake) -> bool {
        let mut state = self.lock();
        if state.is_taken {
            state.waiting.push(wake());
        }
        state.is_taken
    }

    /// Takes the place together with the task's own; `None` if somebody was faster.
    pub(crate) fn enter(&self, slot: Box<dyn Slot>) -> Option<Box<dyn Slot>> {
        if mem::replace(&mut self.lock().is_taken, true) {
            return None;
        }
        Some(Box::new(Alone { suspects: self.clone(), _slot: slot }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let mut state = self.suspects.lock();
        state.is_taken = false;
        let woken = mem::take(&mut state.waiting);
        drop(state);
        woken.into_iter().for_each(|wake| wake());
    }
}
