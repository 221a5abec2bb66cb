//! Which reply a call gets.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::types::{Counters, Kind, Reply, Rule, Script, What, When};
use crate::{options::fits, upstream::Caller};

/// Follows a script: knows what has been asked and said so far.
#[derive(Debug)]
pub(crate) struct Director {
    script: Arc<Script>,
    counts: Mutex<HashMap<String, Vec<Count>>>,
}

/// How often a rule was fit, and how often it has answered.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    fitted: u32,
    given: u32,
}

/// A call, as rules look at it.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) caller: &'a Caller,
    pub(crate) kind: Kind,
    pub(crate) model: &'a str,
    /// All texts of the conversation, or all that is to be embedded.
    pub(crate) text: &'a str,
}

impl Director {
    pub(crate) fn new(script: Arc<Script>) -> Self {
        Self { script, counts: Mutex::default() }
    }

    /// The reply to this call; none: the built-in model's.
    pub(crate) fn choose(&self, asked: &Asked<'_>) -> Option<Reply> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let rules = &self.script.rules;
        let counts = counts.entry(self.scope(asked.caller)).or_insert_with(|| vec![Count::default(); rules.len()]);
        let mut chosen = None;
        for (rule, count) in rules.iter().zip(counts) {
            if !rule.when.fits(asked) {
                continue;
            }
            // Counted whoever answers: a rule means the same wherever it stands.
            count.fitted += 1;
            let is_meant = rule.when.nth.is_empty() || rule.when.nth.contains(&count.fitted);
            if chosen.is_none() && is_meant {
                chosen = rule.reply_after(count.given);
                count.given += u32::from(chosen.is_some());
            }
        }
        let default = || self.script.default.as_ref().filter(|_| asked.kind == Kind::Chat);
        chosen.or_else(default).cloned()
    }

    fn scope(&self, caller: &Caller) -> String {
        match self.script.counters {
            Counters::Task => caller.effect_key.clone(),
            Counters::Attempt => format!("{}@{}", caller.effect_key, caller.attempt),
            Counters::Run => caller.run_id.to_string(),
        }
    }
}

impl Rule {
    /// The reply after so many; none if the rule is used up.
    fn reply_after(&self, given: u32) -> Option<&Reply> {
        let mut given = given;
        self.replies.iter().find(|reply| match reply.times {
            None => true,
            Some(times) if given < times => true,
            Some(times) => {
                given -= times;
                false
            }
        })
    }
}

impl When {
    fn fits(&self, asked: &Asked<'_>) -> bool {
        self.kind == asked.kind
            && self.task.as_ref().is_none_or(|pattern| fits_task(pattern, asked.caller.task.as_str()))
            && self.model.as_ref().is_none_or(|pattern| fits(pattern, asked.model))
            && self.contains.iter().all(|text| asked.text.contains(text.as_str()))
    }
}

/// `count` is for `count[3]` too, `improve/write` for `improve#2/write`.
fn fits_task(pattern: &str, task: &str) -> bool {
    fits(pattern, task) || fits(pattern, &without_numbers(task))
}

fn without_numbers(task: &str) -> String {
    let step = |step: &str| step.split(['[', '#']).next().unwrap_or_default().to_owned();
    task.split('/').map(step).collect::<Vec<_>>().join("/")
}

impl Reply {
    /// The built-in model's answer, as it comes.
    pub(crate) fn built_in() -> Self {
        Self { what: What::BuiltIn, about: super::About::default(), times: None }
    }
}
