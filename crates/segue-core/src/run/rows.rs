//! The summary that stores keep beside the log: a view of the state, written in the commit that changes it.

use super::{Run, TaskIx};
use crate::{
    event::Event,
    ports::{RunRow, TaskRow},
};

impl Run {
    /// The run's row.
    pub fn run_row(&self) -> RunRow {
        let state = &self.state;
        let (total, open) = self
            .top_scopes()
            .map(|scope| self.scope(scope))
            .fold((0, 0), |(total, open), scope| (total + scope.len, open + count(scope.open)));
        RunRow {
            run_id: self.id,
            workflow_id: self.plan.workflow_id().clone(),
            workflow_hash: self.plan.hash(),
            status: self.status(),
            cancelling: state.stop.is_some() && !self.status().is_terminal(),
            version: state.version,
            created_at: state.created_at,
            started_at: state.started_at,
            finished_at: state.finished_at,
            error: state.error.clone(),
            usage: state.usage,
            tasks_total: total,
            tasks_done: total - open,
            labels: self.plan.labels().clone(),
            parent: state.created.parent.as_ref().map(|link| link.run_id),
        }
    }

    /// The rows of the tasks that these events are about, or made begin again; each task once, in the order of the events. After
    /// `run.reopened` that is every task, since it changes them all.
    pub fn task_rows(&self, events: &[Event]) -> Vec<TaskRow> {
        if events.iter().any(|event| event.kind.name() == "run.reopened") {
            return self.all_task_rows();
        }
        let mut seen = std::collections::BTreeSet::new();
        let since = events.first().map_or(u64::MAX, |event| event.seq);
        let restarted = self.state.restarts.range((since, TaskIx(0))..).map(|&(_, ix)| ix);
        let restarted = restarted.filter(|&ix| self.find(self.task_id(ix)) == Some(ix) && !planted!(RowsMissRestarts));
        let about = events.iter().filter_map(|event| self.find(event.task_id.as_ref()?)).chain(restarted);
        let changed = about.filter(|ix| seen.insert(*ix)).skip(usize::from(planted!(RowsMissATask)));
        changed.map(|ix| self.task_row(ix)).collect()
    }

    /// The rows of all tasks, in the order of the plan. Of tasks that were made again: the last.
    pub fn all_task_rows(&self) -> Vec<TaskRow> {
        let all = (0..count(self.state.tasks.len())).map(TaskIx);
        let current = all.filter(|&ix| self.find(self.task_id(ix)) == Some(ix));
        current.map(|ix| self.task_row(ix)).collect()
    }

    fn task_row(&self, ix: TaskIx) -> TaskRow {
        let task = self.task(ix);
        TaskRow {
            task_id: self.task_id(ix).clone(),
            status: task.status,
            attempts: task.attempt,
            started_at: task.started_at,
            finished_at: task.finished_at,
            result_seq: task.result_seq,
            usage: task.usage,
        }
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).expect("fits: see Plan::compile")
}
