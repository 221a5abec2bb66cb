//! Where the gateway listens, and answers that are none.

use std::{net::Ipv4Addr, time::Duration};

use axum::{
    Router,
    body::Body,
    response::{IntoResponse as _, Response},
};
use futures_util::future::BoxFuture;
use hyper::{
    body::Incoming,
    service::{Service as _, service_fn},
};
use hyper_util::service::TowerToHyperService;
use segue_listen::{Bounds, Server};
use tokio::net::TcpListener;

use crate::GatewayError;

/// Clients drop idle connections sooner (httpx: 5 s).
const BOUNDS: Bounds = Bounds { name: "the model gateway", connections: 512, head: Duration::from_secs(30) };

/// Listens on a free port of 127.0.0.1.
pub(crate) async fn start(router: Router) -> Result<Server, GatewayError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(GatewayError::Listen)?;
    let address = listener.local_addr().map_err(GatewayError::Listen)?;
    Ok(Server::start(listener, address, service_fn(answering(router)), BOUNDS))
}

/// An answer that is none: the connection is broken off instead.
pub(crate) fn severed() -> Response {
    let mut response = ().into_response();
    response.extensions_mut().insert(Severed);
    response
}

/// Is it one that breaks the connection off?
pub(crate) fn is_severed(response: &Response) -> bool {
    response.extensions().get::<Severed>().is_some()
}

/// Why a connection is broken off on purpose.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("broken off, as the call's own way was")]
struct Severed;

/// The router's answers, those that are none as errors.
fn answering(
    router: Router,
) -> impl Fn(hyper::Request<Incoming>) -> BoxFuture<'static, Result<hyper::Response<Body>, Severed>> + Clone {
    let service = TowerToHyperService::new(router);
    move |request| {
        let answered = service.call(request);
        Box::pin(async move {
            let Ok(response) = answered.await;
            match response.extensions().get::<Severed>() {
                Some(severed) => Err(*severed),
                None => Ok(response),
            }
        })
    }
}
