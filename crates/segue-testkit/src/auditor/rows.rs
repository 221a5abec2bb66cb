//! The summary rows against the log.

use segue_core::{
    outcome::Usage,
    ports::{RunRow, TaskRow},
    status::Status,
};

use super::{Auditor, Phase, Rule, Violation};

impl Auditor {
    /// Do these rows say what the log says?
    pub fn check_rows(&self, run: &RunRow, tasks: &[TaskRow]) -> Result<(), Violation> {
        let status = match self.phase {
            Phase::New | Phase::Created => Status::Pending,
            Phase::Live if self.idle => Status::Waiting,
            Phase::Live => Status::Running,
            Phase::Ended(status) => status,
        };
        let mut usage = Usage::default();
        // What an earlier task of the same name consumed, the latest one has taken over.
        for &ix in self.by_id.values() {
            usage += self.tasks[ix].usage;
        }
        let members: Vec<usize> = self.tops().flat_map(|scope| self.scopes[scope].tasks.clone()).collect();
        let done = members.iter().filter(|&&ix| self.tasks[ix].status.is_terminal()).count();
        let expected = (status, self.seq, self.cancelling.is_some() && self.ended().is_none(), members.len(), done);
        let given = (run.status, run.version, run.cancelling, run.tasks_total as usize, run.tasks_done as usize);
        self.check(given == expected, Rule::Rows, || format!("the run's row says {given:?}, the log {expected:?}"))?;
        self.check(run.usage == usage, Rule::Rows, || format!("usage {:?}, by the log {usage:?}", run.usage))?;
        self.check(run.error.is_some() == (status == Status::Failed), Rule::Rows, || {
            format!("a run that is {status} with the error {:?}", run.error)
        })?;
        self.check(run.finished_at.is_some() == status.is_terminal(), Rule::Rows, || {
            format!("a run that is {status} and finished at {:?}", run.finished_at)
        })?;
        for row in tasks {
            self.check(self.by_id.contains_key(&row.task_id), Rule::Rows, || {
                format!("a row of `{}`, which is no task", row.task_id)
            })?;
            let ix = self.index_of(Some(&row.task_id))?;
            let task = &self.tasks[ix];
            let expected = (task.status, task.attempts, task.usage, task.status.is_terminal());
            let given = (row.status, row.attempts, row.usage, row.finished_at.is_some());
            self.check(given == expected, Rule::Rows, || {
                format!("the row of `{}` says {given:?}, the log {expected:?}", row.task_id)
            })?;
        }
        Ok(())
    }
}
