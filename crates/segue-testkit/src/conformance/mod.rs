//! One published suite a port: whoever passes it is an implementation.

pub mod adapter;
pub mod checkpoints;
pub mod event_bus;
pub mod limit_store;
pub mod model_journal;
pub mod question;
pub mod run_store;
pub mod upkeep;
mod wait;

pub use wait::{PATIENCE, block_on, eventually, now};
