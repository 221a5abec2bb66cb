//! Looking after a file: its state, its damage, its copies, its schema.
#![allow(clippy::unwrap_used)]

mod copies;
mod damage;
mod place;
mod status;
