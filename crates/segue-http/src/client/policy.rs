//! What a request may do: where it may go, how long it may take, how much it may bring.

use std::time::Duration;

use reqwest::{Method, Url};
use segue_core::problems::{Problem, concurrency, kind_of, unknown};
use serde_json::{Map, Value};

use super::{HttpError, allow::AllowList};

/// The key of the hints.
pub const HINTS: &str = "http";

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a server may say nothing, unless the hints say otherwise. What a task may take is said by its own limit.
const READ_TIMEOUT: Duration = Duration::from_secs(300);
/// The longest body, unless the hints say otherwise.
pub const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The longest body that hints can allow.
const BODY_BYTES_LIMIT: u64 = 64 * 1024 * 1024;
/// Redirects that are followed where a request has no effect, unless the hints say otherwise.
const REDIRECTS: u32 = 3;
/// As many can be allowed.
const REDIRECTS_LIMIT: u64 = 10;

const NAMES: [&str; 6] =
    ["allow_private", "redirects", "body_bytes_max", "connect_timeout_seconds", "read_timeout_seconds", "concurrency"];

/// What holds for every request of an engine.
#[derive(Debug, Clone, Default)]
pub struct HttpOptions {
    /// Hosts of this network that every task may reach.
    pub allow_private: AllowList,
    /// Requests go through it. It resolves names by itself: which addresses they have is then its concern. Without one no
    /// proxy is used, whatever the environment says.
    pub proxy: Option<String>,
}

/// The policy of one attempt's requests.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Hosts of this network that may be reached.
    pub allow_private: AllowList,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How long a server may say nothing.
    pub read_timeout: Duration,
    /// The longest body.
    pub body_bytes_max: usize,
    /// Redirects to be followed; `None`: 3 for GET and HEAD, none for what may have an effect.
    pub redirects: Option<u32>,
}

impl Policy {
    /// As these hints say (of all adapters; read: `http`), and never longer than the attempt may take. The hints have been
    /// checked with [`Policy::problems`].
    pub fn of(options: &HttpOptions, hints: &Map<String, Value>, attempt: Option<Duration>) -> Self {
        let none = Map::new();
        let own = hints.get(HINTS).and_then(Value::as_object).unwrap_or(&none);
        let hosts = own.get("allow_private").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let allowed = AllowList::parse(hosts).unwrap_or_default();
        let seconds =
            |name: &str| own.get(name).and_then(Value::as_f64).and_then(|s| Duration::try_from_secs_f64(s).ok());
        let bounded = |limit: Duration| attempt.map_or(limit, |attempt| limit.min(attempt));
        let number = |name: &str| own.get(name).and_then(Value::as_u64);
        Self {
            allow_private: options.allow_private.and(&allowed),
            connect_timeout: bounded(seconds("connect_timeout_seconds").unwrap_or(CONNECT_TIMEOUT)),
            read_timeout: bounded(seconds("read_timeout_seconds").unwrap_or(READ_TIMEOUT)),
            body_bytes_max: number("body_bytes_max")
                .and_then(|bytes| usize::try_from(bytes).ok())
                .unwrap_or(BODY_BYTES_MAX),
            redirects: number("redirects").and_then(|count| u32::try_from(count).ok()),
        }
    }

    /// What is wrong with `hints.http`, of all these hints.
    pub fn problems(hints: &Map<String, Value>) -> Vec<Problem> {
        let own = match hints.get(HINTS) {
            None => return Vec::new(),
            Some(Value::Object(own)) => own,
            Some(other) => {
                return vec![Problem::new(&[], format!("`hints.http` is {}, not an object", kind_of(other)))];
            }
        };
        let mut found = unknown(own, &NAMES, HINTS, "hint");
        found.extend(host_problems(own.get("allow_private")));
        for (name, smallest, largest) in [("redirects", 0, REDIRECTS_LIMIT), ("body_bytes_max", 1, BODY_BYTES_LIMIT)] {
            let is_wrong = |value: &Value| value.as_u64().is_none_or(|number| number < smallest || number > largest);
            if own.get(name).is_some_and(is_wrong) {
                let message = format!("`hints.http.{name}` is a number from {smallest} to {largest}");
                found.push(Problem::new(&[name], message));
            }
        }
        for name in ["connect_timeout_seconds", "read_timeout_seconds"] {
            let is_wrong = |value: &Value| value.as_f64().is_none_or(|seconds| !(0.001..=86_400.0).contains(&seconds));
            if own.get(name).is_some_and(is_wrong) {
                found.push(Problem::new(&[name], format!("`hints.http.{name}` is a number of seconds, at most a day")));
            }
        }
        found.extend(concurrency(own));
        found
    }

    /// How many redirects a request with this method may take.
    pub(super) fn redirects_of(&self, method: &Method) -> u32 {
        let harmless = matches!(*method, Method::GET | Method::HEAD);
        self.redirects.unwrap_or(if harmless { REDIRECTS } else { 0 })
    }

    /// Is this an address that may be asked, as far as can be seen without resolving its host?
    pub(super) fn check(&self, url: &Url) -> Result<(), HttpError> {
        check_form(url).map_err(HttpError::Refused)?;
        let literal = match url.host_str().unwrap_or_default() {
            six if six.starts_with('[') => six.trim_matches(['[', ']']).parse().ok(),
            // The parser of addresses has brought every spelling of an IPv4 address (octal, decimal, …) to the common one.
            other => other.parse().ok(),
        };
        match literal {
            Some(address) => self.allow_private.check(None, address).map_err(|what| refused(&host_of(url), what)),
            None => Ok(()),
        }
    }
}

/// What is wrong with the form of an address, in words that do not quote it.
pub(crate) fn check_form(url: &Url) -> Result<(), String> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("an address begins with http:// or https://, not with {}:", url.scheme()));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("the address names no host".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("an address holds no user and no password: it would be written into logs. \
                    Give them as a header, with the value { $secret: NAME }"
            .to_owned());
    }
    Ok(())
}

/// Scheme, host and port: as much of an address as may be told.
pub(crate) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| format!("{}://{host}", url.scheme()), |port| format!("{}://{host}:{port}", url.scheme()))
}

/// The refusal of a host.
pub(super) fn refused(host: &str, what: &str) -> HttpError {
    HttpError::Refused(format!(
        "{host} is {what}, which a task may not reach; if it is meant to, name the host in `hints.http.allow_private`"
    ))
}

fn host_problems(given: Option<&Value>) -> Option<Problem> {
    let given = given?;
    let help = "for example: allow_private: [127.0.0.1, models.internal, 10.0.0.0/8]";
    let Some(hosts) = given.as_array().and_then(|hosts| hosts.iter().map(Value::as_str).collect::<Option<Vec<_>>>())
    else {
        return Some(Problem::new(&["allow_private"], "`hints.http.allow_private` is a list of hosts").with_help(help));
    };
    let index = hosts.iter().position(|host| AllowList::parse([*host]).is_err())?;
    let message = format!("`{}` is neither the name of a host nor an address or a network", hosts[index]);
    Some(Problem::new(&["allow_private", &index.to_string()], message).with_help(help))
}
