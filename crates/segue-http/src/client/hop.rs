//! Redirects: where they lead, and what of a request goes along.

use reqwest::{
    Method, StatusCode, Url,
    header::{ACCEPT, ACCEPT_LANGUAGE, CONTENT_TYPE, LOCATION, USER_AGENT},
};

use super::{HttpError, Reply, Request, policy::host_of};

/// Headers that tell nothing about whom they come from.
const HARMLESS: [reqwest::header::HeaderName; 4] = [ACCEPT, ACCEPT_LANGUAGE, CONTENT_TYPE, USER_AGENT];

/// Where the reply sends its reader, if it does.
pub(super) fn target(reply: &Reply, from: &Url) -> Result<Option<Url>, HttpError> {
    if !matches!(reply.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let Some(location) = reply.headers().get(LOCATION) else { return Ok(None) };
    let target = location.to_str().ok().and_then(|location| from.join(location).ok());
    target.map(Some).ok_or_else(|| HttpError::Redirect(format!("{} redirects to what is no address", host_of(from))))
}

/// The request as it goes on. To another origin go neither its credentials nor its body.
pub(super) fn next(request: Request, status: StatusCode, target: Url) -> Result<Request, HttpError> {
    let Request { method, url, mut headers, body } = request;
    if url.scheme() == "https" && target.scheme() != "https" {
        return Err(HttpError::Redirect(format!(
            "{} redirects away from https, to {}",
            host_of(&url),
            host_of(&target)
        )));
    }
    let keeps = matches!(status.as_u16(), 307 | 308) || matches!(method, Method::GET | Method::HEAD);
    let (method, body) = if keeps { (method, body) } else { (Method::GET, None) };
    if !keeps {
        headers.remove(CONTENT_TYPE);
    }
    if url.origin() != target.origin() {
        if body.is_some() {
            let message =
                format!("{} would have the body sent to {}, which is another host", host_of(&url), host_of(&target));
            return Err(HttpError::Redirect(message));
        }
        headers = HARMLESS.iter().filter_map(|name| Some((name.clone(), headers.get(name)?.clone()))).collect();
    }
    Ok(Request { method, url: target, headers, body })
}
