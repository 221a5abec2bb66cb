//! A simulated run that broke a rule, told so that a person can follow it.

use std::fmt;

use segue_core::event::Event;

use super::{Case, simulate};

/// What went wrong in the run of a seed.
#[derive(Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// The rule that was broken.
    pub problem: String,
    /// The workflow.
    pub case: Case,
    /// What the world did, one line a step.
    pub history: Vec<String>,
    /// The log, with what was handled last.
    pub log: Vec<Event>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let workflow = serde_json::to_string(&self.case.spec).expect("a specification can be written as JSON");
        writeln!(f, "seed {}: {}", self.seed, self.problem)?;
        writeln!(f, "\nthe workflow, with params {}:\n  {workflow}", self.case.params)?;
        writeln!(f, "\nwhat the world did:")?;
        for line in &self.history {
            writeln!(f, "  {line}")?;
        }
        writeln!(f, "\nthe log:")?;
        for event in &self.log {
            let event = serde_json::to_string(event).expect("an event can be written as JSON");
            writeln!(f, "  {event}")?;
        }
        writeln!(f, "\nreplay: SEGUE_SIM_SEED={} cargo test -p segue-testkit --test simulation", self.seed)
    }
}

impl std::error::Error for Failure {}

impl Failure {
    fn size(&self) -> (usize, usize) {
        (self.case.spec.nodes.len(), self.history.len())
    }
}

/// Looks for a smaller run that fails, among those of the next seeds: shrinking by search.
pub fn smallest_of(first: &Failure, others: u64) -> Option<Box<Failure>> {
    let failures = (1..=others).filter_map(|n| simulate(first.seed.wrapping_add(n)).err());
    failures.filter(|failure| failure.size() < first.size()).min_by_key(|failure| failure.size())
}
