//! What the task that commits knows of a run that it moves on.

use std::collections::VecDeque;

use segue_core::ids::ContentHash;

use crate::texts::Texts;

/// Large values of a run that are known at once: a value that is handed on from task to task is one of the last.
const VALUES_MAX: usize = 8;

/// A run after its last step here. No more than a guess: others may move the run on.
pub(super) struct Known {
    pub(super) version: u64,
    pub(super) chain: ContentHash,
    /// Large values that its log refers to, the last ones. As long as this version is the run's, they are there: a
    /// reference goes with its run.
    values: VecDeque<ContentHash>,
}

impl Known {
    pub(super) fn new(version: u64, chain: ContentHash) -> Self {
        Self { version, chain, values: VecDeque::new() }
    }

    /// After these events were written.
    pub(super) fn after(mut self, texts: &Texts) -> Self {
        self.keep(texts.uses().map(|blob| blob.hash));
        Self { version: texts.version, chain: texts.chain_after(self.chain), values: self.values }
    }

    fn keep(&mut self, values: impl Iterator<Item = ContentHash>) {
        for value in values {
            self.values.retain(|kept| *kept != value);
            self.values.push_back(value);
        }
        let older = self.values.len().saturating_sub(VALUES_MAX);
        self.values.drain(..older);
    }

    /// Is it known that the run's log refers to this value? Such a value need not come along again.
    pub(super) fn refers_to(&self, value: ContentHash) -> bool {
        self.values.contains(&value)
    }
}

#[cfg(test)]
mod tests {
    use segue_core::{payload::INLINE_BYTES_MAX, payload::Payload};
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_values_are_known() {
        let hash = |n: usize| {
            let value = json!([n, "x".repeat(INLINE_BYTES_MAX)]);
            Payload::new(value).blob().expect("a large value").hash
        };
        let mut known = Known::new(0, ContentHash::of(b""));
        // The first one is used again and again.
        (1..=VALUES_MAX + 1).for_each(|n| known.keep([hash(n), hash(0)].into_iter()));
        assert!(known.refers_to(hash(0)) && known.refers_to(hash(VALUES_MAX + 1)) && known.refers_to(hash(3)));
        assert!(!known.refers_to(hash(1)) && !known.refers_to(hash(2)));
        assert_eq!(known.values.len(), VALUES_MAX);
    }
}
