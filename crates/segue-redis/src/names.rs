//! Names of channels and keys.

use segue_bus::Tag;
use segue_core::{ids::RunId, ports::Topic};

/// All names of one prefix.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    prefix: String,
}

impl Names {
    pub(crate) fn new(prefix: String) -> Self {
        Self { prefix }
    }

    /// The channel on which a topic's events go out.
    pub(crate) fn channel(&self, topic: Topic) -> String {
        match topic {
            Topic::Run(run) => format!("{}:run:{run}", self.prefix),
            Topic::All => format!("{}:all", self.prefix),
        }
    }

    /// The opposite of [`channel`](Self::channel).
    pub(crate) fn topic(&self, channel: &str) -> Option<Topic> {
        match channel.strip_prefix(&self.prefix)?.strip_prefix(':')? {
            "all" => Some(Topic::All),
            other => Some(Topic::Run(other.strip_prefix("run:")?.parse().ok()?)),
        }
    }

    /// A pattern of all runs' channels.
    pub(crate) fn runs(&self) -> String {
        format!("{}:run:*", self.prefix)
    }

    /// The channel on which comings (`+TAG`) and goings (`-TAG`) of subscribers are told.
    pub(crate) fn audience(&self) -> String {
        format!("{}:audience", self.prefix)
    }

    /// The stream of a run's latest facts.
    pub(crate) fn log(&self, run: RunId) -> String {
        format!("{}:log:{run}", self.prefix)
    }
}

/// Somebody came, or left.
pub(crate) fn write_change(came: bool, topic: Topic) -> String {
    format!("{}{}", if came { '+' } else { '-' }, Tag::of(topic).0)
}

/// The opposite of [`write_change`].
pub(crate) fn read_change(text: &str) -> Option<(bool, Tag)> {
    let came = text.starts_with('+');
    Some((came, Tag(text.strip_prefix(['+', '-'])?.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        let names = Names::new("a:b".to_owned());
        for topic in [Topic::All, Topic::Run(RunId::from_bytes([3; 16]))] {
            assert_eq!(names.topic(&names.channel(topic)), Some(topic));
            assert_eq!(read_change(&write_change(true, topic)), Some((true, Tag::of(topic))));
            assert_eq!(read_change(&write_change(false, topic)), Some((false, Tag::of(topic))));
        }
        assert_eq!(names.topic("a:run:1"), None);
        assert_eq!(read_change("*"), None);
    }
}
