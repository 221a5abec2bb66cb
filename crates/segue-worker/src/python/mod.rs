//! Tasks that are Python code of the user's, many in one process.
//!
//! * [`PythonAdapter`]: `python.call`, a plain function.
//! * [`Runtime`]: what it shares with other adapters of such tasks: environments, the pool, models, checkpoints.
//! * [`Hints`]: the hints that they share.
//!
//! A worker gets a short list of our environment and what `hints.<adapter>.env` names. The way to models is the
//! attempt's own: an address on this machine and a key that is good for it alone; a host knows neither.

mod call;
mod hints;
mod runtime;

pub use call::{CALL, PythonAdapter, is_reference};
pub use hints::{COMMON, Hints, Isolation};
pub use runtime::{Project, Runtime, RuntimeOptions, Work};
