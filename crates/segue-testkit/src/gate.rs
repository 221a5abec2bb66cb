//! A door in the way of TCP connections: open, it passes bytes on; shut, it cuts what goes through and lets nobody in.

use std::net::SocketAddr;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::AbortHandle,
};

/// A loopback port that leads to another one. Dropped, it is gone.
#[derive(Debug)]
pub struct Gate {
    port: u16,
    is_open: watch::Sender<bool>,
    accepting: AbortHandle,
}

impl Gate {
    /// An open gate to `port` of 127.0.0.1.
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let own = listener.local_addr().expect("it is bound").port();
        let (is_open, watching) = watch::channel(true);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(pass(stream, SocketAddr::from(([127, 0, 0, 1], port)), watching.clone()));
            }
        });
        Self { port: own, is_open, accepting: accepting.abort_handle() }
    }

    /// Where to connect to on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Cuts all connections, and those to come as soon as they are made.
    pub fn shut(&self) {
        self.is_open.send_replace(false);
    }

    /// Lets connections in again.
    pub fn open(&self) {
        self.is_open.send_replace(true);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.accepting.abort();
        self.shut();
    }
}

/// Passes bytes on in both directions until one side ends or the gate is shut.
async fn pass(mut from: TcpStream, to: SocketAddr, mut is_open: watch::Receiver<bool>) {
    let passing = async {
        let mut to = TcpStream::connect(to).await?;
        copy_bidirectional(&mut from, &mut to).await
    };
    tokio::select! {
        biased;
        _ = is_open.wait_for(|is_open| !is_open) => {}
        _ = passing => {}
    }
}
