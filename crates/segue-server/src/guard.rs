//! Who may ask at all. Looked at before any route is.
//!
//! A page in a browser on this machine can send requests here, and by a name of its own that leads to 127.0.0.1 it could
//! read the answers. It cannot choose the `Host` and `Origin` headers: those must be names of this machine.

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::problem::Problem;

/// The largest body.
pub(crate) const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;

/// What every answer says: it is data, for nobody's page, and not to be kept.
const HEADERS: [(HeaderName, HeaderValue); 5] = [
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

/// Refuses what a stranger's page could send and what is too large; gives every answer its headers.
pub(crate) async fn guard(request: Request, next: Next) -> Response {
    let mut response = match refusal(&request) {
        Some(problem) => problem.into_response(),
        None => next.run(request).await,
    };
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(value);
    }
    response
}

fn refusal(request: &Request) -> Option<Problem> {
    let headers = request.headers();
    let Some(host) = host_of(headers, request.uri()) else {
        return Some(Problem::new(StatusCode::BAD_REQUEST, "no-host", "the request has no single Host header"));
    };
    if !is_own_name(host) {
        let detail = "the Host header names another machine; ask 127.0.0.1, [::1] or localhost";
        return Some(Problem::new(StatusCode::MISDIRECTED_REQUEST, "foreign-host", detail));
    }
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if changes && !is_from_here(headers) {
        let detail = "the request comes from a page of another origin";
        return Some(Problem::new(StatusCode::FORBIDDEN, "foreign-origin", detail));
    }
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > BODY_BYTES_MAX as u64) {
        let detail = format!("the body is larger than {BODY_BYTES_MAX} bytes");
        return Some(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", detail));
    }
    None
}

/// The host that is asked, with its port; none if there is none, or more than one.
fn host_of<'r>(headers: &'r HeaderMap, uri: &'r Uri) -> Option<&'r str> {
    let mut all = headers.get_all(header::HOST).iter();
    let first = all.next()?.to_str().ok()?;
    // A request line with a whole address must not say something else than its Host header does.
    let agrees = uri.authority().is_none_or(|authority| authority.as_str() == first);
    (all.next().is_none() && agrees).then_some(first)
}

/// Is this `HOST[:PORT]` a name of this machine for itself?
fn is_own_name(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inner, rest)) if is_port(rest) => return inner == "::1",
        Some(_) => return false,
        None => match host.split_once(':') {
            Some((name, port)) if is_port(&format!(":{port}")) => name,
            Some(_) => return false,
            None => host,
        },
    };
    name.eq_ignore_ascii_case("localhost") || name == "127.0.0.1"
}

/// Nothing, or `:` and digits.
fn is_port(text: &str) -> bool {
    text.is_empty() || text.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())
}

/// Does no page of another origin send this? Programs send neither header.
fn is_from_here(headers: &HeaderMap) -> bool {
    let is_own_origin = |origin: &str| {
        origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")).is_some_and(is_own_name)
    };
    let text = |name| headers.get_all(name).iter().map(|value: &HeaderValue| value.to_str().unwrap_or_default());
    text(header::ORIGIN).all(is_own_origin)
        && text(HeaderName::from_static("sec-fetch-site")).all(|site| matches!(site, "same-origin" | "none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_its_own() {
        for own in ["localhost", "LocalHost:80", "127.0.0.1", "127.0.0.1:7348", "[::1]", "[::1]:7348"] {
            assert!(is_own_name(own), "{own}");
        }
        let foreign = [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1:80@evil.example",
            "localhost:",
            "localhost:x",
            "127.0.0.1:99999",
            "[::1]evil.example",
            "[::2]",
            "::1",
            "0.0.0.0",
        ];
        for foreign in foreign {
            assert!(!is_own_name(foreign), "{foreign}");
        }
    }

    #[test]
    fn a_page_of_another_origin_changes_nothing() {
        let with = |name: &'static str, value: &'static str| {
            HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))])
        };
        assert!(is_from_here(&HeaderMap::new()));
        assert!(is_from_here(&with("origin", "http://127.0.0.1:7348")));
        assert!(is_from_here(&with("sec-fetch-site", "same-origin")));
        assert!(!is_from_here(&with("origin", "https://evil.example")));
        assert!(!is_from_here(&with("origin", "null")));
        assert!(!is_from_here(&with("sec-fetch-site", "cross-site")));
        assert!(!is_from_here(&with("sec-fetch-site", "same-site")));
    }
}
