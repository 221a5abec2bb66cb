//! A way to the server that can be cut.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Passes on what is said in both directions.
pub(crate) struct Proxy {
    port: u16,
    loses_replies: Arc<AtomicBool>,
    is_silent: watch::Sender<bool>,
}

impl Proxy {
    /// In front of the server on this port of this machine.
    pub(crate) async fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let loses_replies = Arc::<AtomicBool>::default();
        let loses = Arc::clone(&loses_replies);
        let (is_silent, silent) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                tokio::spawn(pass(client, server, Arc::clone(&loses), silent.clone()));
            }
        });
        Self { port, loses_replies, is_silent }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// From now on the first thing that the server says on a connection is lost, and the connection with it.
    pub(crate) fn lose_replies(&self, loses: bool) {
        self.loses_replies.store(loses, SeqCst);
    }

    /// From now on nothing is heard of the server, and no connection ends; afterwards all that it said meanwhile.
    pub(crate) fn be_silent(&self, is_silent: bool) {
        self.is_silent.send_replace(is_silent);
    }
}

async fn pass(client: TcpStream, server: TcpStream, loses: Arc<AtomicBool>, mut silent: watch::Receiver<bool>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let asking = tokio::spawn(async move { copy(&mut from_client, &mut to_server).await });
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
        // The proxy is gone, and with it the silence.
        let _ = silent.wait_for(|silent| !silent).await;
        if loses.load(SeqCst) || to_client.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
    asking.abort();
}
