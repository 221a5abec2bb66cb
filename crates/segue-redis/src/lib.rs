//! An [`EventBus`](segue_core::ports::EventBus) on Redis (6.2 or newer, or what speaks like it; no cluster).
//!
//! Events go out by pub/sub, on the channel of their run, and on that of all runs while somebody listens there. The facts
//! among them are also kept for a while in a stream a run, for subscribers that lost the connection: each entry's id is
//! the event's `seq`. Nothing else is stored, and nothing of it is needed: the log has everything.
//!
//! * [`RedisBus`]: the bus. [`address`]: its URL. `names`: channels and keys. `speaker`, `listener`: the two connections.

pub mod address;
mod bus;
mod listener;
mod names;
mod speaker;

pub use bus::{RedisBus, RedisOptions};
