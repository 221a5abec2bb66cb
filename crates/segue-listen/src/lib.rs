//! HTTP connections: accepted, bounded in number, size and patience, ended in good order. What is answered is the
//! service's business; who may connect is decided by whoever binds the address.
//!
//! Not `axum::serve`: that one waits for the head of a request for ever, and takes any number of connections.

use std::{error::Error, net::SocketAddr, sync::Arc, time::Duration};

use axum::body::Body;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::Service};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long answers may go on after [`Server::shutdown`].
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);
/// How long to wait when the process has no file descriptor left for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The longest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// The most headers of a request.
const HEADERS_MAX: usize = 100;

/// What a server bears.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Its name in the log.
    pub name: &'static str,
    /// More connections than this wait in the listener's queue.
    pub connections: usize,
    /// How long a client may take for the head of a request, and how long a connection may be idle.
    pub head: Duration,
}

/// A running server. Dropping it breaks all connections.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    tasks: TaskTracker,
    stop: CancellationToken,
    abort: CancellationToken,
}

impl Server {
    /// Answers what comes in at `listener`, which is bound to `address`, from now on. A request that the service fails
    /// breaks its connection off. Runs on the current tokio runtime.
    pub fn start<S>(listener: TcpListener, address: SocketAddr, service: S, bounds: Bounds) -> Self
    where
        S: Service<Request<Incoming>, Response = Response<Body>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let abort = CancellationToken::new();
        let server = Self { address, tasks: TaskTracker::new(), stop: abort.child_token(), abort };
        let (tasks, ends) = (server.tasks.clone(), Ends { stop: server.stop.clone(), abort: server.abort.clone() });
        server.tasks.spawn(accept(listener, service, bounds, tasks, ends));
        server
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts no more, lets answers finish for two seconds, then breaks what is left. Repeatable.
    pub async fn shutdown(&self) {
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

/// How connections end: after the answer that is under way, or at once.
#[derive(Clone)]
struct Ends {
    stop: CancellationToken,
    abort: CancellationToken,
}

async fn accept<S>(listener: TcpListener, service: S, bounds: Bounds, tasks: TaskTracker, ends: Ends)
where
    S: Service<Request<Incoming>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let places = Arc::new(Semaphore::new(bounds.connections));
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = ends.stop.cancelled() => return,
            next = next => next,
        };
        match accepted {
            Ok((stream, _)) => {
                tasks.spawn(answer(stream, service.clone(), bounds, place, ends.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "{} cannot accept a connection", bounds.name);
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Answers the requests of one connection, one after the other.
async fn answer<S>(stream: TcpStream, service: S, bounds: Bounds, _place: OwnedSemaphorePermit, ends: Ends)
where
    S: Service<Request<Incoming>, Response = Response<Body>>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
{
    // Without it every streamed piece could wait for the acknowledgement of the one before.
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = ends.abort.cancelled() => return,
        () = ends.stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                served = connection => served,
                () = ends.abort.cancelled() => return,
            }
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to {} broke", bounds.name);
    }
}
