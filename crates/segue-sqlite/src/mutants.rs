//! Bugs on purpose.
//!
//! The fault harness plants one after the other in the whole program, and shows that it finds each of them. Only the
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
    use std::sync::OnceLock;

    static EVERYWHERE: OnceLock<Mutant> = OnceLock::new();

    /// A bug that can be planted.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Mutant {
        /// Writers are answered before their transaction is committed.
        AnswersBeforeCommit,
        /// A step's events are one transaction, and the state that they lead to is another.
        StateApartFromEvents,
        /// A commit that failed is answered as if it had not.
        IgnoresFailedCommits,
        /// Leases are measured by a clock that can be set.
        LeasesByTheWall,
    }

    impl Mutant {
        /// All of them.
        pub const ALL: &[Self] =
            &[Self::AnswersBeforeCommit, Self::StateApartFromEvents, Self::IgnoresFailedCommits, Self::LeasesByTheWall];
    }

    /// Plants the bug of this name in all stores of this process, for good. `false` if there is none of this name.
    pub fn plant_everywhere(name: &str) -> bool {
        let named = Mutant::ALL.iter().find(|mutant| format!("{mutant:?}") == name);
        named.is_some_and(|mutant| EVERYWHERE.set(*mutant).is_ok())
    }

    pub(crate) fn is_planted(mutant: Mutant) -> bool {
        EVERYWHERE.get() == Some(&mutant)
    }
}

#[cfg(feature = "mutants")]
pub(crate) use planting::is_planted;
#[cfg(feature = "mutants")]
pub use planting::{Mutant, plant_everywhere};
