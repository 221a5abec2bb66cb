//! What the effects of a task are known by.

use std::fmt::Write as _;

use super::Run;
use crate::ids::TaskId;

impl Run {
    /// What an effect of the task is keyed by, so that its receiver can tell a repetition: `run_id/task_id`, the same
    /// over attempts, restarts and engines. When a loop edge runs the same tasks again, they have other effects: then
    /// `~n` follows, the how-manieth time it is, for each loop around the task that has gone round.
    pub fn effect_key(&self, task: &TaskId) -> String {
        let mut laps = Vec::new();
        let mut part = self.find(task);
        while let Some(ix) = part {
            laps.extend(Some(self.task(ix)).filter(|task| task.round > 0).map(|task| task.laps));
            part = self.parent(ix);
        }
        let mut key = format!("{}/{task}", self.id());
        if laps.iter().any(|&laps| laps > 0) {
            for (at, laps) in laps.iter().rev().enumerate() {
                write!(key, "{}{}", if at == 0 { '~' } else { '.' }, laps + 1).expect("a string takes every text");
            }
        }
        key
    }
}
