//! What happens in the world of a run, one thing after the other.

use std::time::Duration;

use segue_core::{
    ids::{RunId, TaskId},
    outcome::{Loss, TaskOutcome},
    run::Input,
};

use super::{
    children, people,
    workers::{self, Mail},
    world::World,
};

impl World {
    pub(super) fn hostile_step(&mut self) -> Result<(), String> {
        let mood = self.mood;
        if self.chance(mood.draining) {
            self.drain()?;
        }
        if self.chance(mood.crashing / 3) {
            self.history.push("the engine crashes between two commits".into());
            self.take_over()?;
        }
        let inputs = if self.rng.u8(..4) == 0 { self.rng.usize(1..4) } else { 1 };
        let mut batch: Vec<Input> = (0..inputs).filter_map(|_| self.next_input()).collect();
        let completes = matches!(batch.first(), Some(Input::TaskEnded { .. }));
        if completes && self.chance(mood.racing) {
            let at = self.rng.usize(..=batch.len());
            batch.insert(at, Input::Cancel { reason: "somebody asked at the same time".into() });
        }
        if batch.is_empty() {
            self.pass_time();
            return Ok(());
        }
        self.transact(batch)
    }

    /// What happens next, if anything does.
    fn next_input(&mut self) -> Option<Input> {
        let mood = self.mood;
        let ready: Vec<TaskId> = self.run.ready(self.now).cloned().collect();
        let due: Vec<usize> = (0..self.mail.len()).filter(|&ix| self.mail[ix].at <= self.now).collect();
        let late = self.run.wake_at(self.now).is_some_and(|at| at <= self.now);
        if self.chance(mood.nuisance) {
            return Some(self.nuisance());
        }
        if self.chance(mood.cancelling) {
            return Some(Input::Cancel { reason: "somebody asked".into() });
        }
        if self.run.status().is_terminal() && self.reopens_left > 0 && self.chance(40) {
            self.reopens_left -= 1;
            return Some(Input::Reopen);
        }
        match self.rng.u8(..10) {
            0..=3 if !ready.is_empty() => {
                let ix = if self.rng.bool() { 0 } else { self.rng.usize(..ready.len()) };
                Some(Input::TaskAccepted { task: ready[ix].clone() })
            }
            4..=6 if !due.is_empty() => {
                let mail = self.mail.swap_remove(due[self.rng.usize(..due.len())]);
                Some(mail.input(&mut self.rng))
            }
            7..=8 if late => Some(Input::Woke { jitter: self.rng.f64() }),
            _ if self.chance(2) => Some(Input::Woke { jitter: self.rng.f64() }),
            _ => None,
        }
    }

    /// Something that makes no sense, or comes from the past.
    fn nuisance(&mut self) -> Input {
        let names = self.auditor.names();
        let mut task = names[self.rng.usize(..names.len())].clone();
        match self.rng.u8(..15) {
            14 => {
                let attempts = self.auditor.attempts(&task);
                match self.children.of(&self.run.effect_key(&task)).filter(|_| self.rng.bool()) {
                    Some(child) => Input::TaskWaits { task, attempt: attempts, waiting: children::waiting(child) },
                    None => {
                        let waiting = children::waiting(RunId::from_bytes([1; 16]));
                        Input::TaskWaits { task, attempt: attempts + 9, waiting }
                    }
                }
            }
            10..=13 => people::nuisance(&mut self.rng, &names).input(&mut self.rng),
            0..=2 => Input::TaskAccepted { task },
            3..=8 => {
                let attempts = self.auditor.attempts(&task);
                let attempt = if self.rng.bool() { attempts + 1 } else { self.rng.u32(..=attempts.max(1)) };
                if self.rng.u8(..20) == 0 {
                    task = TaskId::from("nobody");
                }
                Input::TaskEnded {
                    task,
                    attempt,
                    outcome: workers::outcome(&mut self.rng, self.mood),
                    jitter: self.rng.f64(),
                }
            }
            _ => Input::Reopen,
        }
    }

    fn pass_time(&mut self) {
        let next = self.mail.iter().map(|mail| mail.at).chain(self.run.wake_at(self.now)).min();
        match self.rng.u8(..20) {
            0 => self.now = self.now.plus(Duration::from_secs(self.rng.u64(..300))),
            1..=3 => self.now = self.now.plus(Duration::from_millis(self.rng.u64(..2_000))),
            4..=5 => {}
            _ => self.now = self.now.max(next.unwrap_or(self.now)),
        }
    }

    /// Answers come, nothing crashes, the clock goes on.
    pub(super) fn kind_step(&mut self) -> Result<(), String> {
        let now = self.now;
        self.follow_children();
        if let Some(ix) = (0..self.mail.len()).find(|&ix| self.mail[ix].at <= now) {
            let input = self.mail.swap_remove(ix).input(&mut self.rng);
            return self.transact_calmly(input);
        }
        if self.run.wake_at(now).is_some_and(|at| at <= now) {
            return self.transact_calmly(Input::Woke { jitter: 0.5 });
        }
        let ready = self.run.ready(now).next().cloned();
        if let Some(task) = ready {
            return self.transact_calmly(Input::TaskAccepted { task });
        }
        let silent =
            self.run.running().find(|(task, attempt)| !self.mail.iter().any(|mail| mail.is_of(task, *attempt)));
        if let Some((task, attempt)) = silent.map(|(task, attempt)| (task.clone(), attempt)) {
            let outcome = TaskOutcome::lost(Loss::Worker, "it was found dead");
            self.mail.push(workers::mail(now, &task, attempt, outcome));
            return Ok(());
        }
        let next = self.mail.iter().map(|mail| mail.at).chain(self.run.wake_at(now)).min();
        if next.is_none()
            && let Some((task, _)) = self.auditor.waiting().into_iter().find(|(_, waiting)| people::can_answer(waiting))
        {
            let letter = people::good_answer(&mut self.rng, &self.auditor, &task).ok_or("no answer fits")?;
            self.mail.push(Mail { at: now, letter });
            return Ok(());
        }
        match next {
            Some(next) => self.now = next,
            None => return Err("nothing is on its way, and the run has not ended".into()),
        }
        Ok(())
    }

    fn transact_calmly(&mut self, input: Input) -> Result<(), String> {
        self.handle(input)?;
        self.reconcile();
        Ok(())
    }
}
