//! What a start names: a workflow document, or a workflow that is deployed.

use std::path::Path;

use segue_core::{
    ids::{ContentHash, WorkflowId},
    ports::{Deployment, RunStore},
    spec::WorkflowSpec,
};

use crate::{
    failure::{Failure, Outcome},
    render::document::workflow,
};

/// Digits of a version that people see, and type.
const VERSION_DIGITS: usize = 12;

/// A workflow as a command names it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Subject<'a> {
    /// A document; `-` is stdin.
    File(&'a str),
    /// A deployed workflow, and the first digits of its version if not the current one is meant.
    Deployed(WorkflowId, Option<&'a str>),
}

impl<'a> Subject<'a> {
    /// What `text` names: a file where there is one, or where it looks like the name of one.
    pub(crate) fn of(text: &'a str) -> Self {
        let looks_like_a_file = text == "-"
            || text.contains('/')
            || [".yaml", ".yml", ".json"].iter().any(|ending| text.ends_with(ending))
            || Path::new(text).exists();
        let (id, version) = match text.split_once('@') {
            Some((id, version)) => (id, Some(version)),
            None => (text, None),
        };
        match id.parse() {
            Ok(id) if !looks_like_a_file => Self::Deployed(id, version),
            _ => Self::File(text),
        }
    }
}

/// The part of a version that people type.
pub(crate) fn short_version(hash: ContentHash) -> String {
    hash.to_string()[..VERSION_DIGITS].to_owned()
}

/// Finds a deployed workflow: the current deployment, or the newest of a version.
pub(crate) async fn find(store: &dyn RunStore, id: &WorkflowId, version: Option<&str>) -> Outcome<Deployment> {
    let all = store.deployments(Some(id), 0).await?;
    if all.is_empty() {
        return Err(not_deployed(store, id).await?);
    }
    let Some(digits) = version else {
        return Ok(all.into_iter().next().expect("it is not empty"));
    };
    let digits = digits.to_ascii_lowercase();
    let mut fitting: Vec<ContentHash> = Vec::new();
    for deployment in &all {
        if deployment.hash.to_string().starts_with(&digits) && !fitting.contains(&deployment.hash) {
            fitting.push(deployment.hash);
        }
    }
    match fitting[..] {
        [hash] if !digits.is_empty() => {
            Ok(all.into_iter().find(|deployment| deployment.hash == hash).expect("it is one of them"))
        }
        [] => Err(Failure::not_found(format!("{id} has no version that starts with `{digits}`"))
            .help(format!("`segue workflows history {id}` lists its versions"))),
        _ => Err(Failure::usage(format!("more than one version of {id} starts with `{digits}`"))
            .help(format!("give more of it; `segue workflows history {id}` lists its versions"))),
    }
}

/// The workflow of a deployment.
pub(crate) async fn spec_of(store: &dyn RunStore, deployment: &Deployment) -> Outcome<WorkflowSpec> {
    workflow(store, deployment.hash).await
}

/// Says what there is instead.
pub(crate) async fn not_deployed(store: &dyn RunStore, id: &WorkflowId) -> Outcome<Failure> {
    let known = store.deployments(None, 0).await?;
    let near = known
        .iter()
        .map(|deployment| deployment.workflow_id.as_str())
        .min_by_key(|known| strsim::damerau_levenshtein(known, id.as_str()))
        .filter(|near| strsim::damerau_levenshtein(near, id.as_str()) <= 1 + id.as_str().len() / 3);
    let failure = Failure::not_found(format!("`{id}` is neither a file nor a deployed workflow"));
    Ok(match near {
        Some(near) => failure.help(format!("did you mean `{near}`?")),
        None => failure.help("name a workflow document, or deploy one: segue workflows deploy FILE"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_told_from_a_workflow() {
        let deployed = |id: &str, version| Subject::Deployed(WorkflowId::from(id), version);
        assert_eq!(Subject::of("triage"), deployed("triage", None));
        assert_eq!(Subject::of("triage@12ab"), deployed("triage", Some("12ab")));
        for file in ["-", "triage.yaml", "flows/triage", "a b", "Cargo.toml"] {
            assert_eq!(Subject::of(file), Subject::File(file));
        }
    }
}
