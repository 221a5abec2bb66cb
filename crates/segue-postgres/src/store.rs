//! The store itself: each method names the work and the connection that does it.

use segue_core::ports::StoreError;

use crate::{address::Address, options::PostgresOptions, pool::Pool, schema};

/// Keeps runs in a PostgreSQL database.
#[derive(Debug)]
pub struct PostgresStore {
    pool: Pool,
}

impl PostgresStore {
    /// Connects, checks the server, and makes or renews its tables. Needs a tokio runtime, and keeps to it.
    ///
    /// # Errors
    /// [`StoreError::Broken`], saying what to do: not an address, no such database, a wrong password, too few rights, a
    /// newer schema, a certificate that is not trusted. [`StoreError::Unavailable`]: no server answers, it has no
    /// connection left, or it is a standby.
    pub async fn connect(url: &str, options: PostgresOptions) -> Result<Self, StoreError> {
        let pool = Pool::new(Address::parse(url, &options)?, &options)?;
        schema::prepare(&pool, &options.schema).await?;
        Ok(Self { pool })
    }

    /// The URL without its password.
    pub fn shown(&self) -> &str {
        self.pool.shown()
    }
}
