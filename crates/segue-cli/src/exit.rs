//! Exit codes: the part of the interface that scripts read.

use segue_core::status::Status;

/// How the process ends. The numbers are documented and never change their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// All went well.
    Ok = 0,
    /// A fault of Segue's own.
    Internal = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The workflow, its inputs or the configuration are not valid.
    Invalid = 3,
    /// The run ended `FAILED`.
    RunFailed = 4,
    /// The run ended `CANCELLED`.
    RunCancelled = 5,
    /// The run waits for something outside, and nobody here waits with it.
    RunWaiting = 6,
    /// No such file, run or task.
    NotFound = 7,
    /// The store cannot be reached or used.
    Unreachable = 8,
    /// What is asked conflicts with what is so already.
    Conflict = 10,
    /// `segue chaos` has seen a promise broken.
    PromiseBroken = 11,
    /// `--timeout` was reached; the run can be resumed.
    TimedOut = 124,
    /// Interrupted by a signal; the run can be resumed.
    Interrupted = 130,
}

impl Exit {
    /// What a run's status means for the process that waited for it.
    pub(crate) const fn of_run(status: Status) -> Self {
        match status {
            Status::Failed => Self::RunFailed,
            Status::Cancelled => Self::RunCancelled,
            Status::Waiting => Self::RunWaiting,
            Status::Pending | Status::Running | Status::Succeeded | Status::Skipped => Self::Ok,
        }
    }

    /// The name in JSON errors.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Internal => "internal",
            Self::Usage => "usage",
            Self::Invalid => "invalid",
            Self::RunFailed => "run_failed",
            Self::RunCancelled => "run_cancelled",
            Self::RunWaiting => "run_waiting",
            Self::NotFound => "not_found",
            Self::Unreachable => "unreachable",
            Self::Conflict => "conflict",
            Self::PromiseBroken => "promise_broken",
            Self::TimedOut => "timed_out",
            Self::Interrupted => "interrupted",
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
