//! The client.
//!
//! A connection is used for one request: none is found dead, and none is shared between tasks. Dropping a future or a
//! [`Reply`] closes it at once.

mod address;
mod allow;
mod error;
mod hop;
mod policy;
mod reply;
mod resolver;

use std::{
    collections::HashMap,
    error::Error as _,
    future::Future,
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::Duration,
};

use reqwest::{Method, Url, header::HeaderMap};

pub use allow::AllowList;
pub use error::HttpError;
pub(crate) use policy::check_form;
pub use policy::{BODY_BYTES_MAX, HINTS, HttpOptions, Policy};
pub use reply::Reply;

use self::{
    policy::{host_of, refused},
    resolver::{Blocked, CheckedResolver},
};

/// One request.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its method.
    pub method: Method,
    /// Where it goes first.
    pub url: Url,
    /// Its headers. Those with credentials go to the first host only.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Option<Vec<u8>>,
}

impl Request {
    /// A request without headers and body.
    pub fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: HeaderMap::new(), body: None }
    }
}

/// Sends requests under one policy. Cheap to make.
#[derive(Debug, Clone)]
pub struct HttpClient {
    inner: reqwest::Client,
    policy: Policy,
}

impl HttpClient {
    /// A client for this policy.
    pub fn new(options: &HttpOptions, policy: Policy) -> Result<Self, HttpError> {
        let connect_seconds = policy.connect_timeout.as_secs_f64().ceil().clamp(1.0, CONNECT_SECONDS_MAX) as u64;
        let made_for = MadeFor { allowed: policy.allow_private.clone(), proxy: options.proxy.clone(), connect_seconds };
        let inner = shared(made_for)?;
        Ok(Self { inner, policy })
    }

    /// What it keeps to.
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Sends the request, follows redirects as far as the policy allows, and returns when the head of the answer is there.
    /// A redirect that is not to be followed is an answer like any other; one that may not be followed is an error.
    pub async fn send(&self, request: Request) -> Result<Reply, HttpError> {
        let limit = self.policy.redirects_of(&request.method);
        let (mut hop, mut taken) = (request, 0);
        loop {
            let (method, url) = (hop.method.clone(), hop.url.clone());
            self.policy.check(&url)?;
            let reply = self.once(hop.clone()).await?;
            let Some(target) = hop::target(&reply, &url)? else { return Ok(reply) };
            if limit == 0 {
                return Ok(reply);
            }
            if taken == limit {
                return Err(HttpError::Redirect(format!("it is redirected more than {limit} times")));
            }
            taken += 1;
            tracing::debug!(%method, from = host_of(&url), to = host_of(&target), "redirected");
            hop = hop::next(hop, reply.status(), target)?;
        }
    }

    async fn once(&self, request: Request) -> Result<Reply, HttpError> {
        let host = host_of(&request.url);
        let mut builder = self.inner.request(request.method, request.url).headers(request.headers);
        if let Some(body) = request.body {
            builder = builder.body(body);
        }
        let head = async { builder.send().await.map_err(|error| understood(&host, &error)) };
        let response = in_time(&host, self.policy.read_timeout, head).await?;
        Reply::new(response, host, &self.policy)
    }
}

/// Waits no longer than this.
async fn in_time<T>(
    host: &str,
    silence: Duration,
    work: impl Future<Output = Result<T, HttpError>>,
) -> Result<T, HttpError> {
    match tokio::time::timeout(silence, work).await {
        Ok(result) => result,
        Err(_) => Err(HttpError::TimedOut { host: host.to_owned(), silence }),
    }
}

/// What reqwest says, in our words.
fn understood(host: &str, error: &reqwest::Error) -> HttpError {
    let (mut root, mut blocked) = (error.source(), None);
    while let Some(source) = root {
        blocked = blocked.or_else(|| source.downcast_ref::<Blocked>());
        match source.source() {
            Some(deeper) => root = Some(deeper),
            None => break,
        }
    }
    if let Some(blocked) = blocked {
        return refused(host, blocked.what);
    }
    let (host, why) = (host.to_owned(), root.map_or_else(|| "the request failed".to_owned(), ToString::to_string));
    if error.is_connect() { HttpError::Connect { host, why } } else { HttpError::Broken { host, why } }
}

/// Who does not take a connection in this time takes none.
const CONNECT_SECONDS_MAX: f64 = 120.0;
/// As many clients are kept ready.
const CLIENTS_MAX: usize = 64;

/// In what clients differ.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct MadeFor {
    allowed: AllowList,
    proxy: Option<String>,
    connect_seconds: u64,
}

/// Kept, because making one reads the certificates of the system.
static CLIENTS: LazyLock<Mutex<HashMap<MadeFor, reqwest::Client>>> = LazyLock::new(Mutex::default);

fn shared(made_for: MadeFor) -> Result<reqwest::Client, HttpError> {
    let mut clients = CLIENTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(client) = clients.get(&made_for) {
        return Ok(client.clone());
    }
    let client = build(&made_for)?;
    if clients.len() >= CLIENTS_MAX {
        clients.clear();
    }
    clients.insert(made_for, client.clone());
    Ok(client)
}

fn build(made_for: &MadeFor) -> Result<reqwest::Client, HttpError> {
    let bad_proxy = || HttpError::Setup("the proxy's address is none".to_owned());
    let proxy = made_for.proxy.as_deref().map(Url::parse).transpose().map_err(|_| bad_proxy())?;
    let resolver = CheckedResolver {
        allowed: Arc::new(made_for.allowed.clone()),
        proxy: proxy.as_ref().and_then(Url::host_str).map(str::to_owned),
    };
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("segue/", env!("CARGO_PKG_VERSION")))
        // Each hop is looked at before it is taken.
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .referer(false)
        .tcp_nodelay(true)
        .pool_max_idle_per_host(0)
        .connect_timeout(Duration::from_secs(made_for.connect_seconds))
        .dns_resolver(Arc::new(resolver));
    if let Some(proxy) = proxy {
        builder = builder.proxy(reqwest::Proxy::all(proxy).map_err(|_| bad_proxy())?);
    }
    builder
        .build()
        .map_err(|error| HttpError::Setup(error.source().map_or_else(|| error.to_string(), ToString::to_string)))
}
