//! Why there is no answer, or no whole one.

use std::time::Duration;

use segue_core::outcome::{ErrorKind, TaskError};

/// No answer that could be used. None of them quotes more of the address than its host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// It is not sent: what is wrong with where it would go.
    #[error("{0}")]
    Refused(String),
    /// A redirect that is not followed.
    #[error("{0}")]
    Redirect(String),
    /// No connection.
    #[error("{host} cannot be reached: {why}")]
    Connect {
        /// Scheme, host and port.
        host: String,
        /// The system's own words.
        why: String,
    },
    /// The connection broke.
    #[error("{host} broke the connection off: {why}")]
    Broken {
        /// Scheme, host and port.
        host: String,
        /// The system's own words.
        why: String,
    },
    /// Nothing came for too long.
    #[error("{host} said nothing for {} s", .silence.as_secs_f64())]
    TimedOut {
        /// Scheme, host and port.
        host: String,
        /// For how long.
        silence: Duration,
    },
    /// The body is longer than it may be.
    #[error("the answer is longer than {limit} bytes{}", .announced.map_or_else(String::new, |size| format!(" (it has {size})")))]
    TooLarge {
        /// What is allowed.
        limit: usize,
        /// What the server says it has.
        announced: Option<u64>,
    },
    /// The body is not what it should be.
    #[error("{0}")]
    Unreadable(String),
    /// This machine cannot make a client.
    #[error("no HTTP client can be made: {0}")]
    Setup(String),
}

impl HttpError {
    /// The error's kind.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused(_) | Self::Redirect(_) => ErrorKind::InvalidInput,
            Self::Connect { .. } | Self::Broken { .. } => ErrorKind::Connection,
            Self::TimedOut { .. } => ErrorKind::Timeout,
            Self::TooLarge { .. } | Self::Unreadable(_) => ErrorKind::Output,
            Self::Setup(_) => ErrorKind::Load,
        }
    }

    /// May the same call go better in a moment?
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Broken { .. } | Self::TimedOut { .. })
    }

    /// Is it certain that the request never left this machine?
    pub const fn is_unsent(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Connect { .. } | Self::Setup(_))
    }
}

impl From<HttpError> for TaskError {
    fn from(error: HttpError) -> Self {
        Self::new(error.kind(), error.to_string())
    }
}
