//! What a run and its child runs came to, and in what two of them differ.

use std::collections::{BTreeMap, BTreeSet};

use segue_core::{
    ids::RunId,
    outcome::{ErrorKind, TaskError},
    plan::{Plan, PlanNode},
    ports::{RunFilter, RunStore},
    status::Status,
};
use serde_json::Value;

use super::lab::Ran;
use crate::{
    chaos::ledger::{Entry, Fact, Line},
    failure::Outcome,
    render::document,
};

/// The runs of one store.
#[derive(Debug, Default)]
pub(super) struct Results {
    /// By the tasks that started them, from the top: ``, `fulfil`, `fulfil/ship`.
    pub(super) runs: BTreeMap<String, RunResult>,
    /// The same names by the runs' ids.
    pub(super) names: BTreeMap<RunId, String>,
    /// Top runs; one is right.
    pub(super) tops: usize,
}

/// What one run came to.
#[derive(Debug)]
pub(super) struct RunResult {
    pub(super) status: Status,
    pub(super) outputs: Value,
    pub(super) error: Option<TaskError>,
    /// Status and output, by task.
    pub(super) tasks: BTreeMap<String, (Value, Value)>,
    /// The log.
    pub(super) facts: Vec<Fact>,
}

impl Results {
    /// Reads them.
    pub(super) async fn of(store: &dyn RunStore) -> Outcome<Self> {
        let rows = store.list_runs(RunFilter::default()).await?;
        let mut results = Self { tops: rows.iter().filter(|row| row.parent.is_none()).count(), ..Self::default() };
        // Older ones first: a parent is older than its children.
        for row in rows.iter().rev() {
            let document = document::of_run(store, row.run_id).await?;
            let name = match &document.parent {
                None => String::new(),
                Some(link) => match results.names.get(&link.run_id).map(String::as_str) {
                    None | Some("") => link.task_id.to_string(),
                    Some(above) => format!("{above}/{}", link.task_id),
                },
            };
            let log = store.events(row.run_id, 0, 0).await?;
            let tasks = document
                .tasks
                .iter()
                .map(|(task, shown)| (task.clone(), (shown["status"].clone(), shown["output"].clone())));
            let result = RunResult {
                status: document.status,
                tasks: tasks.collect(),
                outputs: document.outputs,
                error: document.error,
                facts: log.iter().map(Fact::of).collect(),
            };
            results.names.insert(row.run_id, name.clone());
            results.runs.insert(name, result);
        }
        Ok(results)
    }

    /// Has every run ended?
    pub(super) fn is_over(&self) -> bool {
        !self.runs.is_empty() && self.runs.values().all(|run| run.status.is_terminal())
    }

    /// The run that was started first, if it is there.
    pub(super) fn top(&self) -> Option<&RunResult> {
        self.runs.get("")
    }

    /// A call of a model, or the key of an effect, by a name that is the same in every store.
    pub(super) fn portable(&self, name: &str) -> String {
        let known = name.split_once('/').and_then(|(run, rest)| Some((self.names.get(&run.parse().ok()?)?, rest)));
        known.map_or_else(|| name.to_owned(), |(run, rest)| format!("{run}/{rest}"))
    }
}

/// In what the results differ: a place each, and what is there and there.
pub(super) fn differences(expected: &Results, found: &Results) -> Vec<(Place, String)> {
    let mut all = Vec::new();
    let names: BTreeSet<&String> = expected.runs.keys().chain(found.runs.keys()).collect();
    for name in names {
        let place = |what| Place { run: name.clone(), what };
        let (Some(expected), Some(found)) = (expected.runs.get(name), found.runs.get(name)) else {
            all.push((place(What::Run), format!("the run of {} is there only once", shown(name))));
            continue;
        };
        if expected.status != found.status {
            let why = found.error.as_ref().map_or(String::new(), |error| format!(" ({error})"));
            all.push((
                place(What::Run),
                format!("{} is {}{why} and should be {}", shown(name), found.status, expected.status),
            ));
        }
        if expected.outputs != found.outputs {
            all.push((place(What::Outputs), format!("the outputs of {} are {}", shown(name), cut(&found.outputs))));
        }
        let tasks: BTreeSet<&String> = expected.tasks.keys().chain(found.tasks.keys()).collect();
        for task in tasks {
            let none = (Value::Null, Value::Null);
            let (was, is) = (expected.tasks.get(task).unwrap_or(&none), found.tasks.get(task).unwrap_or(&none));
            if was.0 != is.0 {
                all.push((place(What::Status(task.clone())), format!("{task} is {} and should be {}", is.0, was.0)));
            } else if was.1 != is.1 {
                all.push((place(What::Output(task.clone())), format!("the output of {task} is {}", cut(&is.1))));
            }
        }
    }
    all
}

fn shown(run: &str) -> &str {
    if run.is_empty() { "the run" } else { run }
}

fn cut(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// A part of the results.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    run: String,
    what: What,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Run,
    Outputs,
    Status(String),
    Output(String),
}

impl Place {
    /// For people: `the outputs`, `the output of n1`.
    pub(super) fn in_words(&self) -> String {
        match &self.what {
            What::Run => format!("how {} ends", shown(&self.run)),
            What::Outputs => format!("the outputs of {}", shown(&self.run)),
            What::Status(task) => format!("the status of {task}"),
            What::Output(task) => format!("the output of {task}"),
        }
    }
}

/// What runs come to that nobody disturbs.
pub(super) struct Baseline {
    pub(super) results: Results,
    pub(super) ledger: Vec<Line>,
    /// How often each call of a model is paid.
    pub(super) paid: BTreeMap<String, u64>,
    /// What differs between two undisturbed runs already, and so says nothing.
    pub(super) varying: BTreeSet<Place>,
    plan: Plan,
}

impl Baseline {
    /// Of two runs.
    pub(super) fn of(first: Ran, second: Ran, plan: Plan) -> Self {
        let varying = differences(&first.results, &second.results).into_iter().map(|(place, _)| place).collect();
        let mut paid = paid(&first);
        for (call, times) in self::paid(&second) {
            let known = paid.entry(call).or_default();
            *known = times.max(*known);
        }
        Self { results: first.results, ledger: first.ledger, paid, varying, plan }
    }

    /// In what a run differs from this, where it says something.
    pub(super) fn differences(&self, found: &Results) -> Vec<String> {
        let all = differences(&self.results, found).into_iter();
        all.filter(|(place, _)| !self.varying.contains(place)).map(|(_, what)| what).collect()
    }

    /// Did the run rightly give up when its workers were killed? Its policy allows no further attempt then.
    pub(super) fn may_give_up(&self, found: &Results) -> bool {
        let Some(error) = found.top().and_then(|top| top.error.as_ref()) else { return false };
        let gives_up = |node: &PlanNode| node.retry.backoff.attempts_max <= 1 || !node.retry.allows(error);
        let is_at = |node: &&PlanNode| error.node.as_ref() == Some(&node.id);
        error.kind == ErrorKind::WorkerLost && self.plan.nodes().iter().find(is_at).is_some_and(gives_up)
    }
}

/// How often each call was paid, by portable names.
fn paid(ran: &Ran) -> BTreeMap<String, u64> {
    let mut paid = BTreeMap::new();
    for line in &ran.ledger {
        if let Entry::Paid { call } = &line.entry {
            *paid.entry(ran.results.portable(call)).or_default() += 1;
        }
    }
    paid
}
