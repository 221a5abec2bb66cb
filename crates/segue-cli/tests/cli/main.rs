//! The whole program, as people and other programs use it: one test binary, so that it is linked once and whatever waits
//! (for a lease, a minute, a model) waits beside the others.
#![allow(clippy::unwrap_used)]

mod support;

mod answers;
mod chaos;
mod crash;
mod crew_answers;
mod crews;
mod documents;
mod engines;
mod examples;
mod exit_codes;
mod gateway;
mod graphs;
mod guides;
mod models;
mod nested;
mod reference;
mod remote;
mod runs;
mod serve;
mod serve_http;
mod serve_postgres;
mod shapes;
mod signals;
mod stores;
mod survival;
mod upkeep;
mod watch;
mod workflows;
