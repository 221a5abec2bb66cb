//! What a process of `segue chaos` is told.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The hidden variable that holds the plan as JSON.
pub(crate) const VARIABLE: &str = "SEGUE_CHAOS_PLAN";

/// What one process is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// The file that it writes down what it does in.
    pub(crate) ledger: PathBuf,
    /// Moments that earlier processes have passed; this one counts on from there.
    pub(crate) passed: u64,
    /// Whom to kill, and when; nobody: only watch.
    pub(crate) kill: Option<Kill>,
    /// A bug to plant, so that chaos can be seen to find it. Builds for release know none.
    pub(crate) bug: Option<Bug>,
}

/// One kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Kill {
    /// At which moment, from 1.
    pub(crate) moment: u64,
    /// Who, and on which side of it.
    pub(crate) side: Side,
}

/// Who is killed at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Side {
    /// The engine, before what the moment is about has happened.
    Before,
    /// The engine, when it has happened and nobody has been told.
    After,
    /// The workers of the engine; the engine lives on.
    Workers,
}

/// Bugs that chaos must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bug {
    /// The store says that a commit is durable, and writes it with the next one.
    WritesBehind,
    /// The journal says that it keeps what models answered, and does not.
    ForgetsAnswers,
}

impl Plan {
    /// This process's plan.
    pub(super) fn of_environment() -> Option<Self> {
        let plan: Self = serde_json::from_str(&std::env::var(VARIABLE).ok()?).ok()?;
        Some(Self { bug: plan.bug.filter(|_| cfg!(debug_assertions)), ..plan })
    }
}
