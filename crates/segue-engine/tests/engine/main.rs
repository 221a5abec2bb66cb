//! The engine against stores, adapters and engines that fail, hang, and come back.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod support;

mod adapters;
mod answers;
mod cache;
mod chaos;
mod chaos_seeds;
mod child_ends;
mod children;
mod children_lost;
mod clock;
mod faults;
mod finally;
mod flow;
mod keys;
mod leases;
mod limits;
mod observe;
mod outage;
mod pass;
mod prepare;
mod requests;
mod rerun;
mod secrets;
mod shutdown;
mod storm;
mod writes;
