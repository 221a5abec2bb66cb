//! Events of one run come in the order of `seq`, each once: two engines that hand a run over, and one that says again what
//! may have been lost, would break that.

use std::collections::BTreeMap;

use segue_core::{event::Envelope, ids::RunId, ports::Topic};

/// Runs remembered for each topic. Forgotten ones only lose this protection.
const RUNS_MAX: usize = 10_000;
/// The facts after which few others come.
const ENDS: [&str; 3] = ["run.succeeded", "run.failed", "run.cancelled"];

/// The last fact of each run that was heard.
#[derive(Debug, Default)]
pub(crate) struct Order {
    last: BTreeMap<Topic, BTreeMap<RunId, u64>>,
}

impl Order {
    /// Is this event to be passed on? What is not in the log always is.
    pub(crate) fn admits(&mut self, topic: Topic, envelope: &Envelope) -> bool {
        if envelope.transient {
            return true;
        }
        let runs = self.last.entry(topic).or_default();
        if runs.get(&envelope.run_id).is_some_and(|last| envelope.seq <= *last) {
            return false;
        }
        if topic == Topic::All && ENDS.contains(&envelope.name.as_str()) {
            runs.remove(&envelope.run_id);
            return true;
        }
        if runs.len() >= RUNS_MAX {
            runs.clear();
        }
        runs.insert(envelope.run_id, envelope.seq);
        true
    }

    /// Nobody listens to the topic any more.
    pub(crate) fn forget(&mut self, topic: Topic) {
        self.last.remove(&topic);
    }

    /// How far each run was heard on each topic, up to `runs_max` of them.
    pub(crate) fn heard(&self, runs_max: usize) -> Vec<(Topic, RunId, u64)> {
        let all = self.last.iter().flat_map(|(topic, runs)| runs.iter().map(|(run, seq)| (*topic, *run, *seq)));
        all.take(runs_max).collect()
    }
}

#[cfg(test)]
mod tests {
    use segue_core::{ids::WorkflowId, time::Timestamp};

    use super::*;

    fn envelope(seq: u64, name: &str, transient: bool) -> Envelope {
        Envelope {
            seq,
            name: name.to_owned(),
            time: Timestamp::from_micros(0),
            workflow_id: WorkflowId::new("flow"),
            run_id: RunId::from_bytes([1; 16]),
            task_id: None,
            attempt: None,
            data: serde_json::Value::Null,
            transient,
        }
    }

    #[test]
    fn a_fact_comes_once_and_never_after_a_later_one() {
        let mut order = Order::default();
        let topic = Topic::Run(RunId::from_bytes([1; 16]));
        let passed = [1, 2, 2, 4, 3, 5].map(|seq| order.admits(topic, &envelope(seq, "task.started", false)));
        assert_eq!(passed, [true, true, false, true, false, true]);
        assert!(order.admits(Topic::All, &envelope(1, "task.started", false)), "each topic has its own order");
        assert!(order.admits(topic, &envelope(1, "task.progress", true)));
        assert_eq!(
            order.heard(10),
            [(topic, RunId::from_bytes([1; 16]), 5), (Topic::All, RunId::from_bytes([1; 16]), 1)]
        );
    }

    #[test]
    fn ended_runs_are_not_remembered_for_all() {
        let mut order = Order::default();
        order.admits(Topic::All, &envelope(1, "run.started", false));
        assert!(order.admits(Topic::All, &envelope(2, "run.succeeded", false)));
        assert!(order.heard(10).is_empty());
    }
}
