//! Starting processes so that they, and everything they start, can be ended for certain.
//!
//! A process group alone does not hold: a grandchild that calls `setsid` leaves it. So three things are done:
//!
//! * every process is started in its own group with a *mark* in its environment, which its descendants inherit;
//! * this process is a *child subreaper*: what loses its parent becomes our child and not that of `init`, so nothing
//!   can hide from us;
//! * to end an attempt, its whole family (group, session, mark, descent) is first stopped with SIGSTOP until no new
//!   member appears, for what is stopped cannot fork, and then killed and reaped.
//!
//! The scan of `/proc` that this takes is made on cancel, timeout and loss, and when something was left behind; a
//! process that ends well costs one `killpg` and one look at our own list of children.

mod environ;
mod family;
mod launch;
mod mark;
mod output;
mod roots;
mod table;

pub use environ::{is_passed_on, scrubbed_environment};
pub use family::Family;
pub use launch::{Contained, Launch, LaunchError};
pub(crate) use launch::{InnerMark, OuterMark, end_off_thread};
pub use mark::{MARK_VARIABLE, sweep_dead_engines};
pub use output::{LogFlow, Tail, TooLarge, forward_lines, read_to_limit};
pub(crate) use table::resident_bytes;
