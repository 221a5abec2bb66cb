//! Where the server is: `redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE][?prefix=NAME]`, `rediss://…` for TLS.

use redis::{Client, ConnectionAddr};
use segue_core::ports::BusError;

/// Prefix of all channels and keys, where the URL has none.
pub const PREFIX_DEFAULT: &str = "segue";

/// A server, and what our names there begin with.
pub(crate) struct Address {
    pub(crate) client: Client,
    pub(crate) prefix: String,
    /// `redis://HOST:PORT/DATABASE`: for messages, without user and password.
    pub(crate) shown: String,
}

impl Address {
    /// Reads a URL. Errors do not repeat it: it may hold a password.
    pub(crate) fn read(url: &str) -> Result<Self, BusError> {
        let (server, query) = url.split_once('?').unwrap_or((url, ""));
        let mut prefix = PREFIX_DEFAULT.to_owned();
        let mut rest = Vec::new();
        for part in query.split('&').filter(|part| !part.is_empty()) {
            match part.strip_prefix("prefix=") {
                Some(name) => name.clone_into(&mut prefix),
                None => rest.push(part),
            }
        }
        // They stand in patterns, too.
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "_-.:".contains(letter);
        if prefix.is_empty() || !prefix.chars().all(is_plain) {
            return Err(BusError(
                "the prefix in its URL may hold letters, digits, `_`, `-`, `.` and `:` only".to_owned(),
            ));
        }
        if !["redis://", "rediss://"].iter().any(|scheme| server.starts_with(scheme)) {
            return Err(BusError("its URL must begin with redis:// or rediss://".to_owned()));
        }
        let server = if rest.is_empty() { server.to_owned() } else { format!("{server}?{}", rest.join("&")) };
        let client = Client::open(server).map_err(|error| BusError(format!("its URL cannot be used: {error}")))?;
        let info = client.get_connection_info();
        let (scheme, place) = match info.addr() {
            ConnectionAddr::TcpTls { host, port, .. } => ("rediss", format!("{host}:{port}")),
            other => ("redis", other.to_string()),
        };
        let shown = format!("{scheme}://{place}/{}", info.redis_settings().db());
        Ok(Self { client, prefix, shown })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_password() {
        let address = Address::read("redis://user:hidden@127.0.0.1:7000/3?prefix=team").unwrap();
        assert_eq!((address.shown.as_str(), address.prefix.as_str()), ("redis://127.0.0.1:7000/3", "team"));
        let address = Address::read("rediss://:hidden@example.com").unwrap();
        assert_eq!((address.shown.as_str(), address.prefix.as_str()), ("rediss://example.com:6379/0", "segue"));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        for url in [
            "http://:hidden@host",
            "redis://:hidden@host/x",
            "redis://:hidden@host?prefix=a*",
            "hidden",
            "redis://:hidden@",
        ] {
            let error = Address::read(url).map(|_| ()).unwrap_err().to_string();
            assert!(!error.contains("hidden"), "{url}: {error}");
        }
    }
}
