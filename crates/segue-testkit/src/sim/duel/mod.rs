//! Duels: two things that cannot both count, at one moment, in either order, with crashes in between.
//!
//! A seed sets up a run in which exactly two contestants meet, lets them come in some order, once or several times, and
//! reads the winner from the log alone. The log must name exactly one, the auditor must find nothing wrong with it, the memory
//! must be its fold, and whoever lost must have been refused without a trace.

mod answer;
mod arena;
mod cancel;
mod takeover;
mod timeout;

/// Who contends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duel {
    /// A cancel, against the completion that would end the run.
    CancelOrCompletion,
    /// The timeout of an attempt, against its completion.
    TimeoutOrCompletion,
    /// An answer to what a task waits for, against the end of its patience.
    AnswerOrTimeout,
    /// An engine that takes a run over, against what its old owner was about to commit.
    TakeoverOrOwner,
}

/// Who won: the one who is named first in [`Duel`], or the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Winner {
    /// The cancel, the timeout, the answer, the takeover.
    First,
    /// The completion, the completion, the timeout, the old owner.
    Second,
}

/// A bug of the world around the kernel, on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Careless {
    /// None.
    Nobody,
    /// The store accepts the commit of an old owner, if only the version fits.
    Store,
}

impl Duel {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::CancelOrCompletion, Self::TimeoutOrCompletion, Self::AnswerOrTimeout, Self::TakeoverOrOwner];

    /// Plays the duel of this seed.
    ///
    /// # Errors
    /// Which rule was broken, and the log.
    pub fn play(self, seed: u64) -> Result<Winner, String> {
        self.play_with(seed, Careless::Nobody)
    }

    /// As [`Duel::play`], with a bug in the world.
    ///
    /// # Errors
    /// As there.
    pub fn play_with(self, seed: u64, careless: Careless) -> Result<Winner, String> {
        let duel = match self {
            Self::CancelOrCompletion => cancel::play(seed),
            Self::TimeoutOrCompletion => timeout::play(seed),
            Self::AnswerOrTimeout => answer::play(seed),
            Self::TakeoverOrOwner => takeover::play(seed, careless),
        };
        duel.map_err(|why| format!("{self:?}, seed {seed}: {why}"))
    }
}
