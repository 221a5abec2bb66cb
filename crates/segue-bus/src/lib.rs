//! What event buses over a network share. A kind of bus is a [`Backend`]: how to say something, how to hear something and
//! how to learn who listens. [`NetworkBus`] makes an [`EventBus`](segue_core::ports::EventBus) of it that keeps the port's
//! promises whatever the network does:
//!
//! * `publish` puts events into a bounded outbox and returns. A task empties it; what does not fit is dropped and counted.
//! * `is_listened` answers from what was heard of the audience last, and `true` in doubt.
//! * `subscribe` fails at once where nobody answers; a subscription that stands outlives lost connections. What was missed
//!   meanwhile comes late where the backend still has it, else it shows as a gap in `seq` and the log has it.
//!
//! The parts: [`NetworkBus`] and its [`BusOptions`]; the [`Backend`] with its [`Speaker`] and [`Listener`]; `speak` and
//! `hear`, the two tasks; `outbox`, `audience`, `order` and `outage`, what they know.

mod audience;
mod backend;
mod bus;
mod hear;
mod options;
mod order;
mod outage;
mod outbox;
mod speak;

pub use audience::Tag;
pub use backend::{Backend, Heard, Listener, Message, Speaker};
pub use bus::NetworkBus;
pub use options::BusOptions;
