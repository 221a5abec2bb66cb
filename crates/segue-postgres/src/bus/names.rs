//! Names of channels and locks, and what is said on the channels.

use segue_bus::Tag;
use segue_core::{ids::RunId, ports::Topic};

/// The channel on which comings (`+TAG`) and goings (`-TAG`) of subscribers are told.
pub(super) const AUDIENCE: &str = "segue_audience";
/// The first key of our advisory locks; the second is the tag of what is listened to.
pub(super) const LOCKS: i32 = 0x05E6_EB05;
/// A notification is shorter than this.
pub(super) const PAYLOAD_BYTES_MAX: usize = 7_999;

const ALL: &str = "segue_all";
const RUN: &str = "segue_run_";

/// The channel of a topic; an identifier that needs no quotes.
pub(super) fn channel(topic: Topic) -> String {
    match topic {
        Topic::Run(run) => format!("{RUN}{:032x}", u128::from_be_bytes(*run.as_bytes())),
        Topic::All => ALL.to_owned(),
    }
}

/// The opposite of [`channel`].
pub(super) fn topic(channel: &str) -> Option<Topic> {
    if channel == ALL {
        return Some(Topic::All);
    }
    let run = u128::from_str_radix(channel.strip_prefix(RUN)?, 16).ok()?;
    Some(Topic::Run(RunId::from_bytes(run.to_be_bytes())))
}

/// Instead of an event that is too large: where it is.
pub(super) fn write_reference(run: RunId, seq: u64) -> String {
    format!("@{run}/{seq}")
}

/// The opposite of [`write_reference`]; none for an event itself.
pub(super) fn read_reference(payload: &str) -> Option<(RunId, u64)> {
    let (run, seq) = payload.strip_prefix('@')?.split_once('/')?;
    Some((run.parse().ok()?, seq.parse().ok()?))
}

/// Somebody came, or left.
pub(super) fn write_change(came: bool, tag: Tag) -> String {
    format!("{}{}", if came { '+' } else { '-' }, tag.0)
}

/// The opposite of [`write_change`].
pub(super) fn read_change(payload: &str) -> Option<(bool, Tag)> {
    let came = payload.starts_with('+');
    Some((came, Tag(payload.strip_prefix(['+', '-'])?.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let run = RunId::from_bytes([0xa3; 16]);
        for one in [Topic::All, Topic::Run(run), Topic::Run(RunId::from_bytes([0; 16]))] {
            assert_eq!(topic(&channel(one)), Some(one));
            assert!(channel(one).len() < 63, "PostgreSQL cuts longer names");
        }
        assert_eq!(read_reference(&write_reference(run, 12)), Some((run, 12)));
        assert_eq!(read_reference("{\"seq\":1}"), None);
        assert_eq!(read_change(&write_change(true, Tag(7))), Some((true, Tag(7))));
        assert_eq!(read_change(&write_change(false, Tag(u32::MAX))), Some((false, Tag(u32::MAX))));
        assert_eq!(topic("segue_runs"), None);
    }
}
