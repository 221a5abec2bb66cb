//! The graph as a tree of plain text.

use segue_core::spec::Join;

use super::{Graph, GraphNode, Line, lines};
use crate::{render::text::one_line, terminal::Paint};

/// Characters of an expression, a title or a name that are shown.
const TEXT_CHARS_MAX: usize = 60;
/// Names that are listed before the rest is counted.
const NAMES_MAX: usize = 8;
/// Nodes with longer prefixes and ids push their remarks to the right.
const WIDTH_MAX: usize = 48;

/// One line a node: state (of a run), id, what it does, name, instances and iterations, what it merges, conditions.
pub(crate) fn ascii(graph: &Graph, paint: Paint) -> String {
    let lines = lines(graph);
    let long = |line: &Line| match line {
        Line::Node { node, prefix, .. } => prefix.len() + graph.nodes[*node].id.len(),
        Line::Heading(_) => 0,
    };
    let width = lines.iter().map(long).max().unwrap_or(0).min(WIDTH_MAX);
    let remarks = Remarks::of(graph);
    let title = graph.title.as_ref().map_or(String::new(), |title| format!("  {}", one_line(title, 100)));
    let mut text = format!("{}{}\n", paint.bold(&graph.workflow_id), paint.dim(&title));
    for line in &lines {
        let (node, prefix, merges) = match line {
            Line::Heading(heading) => {
                text += &format!("{}\n", paint.bold(heading));
                continue;
            }
            Line::Node { node, prefix, merges, .. } => (*node, prefix, merges),
        };
        let GraphNode { id, state, .. } = &graph.nodes[node];
        let state =
            state.map_or(String::new(), |state| paint.status(state.status, &format!("{:<9} ", state.status.as_str())));
        let pad = " ".repeat((width + 2).saturating_sub(prefix.len() + id.len()).max(2));
        let notes = remarks.about(node, merges).join("  ");
        text += &format!("{state}{}{id}{pad}{}\n", paint.dim(prefix), paint.dim(&notes));
    }
    text.truncate(text.trim_end().len());
    text
}

/// What is said about nodes, with the graph's edges by node.
struct Remarks<'a> {
    graph: &'a Graph,
    conditions: Vec<Vec<&'a str>>,
    loops: Vec<Vec<usize>>,
}

impl<'a> Remarks<'a> {
    fn of(graph: &'a Graph) -> Self {
        let mut conditions = vec![Vec::new(); graph.nodes.len()];
        for edge in &graph.edges {
            conditions[edge.to].extend(edge.when.as_deref());
        }
        let mut loops = vec![Vec::new(); graph.nodes.len()];
        for (at, each) in graph.loops.iter().enumerate() {
            loops[each.from].push(at);
        }
        Self { graph, conditions, loops }
    }

    fn about(&self, at: usize, merges: &[usize]) -> Vec<String> {
        let node = &self.graph.nodes[at];
        let short = |text: &str| one_line(text, TEXT_CHARS_MAX);
        let mut notes = vec![short(&node.work.to_string())];
        notes.extend(node.name.as_ref().map(|name| format!("\"{}\"", short(name))));
        if let Some(state) = &node.state {
            notes.extend(state.facts(node.repeat.as_ref().map(|(most, _)| *most)));
        }
        notes.extend(node.layers().iter().map(|layer| short(layer)));
        if !merges.is_empty() {
            let names: Vec<&str> = merges.iter().take(NAMES_MAX).map(|&at| self.graph.nodes[at].id.as_str()).collect();
            let more = merges.len().saturating_sub(NAMES_MAX);
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            notes.push(format!("after {}{more}", names.join(", ")));
        }
        if node.join != Join::default() {
            notes.push(format!("join {}", node.join.as_str()));
        }
        notes.extend(node.when.iter().map(|when| format!("when {}", short(when))));
        // Many edges with conditions of their own make no line that anybody reads.
        let conditions = &self.conditions[at];
        notes.extend(conditions.iter().take(NAMES_MAX).map(|when| format!("when {}", short(when))));
        if conditions.len() > NAMES_MAX {
            notes.push(format!("and {} conditions more", conditions.len() - NAMES_MAX));
        }
        for &back in &self.loops[at] {
            let back = &self.graph.loops[back];
            notes.push(format!("back to {}, {}", self.graph.nodes[back.to].id, short(&back.label())));
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use segue_core::status::Status;
    use serde_json::{Value, json};

    use super::*;
    use crate::graph::{
        NodeState, Parts,
        tests::{everything, graph, triage},
    };

    #[test]
    fn the_tree_reads_well() {
        assert_eq!(
            ascii(&triage(), Paint::none()),
            "\
triage
classify     pass  \"Classify the ticket\"
|-- billing  pass  when nodes.classify.output == \"billing\"
|-- bug      pass  when nodes.classify.output == \"bug\"
`-- reply    pass  after billing, bug
    archive  pass"
        );
    }

    #[test]
    fn everything_has_its_place() {
        assert_eq!(
            ascii(&everything(), Paint::none()),
            "\
everything  Everything at once
plan         pass
research     pass  foreach nodes.plan.output.topics, 4 at once
polish       group  repeat at most 5 times until output.score > 8
: draft      pass
: |-- style  pass
: |-- facts  workflow check_facts
: `-- score  pass  after style, facts
sign         approval \"May it go out?\"
embargo      wait 3600 s
publish      pass
measure      pass  back to publish, at most 3 times when nodes.measure.output < 100
archive      pass  join all_done
on failure:
  tell       pass
finally:
  close      pass
  tidy       pass"
        );
    }

    #[test]
    fn a_run_shows_states_and_counts() {
        let mut graph = graph(json!({"id": "w", "nodes": [
            {"id": "m", "foreach": "params.all"},
            {"id": "r", "depends_on": ["m"], "repeat": {"max_iterations": 5}},
        ]}));
        let state = |status| NodeState { status, attempts: 1, iteration: None, parts: None, reused: false };
        let parts = Some(Parts { done: 1_200, failed: 2, total: 2_000 });
        graph.nodes[0].state = Some(NodeState { parts, ..state(Status::Running) });
        graph.nodes[1].state = Some(NodeState { iteration: Some(3), attempts: 4, ..state(Status::Pending) });
        assert_eq!(
            ascii(&graph, Paint::none()),
            "\
w
RUNNING   m  pass  1,200/2,000, 2 failed  foreach params.all
PENDING   r  pass  #3/5  4 attempts  repeat at most 5 times"
        );
    }

    /// 2,000 nodes, 1,100 of them leading to one: it must stay one line a node, and be there at once.
    #[test]
    fn a_wide_graph_stays_readable() {
        let wide: Vec<String> = (0..1_100).map(|at| format!("part-{at}")).collect();
        let mut nodes: Vec<Value> = wide.iter().map(|id| json!({"id": id, "depends_on": ["start"]})).collect();
        nodes.push(json!({"id": "start"}));
        nodes.push(json!({"id": "join", "depends_on": wide}));
        nodes.extend((0..898).map(|at| {
            let before = if at == 0 { "join".to_owned() } else { format!("step.{}", at - 1) };
            json!({"id": format!("step.{at}"), "depends_on": [before]})
        }));
        let text = ascii(&graph(json!({"id": "wide", "nodes": nodes})), Paint::none());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2_001);
        assert_eq!(lines[1], "start          pass");
        assert_eq!(lines[2], "|-- part-0     pass");
        assert!(lines[1_102].starts_with("`-- join       pass  after part-0, part-1, "), "{}", lines[1_102]);
        assert!(lines[1_102].ends_with(" and 1092 more"), "{}", lines[1_102]);
        assert_eq!(lines[2_000], "    step.897   pass");
        assert!(lines.iter().all(|line| line.len() < 120));
    }
}
