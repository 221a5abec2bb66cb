//! An orchestrator for chains and graphs.

use std::sync::Arc;

use segue_core::ports::Adapter;
use segue_engine::{Framework, FrameworkOrchestrator};
use segue_worker::process::ProcessAdapter;

use crate::{LangchainAdapter, RUNNABLE};

/// An engine whose nodes are LangChain's unless they name another handler, with `pass` and `process.run` beside them.
pub type LangChainOrchestrator = FrameworkOrchestrator<LangchainAdapter>;

impl Framework for LangchainAdapter {
    const DEFAULT_HANDLER: &'static str = RUNNABLE;

    fn companions() -> Vec<Arc<dyn Adapter>> {
        vec![Arc::new(ProcessAdapter)]
    }
}
