//! The whole program under faults: killed at every n-th system call, with failing system calls, jumping clocks and broken
//! connections, and checked against what it had acknowledged.
//!
//! * [`program`]: which `segue` is tested, and the tools that this needs.
//! * [`place`]: a folder with a store, and commands in it. [`workload`]: what is run there.
//! * [`strace`]: system calls that kill or fail. [`points`]: which there are. [`case`]: one of them, and the recovery.
//!   [`campaign`]: many of them.
//! * [`proxy`]: connections that break; [`between`]: an engine behind it. [`clock`]: clocks that jump; [`jump`]: a run under
//!   one.
//! * [`pair`]: two engines on one database, one of which is killed.
//! * [`snapshot`]: what a store says. [`checks`]: what must be true of it. [`leftovers`]: what must not be left.
//!
//! The harness is believed because it catches what is wrong on purpose: `tests/mutants.rs` runs it against planted bugs.
// Tests and what they are made of say where they fail by failing there.
#![allow(clippy::unwrap_used)]

pub mod between;
pub mod campaign;
pub mod case;
pub mod checks;
pub mod clock;
pub mod jump;
pub mod leftovers;
pub mod pair;
pub mod place;
pub mod points;
pub mod program;
pub mod proxy;
pub mod snapshot;
pub mod strace;
pub mod workload;
