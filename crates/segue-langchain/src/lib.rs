//! LangChain and LangGraph under Segue: chains, agents and graphs as tasks.
//!
//! * [`LangchainAdapter`]: carries out `langchain.runnable` and `langgraph.graph` in the Python worker pool of
//!   `segue-worker`, hundreds in one process.
//! * [`LangChainOrchestrator`]: an engine whose nodes are LangChain's unless they say otherwise.
//! * [`LanggraphRemote`]: carries out `langgraph.remote`: graphs on a LangGraph server, over HTTP.
//!
//! What is here translates and forwards: it checks what a node says and hands it over. Environments, processes, the way to
//! models and checkpoints are those of [`segue_worker::python::Runtime`]; everything about LangChain itself is in
//! `python/segue/adapters/langchain`.

mod adapter;
mod hints;
mod inputs;
mod orchestrator;
mod remote;

pub use adapter::LangchainAdapter;
pub use inputs::{GRAPH, RUNNABLE};
pub use orchestrator::LangChainOrchestrator;
pub use remote::{LanggraphRemote, REMOTE};
