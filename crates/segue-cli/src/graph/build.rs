//! From a workflow to its picture.

use std::collections::{HashMap, HashSet};

use segue_core::spec::{EdgeSpec, Seconds, TaskNode, WaitSpec, WorkflowOnFailure, WorkflowSpec};
use serde_json::Value;

use super::{Block, BlockKind, Graph, GraphEdge, GraphLoop, GraphNode, Work};

impl Graph {
    /// The picture of a workflow; `default_task` is the handler of nodes that name none.
    pub(crate) fn of_spec(spec: &WorkflowSpec, default_task: &str) -> Self {
        let own = spec.defaults.as_ref().and_then(|own| own.task.as_ref());
        let mut building = Building {
            default: own.map_or(default_task, |handler| handler.as_str()),
            index: HashMap::new(),
            graph: Self {
                workflow_id: spec.id.to_string(),
                title: spec.name.clone(),
                nodes: Vec::new(),
                edges: Vec::new(),
                loops: Vec::new(),
                blocks: Vec::new(),
            },
        };
        building.block(BlockKind::Main, &spec.nodes, &spec.edges);
        if let Some(WorkflowOnFailure::Nodes(nodes)) = &spec.on_failure {
            building.block(BlockKind::OnFailure, nodes, &[]);
        }
        if !spec.finally.is_empty() {
            building.block(BlockKind::Finally, &spec.finally, &[]);
        }
        let mut graph = building.graph;
        graph.find_loop_bodies();
        graph
    }

    /// A loop's body: what lies on a path from the edge's target to its source.
    fn find_loop_bodies(&mut self) {
        if self.loops.is_empty() {
            return;
        }
        let (sources, targets) = (self.sources(), self.targets());
        for each in &mut self.loops {
            let (after, before) = (reached(&targets, each.to), reached(&sources, each.from));
            each.body = after.intersection(&before).copied().collect();
            each.body.sort_unstable();
        }
    }
}

/// All nodes that can be reached from `start`, itself included.
fn reached(next: &[Vec<usize>], start: usize) -> HashSet<usize> {
    let mut found = HashSet::from([start]);
    let mut open = vec![start];
    while let Some(node) = open.pop() {
        open.extend(next[node].iter().copied().filter(|&next| found.insert(next)));
    }
    found
}

struct Building<'a> {
    default: &'a str,
    index: HashMap<&'a str, usize>,
    graph: Graph,
}

impl<'a> Building<'a> {
    /// Adds a block, those inside it, and the edges between its nodes. Groups nest no deeper than documents may.
    fn block(&mut self, kind: BlockKind, nodes: &'a [TaskNode], edges: &'a [EdgeSpec]) -> usize {
        let block = self.graph.blocks.len();
        self.graph.blocks.push(Block { kind, nodes: Vec::with_capacity(nodes.len()) });
        for node in nodes {
            let at = self.graph.nodes.len();
            self.index.insert(node.id.as_str(), at);
            self.graph.blocks[block].nodes.push(at);
            self.graph.nodes.push(self.node(node, block));
            if let Some(group) = &node.group {
                let members = self.block(BlockKind::Group(at), &group.nodes, &group.edges);
                self.graph.nodes[at].members = Some(members);
            }
        }
        self.edges(block, nodes, edges);
        block
    }

    fn node(&self, node: &TaskNode, block: usize) -> GraphNode {
        GraphNode {
            id: node.id.to_string(),
            name: node.name.clone(),
            work: self.work(node),
            foreach: node.foreach.as_ref().map(items),
            parallelism: node.parallelism.unwrap_or(1),
            repeat: node.repeat.as_ref().map(|repeat| (repeat.max_iterations, repeat.until.clone())),
            when: node.when.clone(),
            join: node.join,
            block,
            members: None,
            state: None,
        }
    }

    fn work(&self, node: &TaskNode) -> Work {
        if let Some(child) = &node.workflow {
            let version = child.version.as_ref().map_or(String::new(), |version| format!("@{version}"));
            let detached = if child.detach { ", detached" } else { "" };
            return Work::Workflow(format!("{}{version}{detached}", child.id));
        }
        if let Some(approval) = &node.approval {
            return Work::Approval(approval.title.clone());
        }
        if let Some(wait) = &node.wait {
            return Work::Wait(waits_for(wait));
        }
        if node.group.is_some() {
            return Work::Group;
        }
        Work::Task(node.spec.task.as_ref().map_or_else(|| self.default.to_owned(), ToString::to_string))
    }

    fn edges(&mut self, block: usize, nodes: &'a [TaskNode], edges: &'a [EdgeSpec]) {
        let mut known: HashMap<(usize, usize), usize> = HashMap::new();
        let of_nodes = nodes
            .iter()
            .flat_map(|node| node.depends_on.iter().map(move |from| (from.as_str(), node.id.as_str(), None, None)));
        let of_block = edges.iter().map(|edge| {
            (edge.from().as_str(), edge.to().as_str(), edge.when(), edge.loop_bound().map(|(most, _)| most))
        });
        for (from, to, when, bound) in of_nodes.chain(of_block) {
            // A document that names an unknown node, or one of another block, has been refused before it is drawn.
            let (Some(&from), Some(&to)) = (self.index.get(from), self.index.get(to)) else { continue };
            if self.graph.nodes[from].block != block || self.graph.nodes[to].block != block {
                continue;
            }
            let when = when.map(str::to_owned);
            if let Some(max_iterations) = bound {
                self.graph.loops.push(GraphLoop { from, to, when, max_iterations, body: Vec::new() });
                continue;
            }
            match known.get(&(from, to)) {
                Some(&edge) => {
                    let edge = &mut self.graph.edges[edge];
                    edge.when = edge.when.take().or(when);
                }
                None => {
                    known.insert((from, to), self.graph.edges.len());
                    self.graph.edges.push(GraphEdge { from, to, when });
                }
            }
        }
    }
}

fn items(foreach: &Value) -> String {
    match foreach {
        Value::String(expression) => expression.clone(),
        Value::Array(list) if list.len() == 1 => "of 1 item".to_owned(),
        Value::Array(list) => format!("of {} items", list.len()),
        other => other.to_string(),
    }
}

fn waits_for(wait: &WaitSpec) -> String {
    match wait {
        WaitSpec { seconds: Some(Seconds(seconds)), .. } => format!("{seconds} s"),
        WaitSpec { until: Some(until), .. } => format!("until {until}"),
        WaitSpec { event, matches, .. } => {
            let matches = matches.as_ref().map_or(String::new(), |matches| format!(" that matches {matches}"));
            format!("for the event {}{matches}", event.as_deref().unwrap_or_default())
        }
    }
}
