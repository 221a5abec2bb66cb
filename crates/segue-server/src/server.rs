//! Connections: accepted on loopback, bounded in number, size and patience, ended in good order.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{Served, routes};

/// More connections than this wait in the listener's queue.
const CONNECTIONS_MAX: usize = 1_024;
/// How long a client may take for the head of a request, and how long a connection may be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest head of a request.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// The most headers of a request.
const HEADERS_MAX: usize = 100;
/// How long answers may go on after [`Server::shutdown`].
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);
/// How long to wait when the process has no file descriptor left for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Others than this machine could ask, and nothing says who they are.
    #[error("{0} can be reached from other machines, and this server has no access tokens yet to tell who may ask")]
    NotLoopback(SocketAddr),
    /// The address cannot be listened on.
    #[error("{address} cannot be listened on: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
}

/// An address that is held, on which nothing is answered yet: whether it can be had is known before anything else begins.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

impl Bound {
    /// Takes an address of this machine's own; port 0 means any that is free.
    pub async fn to(address: SocketAddr) -> Result<Self, ServerError> {
        if !address.ip().is_loopback() {
            return Err(ServerError::NotLoopback(address));
        }
        let failed = |source| ServerError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// The address, with the port that was found.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers from now on.
    pub fn serve(self, served: Served) -> Server {
        let abort = CancellationToken::new();
        let server = Server { address: self.address, tasks: TaskTracker::new(), stop: abort.child_token(), abort };
        let accepting = Accepting {
            router: routes::router(served),
            tasks: server.tasks.clone(),
            stop: server.stop.clone(),
            abort: server.abort.clone(),
        };
        server.tasks.spawn(accepting.accept(self.listener));
        server
    }
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
    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts no more, lets answers finish for a moment, then breaks what is left. Repeatable.
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

struct Accepting {
    router: Router,
    tasks: TaskTracker,
    stop: CancellationToken,
    abort: CancellationToken,
}

impl Accepting {
    async fn accept(self, listener: TcpListener) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let next = async {
                let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
                (place, listener.accept().await)
            };
            let (place, accepted) = tokio::select! {
                () = self.stop.cancelled() => return,
                next = next => next,
            };
            match accepted {
                Ok((stream, _)) => {
                    let (router, stop, abort) = (self.router.clone(), self.stop.clone(), self.abort.clone());
                    self.tasks.spawn(answer(stream, router, place, stop, abort));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection cannot be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// Answers the requests of one connection, one after the other.
async fn answer(
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
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
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
        tracing::debug!(%error, "a connection broke");
    }
}
