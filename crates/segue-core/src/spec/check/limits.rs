//! Numbers in their ranges.

use serde_json::Value;

use super::Checks;
use crate::spec::{
    BudgetSpec, Defaults, FailureAction, OnFailure, RetryPolicy, Seconds, TaskNode, USD_MAX, codes,
    problem::{At, Problem},
};

/// A hundred years: longer is a mistake.
const SECONDS_MAX: f64 = 100.0 * 365.25 * 86_400.0;
const ATTEMPTS_MAX: u32 = 1000;
const COEFFICIENT_MAX: f64 = 1000.0;

/// The most instances of a `foreach`, and the most iterations of a loop.
const REPEATED_MAX: usize = 1_000_000;

impl Checks<'_> {
    pub(super) fn limits(&mut self) {
        let root = At::ROOT;
        let (spec, layout) = (self.spec, self.layout);
        self.positive(spec.timeout_seconds, &root, "timeout_seconds");
        self.budget(spec.budget.as_ref(), &root);
        if spec.max_parallel_nodes == Some(0) {
            let message = "`max_parallel_nodes` is 1 or more; with 0 nothing could run";
            self.add(Problem::new(&codes::OUT_OF_RANGE, "/max_parallel_nodes", message));
        }
        if let Some(Defaults { retry_policy, timeout_seconds, on_failure, .. }) = &spec.defaults {
            let at = root.key("defaults");
            self.positive(*timeout_seconds, &at, "timeout_seconds");
            self.retry_policy(retry_policy.as_ref(), &at);
            self.on_failure(on_failure.as_ref(), &at);
        }
        for member in &layout.nodes {
            self.node_limits(member.node, &member.at());
        }
        for block in &layout.blocks {
            let edges = At::pointer(&block.edges_path);
            for (index, edge) in block.edges.iter().enumerate() {
                if let Some((most, _)) = edge.loop_bound() {
                    self.iterations(most, &edges.index(index));
                }
            }
        }
    }

    fn node_limits(&mut self, node: &TaskNode, at: &At<'_>) {
        self.positive(node.timeout_seconds, at, "timeout_seconds");
        self.positive(node.deadline_seconds, at, "deadline_seconds");
        self.retry_policy(node.retry_policy.as_ref(), at);
        self.budget(node.budget.as_ref(), at);
        self.on_failure(node.on_failure.as_ref(), at);
        self.deadline(node, at);
        if node.parallelism == Some(0) {
            let message = "`parallelism` is 1 or more; with 0 no instance could run";
            self.add(Problem::new(&codes::OUT_OF_RANGE, at.key("parallelism"), message));
        }
        if let Some(Value::Array(items)) = &node.foreach
            && items.len() > REPEATED_MAX
        {
            let message = format!("`foreach` has {} items; it may have {REPEATED_MAX} at most", items.len());
            self.add(Problem::new(&codes::OUT_OF_RANGE, at.key("foreach"), message));
        }
        if let Some(repeat) = &node.repeat {
            let at = at.key("repeat");
            self.iterations(repeat.max_iterations, &at);
            self.not_negative(repeat.delay_seconds, &at, "delay_seconds");
        }
        if let Some(wait) = &node.wait {
            self.not_negative(wait.seconds, &at.key("wait"), "seconds");
        }
        if let Some(cache) = &node.cache {
            self.positive(cache.ttl_seconds, &at.key("cache"), "ttl_seconds");
        }
    }

    /// A deadline for all attempts is longer than one attempt may take.
    fn deadline(&mut self, node: &TaskNode, at: &At<'_>) {
        let makes_attempts = node.group.is_none() && node.approval.is_none() && node.wait.is_none();
        let default = self.spec.defaults.as_ref().and_then(|defaults| defaults.timeout_seconds);
        let timeout = node.timeout_seconds.or(default).filter(|_| makes_attempts);
        if let (Some(timeout), Some(deadline)) = (timeout, node.deadline_seconds)
            && deadline.0 <= timeout.0
        {
            let message = format!(
                "the deadline of {} s for all attempts is not longer than the {} s that one attempt may take",
                deadline.0, timeout.0
            );
            let problem = Problem::new(&codes::DEADLINE_TOO_SHORT, at.key("deadline_seconds"), message);
            self.add(problem.help(codes::DEADLINE_TOO_SHORT.cure));
        }
    }

    fn iterations(&mut self, most: u32, parent: &At<'_>) {
        if !(1..=REPEATED_MAX).contains(&(most as usize)) {
            let message = format!("`max_iterations` is between 1 and {REPEATED_MAX}; the first iteration counts");
            self.add(Problem::new(&codes::OUT_OF_RANGE, parent.key("max_iterations"), message));
        }
    }

    fn not_negative(&mut self, value: Option<Seconds>, parent: &At<'_>, name: &str) {
        if let Some(Seconds(seconds)) = value
            && !(0.0..=SECONDS_MAX).contains(&seconds)
        {
            let message = format!("`{name}` is between 0 and {SECONDS_MAX} seconds; this is {seconds}");
            self.add(Problem::new(&codes::OUT_OF_RANGE, parent.key(name), message));
        }
    }

    fn positive(&mut self, value: Option<Seconds>, parent: &At<'_>, name: &str) {
        if let Some(Seconds(seconds)) = value
            && !(seconds > 0.0 && seconds <= SECONDS_MAX)
        {
            let message = format!("`{name}` is more than 0 and at most {SECONDS_MAX} seconds; this is {seconds}");
            self.add(Problem::new(&codes::OUT_OF_RANGE, parent.key(name), message));
        }
    }

    fn budget(&mut self, budget: Option<&BudgetSpec>, parent: &At<'_>) {
        let Some(budget) = budget else { return };
        let at = parent.key("budget");
        if let Some(usd) = budget.usd.filter(|usd| !(*usd > 0.0 && *usd <= USD_MAX)) {
            let message = format!("`usd` is more than 0 and at most {USD_MAX} dollars; this is {usd}");
            self.add(Problem::new(&codes::OUT_OF_RANGE, at.key("usd"), message));
        }
        if budget.tokens == Some(0) {
            let message = "`tokens` is 1 or more; with 0 no model could be asked";
            self.add(Problem::new(&codes::OUT_OF_RANGE, at.key("tokens"), message));
        }
    }

    fn retry_policy(&mut self, policy: Option<&RetryPolicy>, parent: &At<'_>) {
        let Some(policy) = policy else { return };
        let at = parent.key("retry_policy");
        if policy.max_attempts.is_some_and(|attempts| !(1..=ATTEMPTS_MAX).contains(&attempts)) {
            let message = format!("`max_attempts` is between 1 and {ATTEMPTS_MAX}; 1 means never again");
            self.add(Problem::new(&codes::OUT_OF_RANGE, at.key("max_attempts"), message));
        }
        if policy.backoff_coefficient.is_some_and(|factor| !(1.0..=COEFFICIENT_MAX).contains(&factor)) {
            let message = format!("`backoff_coefficient` is between 1 and {COEFFICIENT_MAX}");
            self.add(Problem::new(&codes::OUT_OF_RANGE, at.key("backoff_coefficient"), message));
        }
        let intervals = [
            ("initial_interval_seconds", policy.initial_interval_seconds),
            ("max_interval_seconds", policy.max_interval_seconds),
        ];
        for (name, interval) in intervals {
            self.not_negative(interval, &at, name);
        }
        let never = policy.do_not_retry_on.as_deref().unwrap_or_default();
        for (index, kind) in never.iter().enumerate() {
            if policy.retry_on.as_ref().is_some_and(|retried| retried.contains(kind)) {
                let message = format!("`{kind}` is in `retry_on` too; it is never retried");
                let problem = Problem::new(&codes::RETRY_CONFLICT, at.key("do_not_retry_on").index(index), message);
                self.add(problem.help(codes::RETRY_CONFLICT.cure));
            }
        }
    }

    fn on_failure(&mut self, on_failure: Option<&OnFailure>, parent: &At<'_>) {
        if let Some(OnFailure { action: FailureAction::Fail, output: Some(_) }) = on_failure {
            let message = "`output` stands in for a failed node's output with `action: continue` only";
            let at = parent.key("on_failure");
            let problem = Problem::new(&codes::UNUSED_OUTPUT, at.key("output"), message);
            self.add(problem.help(codes::UNUSED_OUTPUT.cure));
        }
    }
}
