//! The handlers that need nothing but the engine.

mod pass;

pub use pass::Pass;
