//! What a workflow is and what a run means, without I/O, clock, randomness or runtime.
//!
//! * [`spec`]: the workflow document as types, its parser, its diagnostics.
//! * [`expr`]: conditions and templates.
//! * [`plan`]: a workflow made ready to run: nodes numbered, edges resolved, expressions compiled.
//! * [`run`]: the kernel. `handle` decides, `apply` folds a fact, `owed` says what the world still has to do.
//! * [`event`]: the facts. The log, the bus and every interface show the same ones.
//! * [`limits`]: who goes under a named limit, and who waits.
//! * [`ports`]: what the kernel's shell needs from outside, as traits with documented promises.
//! * [`problems`]: what an adapter finds wrong with a node's inputs and hints, in one form for documents and attempts.
//! * [`seal`]: how stores make damage visible: checksums, and logs as chains of hashes.
//! * [`memory`]: the ports' implementations in memory.
//! * [`verify`]: is what a store holds what its logs say?

pub mod event;
pub mod expr;
pub mod ids;
pub mod limits;
pub mod memory;
pub mod outcome;
pub mod payload;
pub mod plan;
pub mod ports;
pub mod problems;
pub mod question;
pub mod run;
pub mod seal;
pub mod spec;
pub mod status;
pub mod time;
pub mod verify;
