//! Conformance suites, simulator, auditor and stub model server. A development dependency only.
//!
//! * [`sim`]: random workflows against a hostile world; a failing seed replays. [`auditor`]: judges a run by its log alone.
//! * [`conformance`]: one suite a port, run by every implementation of it.
//! * [`faults`]: a store that fails as it is told or as a seed draws it.
//! * [`services`]: PostgreSQL and Redis for tests. [`gate`]: a door in the way of TCP connections.
//! * [`provider`]: a stub of a model provider, scripted and observed. [`http`]: the least of a client, for servers.
//! * [`web`]: a small HTTP server that answers as a test tells it. [`langgraph_server`], [`crewai_server`]: those that speak as
//!   LangGraph's and CrewAI's do.

pub mod auditor;
pub mod conformance;
pub mod crewai_server;
pub mod faults;
pub mod gate;
pub mod http;
pub mod langgraph_server;
pub mod provider;
pub mod services;
pub mod sim;
pub mod web;
