//! Where an engine's HTTP listens.

use std::{io, net::SocketAddr, time::Duration};

use hyper_util::service::TowerToHyperService;
use segue_listen::{Bounds, Server};
use tokio::net::TcpListener;

use crate::{Served, routes};

const BOUNDS: Bounds = Bounds { name: "the server", connections: 1_024, head: Duration::from_secs(5) };

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
        Server::start(self.listener, self.address, TowerToHyperService::new(routes::router(served)), BOUNDS)
    }
}
