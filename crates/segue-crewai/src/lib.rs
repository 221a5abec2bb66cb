//! CrewAI under Segue: crews, agents and flows as tasks.
//!
//! * [`CrewaiAdapter`]: carries out `crewai.agent`, `crewai.crew` and `crewai.flow` in the Python worker pool of `segue-worker`.
//! * [`CrewaiOrchestrator`]: an engine whose nodes are CrewAI agents unless they say otherwise.
//! * [`CrewaiRemote`]: carries out `crewai.remote`: crews that are hosted, over HTTP.
//!
//! What is here translates and forwards: it checks what a node says, decides which Python, which variables and which
//! folder an attempt gets, and hands it over. Everything about CrewAI itself is in `python/segue/adapters/crewai`.
//!
//! A worker never gets more of the engine's environment than a short list, the names of models and what `hints.crewai.env`
//! names; in a rehearsal nothing of a provider's. Its way to models is a [`ModelDoor`](segue_core::ports::ModelDoor): an
//! address on this machine and a key that ends with the attempt.

mod adapter;
mod hints;
mod inputs;
mod orchestrator;
mod place;
mod provider;
mod remote;

pub use adapter::{CrewaiAdapter, CrewaiOptions, Prepare};
pub use inputs::{AGENT, CREW, FLOW};
pub use orchestrator::CrewaiOrchestrator;
pub use remote::{CrewaiRemote, REMOTE, RemoteOptions};
