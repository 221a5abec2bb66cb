//! An orchestrator for crews.

use std::sync::Arc;

use segue_core::ports::Adapter;
use segue_engine::{Framework, FrameworkOrchestrator};
use segue_worker::process::ProcessAdapter;

use crate::{AGENT, CrewaiAdapter};

/// An engine whose nodes are CrewAI's unless they name another handler, with `pass` and `process.run` beside them.
pub type CrewaiOrchestrator = FrameworkOrchestrator<CrewaiAdapter>;

impl Framework for CrewaiAdapter {
    const DEFAULT_HANDLER: &'static str = AGENT;

    fn companions() -> Vec<Arc<dyn Adapter>> {
        vec![Arc::new(ProcessAdapter)]
    }
}
