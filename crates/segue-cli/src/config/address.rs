//! Addresses and passwords of stores: what may be shown of them, and what not.

use std::{
    fmt,
    path::{Path, PathBuf},
};

/// Where runs are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StoreUrl {
    /// In this process, gone with it.
    Memory,
    /// In a SQLite file.
    Sqlite(PathBuf),
    /// In a PostgreSQL database.
    Postgres(SecretUrl),
}

/// A URL that may hold a password. Shown without it, always.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SecretUrl(String);

impl SecretUrl {
    /// All of it: for whoever connects.
    pub(crate) fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.0))
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A setting's text as it may be shown: of a URL all but its password.
pub(crate) fn shown(text: &str) -> String {
    match text.contains("://") {
        // Of a password without a user nothing is left.
        true => segue_postgres::shown(text).replacen("://@", "://", 1),
        false => text.to_owned(),
    }
}

impl StoreUrl {
    /// Reads `memory:`, `sqlite:PATH` or `postgres://…`; a relative path starts in `base`.
    pub(super) fn parse(text: &str, base: &Path) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("memory", "")) => Ok(Self::Memory),
            Some(("sqlite", path)) if !path.is_empty() => {
                let path = path.strip_prefix("//").filter(|rest| rest.starts_with('/')).unwrap_or(path);
                Ok(Self::Sqlite(base.join(path)))
            }
            Some(("postgres" | "postgresql", rest)) if rest.starts_with("//") => {
                Ok(Self::Postgres(SecretUrl(text.to_owned())))
            }
            _ => {
                let text = shown(text);
                Err(format!(
                    "`{text}` names no store: write `sqlite:PATH`, `postgres://USER@HOST/DATABASE` or `memory:`"
                ))
            }
        }
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory:"),
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => write!(f, "{url}"),
        }
    }
}

/// Where events are published to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BusUrl {
    /// What suits the store: a database's own, else this process.
    Auto,
    /// This process.
    Memory,
    /// The database in which runs are kept.
    Postgres,
    /// A Redis server.
    Redis(SecretUrl),
}

impl BusUrl {
    /// Reads `auto`, `memory:`, `postgres:` or `redis://…`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "memory:" => Ok(Self::Memory),
            "postgres:" => Ok(Self::Postgres),
            url if ["redis://", "rediss://", "redis+unix://"].iter().any(|scheme| url.starts_with(scheme)) => {
                Ok(Self::Redis(SecretUrl(url.to_owned())))
            }
            _ => Err(format!("`{}` names no bus: write `memory:`, `postgres:` or `redis://HOST:PORT`", shown(text))),
        }
    }
}

impl fmt::Display for BusUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Memory => f.write_str("memory:"),
            Self::Postgres => f.write_str("postgres:"),
            Self::Redis(url) => write!(f, "{url}"),
        }
    }
}

/// A password. Not shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Password(String);

impl Password {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// For whoever connects.
    pub(crate) fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_named_by_its_url() {
        let parse = |text| StoreUrl::parse(text, Path::new("/work"));
        assert_eq!(parse("memory:"), Ok(StoreUrl::Memory));
        assert_eq!(parse("sqlite:a/b.db"), Ok(StoreUrl::Sqlite("/work/a/b.db".into())));
        assert_eq!(parse("sqlite:/x.db"), Ok(StoreUrl::Sqlite("/x.db".into())));
        assert_eq!(parse("sqlite:///x.db"), Ok(StoreUrl::Sqlite("/x.db".into())));
        let secret = parse("postgres://u:hush@h/d").unwrap();
        assert_eq!(format!("{secret} {secret:?}"), "postgres://u@h/d Postgres(postgres://u@h/d)");
        let redis = BusUrl::parse("redis://:hush@h:1/").unwrap();
        assert!(!format!("{redis} {redis:?}").contains("hush"), "{redis}");
        assert!(BusUrl::parse("amqp://u:hush@h").is_err_and(|why| !why.contains("hush")));
        for bad in ["", "x.db", "sqlite:", "postgres:h/d", "mysql://u:hush@h/d", "memory:x"] {
            assert!(parse(bad).is_err_and(|why| !why.contains("hush")), "{bad}");
        }
    }
}
