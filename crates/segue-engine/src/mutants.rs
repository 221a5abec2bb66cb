//! Bugs on purpose.
//!
//! The mutation test of this crate plants one after the other and shows that its chaos finds each of them. Only the
//! feature `mutants` compiles any of this; without it every `planted!(…)` is `false`.

/// Is this bug planted? Never in a build without the feature `mutants`.
#[cfg(feature = "mutants")]
macro_rules! planted {
    ($name:ident) => {
        $crate::mutants::is_planted($crate::mutants::Mutant::$name)
    };
}
#[cfg(not(feature = "mutants"))]
macro_rules! planted {
    ($name:ident) => {
        false
    };
}
pub(crate) use planted;

#[cfg(feature = "mutants")]
mod planting {
    use std::{cell::Cell, sync::OnceLock};

    thread_local! {
        static PLANTED: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    static EVERYWHERE: OnceLock<Mutant> = OnceLock::new();

    /// A bug that can be planted.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Mutant {
        /// A start is answered before the run is in the store.
        AcksBeforeCommit,
        /// An attempt is dispatched before the commit that says so has returned.
        DispatchesBeforeCommit,
        /// After the lease had ended nobody asks which runs are still the engine's own.
        TrustsAnEndedLease,
        /// What attempts answer while a commit is repeated is lost.
        DropsCompletionsWhileAway,
        /// Everybody else counts as dead: what runs is taken from engines that live.
        ResetsRunningAtStart,
        /// A start whose answer was lost is made again, as another run.
        RepeatsUnknownStarts,
        /// A commit whose answer was lost is sent again, and its conflict taken for somebody else's doing.
        RepeatsUnknownCommits,
        /// Requests are heard of by signals only.
        ReliesOnSignals,
        /// Runs that a claim or a start gave to the engine without its knowledge are nobody's.
        ForgetsUnknownRuns,
        /// A commit that failed is given up.
        GivesUpAfterAFailedCommit,
        /// An attempt that is not owed any more goes on.
        LetsLostAttemptsRun,
        /// Runs beyond the room for live ones are claimed.
        ForgetsTheRoom,
        /// Tasks that may be what kills engines run side by side.
        RunsSuspectsTogether,
        /// A slot of a limit is never given back.
        LeaksSlots,
    }

    impl Mutant {
        /// Those that the chaos of this crate finds.
        pub const ALL: &[Self] = &[
            Self::AcksBeforeCommit,
            Self::DispatchesBeforeCommit,
            Self::TrustsAnEndedLease,
            Self::DropsCompletionsWhileAway,
            Self::ResetsRunningAtStart,
            Self::RepeatsUnknownStarts,
            Self::RepeatsUnknownCommits,
            Self::ReliesOnSignals,
            Self::ForgetsUnknownRuns,
            Self::GivesUpAfterAFailedCommit,
            Self::LetsLostAttemptsRun,
            Self::ForgetsTheRoom,
            Self::RunsSuspectsTogether,
        ];
    }

    /// Those that the fault harness finds in the whole program.
    const OF_PROGRAM: &[Mutant] = &[Mutant::LeaksSlots];

    /// Plants a bug in the engines that this thread runs, or takes it away.
    pub fn plant(mutant: Option<Mutant>) {
        PLANTED.set(mutant);
    }

    /// Plants the bug of this name in all engines of this process, for good. `false` if there is none of this name.
    pub fn plant_everywhere(name: &str) -> bool {
        let mut known = Mutant::ALL.iter().chain(OF_PROGRAM);
        let named = known.find(|mutant| format!("{mutant:?}") == name);
        named.is_some_and(|mutant| EVERYWHERE.set(*mutant).is_ok())
    }

    pub(crate) fn is_planted(mutant: Mutant) -> bool {
        PLANTED.get() == Some(mutant) || EVERYWHERE.get() == Some(&mutant)
    }
}

#[cfg(feature = "mutants")]
pub(crate) use planting::is_planted;
#[cfg(feature = "mutants")]
pub use planting::{Mutant, plant, plant_everywhere};
