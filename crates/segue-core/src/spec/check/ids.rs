//! Names: ids of nodes, workflows and secrets, and handlers.

use super::{Checks, layout::Part};
use crate::{
    ids::{HandlerId, is_valid_name},
    spec::{
        TaskNode, WorkflowOnFailure, codes,
        decode::UNREADABLE,
        problem::{At, Problem},
    },
};

/// The handlers that the language knows, whether or not they are there.
const LANGUAGE_HANDLERS: [&str; 12] = [
    "crewai.agent",
    "crewai.crew",
    "crewai.flow",
    "crewai.remote",
    "langchain.runnable",
    "langgraph.graph",
    "langgraph.remote",
    "python.call",
    "llm.chat",
    "http.request",
    "process.run",
    "pass",
];

/// What the engine itself carries out child workflows with.
const CHILD_HANDLER: &str = "segue.workflow";

impl Checks<'_> {
    pub(super) fn ids(&mut self) {
        let root = At::ROOT;
        let layout = self.layout;
        self.id(self.spec.id.as_str(), "workflow", &root.key("id"));
        for block in &layout.blocks {
            let is_wanted = match (block.owner, block.part) {
                (None, Part::Finally) => false,
                (None, Part::OnFailure) => matches!(self.spec.on_failure, Some(WorkflowOnFailure::Nodes(_))),
                _ => true,
            };
            if block.len > 0 || !is_wanted {
                continue;
            }
            let (message, help) = match (block.owner, block.part) {
                (Some(group), _) => (format!("the group `{}` has no nodes", layout.id(group)), "add at least one"),
                (None, Part::OnFailure) => ("`on_failure` has no nodes".to_owned(), "add one, or remove `on_failure`"),
                _ => ("the workflow has no nodes".to_owned(), "add at least one"),
            };
            self.add(Problem::new(&codes::NO_NODES, &block.nodes_path, message).help(help));
        }
        for (number, member) in layout.nodes.iter().enumerate() {
            let id = member.node.id.as_str();
            let at = member.at();
            self.id(id, "node", &at.key("id"));
            if let Some(child) = &member.node.workflow {
                self.id(child.id.as_str(), "workflow", &at.key("workflow").key("id"));
            }
            if let Some(first) = layout.index_of(id).filter(|first| *first != number) {
                self.taken(number, first, &at.key("id"));
            }
        }
        for group in &layout.too_deep {
            let message = format!("groups may be nested {} deep at most", super::layout::GROUPS_DEPTH_MAX);
            let at = format!("{}/group", layout.nodes[*group].path);
            let help = "put the inner nodes into a workflow of their own: `workflow: { id: … }`";
            self.add(Problem::new(&codes::TOO_DEEP, at, message).help(help));
        }
    }

    fn taken(&mut self, number: usize, first: usize, at: &At<'_>) {
        let layout = self.layout;
        let (id, block) = (layout.id(number), layout.block_of(first));
        let message = if layout.nodes[number].block == layout.nodes[first].block {
            format!("the id `{id}` is taken: it is that of node {} of the list already", first - block.first + 1)
        } else {
            let place = match (block.owner, block.part) {
                (Some(group), _) => format!("the group `{}`", layout.id(group)),
                (None, part) => format!("`{}`", part.name()),
            };
            format!("the id `{id}` is taken: it is that of a node of {place} already")
        };
        self.add(Problem::new(&codes::DUPLICATE_ID, at, message).help(codes::DUPLICATE_ID.cure));
    }

    pub(super) fn id(&mut self, id: &str, what: &str, at: &At<'_>) {
        if id == UNREADABLE || is_valid_name(id) {
            return;
        }
        let shown: String = id.chars().take(40).collect();
        let suggestion = suggest(id);
        let help = if suggestion.is_empty() { codes::BAD_ID.cause.to_owned() } else { format!("write `{suggestion}`") };
        let message = format!(
            "`{shown}` is not a {what} id: 1 to 128 characters of A-Z a-z 0-9 _ . - and not starting with . or -"
        );
        self.add(Problem::new(&codes::BAD_ID, at, message).help(help));
    }

    pub(super) fn handlers(&mut self) {
        let root = At::ROOT;
        let layout = self.layout;
        let default = self.spec.defaults.as_ref().and_then(|defaults| defaults.task.as_ref());
        if let Some(handler) = default {
            self.handler(handler, &root.key("defaults").key("task"));
        }
        for member in &layout.nodes {
            if let Some(handler) = &member.node.spec.task {
                self.handler(handler, &member.at().key("task"));
            }
        }
        if let (Some(handler), None) = (&self.options.default_handler, default)
            && let Some(member) = layout.nodes.iter().find(|member| takes_default(member.node))
        {
            self.handler(handler, &member.at());
        }
    }

    fn handler(&mut self, handler: &HandlerId, at: &At<'_>) {
        let (known, name) = (&self.options.handlers, handler.as_str());
        if name == CHILD_HANDLER {
            let message = format!("`{CHILD_HANDLER}` is what Segue itself runs child workflows with");
            self.add(Problem::new(&codes::UNKNOWN_HANDLER, at, message).help("write `workflow: { id: … }`"));
            return;
        }
        if known.is_empty() || known.contains(handler) {
            return;
        }
        if LANGUAGE_HANDLERS.contains(&name) {
            let message = format!("the handler `{name}` is part of the language, and no adapter here carries it out");
            self.add(Problem::new(&codes::NOT_AVAILABLE, at, message));
            return;
        }
        let help = self.nearest.help(name, known.iter().map(HandlerId::as_str)).unwrap_or_else(|| {
            let names: Vec<_> = known.iter().map(HandlerId::as_str).collect();
            format!("there are {}", names.join(", "))
        });
        self.add(Problem::new(&codes::UNKNOWN_HANDLER, at, format!("there is no handler `{name}`")).help(help));
    }
}

/// Is the node one of the default handler?
fn takes_default(node: &TaskNode) -> bool {
    node.spec.task.is_none()
        && node.group.is_none()
        && node.workflow.is_none()
        && node.approval.is_none()
        && node.wait.is_none()
        && node.id.as_str() != UNREADABLE
}

/// The id that was probably meant by one that is not allowed.
fn suggest(id: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-') { c } else { '_' };
    let id: String = id.trim().chars().take(128).map(allowed).collect();
    id.trim_start_matches(['.', '-']).trim_end_matches('_').to_owned()
}
