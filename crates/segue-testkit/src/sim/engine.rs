//! The world's engines: what they dispatch and follow, how they die, and how another takes over.

use std::time::Duration;

use segue_core::{
    event::{Event, Waiting},
    ids::TaskId,
    outcome::{Loss, TaskOutcome, Usage},
    payload::Payload,
    run::{Fold, Input, Run},
    status::Status,
};
use serde_json::json;

use super::{
    check, children, people,
    workers::{self, Letter, Mail},
    world::World,
};
use crate::auditor::audit;

impl World {
    /// Handles a batch and commits it, unless the engine dies.
    pub(super) fn transact(&mut self, batch: Vec<Input>) -> Result<(), String> {
        let committed = self.log.len();
        let rows = self.chance(self.mood.crashing).then(|| self.rows.clone());
        for input in batch {
            self.handle(input)?;
        }
        if let Some(rows) = rows {
            if self.rng.bool() {
                self.history.push("the engine crashes before the commit".into());
                self.log.truncate(committed);
                self.races.forget();
                self.rows = rows;
                self.coverage.saw("crash before commit");
            } else {
                self.history.push("the engine crashes after the commit".into());
                self.coverage.saw("crash after commit");
            }
            return self.take_over();
        }
        self.reconcile();
        Ok(())
    }

    /// The shell's part: dispatch what is owed, stop what is not.
    pub(super) fn reconcile(&mut self) {
        let running: Vec<(TaskId, u32)> = self.run.running().map(|(task, attempt)| (task.clone(), attempt)).collect();
        for (task, attempt) in running {
            if self.known.insert((task.clone(), attempt)) {
                if let Some(child) = self.run.node(&task).and_then(|node| node.child()) {
                    self.begin_child(&task, attempt, child.detach);
                    continue;
                }
                let timeout = self.run.node(&task).and_then(|node| node.timeout);
                let mail = workers::execute(&mut self.rng, self.mood, self.now, (&task, attempt), timeout);
                self.mail.extend(mail);
            }
            if self.run.is_stopping() && self.told.insert((task.clone(), attempt)) {
                let at = self.now.plus(Duration::from_millis(self.rng.u64(..3_000)));
                let outcome = TaskOutcome::Cancelled { usage: Usage::default() };
                self.mail.push(workers::mail(at, &task, attempt, outcome));
            }
        }
        self.follow_children();
        let waiting: Vec<(TaskId, Waiting)> = self.run.waiting().map(|(t, w)| (t.clone(), w.clone())).collect();
        self.asked.retain(|task| waiting.iter().any(|(waits, _)| waits == task));
        for (task, question) in waiting {
            if !matches!(question, Waiting::Time { .. } | Waiting::Child { .. }) && self.asked.insert(task.clone()) {
                self.mail.extend(people::answers(&mut self.rng, self.mood, self.now, &task, &question));
            }
        }
        if self.run.status().is_terminal() && self.run.status() == Status::Succeeded {
            self.reopens_left = 0;
        }
    }

    /// The attempt starts its child run, or finds it, and says so: once, twice, or never.
    fn begin_child(&mut self, task: &TaskId, attempt: u32, detach: bool) {
        let Self { rng, mood, now, coverage, .. } = self;
        let child = self.children.begin(rng, *mood, *now, self.run.effect_key(task), coverage);
        let at = now.plus(Duration::from_millis(rng.u64(..500)));
        if detach {
            coverage.saw("child detached");
            self.mail.push(workers::mail(at, task, attempt, TaskOutcome::success(json!({ "run_id": child }))));
            return;
        }
        for _ in 0..1 + u8::from(self.rng.u8(..100) < self.mood.doubled) {
            if self.rng.u8(..100) >= self.mood.hanging {
                let letter = Letter::Waits { task: task.clone(), attempt, waiting: children::waiting(child) };
                self.mail.push(Mail { at, letter });
            }
        }
    }

    /// Waits for the child runs that are awaited, and stops those that are so no longer.
    pub(super) fn follow_children(&mut self) {
        let awaiting: Vec<_> =
            self.run.awaiting().map(|(task, attempt, child)| (task.clone(), attempt, child)).collect();
        for (task, attempt, child) in &awaiting {
            let is_wanted = !self.run.is_stopping();
            let is_news = match is_wanted {
                true => self.followed.insert((task.clone(), *attempt, *child)),
                false => self.told.insert((task.clone(), *attempt)),
            };
            if !is_news {
                continue;
            }
            if !is_wanted && self.children.cancel(&mut self.rng, self.now, *child) {
                self.coverage.saw("child cancelled with its parent");
            }
            self.mail.extend(self.children.end(*child, task, *attempt));
        }
        let left: Vec<_> = self.followed.iter().filter(|one| !awaiting.contains(one)).cloned().collect();
        for one in left {
            self.followed.remove(&one);
            if self.children.cancel(&mut self.rng, self.now, one.2) {
                self.coverage.saw("child given up");
            }
        }
    }

    /// Another engine reads the log from disk and folds it. It has none of the attempts and says so.
    pub(super) fn take_over(&mut self) -> Result<(), String> {
        self.run = self.reload()?;
        self.folded = self.run.clone();
        self.auditor = audit(&self.case.spec, &self.log).map_err(|violation| violation.to_string())?;
        self.known.clear();
        self.told.clear();
        self.followed.clear();
        for _ in self.run.awaiting() {
            self.coverage.saw("child awaited by another engine");
        }
        let Self { rng, mail, .. } = self;
        mail.retain(|_| rng.bool());
        let lost: Vec<(TaskId, u32)> = self.run.running().map(|(task, attempt)| (task.clone(), attempt)).collect();
        for (task, attempt) in lost {
            let at = self.now.plus(Duration::from_millis(self.rng.u64(..2_000)));
            let outcome = TaskOutcome::lost(Loss::Engine, "its engine is gone");
            self.mail.push(workers::mail(at, &task, attempt, outcome));
            self.told.insert((task.clone(), attempt));
            self.known.insert((task, attempt));
            self.coverage.saw("lost with its engine");
        }
        check::owed(&self.run, &self.auditor, self.now)
    }

    /// The log goes through JSON; of its large values only those are loaded that the kernel asks for.
    pub(super) fn reload(&mut self) -> Result<Run, String> {
        let mut fold = Fold::new(self.plan.clone(), self.run.id());
        for event in &self.log {
            let json = serde_json::to_string(event).map_err(|error| error.to_string())?;
            let mut read: Event = serde_json::from_str(&json).map_err(|error| format!("{error}: {json}"))?;
            if read != *event {
                return Err(format!("written and read, {event:?} becomes {read:?}"));
            }
            if let Some(blob) = fold.wants(&read) {
                let kept = event.kind.payload().filter(|payload| payload.blob() == Some(blob));
                let value = kept.and_then(Payload::value).ok_or("the kernel wants a value that is nowhere")?;
                read.kind.payload_mut().ok_or("a value without a place")?.supply(value.clone());
                self.coverage.saw("large value");
            }
            fold.push(&read).map_err(|error| format!("the committed log cannot be folded: {error}"))?;
        }
        fold.finish().map_err(|error| format!("the committed log cannot be folded: {error}"))
    }

    /// The engine leaves in good order: it hands back what runs, and another takes over.
    pub(super) fn drain(&mut self) -> Result<(), String> {
        self.history.push("the engine is drained".into());
        self.coverage.saw("drain");
        let running: Vec<(TaskId, u32)> = self.run.running().map(|(task, attempt)| (task.clone(), attempt)).collect();
        for (task, attempt) in running {
            let outcome = TaskOutcome::lost(Loss::Drained, "handed back");
            let jitter = self.rng.f64();
            self.handle(Input::TaskEnded { task, attempt, outcome, jitter })?;
        }
        self.take_over()
    }
}
