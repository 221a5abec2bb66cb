//! Cassettes: what models answered, in a file, to be answered again without them.
//!
//! A cassette is JSON Lines: a header with the version of the format, then a line for each call that was answered, written
//! when its answer was whole and before its last byte was given on. It holds the answers; of the requests it holds only
//! fingerprints, and of the headers nothing: no key, no prompt. A line that a crash has cut short is passed over.
//!
//! A call is known by its task, by what it asks (the journal's hash: whether it streams does not matter), and by how often
//! the task has asked the same before. So which of two parallel tasks asks first changes nothing.

mod entry;
mod player;
mod recorder;
#[cfg(test)]
mod tests;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use self::{player::Player, recorder::Recorder};
use crate::upstream::Upstream;

/// An open cassette: it records, or it is replayed.
pub struct Cassette(Kind);

enum Kind {
    Records(Arc<Recorder>),
    Plays(Arc<Player>),
}

/// Why a cassette cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CassetteError {
    /// The file cannot be read or written.
    #[error("{} cannot be {what}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// `read` or `written`.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{} is no cassette: {why}", path.display())]
    NotACassette {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

impl Cassette {
    /// Begins a new cassette. A file that is there is replaced if it is a cassette, and left alone if it is anything else.
    pub fn record(path: &Path) -> Result<Self, CassetteError> {
        Ok(Self(Kind::Records(Arc::new(Recorder::create(path)?))))
    }

    /// Reads a cassette.
    pub fn replay(path: &Path) -> Result<Self, CassetteError> {
        Ok(Self(Kind::Plays(Arc::new(Player::load(path)?))))
    }

    /// Does it answer by itself?
    pub const fn is_replay(&self) -> bool {
        matches!(self.0, Kind::Plays(_))
    }

    /// How many calls were recorded, or answered, so far.
    pub fn calls(&self) -> usize {
        match &self.0 {
            Kind::Records(recorder) => recorder.calls(),
            Kind::Plays(player) => player.calls(),
        }
    }

    /// Why the recording is not complete, if it is not.
    pub fn trouble(&self) -> Option<String> {
        match &self.0 {
            Kind::Records(recorder) => recorder.trouble(),
            Kind::Plays(_) => None,
        }
    }

    /// Who answers in the place of every provider, if it is replayed.
    pub(crate) fn player(&self) -> Option<Arc<dyn Upstream>> {
        match &self.0 {
            Kind::Plays(player) => Some(player.clone()),
            Kind::Records(_) => None,
        }
    }

    /// The same upstream, whose answers are recorded if this records.
    pub(crate) fn around(&self, upstream: Arc<dyn Upstream>) -> Arc<dyn Upstream> {
        match &self.0 {
            Kind::Records(recorder) => Arc::new(recorder::Recorded::new(upstream, recorder.clone())),
            Kind::Plays(_) => upstream,
        }
    }
}
