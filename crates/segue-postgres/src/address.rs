//! Where the database is: the URL, what may be shown of it, and whether the way there is encrypted.

use std::{net::IpAddr, path::PathBuf, str::FromStr, time::Duration};

use segue_core::ports::StoreError;
use tokio_postgres::{
    Config,
    config::{Host, SslMode, TargetSessionAttrs},
};

use crate::options::PostgresOptions;

/// A server that does not answer for this long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// A URL that was understood.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    /// For the driver. Its own `Debug` hides the password.
    pub(crate) config: Config,
    /// The URL without its password.
    pub(crate) shown: String,
    pub(crate) tls: Tls,
}

/// Is the way to the server encrypted, and whose word counts for who it is?
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tls {
    /// In the clear.
    Off,
    /// By a certificate that the machine trusts.
    System,
    /// By a certificate of the authorities in this file.
    Authorities(PathBuf),
}

impl Address {
    pub(crate) fn parse(url: &str, options: &PostgresOptions) -> Result<Self, StoreError> {
        let shown = shown(url);
        let wrong = |how: &str| {
            StoreError::Broken(format!(
                "{shown} is no address of a PostgreSQL database: {how}; write postgres://USER@HOST:PORT/DATABASE"
            ))
        };
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(wrong("it does not start with postgres://"));
        }
        let (rest, ours) = take_tls_words(url);
        let mut config = Config::from_str(&rest).map_err(|error| wrong(&error.to_string()))?;
        if config.get_hosts().is_empty() {
            return Err(wrong("it names no host"));
        }
        if config.get_hosts().iter().any(|host| matches!(host, Host::Tcp(name) if name.contains('@'))) {
            return Err(wrong("a password with an @ in it is written with %40"));
        }
        if let (None, Some(password)) = (config.get_password(), &options.password) {
            config.password(password);
        }
        let tls = ours.decide(&config).map_err(|how| wrong(&how))?;
        config
            .ssl_mode(if tls == Tls::Off { SslMode::Disable } else { SslMode::Require })
            .target_session_attrs(TargetSessionAttrs::ReadWrite)
            .connect_timeout(options.connect_timeout)
            .keepalives_idle(SILENCE_MAX)
            .tcp_user_timeout(SILENCE_MAX);
        if config.get_application_name().is_none() {
            config.application_name("segue");
        }
        Ok(Self { config, shown, tls })
    }
}

/// The URL without its password.
pub fn shown(url: &str) -> String {
    // Everything up to the last `@` before the path may belong to the name and the password.
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let (authority, tail) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    // A password with a slash or a question mark in it is not a valid one, and all the more not to be shown.
    let (authority, tail) = match tail.rfind('@') {
        Some(at) if !authority.contains('@') => (&rest[..authority.len() + at + 1], &tail[at + 1..]),
        _ => (authority, tail),
    };
    let authority = match authority.rsplit_once('@') {
        Some((user, host)) => {
            let user = user.split(':').next().unwrap_or_default();
            format!("{user}@{}", host.trim_start_matches('@'))
        }
        None => authority.to_owned(),
    };
    let (path, query) = tail.split_once('?').map_or((tail, None), |(path, query)| (path, Some(query)));
    let query: Vec<&str> =
        query.iter().flat_map(|query| query.split('&')).filter(|pair| !pair.starts_with("password")).collect();
    let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
    format!("{scheme}://{authority}{path}{query}")
}

/// What a URL says of encryption.
#[derive(Debug, Default)]
struct TlsWords {
    mode: Option<String>,
    authorities: Option<PathBuf>,
}

/// The URL without the words that the driver does not know or takes for something weaker.
fn take_tls_words(url: &str) -> (String, TlsWords) {
    let mut words = TlsWords::default();
    let Some((base, query)) = url.split_once('?') else { return (url.to_owned(), words) };
    let mut rest = Vec::new();
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some(("sslmode", mode)) => words.mode = Some(mode.to_owned()),
            Some(("sslrootcert", path)) => words.authorities = Some(decoded(path).into()),
            _ => rest.push(pair),
        }
    }
    let rest = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
    (rest, words)
}

impl TlsWords {
    /// On this machine in the clear, elsewhere encrypted and checked, unless the URL says otherwise.
    fn decide(self, config: &Config) -> Result<Tls, String> {
        let on = self.authorities.clone().map_or(Tls::System, Tls::Authorities);
        match self.mode.as_deref() {
            None if self.authorities.is_some() => Ok(on),
            None if config.get_hosts().iter().all(is_here) => Ok(Tls::Off),
            None | Some("require" | "verify-ca" | "verify-full") => Ok(on),
            Some("disable") => Ok(Tls::Off),
            Some(other) => Err(format!(
                "sslmode={other} would fall back to an open connection; say sslmode=require (the certificate is checked) \
                 or sslmode=disable"
            )),
        }
    }
}

fn is_here(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()),
    }
}

/// `%2F` and its like.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(&byte) = bytes.get(at) {
        let hex = (byte == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(decoded) => {
                out.push(decoded);
                at += 3;
            }
            None => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn parse(url: &str) -> Result<Address, StoreError> {
        Address::parse(url, &PostgresOptions::default())
    }

    #[test]
    fn no_password_is_shown() {
        for (url, expected) in [
            ("postgres://me:hunter2@db:5432/segue", "postgres://me@db:5432/segue"),
            ("postgres://me:hunter2@a,b:5433/segue?sslmode=require", "postgres://me@a,b:5433/segue?sslmode=require"),
            ("postgresql://db/segue?password=hunter2&user=me", "postgresql://db/segue?user=me"),
            ("postgres://me:hun@ter2@db/segue", "postgres://me@db/segue"),
            ("postgres://me:hunt/er2@db/segue", "postgres://me@db/segue"),
            ("postgres://me@db/segue", "postgres://me@db/segue"),
        ] {
            assert_eq!(shown(url), expected);
            let told = match parse(url) {
                Ok(address) => format!("{address:?}"),
                Err(error) => error.to_string(),
            };
            assert!(!told.contains("hunter2") && !told.contains("ter2"), "{told}");
        }
        let options = PostgresOptions { password: Some("hunter2".to_owned()), ..PostgresOptions::default() };
        let address = Address::parse("postgres://me@localhost/segue", &options).unwrap();
        assert_eq!(address.config.get_password(), Some(&b"hunter2"[..]));
        assert!(!format!("{options:?} {address:?}").contains("hunter2"));
    }

    #[test]
    fn the_way_to_another_machine_is_encrypted_and_checked() {
        for (url, tls) in [
            ("postgres://me@localhost/segue", Tls::Off),
            ("postgres://me@127.0.0.1:5433/segue", Tls::Off),
            ("postgres://me@[::1]/segue", Tls::Off),
            ("postgres://me@%2Frun%2Fpostgresql/segue", Tls::Off),
            ("postgres://me@db.example/segue", Tls::System),
            ("postgres://me@localhost,db.example/segue", Tls::System),
            ("postgres://me@db.example/segue?sslmode=disable", Tls::Off),
            ("postgres://me@localhost/segue?sslmode=verify-full", Tls::System),
            (
                "postgres://me@db/segue?sslmode=require&sslrootcert=%2Fetc%2Fca.pem",
                Tls::Authorities("/etc/ca.pem".into()),
            ),
        ] {
            assert_eq!(parse(url).unwrap().tls, tls, "{url}");
        }
        let error = parse("postgres://me@db/segue?sslmode=prefer").unwrap_err().to_string();
        assert!(error.contains("sslmode=require"), "{error}");
    }

    #[test]
    fn what_is_no_address_is_told() {
        for url in
            ["mysql://me@db/segue", "postgres:///segue", "postgres://me@db:port/segue", "postgres://me@db/s?colour=red"]
        {
            assert!(
                matches!(parse(url), Err(StoreError::Broken(text)) if text.contains("postgres://USER@HOST")),
                "{url}"
            );
        }
    }
}
