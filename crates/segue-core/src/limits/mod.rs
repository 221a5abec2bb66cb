//! Named limits, decided: how many go at once, how many a minute, and whose turn it is.
//!
//! A store keeps, of each limit in use, a [`LimitState`] and one row a held slot. Here it is decided what they mean: a
//! backend loads them, calls [`admit`] (or one of the others), and writes back what has changed, in one transaction. So
//! the rules are the same wherever the rows lie.
//!
//! * **At once**: a slot is a row that belongs to an attempt and to its engine's lease. There is no counter: what is held
//!   is counted anew each time, and a row of an engine that is gone does not count.
//! * **A minute**: one timestamp a limit, the moment up to which it is used up ([`Rate`]).
//! * **Together or not at all**: who names several limits gets a slot of each, or nothing.
//! * **Turns**: who is refused stands in the line of each of its limits, as a workflow and an engine. The workflow that was
//!   served last comes last, however many tasks it has. A turn that is not taken within [`PATIENCE`] is passed over, and
//!   who has not asked for [`ABSENCE`] stands in no line. Who was told a time, for it needs more than others, is not
//!   overtaken until then by those who came after.
//! * **No starvation**: who needs several limits that are never free at one time *insists* after a few refusals. For the
//!   oldest of those who insist, everybody else holds back; there is one order of them over all limits, so that two
//!   never hold back for each other.

mod admit;
mod rate;
mod state;

pub use admit::{Limit, admit, leave, pause, settle};
pub use rate::{Rate, TOO_FAR_AHEAD};
pub use state::{Insisting, LimitState, Paused, Waiter};

use std::time::Duration;

/// How long a turn is kept for somebody who does not come.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// Who waits asks again at least every ten seconds. After this long without a word it does not wait any more, whatever
/// became of it: no place is kept for it, and nobody holds back.
pub const ABSENCE: Duration = Duration::from_secs(30);

/// The longest pause that a provider's Retry-After is followed for.
pub const PAUSE_MAX: Duration = Duration::from_secs(3_600);
