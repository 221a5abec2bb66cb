//! A model provider, asked over HTTP.

use std::{error::Error as _, sync::OnceLock, time::Duration};

use async_trait::async_trait;
use axum::http::{HeaderValue, header};
use futures_util::StreamExt as _;

use super::{Upstream, UpstreamError, UpstreamReply, UpstreamRequest};
use crate::{
    GatewayError,
    options::{ProviderKey, ProviderOptions},
};

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a provider may say nothing at all; what a task may take is said by its own limit.
const SILENCE_MAX: Duration = Duration::from_secs(600);
/// Idle connections that are kept for the next call.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// One configured endpoint.
pub(crate) struct Provider {
    name: String,
    base_url: String,
    key: Option<String>,
    authorization: Option<HeaderValue>,
    proxy: Option<reqwest::Proxy>,
    /// Made for the first call: the certificates of the system are read for it.
    client: OnceLock<reqwest::Client>,
}

impl Provider {
    /// Makes ready to ask; opens no connection yet.
    pub(crate) fn new(options: &ProviderOptions) -> Result<Self, GatewayError> {
        let bad = |why: String| GatewayError::Provider { name: options.name.clone(), why };
        let url = reqwest::Url::parse(&options.base_url).map_err(|error| bad(format!("`base_url`: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") || !url.username().is_empty() || url.password().is_some() {
            return Err(bad("`base_url` is an http(s) address without a user or a password".to_owned()));
        }
        if options.proxy.as_ref().is_some_and(|proxy| proxy.contains('@')) {
            return Err(bad("`proxy` is an address without a user or a password".to_owned()));
        }
        let proxy = options.proxy.as_ref().map(reqwest::Proxy::all).transpose();
        let key = match &options.key {
            ProviderKey::Given(key) => Some(key.trim().to_owned()),
            ProviderKey::None | ProviderKey::Missing(_) => None,
        };
        let authorization = key
            .as_ref()
            .map(|key| {
                let mut value = HeaderValue::try_from(format!("Bearer {key}"))
                    .map_err(|_| bad("its key holds characters that a header cannot hold".to_owned()))?;
                value.set_sensitive(true);
                Ok(value)
            })
            .transpose()?;
        Ok(Self {
            name: options.name.clone(),
            base_url: options.base_url.trim_end_matches('/').to_owned(),
            key,
            authorization,
            proxy: proxy.map_err(|_| bad("`proxy` is no address".to_owned()))?,
            client: OnceLock::new(),
        })
    }

    fn client(&self) -> Result<&reqwest::Client, UpstreamError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let mut client = reqwest::Client::builder()
            // A key goes where it was meant to go, and nowhere else.
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .tcp_nodelay(true)
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(SILENCE_MAX)
            .pool_idle_timeout(IDLE_TIMEOUT);
        if let Some(proxy) = &self.proxy {
            client = client.proxy(proxy.clone());
        }
        let client = client.build().map_err(|error| UpstreamError::Connect(told(&error)))?;
        Ok(self.client.get_or_init(|| client))
    }
}

#[async_trait]
impl Upstream for Provider {
    fn name(&self) -> &str {
        &self.name
    }

    async fn send(&self, request: UpstreamRequest) -> Result<UpstreamReply, UpstreamError> {
        let url = format!("{}{}", self.base_url, request.endpoint.path());
        let mut headers = request.headers;
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(authorization) = &self.authorization {
            headers.insert(header::AUTHORIZATION, authorization.clone());
        }
        let reply = self.client()?.post(url).headers(headers).body(request.body).send().await.map_err(understood)?;
        Ok(UpstreamReply {
            status: reply.status(),
            headers: reply.headers().clone(),
            body: reply.bytes_stream().map(|piece| piece.map_err(understood)).boxed(),
        })
    }

    fn secret(&self) -> Option<&str> {
        self.key.as_deref().filter(|key| !key.is_empty())
    }
}

fn understood(error: reqwest::Error) -> UpstreamError {
    let text = told(&error);
    match () {
        () if error.is_connect() => UpstreamError::Connect(text),
        () if error.is_timeout() => UpstreamError::TimedOut(text),
        () => UpstreamError::Broken(text),
    }
}

/// The root of the error, without the address.
fn told(error: &reqwest::Error) -> String {
    let mut root = error.source();
    while let Some(deeper) = root.and_then(std::error::Error::source) {
        root = Some(deeper);
    }
    root.map_or_else(|| "the request failed".to_owned(), ToString::to_string)
}
