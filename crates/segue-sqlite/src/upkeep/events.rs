//! What the text of a commit holds, where its hash says that it is damaged.

use segue_core::event::Event;

/// The `seq`s of the events in a text, first and last; none if it cannot be read.
pub(super) fn range(text: &[u8]) -> Option<(u64, u64)> {
    let events: Vec<Event> = serde_json::from_slice(text).ok()?;
    Some((events.first()?.seq, events.last()?.seq))
}

/// `event 4`, `events 4 to 6`.
pub(super) fn named(first: u64, last: u64) -> String {
    if first == last { format!("event {first}") } else { format!("events {first} to {last}") }
}
