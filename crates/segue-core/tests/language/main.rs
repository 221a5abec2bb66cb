//! What the language means: the tables of `docs/reference/semantics.md`, the patterns of `docs/reference/patterns`, and
//! graphs of the shapes that real workflows have, each played by the kernel alone.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod ending;
mod parts;
mod patterns;
mod pauses;
mod semantics;
mod shapes;
mod tables;
mod world;
mod written;
