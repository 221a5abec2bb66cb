//! Who listens, as far as is known here.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use segue_core::{ids::RunId, ports::Topic};

/// A topic in 32 bits. Two may share one: then somebody may be thought to listen who does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag(pub u32);

impl Tag {
    /// That of [`Topic::All`].
    pub const ALL: Self = Self(0);

    /// That of a run: the random part of its id.
    pub fn of_run(run: RunId) -> Self {
        let bytes = run.as_bytes();
        Self(u32::from_be_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]))
    }

    /// That of a topic.
    pub fn of(topic: Topic) -> Self {
        match topic {
            Topic::Run(run) => Self::of_run(run),
            Topic::All => Self::ALL,
        }
    }
}

/// What was heard of somebody.
#[derive(Debug)]
struct Listening {
    /// When they were there last.
    seen: Instant,
    /// When somebody left in good order, unless others were seen since.
    left: Option<Instant>,
}

/// Who listens. In doubt: somebody.
#[derive(Debug)]
pub(crate) struct Audience {
    linger: Duration,
    /// Our looks at the audience succeed.
    is_seen: AtomicBool,
    /// Comings and goings are heard.
    is_heard: AtomicBool,
    known: Mutex<BTreeMap<Tag, Listening>>,
}

impl Audience {
    pub(crate) fn new(linger: Duration) -> Self {
        Self { linger, is_seen: AtomicBool::new(false), is_heard: AtomicBool::new(false), known: Mutex::default() }
    }

    /// May anybody listen to this?
    pub(crate) fn may_include(&self, topic: Topic, now: Instant) -> bool {
        if !self.is_seen.load(Ordering::Acquire) || !self.is_heard.load(Ordering::Acquire) {
            return true;
        }
        let known = self.known();
        // Kept as those who vanished are: a look drops them only from time to time.
        known.get(&Tag::of(topic)).is_some_and(|listening| now.saturating_duration_since(listening.seen) <= self.linger)
    }

    pub(crate) fn set_heard(&self, is_heard: bool) {
        self.is_heard.store(is_heard, Ordering::Release);
    }

    pub(crate) fn lose_sight(&self) {
        self.is_seen.store(false, Ordering::Release);
    }

    pub(crate) fn came(&self, tag: Tag, now: Instant) {
        self.known().insert(tag, Listening { seen: now, left: None });
    }

    /// They count until the next look, which tells whether others go on. Also somebody unknown: a look that is under way
    /// may have found them.
    pub(crate) fn left(&self, tag: Tag, now: Instant) {
        self.known().entry(tag).or_insert(Listening { seen: now, left: None }).left = Some(now);
    }

    /// A look that began at `begun` found these and no others.
    pub(crate) fn looked(&self, tags: &[Tag], begun: Instant, now: Instant) {
        let mut known = self.known();
        for tag in tags {
            let listening = known.entry(*tag).or_insert(Listening { seen: now, left: None });
            listening.seen = now;
            // Who left after the look began may be the very one that it found: the next look tells.
            listening.left = listening.left.filter(|left| *left >= begun);
        }
        known.retain(|tag, listening| {
            tags.contains(tag)
                || match listening.left {
                    Some(left) => left >= begun,
                    None => now.saturating_duration_since(listening.seen) <= self.linger,
                }
        });
        drop(known);
        self.is_seen.store(true, Ordering::Release);
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<Tag, Listening>> {
        self.known.lock().expect("no panic happens under this lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINGER: Duration = Duration::from_secs(60);

    fn run() -> RunId {
        RunId::from_bytes([7; 16])
    }

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    fn certain() -> (Audience, Instant) {
        let (audience, start) = (Audience::new(LINGER), Instant::now());
        audience.set_heard(true);
        audience.looked(&[], start, start);
        (audience, start)
    }

    #[test]
    fn in_doubt_somebody_listens() {
        let (audience, start) = (Audience::new(LINGER), Instant::now());
        let topic = Topic::Run(run());
        assert!(audience.may_include(topic, start));
        audience.looked(&[], start, start);
        assert!(audience.may_include(topic, start), "whoever comes is not heard yet");
        audience.set_heard(true);
        assert!(!audience.may_include(topic, start));
        audience.lose_sight();
        assert!(audience.may_include(topic, start));
    }

    #[test]
    fn who_comes_is_noticed_and_who_vanishes_lingers() {
        let (audience, start) = certain();
        let topic = Topic::Run(run());
        audience.came(Tag::of(topic), start);
        assert!(audience.may_include(topic, start));
        assert!(!audience.may_include(Topic::All, start));
        audience.looked(&[], at(start, 1), at(start, 1));
        assert!(audience.may_include(topic, at(start, 60)));
        assert!(!audience.may_include(topic, at(start, 61)));
    }

    #[test]
    fn who_leaves_counts_until_the_next_look() {
        let (audience, start) = certain();
        let tag = Tag::of(Topic::All);
        audience.came(tag, start);
        audience.left(tag, at(start, 2));
        assert!(audience.may_include(Topic::All, at(start, 2)));
        // This look may have seen whom it saw before they left.
        audience.looked(&[tag], at(start, 1), at(start, 3));
        assert!(audience.may_include(Topic::All, at(start, 3)));
        audience.looked(&[], at(start, 3), at(start, 4));
        assert!(!audience.may_include(Topic::All, at(start, 4)));
    }

    #[test]
    fn who_leaves_during_the_first_look_does_not_linger() {
        let (audience, start) = certain();
        let tag = Tag::of(Topic::All);
        audience.left(tag, at(start, 2));
        audience.looked(&[tag], at(start, 1), at(start, 3));
        assert!(audience.may_include(Topic::All, at(start, 3)));
        audience.looked(&[], at(start, 4), at(start, 4));
        assert!(!audience.may_include(Topic::All, at(start, 4)));
    }

    #[test]
    fn one_of_two_leaves() {
        let (audience, start) = certain();
        audience.came(Tag::ALL, start);
        audience.left(Tag::ALL, at(start, 1));
        audience.looked(&[Tag::ALL], at(start, 2), at(start, 2));
        audience.looked(&[], at(start, 3), at(start, 3));
        assert!(audience.may_include(Topic::All, at(start, 3)), "the other one vanished: they may be coming back");
    }
}
