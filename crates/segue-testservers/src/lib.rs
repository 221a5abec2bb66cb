//! PostgreSQL and Redis servers for tests: their own folder, a free loopback port, a generated password, an unprivileged
//! user, and an end when whoever started them ends, however that happens.
//!
//! * [`PostgresServer`], [`RedisServer`]: one server each; dropped, it is gone with its data.
//! * [`programs`]: where this machine has the programs.
//! * `supervisor`: the small shell that watches over a server. It reads orders from a pipe, and the end of the pipe,
//!   which even `kill -9` of the starter brings, is the order to end.
//!
//! `cargo xtask services` and the test kit are built on this crate; it knows nothing of Segue and needs no other crate of it.

mod place;
mod postgres;
pub mod programs;
mod redis;
mod supervisor;

pub use postgres::PostgresServer;
pub use redis::RedisServer;
