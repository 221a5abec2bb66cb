//! `segue workflows deploy FILE...`: put documents into service, their child workflows with them.

use std::path::Path;

use segue_core::{
    plan::version_json,
    ports::{Deployment, RunStore, WorkflowVersion},
    spec::WorkflowSpec,
};
use serde_json::{Value, json};

use super::{drive::now, workflows::as_item};
use crate::{
    args::WorkflowsDeployArgs,
    config::{Settings, StoreUrl},
    document::Document,
    exit::Exit,
    failure::{Failure, Outcome},
    subject::short_version,
    terminal, wiring,
};

pub(super) async fn deploy(args: WorkflowsDeployArgs, settings: Settings) -> Outcome {
    if settings.store == StoreUrl::Memory {
        return Err(Failure::usage("a deployed workflow stays in the store, and `memory:` is gone with this process")
            .help("name a store: --store sqlite:PATH"));
    }
    // All are read before the first is deployed: a mistake in the last one shall not leave half of them in service.
    let mut ready = Vec::new();
    for file in &args.files {
        let (document, family) = Document::read(file, &settings)?.with_family(&settings).await?;
        let (spec, folder) = document.into_workflow(args.json)?;
        // Children first: from the moment that the parent is there it can be started.
        ready.extend(family.members().map(|child| (child.clone(), folder.clone())));
        ready.push((spec, folder));
    }
    let mut known = std::collections::BTreeMap::new();
    for (spec, _) in &ready {
        let version = version_json(spec).0;
        if known.insert(spec.id.clone(), version).is_some_and(|other| other != version) {
            return Err(Failure::new(Exit::Conflict, format!("two documents have the id `{}`", spec.id))
                .help("give one of them another id, or deploy them one after the other"));
        }
    }
    let store = wiring::open_or_create_store(&settings).await?;
    let mut items: Vec<Value> = Vec::new();
    for (spec, folder) in &ready {
        if known.remove(&spec.id).is_some() {
            items.push(put(&*store, spec, folder, args.json).await?);
        }
    }
    if args.json {
        terminal::print(json!({ "items": items }).to_string());
    }
    Ok(Exit::Ok)
}

async fn put(store: &dyn RunStore, spec: &WorkflowSpec, folder: &Path, quiet: bool) -> Outcome<Value> {
    let (hash, spec_json) = version_json(spec);
    let base_dir = folder.to_str().map(str::to_owned);
    let deployment = Deployment { workflow_id: spec.id.clone(), hash, deployed_at: now(), base_dir };
    let before = store.deployments(Some(&spec.id), 1).await?.pop();
    let changed = before.as_ref().is_none_or(|old| (old.hash, &old.base_dir) != (hash, &deployment.base_dir));
    if changed {
        store.put_workflow(WorkflowVersion { hash, workflow_id: spec.id.clone(), spec_json }).await?;
        store.deploy(deployment.clone()).await?;
    }
    let mut item = as_item(if changed { &deployment } else { before.as_ref().unwrap_or(&deployment) });
    item["changed"] = json!(changed);
    if !quiet {
        let version = short_version(hash);
        let was = before.map_or(String::new(), |old| format!(", before {}", short_version(old.hash)));
        terminal::say(match changed {
            true => format!("{} is deployed in version {version}{was}; start it with: segue run {}", spec.id, spec.id),
            false => format!("{} is deployed in version {version} already", spec.id),
        });
    }
    Ok(item)
}
