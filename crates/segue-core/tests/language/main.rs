//! What the language means: the tables of `docs/reference/semantics.md`, the patterns of `docs/reference/patterns`, and
//! graphs of the shapes that real workflows have, each played by the kernel alone.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod patterns;
mod semantics;
mod tables;
mod world;
