//! The engine against stores, adapters and engines that fail, hang, and come back.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod support;

mod adapters;
mod chaos;
mod faults;
mod flow;
mod leases;
mod observe;
mod pass;
mod requests;
mod secrets;
mod shutdown;
mod writes;
