//! A child run whose parent has given it up.
//!
//! The parent tells its child runs to stop. Should its engine die just before it does, nobody else would: so a child run
//! that lost sight of its parent looks for itself.

use std::sync::Arc;

use segue_core::{event::ParentLink, ids::RunId, ports::RequestKind, status::Status};

use super::Drive;
use crate::shared::Shared;

impl Drive {
    /// Looks after the parent, if the run has one that is not driven here. Does not wait for the answer.
    pub(super) fn look_for_parent(&self) {
        if let Some(parent) = &self.run.created().parent
            && !self.run.status().is_terminal()
            && !self.run.is_stopping()
            && self.shared.live.get(parent.run_id).is_none()
        {
            tokio::spawn(cancel_if_given_up(self.shared.clone(), self.run.id(), parent.clone()));
        }
    }
}

/// A task that failed or was cancelled waits for nothing any more. (One that succeeded has let its run go its own way.)
async fn cancel_if_given_up(shared: Arc<Shared>, child: RunId, parent: ParentLink) {
    let task = shared.store.get_task_result(parent.run_id, &parent.task_id).await;
    if task.is_ok_and(|task| matches!(task.status, Status::Failed | Status::Cancelled)) {
        let reason = format!("task `{}` of run {} does not wait for it any more", parent.task_id, parent.run_id);
        // If this fails it is looked at again when the lease is renewed.
        if shared.store.post_request(child, RequestKind::Cancel { reason }).await.is_ok() {
            shared.deliver(child).await;
        }
    }
}
