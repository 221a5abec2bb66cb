//! What a run's tasks need and what takes long, made before they begin: not in the time of an attempt.

use std::path::Path;

use async_trait::async_trait;
use segue_core::{run::Run, spec::WorkflowSpec};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::{
    live::{Handle, Message},
    plans::Deployed,
    shared::Shared,
};

/// Makes what tasks need, such as environments with the packages that they use.
#[async_trait]
pub trait Prepare: Send + Sync {
    /// Makes what this workflow's tasks need in its folder; at once where it is there already. What cannot be made is left
    /// to the attempts, which say why. Dropping the future stops waiting, not the making.
    async fn prepare(&self, workflow: &WorkflowSpec, base_dir: Option<&Path>);
}

/// Waits until everything is there for a run that was claimed, or until something comes in for the run: that comes first, and
/// then its attempts wait for what is not there yet.
pub(crate) async fn ready(
    shared: &Shared,
    deployed: &Deployed,
    run: &Run,
    handle: &Handle,
    inbox: &mut UnboundedReceiver<Message>,
) {
    let Some(preparer) = &shared.preparer else { return };
    if run.status().is_terminal() {
        return;
    }
    let base_dir = run.created().base_dir.as_deref().map(Path::new);
    let preparing = preparer.prepare(&deployed.spec, base_dir);
    tokio::pin!(preparing);
    loop {
        let message = tokio::select! {
            biased;
            () = &mut preparing => return,
            message = inbox.recv() => message,
        };
        match message {
            // Nothing has been missed so far.
            Some(Message::Renewed) => {}
            Some(message) => {
                // To the end of the queue: the order of what comes in says nothing.
                let _ = handle.sender.send(message);
                return;
            }
            None => return,
        }
    }
}
