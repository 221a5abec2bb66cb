//! Conformance suites, simulator, auditor and stub model server. A development dependency only.
