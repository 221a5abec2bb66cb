//! The states of runs and tasks, one vocabulary for both.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a run or a task stands. Spelled in capitals in every interface.
///
/// A run is never `SKIPPED`. A task between two attempts is `PENDING`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// Not started, or waiting for its next attempt.
    Pending,
    /// An attempt (of a run: anything) is under way.
    Running,
    /// Waits for something outside: an answer, a signal, a time. Holds no worker.
    Waiting,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// Ended because somebody said so.
    Cancelled,
    /// Never ran: its branch was not taken, or what it needs did not succeed.
    Skipped,
}

impl Status {
    /// Has it ended? A terminal status changes only when the run is reopened.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled | Self::Skipped)
    }

    /// The name in capitals.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Waiting => "WAITING",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
            Self::Skipped => "SKIPPED",
        }
    }

    /// Reads a name in capitals.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Pending, Self::Running, Self::Waiting, Self::Succeeded, Self::Failed, Self::Cancelled, Self::Skipped]
            .into_iter()
            .find(|status| status.as_str() == name)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
