//! The child workflows of a document: looked up by their ids in the files beside it, then in the store.

use std::{
    collections::{BTreeMap, VecDeque},
    fs,
    path::{Path, PathBuf},
};

use segue_core::{
    ids::WorkflowId,
    spec::{ChildSpec, Diagnostic, Severity, WorkflowSpec, codes, resolve_inputs},
};
use serde_json::Value;

use crate::{config::Settings, document::Document, subject, wiring};

/// Files beside a document that are looked at.
const FILES_MAX: usize = 2_000;

/// The child workflows of a document, and theirs, that stand in files beside it.
#[derive(Debug, Default)]
pub(crate) struct Family {
    members: BTreeMap<WorkflowId, WorkflowSpec>,
}

impl Family {
    /// Their specifications, by id. The document itself is not among them.
    pub(crate) fn members(&self) -> impl Iterator<Item = &WorkflowSpec> {
        self.members.values()
    }
}

/// A node that runs another workflow: where it stands in its document, what it names and what it gives.
struct ChildNode<'a> {
    pointer: String,
    child: &'a ChildSpec,
    inputs: &'a serde_json::Map<String, Value>,
}

/// Finds the child workflows of `own`, whose document stands in `folder`. Gives what is wrong with how `own` names and
/// feeds them.
pub(crate) async fn find(own: &WorkflowSpec, folder: &Path, settings: &Settings) -> (Family, Vec<Diagnostic>) {
    let mut family = Family::default();
    let mut problems = Vec::new();
    if children_of(own).is_empty() {
        return (family, problems);
    }
    let beside = Beside::of(folder);
    for node in children_of(own) {
        let id = &node.child.id;
        let is_itself = *id == own.id && node.child.version.is_none();
        let found =
            if is_itself { Some(Found::Here(own.clone())) } else { lookup(&beside, node.child, settings).await };
        match found {
            None => problems.push(missing(&node)),
            Some(Found::Broken(file, errors)) => problems.push(broken(&node, &file, errors)),
            Some(Found::Here(child) | Found::Stored(child)) => problems.extend(misfits(&node, &child)),
        }
    }
    // What the children need is looked up too, so that a start finds all of it; what is wrong there is told about them.
    let mut open: VecDeque<WorkflowId> = children_of(own).iter().map(|node| node.child.id.clone()).collect();
    while let Some(id) = open.pop_front() {
        if id == own.id || family.members.contains_key(&id) {
            continue;
        }
        if let Some(Found::Here(child)) = beside.find(&id, settings) {
            open.extend(children_of(&child).iter().map(|node| node.child.id.clone()));
            family.members.insert(id, child);
        }
    }
    (family, problems)
}

/// What is known of a child workflow.
enum Found {
    /// A file beside the document has it.
    Here(WorkflowSpec),
    /// It is deployed.
    Stored(WorkflowSpec),
    /// A file beside the document has it, with so many errors.
    Broken(PathBuf, usize),
}

async fn lookup(beside: &Beside, child: &ChildSpec, settings: &Settings) -> Option<Found> {
    // A version is one of those that were deployed.
    if child.version.is_none()
        && let Some(found) = beside.find(&child.id, settings)
    {
        return Some(found);
    }
    // A store that cannot be read says nothing about the document.
    let store = wiring::open_store(settings).await.ok()?;
    let deployment = subject::find(&*store, &child.id, child.version.as_deref()).await.ok()?;
    Some(Found::Stored(subject::spec_of(&*store, &deployment).await.ok()?))
}

/// The documents in a folder. Each is read once, and only if its text has the id that is looked for.
struct Beside {
    files: Vec<(PathBuf, String)>,
}

impl Beside {
    fn of(folder: &Path) -> Self {
        let is_document = |path: &PathBuf| {
            path.extension().is_some_and(|ending| ["yaml", "yml", "json"].iter().any(|one| ending == *one))
        };
        let mut paths: Vec<PathBuf> = fs::read_dir(folder)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(is_document)
            .take(FILES_MAX)
            .collect();
        paths.sort();
        let read = |path: PathBuf| {
            let is_small = fs::metadata(&path).is_ok_and(|file| file.is_file() && file.len() <= 1 << 20);
            let text = is_small.then(|| fs::read_to_string(&path).ok()).flatten()?;
            Some((path, text))
        };
        Self { files: paths.into_iter().filter_map(read).collect() }
    }

    fn find(&self, id: &WorkflowId, settings: &Settings) -> Option<Found> {
        for (path, text) in self.files.iter().filter(|(_, text)| text.contains(id.as_str())) {
            if id_of(text).as_deref() != Some(id.as_str()) {
                continue;
            }
            let document = Document::read(&path.to_string_lossy(), settings).ok()?;
            let errors = document.problems_of(Severity::Error);
            return Some(match document.into_spec() {
                Some(spec) => Found::Here(spec),
                None => Found::Broken(path.clone(), errors),
            });
        }
        None
    }
}

/// The id of a document, without reading the rest of it: `id:` at the beginning of a line, or the field of a JSON object.
fn id_of(text: &str) -> Option<String> {
    if text.trim_start().starts_with('{') {
        let document: Value = serde_json::from_str(text).ok()?;
        return document["id"].as_str().map(str::to_owned);
    }
    let line = text.lines().find_map(|line| line.strip_prefix("id:"))?;
    let value = line.split(" #").next().unwrap_or(line).trim();
    Some(value.trim_matches(['"', '\'']).to_owned())
}

/// The nodes that run other workflows, wherever they stand.
fn children_of(spec: &WorkflowSpec) -> Vec<ChildNode<'_>> {
    spec.every_node()
        .into_iter()
        .filter_map(|(pointer, node)| {
            let child = node.workflow.as_ref()?;
            Some(ChildNode { pointer, child, inputs: &node.spec.inputs })
        })
        .collect()
}

fn missing(node: &ChildNode<'_>) -> Diagnostic {
    let version = node.child.version.as_ref().map_or(String::new(), |version| format!(" in version {version}"));
    let message = format!(
        "the workflow `{}`{version} is neither in a file beside this document nor deployed in the store",
        node.child.id
    );
    Diagnostic::warning(codes::CHILD_NOT_FOUND.name, format!("{}/workflow/id", node.pointer), message)
}

fn broken(node: &ChildNode<'_>, file: &Path, errors: usize) -> Diagnostic {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let errors = if errors == 1 { "1 error".to_owned() } else { format!("{errors} errors") };
    let message = format!("the workflow `{}` cannot run: {name} has {errors}", node.child.id);
    Diagnostic::error(codes::CHILD_NOT_VALID.name, format!("{}/workflow/id", node.pointer), message)
        .with_help(format!("segue validate {}", file.display()))
}

/// How what the node gives does not fit the params of its child. What is computed is not known before it runs.
fn misfits(node: &ChildNode<'_>, child: &WorkflowSpec) -> Vec<Diagnostic> {
    let Err(problems) = resolve_inputs(child, node.inputs.clone()) else { return Vec::new() };
    let is_computed = |problem: &Diagnostic| {
        let name = problem.path.split('/').nth(1).unwrap_or_default().replace("~1", "/").replace("~0", "~");
        problem.code == codes::BAD_INPUT.name && node.inputs.get(&name).is_some_and(is_template)
    };
    let mut found: Vec<Diagnostic> = problems.into_iter().filter(|problem| !is_computed(problem)).collect();
    for problem in &mut found {
        let place = if node.inputs.is_empty() { "/workflow/id" } else { "/inputs" };
        // A missing input has no place of its own.
        let own = if problem.code == codes::MISSING_INPUT.name { "" } else { &problem.path };
        problem.path = format!("{}{place}{own}", node.pointer);
        problem.message = format!("{}: {}", child.id, problem.message);
        if problem.code == codes::MISSING_INPUT.name {
            problem.help = Some("give it in the node's `inputs`, or give the child's param a default".to_owned());
        }
    }
    found
}

fn is_template(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains("{{"),
        Value::Array(items) => items.iter().any(is_template),
        Value::Object(fields) => fields.contains_key("$secret") || fields.values().any(is_template),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_found_without_reading_the_document() {
        assert_eq!(id_of("# x\nid: bug_report  # the one\nnodes:\n  - id: a\n").as_deref(), Some("bug_report"));
        assert_eq!(id_of("name: x\nid: \"b\"\n").as_deref(), Some("b"));
        assert_eq!(id_of("{\"id\": \"j\"}").as_deref(), Some("j"));
        assert_eq!(id_of("nodes:\n  - id: a\n"), None);
    }

    #[test]
    fn what_is_computed_is_not_judged() {
        for (value, expected) in [
            (serde_json::json!("{{ params.x }}"), true),
            (serde_json::json!({"a": ["{{ x }}"]}), true),
            (serde_json::json!({"$secret": "KEY"}), true),
            (serde_json::json!(["a", 1, null]), false),
        ] {
            assert_eq!(is_template(&value), expected, "{value}");
        }
    }
}
