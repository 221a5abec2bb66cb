//! CrewAI under Segue: crews and agents as tasks.
//!
//! * [`CrewaiAdapter`]: carries out `crewai.agent` and `crewai.crew` in the Python worker pool of `segue-worker`.
//! * [`CrewaiOrchestrator`]: an engine whose nodes are CrewAI agents unless they say otherwise.
//!
//! What is here translates and forwards: it checks what a node says, decides which Python, which variables and which
//! folder an attempt gets, and hands it over. Everything about CrewAI itself is in `python/segue/adapters/crewai`.
//!
//! A worker never gets more of the engine's environment than a short list, the variables of model providers and those
//! that `hints.crewai.env` names; in a rehearsal not even the providers'.

mod adapter;
mod hints;
mod inputs;
mod orchestrator;
mod provider;

pub use adapter::{CrewaiAdapter, CrewaiOptions, Prepare, RehearsalEndpoint, RehearsalModel};
pub use inputs::{AGENT, CREW};
pub use orchestrator::CrewaiOrchestrator;
pub use provider::ProviderSettings;
