//! Conformance suites, simulator, auditor and stub model server. A development dependency only.

pub mod auditor;
pub mod conformance;
pub mod http;
pub mod provider;
pub mod sim;
