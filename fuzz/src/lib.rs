//! What fuzzing asks of Segue: see `targets`. `cargo xtask fuzz` at the top of the repository runs it.
//!
//! `crates/segue-core/tests/fuzz_regressions.rs` takes these files in by path and asks the same of every input that has
//! once been a problem, on every ordinary test run.

mod documents;
mod logs;
mod pieces;
mod targets;

pub use targets::{document, event, expression, parser, template};
