//! What PostgreSQL's errors mean to the caller: come back later, make room, or stop.

use std::{error::Error as _, fmt, io};

use deadpool_postgres::{HookError, PoolError};
use segue_core::{ports::StoreError, seal::Damage};
use tokio_postgres::{
    Error,
    error::{DbError, SqlState},
};

/// Why a piece of work was not done.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Decided here, with an answer for the caller.
    Refused(StoreError),
    /// The driver or the server failed.
    Sql(Error),
    /// No answer in time. What was asked for may happen all the same.
    Slow,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

impl From<Damage> for Failure {
    fn from(damage: Damage) -> Self {
        Self::Refused(damage.into())
    }
}

impl Failure {
    /// The answer to the caller. `shown` is the URL without its password.
    pub(crate) fn explain(self, shown: &str) -> StoreError {
        match self {
            Self::Refused(error) => error,
            Self::Sql(error) => explain(&error, shown),
            Self::Slow => StoreError::Unavailable(format!("{shown} did not answer in time")),
        }
    }

    /// The server undid the whole transaction because of others at work: it can be done again from its beginning.
    pub(crate) fn is_undone(&self) -> bool {
        const UNDONE: [SqlState; 2] = [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED];
        self.state().is_some_and(|state| UNDONE.contains(state))
    }

    /// The connection ended while the question was under way, or before.
    pub(crate) fn is_cut(&self) -> bool {
        match self {
            Self::Sql(error) => is_cut(error),
            _ => false,
        }
    }

    /// The state that the server named, if it answered at all.
    pub(crate) fn state(&self) -> Option<&SqlState> {
        match self {
            Self::Sql(error) => error.code(),
            _ => None,
        }
    }
}

fn is_cut(error: &Error) -> bool {
    const GONE: [SqlState; 3] = [SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN, SqlState::CANNOT_CONNECT_NOW];
    match error.code() {
        Some(state) => GONE.contains(state) || state.code().starts_with("08"),
        None => error.is_closed() || cause::<io::Error>(error).is_some(),
    }
}

fn cause<T: std::error::Error + 'static>(error: &Error) -> Option<&T> {
    let mut source = error.source();
    while let Some(found) = source {
        if let Some(found) = found.downcast_ref() {
            return Some(found);
        }
        source = found.source();
    }
    None
}

/// The answer to a caller whose work failed with `error`.
pub(crate) fn explain(error: &Error, shown: &str) -> StoreError {
    match error.as_db_error() {
        Some(error) => explain_state(error, shown),
        None => explain_driver(error, shown),
    }
}

fn explain_state(error: &DbError, shown: &str) -> StoreError {
    // Only the message: details quote values.
    let message = error.message();
    let (class, code) = (&error.code().code()[..2], error.code());
    if let Some(told) = explain_setup(code, shown, message) {
        return told;
    }
    match class {
        "08" | "57" => StoreError::Unavailable(format!("{shown} is going down, starting, or gave up: {message}")),
        "40" | "55" => StoreError::Unavailable(format!("others are at work on {shown}: {message}; try again")),
        _ if *code == SqlState::DISK_FULL => {
            StoreError::Full(format!("the disk of {shown} is full ({message}); make room on the server"))
        }
        "53" => StoreError::Unavailable(format!("{shown} is short of means: {message}")),
        "25" => no_writes(shown, message),
        "XX" => StoreError::Broken(format!("corruption: {shown} reports {message}; restore a copy and check its disk")),
        "58" => StoreError::Broken(format!("{shown} cannot read or write its files: {message}; check its disk")),
        _ => StoreError::Broken(format!("PostgreSQL failed on {shown}: {message}, code {}", code.code())),
    }
}

/// What only somebody who sets up a database can cure.
fn explain_setup(code: &SqlState, shown: &str, message: &str) -> Option<StoreError> {
    let cure = if *code == SqlState::INVALID_PASSWORD || *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION {
        format!(
            "{shown} does not let this user in: {message}; check the user and the password, and pg_hba.conf on the server"
        )
    } else if *code == SqlState::INVALID_CATALOG_NAME {
        format!("{shown} is not there: {message}; make the database with `createdb`, or choose another one")
    } else if *code == SqlState::INSUFFICIENT_PRIVILEGE {
        format!(
            "this user may not do that on {shown}: {message}; the user needs CREATE on the database, or a schema of its \
             own: CREATE SCHEMA segue AUTHORIZATION the_user"
        )
    } else if *code == SqlState::UNDEFINED_TABLE || *code == SqlState::UNDEFINED_COLUMN {
        format!(
            "the tables on {shown} are not Segue's: {message}; start again so that they are made, or restore a copy"
        )
    } else if *code == SqlState::DUPLICATE_TABLE {
        format!("the schema on {shown} holds tables of another program: {message}; choose another schema or database")
    } else if *code == SqlState::TOO_MANY_CONNECTIONS {
        return Some(StoreError::Unavailable(format!(
            "{shown} has no connection left: {message}; raise max_connections on the server, or let each engine use fewer"
        )));
    } else {
        return None;
    };
    Some(StoreError::Broken(cure))
}

fn explain_driver(error: &Error, shown: &str) -> StoreError {
    let text = chain(error);
    let refused = tls_refusal(error);
    if refused.is_some() || text.contains("TLS") {
        let cure = tls_cure(refused);
        return StoreError::Broken(format!("no trusted, encrypted connection to {shown}: {text}; {cure}"));
    }
    if text.contains("password missing") {
        return StoreError::Broken(format!("{shown} asks for a password, and none is given"));
    }
    if text.contains("does not allow writes") {
        return no_writes(shown, &text);
    }
    if is_cut(error) || text.contains("timed out") || text.contains("connecting") {
        return StoreError::Unavailable(format!("no connection to {shown}: {text}"));
    }
    StoreError::Broken(format!("{shown} answered something unexpected: {text}"))
}

/// What was wrong with the encryption, where it is known. The driver hides it in an I/O error, whose own causes begin behind it.
fn tls_refusal(error: &Error) -> Option<&rustls::Error> {
    cause::<rustls::Error>(error).or_else(|| cause::<io::Error>(error)?.get_ref()?.downcast_ref())
}

fn tls_cure(refused: Option<&rustls::Error>) -> &'static str {
    use rustls::{CertificateError, Error::InvalidCertificate};
    match refused {
        Some(InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => "name the server in the URL as its certificate does, or give it a certificate with the name in the URL",
        Some(InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        )) => "give the server a new certificate, or set the clock of this machine",
        _ => {
            "name the file with the server's authority by sslrootcert=FILE in the URL, or say sslmode=disable if the way \
             there is safe"
        }
    }
}

fn no_writes(shown: &str, message: &str) -> StoreError {
    StoreError::Unavailable(format!(
        "{shown} takes no writes ({message}): it is a standby, or was set to read-only; name the primary, or all servers \
         (HOST1,HOST2) so that the one that takes writes is found"
    ))
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// Why no connection could be had.
pub(crate) fn explain_pool(error: PoolError, shown: &str) -> StoreError {
    match error {
        PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => explain(&error, shown),
        PoolError::Timeout(_) => StoreError::Unavailable(format!("no connection to {shown} became free in time")),
        other => StoreError::Unavailable(format!("no connection to {shown}: {other}")),
    }
}

/// Corruption that was found: named, and never served.
pub(crate) fn damaged(what: impl fmt::Display, how: &str) -> Failure {
    Damage::because(how).of(|| what.to_string()).into()
}
