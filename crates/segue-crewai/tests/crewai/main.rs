//! Real CrewAI in the managed environment, against a stub of a model provider.
#![allow(clippy::unwrap_used)]

mod adapter;
mod common;
mod people;
mod places;
