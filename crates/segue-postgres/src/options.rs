//! How a store is opened.

use std::{fmt, time::Duration};

/// How a store is opened. The default is right for nearly everybody.
#[derive(Clone)]
pub struct PostgresOptions {
    /// The schema in which the tables lie. It is created if this user may.
    pub schema: String,
    /// Connections for everything but commits, at least one. One more commits, and one listens.
    pub connections: usize,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How long a statement, or the wait for a free connection, may take before the answer is "unavailable".
    pub timeout: Duration,
    /// The password, if the URL holds none: so that it need not stand in a URL.
    pub password: Option<String>,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            schema: "segue".to_owned(),
            connections: 8,
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(30),
            password: None,
        }
    }
}

impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOptions")
            .field("schema", &self.schema)
            .field("connections", &self.connections)
            .field("connect_timeout", &self.connect_timeout)
            .field("timeout", &self.timeout)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .finish()
    }
}
