//! Connections: accepted on loopback, bounded in number and in patience, ended in good order.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    response::{IntoResponse as _, Response},
};
use hyper::{body::Incoming, server::conn::http1, service::Service as _};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::GatewayError;

/// More connections than this wait in the listener's queue.
const CONNECTIONS_MAX: usize = 512;
/// How long a client may take for the head of its next request. Clients drop idle connections sooner (httpx: 5 s).
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest head of a request.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// How long answers may go on after [`Server::shutdown`].
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);
/// How long to wait when the process has no file descriptor left for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A running server. Dropping it breaks all connections.
pub(crate) struct Server {
    address: SocketAddr,
    tasks: TaskTracker,
    stop: CancellationToken,
    abort: CancellationToken,
}

impl Server {
    /// Listens on a free port of 127.0.0.1.
    pub(crate) async fn start(router: Router) -> Result<Self, GatewayError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(GatewayError::Listen)?;
        let address = listener.local_addr().map_err(GatewayError::Listen)?;
        let abort = CancellationToken::new();
        let server = Self { address, tasks: TaskTracker::new(), stop: abort.child_token(), abort };
        let (tasks, stop, abort) = (server.tasks.clone(), server.stop.clone(), server.abort.clone());
        server.tasks.spawn(accept(listener, router, tasks, stop, abort));
        Ok(server)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts no more, lets answers finish for a moment, then breaks what is left. Repeatable.
    pub(crate) async fn shutdown(&self) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(SHUTDOWN_GRACE, self.tasks.wait()).await.is_err() {
            self.abort.cancel();
            self.tasks.wait().await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.abort.cancel();
    }
}

async fn accept(
    listener: TcpListener,
    router: Router,
    tasks: TaskTracker,
    stop: CancellationToken,
    abort: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = stop.cancelled() => return,
            next = next => next,
        };
        match accepted {
            Ok((stream, _)) => {
                tasks.spawn(serve(stream, router.clone(), place, stop.clone(), abort.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "the model gateway cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
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
) -> impl Fn(hyper::Request<Incoming>) -> futures_util::future::BoxFuture<'static, Result<hyper::Response<Body>, Severed>>
{
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

async fn serve(
    stream: TcpStream,
    router: Router,
    _place: OwnedSemaphorePermit,
    stop: CancellationToken,
    abort: CancellationToken,
) {
    // Without it every streamed piece could wait for the acknowledgement of the one before.
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), hyper::service::service_fn(answering(router)));
    tokio::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = abort.cancelled() => return,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                served = connection => served,
                () = abort.cancelled() => return,
            }
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to the model gateway broke");
    }
}
