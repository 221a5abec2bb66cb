//! What a node runs, and whether what else it says has a meaning for that.

use super::Checks;
use crate::{
    spec::{
        ApprovalSpec, ChildSpec, FailureAction, OutputSchema, TaskNode, WaitSpec, codes,
        decode::{Decoder, UNREADABLE},
        problem::{At, Problem},
    },
    time::Timestamp,
};

/// The kinds of work that are not carried out by a handler, and `task` itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Task,
    Workflow,
    Group,
    Approval,
    Wait,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Workflow => "workflow",
            Self::Group => "group",
            Self::Approval => "approval",
            Self::Wait => "wait",
        }
    }
}

/// A node's kinds of work: more than one is a mistake, none is the default handler.
fn kinds(node: &TaskNode) -> Vec<Kind> {
    let all = [
        (Kind::Task, node.spec.task.is_some()),
        (Kind::Workflow, node.workflow.is_some()),
        (Kind::Group, node.group.is_some()),
        (Kind::Approval, node.approval.is_some()),
        (Kind::Wait, node.wait.is_some()),
    ];
    all.into_iter().filter(|(_, given)| *given).map(|(kind, _)| kind).collect()
}

impl Checks<'_> {
    pub(super) fn work(&mut self) {
        let layout = self.layout;
        for (number, member) in layout.nodes.iter().enumerate() {
            let (node, at) = (member.node, member.at());
            match kinds(node).as_slice() {
                [] | [Kind::Task] => {}
                [only] => self.meaningless(node, *only, &at),
                several => {
                    let listed: Vec<String> = several.iter().map(|kind| format!("`{}`", kind.name())).collect();
                    let message = format!("a node has one kind of work; this one has {}", listed.join(" and "));
                    let place = at.key(several[1].name());
                    let problem = Problem::new(&codes::SEVERAL_KINDS_OF_WORK, place, message).on_key();
                    self.add(problem.help(codes::SEVERAL_KINDS_OF_WORK.cure));
                }
            }
            if node.parallelism.is_some() && node.foreach.is_none() {
                let message =
                    "`parallelism` says how many instances of `foreach` run at once, and there is no `foreach`";
                self.misplaced(&at, "parallelism", message, "add `foreach`, or remove `parallelism`");
            }
            if let Some(on_failure) = &node.on_failure
                && on_failure.action == FailureAction::Pause
                && on_failure.output.is_some()
            {
                let message =
                    "`output` stands in with `action: continue`; with `pause` the person who decides gives it";
                self.misplaced(&at.key("on_failure"), "output", message, "remove `output`");
            }
            if let Some(approval) = &node.approval {
                self.approval(node, approval, &at);
            }
            if let Some(wait) = &node.wait {
                self.wait(wait, &at.key("wait"));
            }
            if let Some(child) = &node.workflow {
                self.child(number, child, &at.key("workflow"));
            }
            if let Some(schema) = &node.output_schema {
                self.output_schema(schema, &at.key("output_schema"));
            }
        }
    }

    /// Fields of a node that mean nothing for its kind of work.
    fn meaningless(&mut self, node: &TaskNode, kind: Kind, at: &At<'_>) {
        let what = match kind {
            Kind::Task => return,
            Kind::Workflow => "a node that runs a workflow",
            Kind::Group => "a group",
            Kind::Approval => "a node that asks a person",
            Kind::Wait => "a node that waits",
        };
        let is_child = kind == Kind::Workflow;
        let waits_for_event = node.wait.as_ref().is_some_and(|wait| wait.event.is_some());
        let elsewhere = match kind {
            Kind::Group => "give it to the nodes of the group",
            Kind::Workflow => "give it to the nodes of that workflow",
            _ => "remove it",
        };
        let inputs_cure = match kind {
            Kind::Group => "give them to the nodes of the group, which may read all that the group may read",
            Kind::Approval => "write what the person needs to know into `message`: \"{{ nodes.a.output }}\"",
            _ => "remove them",
        };
        let schema_cure = match kind {
            Kind::Group => "give it to the node of the group whose output it describes",
            Kind::Approval => "describe what is to be filled in by `form`",
            _ => "remove it; `match` says which signals are taken",
        };
        let fields = [
            ("inputs", !is_child && !node.spec.inputs.is_empty(), inputs_cure),
            ("output_schema", !is_child && node.output_schema.is_some(), schema_cure),
            ("cache", node.cache.is_some(), elsewhere),
            ("retry_policy", !is_child && node.retry_policy.is_some(), elsewhere),
            ("hints", !node.spec.hints.is_empty(), elsewhere),
            ("budget", node.budget.is_some(), elsewhere),
            ("limits", node.limits.is_some(), elsewhere),
            (
                "timeout_seconds",
                kind == Kind::Wait && !waits_for_event && node.timeout_seconds.is_some(),
                "remove it: the wait ends by itself",
            ),
        ];
        for (name, given, cure) in fields {
            if given {
                self.misplaced(at, name, &format!("`{name}` has no meaning for {what}"), cure);
            }
        }
    }

    fn misplaced(&mut self, parent: &At<'_>, name: &str, message: &str, cure: &str) {
        self.add(Problem::new(&codes::MISPLACED_FIELD, parent.key(name), message).help(cure).on_key());
    }

    fn approval(&mut self, node: &TaskNode, approval: &ApprovalSpec, at: &At<'_>) {
        let own = at.key("approval");
        let form_at = own.key("form");
        let mut decoder = Decoder::new(self.problems);
        for (name, field) in &approval.form {
            decoder.param(field, &form_at.key(name));
        }
        if approval.on_timeout.is_some() && node.timeout_seconds.is_none() {
            let message = "`on_timeout` is never needed: without `timeout_seconds` the question waits for ever";
            let problem = Problem::new(&codes::UNUSED_ON_TIMEOUT, own.key("on_timeout"), message);
            self.add(problem.help("add `timeout_seconds` to the node, or remove `on_timeout`"));
        }
    }

    fn wait(&mut self, wait: &WaitSpec, at: &At<'_>) {
        let given =
            [("seconds", wait.seconds.is_some()), ("until", wait.until.is_some()), ("event", wait.event.is_some())];
        let given: Vec<&str> = given.into_iter().filter(|(_, given)| *given).map(|(name, _)| name).collect();
        match given.as_slice() {
            [_] => {}
            [] => {
                let message = "`wait` needs one of `seconds`, `until` and `event`; it has none";
                self.add(Problem::new(&codes::BAD_WAIT, at, message).help(codes::BAD_WAIT.cure));
            }
            [_, second, ..] => {
                let listed: Vec<String> = given.iter().map(|name| format!("`{name}`")).collect();
                let message =
                    format!("`wait` has one of `seconds`, `until` and `event`; this has {}", listed.join(" and "));
                let problem = Problem::new(&codes::BAD_WAIT, at.key(second), message).on_key();
                self.add(problem.help(codes::BAD_WAIT.cure));
            }
        }
        if wait.matches.is_some() && wait.event.is_none() && !given.is_empty() {
            let message = "`match` says which signals of an `event` are taken, and there is no `event`";
            self.misplaced(at, "match", message, "add `event`, or remove `match`");
        }
        if let Some(until) = &wait.until
            && !until.contains("{{")
            && until.trim().parse::<Timestamp>().is_err()
        {
            let shown: String = until.chars().take(60).collect();
            let message = format!("`{shown}` is not a time with its zone (RFC 3339)");
            let help = "write it like `2026-12-24T18:00:00Z`, or `2026-12-24T18:00:00+01:00`";
            self.add(Problem::new(&codes::BAD_TIME, at.key("until"), message).help(help));
        }
    }

    fn child(&mut self, number: usize, child: &ChildSpec, at: &At<'_>) {
        if let Some(version) = &child.version
            && !is_version(version)
        {
            let shown: String = version.chars().take(70).collect();
            let message =
                format!("`{shown}` is not a version: the first 8 to 64 digits of a workflow's hash, 0-9 and a-f");
            let lower = version.trim().to_ascii_lowercase();
            let help = if is_version(&lower) {
                format!("write `version: \"{lower}\"`")
            } else {
                "leave it out to use the version that is current when the run starts".to_owned()
            };
            self.add(Problem::new(&codes::BAD_VERSION, at.key("version"), message).help(help));
        }
        if child.id.as_str() != UNREADABLE && child.id == self.spec.id && !self.may_be_skipped(number) {
            let message = format!("`{}` starts itself again, each time, without any condition", child.id);
            let problem = Problem::new(&codes::ENDLESS_RECURSION, at.key("id"), message);
            self.add(problem.help("add a `when` that ends it, or correct the id"));
        }
    }

    /// Is there a condition on the node, on what leads to it, or on a group around it?
    fn may_be_skipped(&self, number: usize) -> bool {
        let around = std::iter::successors(Some(number), |node| self.layout.block_of(*node).owner);
        around.into_iter().any(|node| self.graph.conditional[node])
    }

    fn output_schema(&mut self, schema: &serde_json::Value, at: &At<'_>) {
        // After too many problems nothing more is told, and a schema costs more than other fields.
        if self.problems.overflow {
            return;
        }
        // Nodes often share one.
        let key = schema.to_string();
        let wrong = match self.schemas.get(&key) {
            Some(wrong) => wrong.clone(),
            None => self.schemas.entry(key).or_insert(OutputSchema::compile(schema).err().unwrap_or_default()).clone(),
        };
        for mismatch in wrong {
            let message = format!("this is not a JSON Schema: {}", mismatch.message);
            let problem = Problem::new(&codes::BAD_SCHEMA, format!("{at}{}", mismatch.pointer), message);
            self.add(problem.help(codes::BAD_SCHEMA.cure));
        }
    }
}

fn is_version(text: &str) -> bool {
    (8..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}
