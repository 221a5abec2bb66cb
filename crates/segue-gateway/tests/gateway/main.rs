//! The gateway as clients on the wire, providers behind it and adapters before it see it.

#![allow(clippy::unwrap_used)]

mod budgets;
mod common;
mod http;
mod journal;
mod limits;
mod provider;
mod usage;
