//! Processes that Segue starts for its tasks, and their certain end.
//!
//! * [`contain`]: starts a process so that it and everything it starts can be ended; bounded capture of what it prints.
//! * [`process`]: the `process.run` handler: one program, without a shell.
//! * [`protocol`]: the messages between the engine and its Python workers (`docs/reference/worker-protocol.md`).
//! * [`pool`]: the Python workers: one warm *zygote* an environment, which forks its attempts or carries them itself.
//! * [`python`]: tasks that are Python code of the user's, many in one process: `python.call`.
//! * [`environment`]: which Python runs them; makes a managed environment from a pinned lock where there is none.
//! * `off_thread`: work that blocks.
//!
//! What holds everywhere: nothing is started that cannot be ended; nothing is buffered without a bound; what a process
//! prints is a log line and can never be taken for a message.

pub mod contain;
pub mod environment;
mod off_thread;
pub mod pool;
pub mod process;
pub mod protocol;
pub mod python;

pub use segue_core::problems;
