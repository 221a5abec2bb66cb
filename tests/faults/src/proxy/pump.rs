//! One connection through the proxy.

use std::{
    io,
    sync::{Arc, Mutex, atomic::Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

use super::{
    Order, State,
    wire::{FromClient, FromServer},
};

/// Whether the next answer of the server is thrown away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    PassOn,
    Swallow,
}

/// Passes on in both directions until one of them ends or the connection is cut.
pub(super) async fn both(client: TcpStream, server: TcpStream, state: Arc<State>) {
    let mut orders = state.order.subscribe();
    orders.mark_unchanged();
    let answer = Arc::new(Mutex::new(Answer::PassOn));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let up = up(from_client, to_server, state.clone(), answer.clone());
    let down = down(from_server, to_client, state.clone(), answer, orders.clone());
    tokio::select! {
        _ = async { tokio::try_join!(up, down) } => {}
        () = cut(&mut orders) => {}
    }
    // Both sockets are closed here; what was not passed on is lost.
}

async fn cut(orders: &mut watch::Receiver<Order>) {
    while orders.changed().await.is_ok() {
        if matches!(*orders.borrow_and_update(), Order::Cut(_)) {
            return;
        }
    }
    // The proxy is gone.
}

async fn up(
    mut client: OwnedReadHalf,
    mut server: OwnedWriteHalf,
    state: Arc<State>,
    answer: Arc<Mutex<Answer>>,
) -> io::Result<()> {
    let mut wire = FromClient::default();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = client.read(&mut buffer).await?;
        if length == 0 {
            return server.shutdown().await;
        }
        tokio::time::sleep(state.delay()).await;
        // Before it is sent: its answer may come at once.
        if wire.take(&buffer[..length]).iter().any(|sql| state.takes_commit(sql)) {
            *answer.lock().unwrap() = Answer::Swallow;
        }
        server.write_all(&buffer[..length]).await?;
    }
}

async fn down(
    mut server: OwnedReadHalf,
    mut client: OwnedWriteHalf,
    state: Arc<State>,
    answer: Arc<Mutex<Answer>>,
    mut orders: watch::Receiver<Order>,
) -> io::Result<()> {
    let mut wire = FromServer::default();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = tokio::select! {
            length = server.read(&mut buffer) => length?,
            changed = orders.changed() => {
                if changed.is_ok() && matches!(*orders.borrow_and_update(), Order::HalfClose(_)) {
                    client.shutdown().await?;
                    // What the server says from now on goes nowhere.
                    while server.read(&mut buffer).await? > 0 {}
                    return Ok(());
                }
                continue;
            }
        };
        if length == 0 {
            return client.shutdown().await;
        }
        let is_ready = wire.is_ready_after(&buffer[..length]);
        if *answer.lock().unwrap() == Answer::Swallow {
            if is_ready {
                state.swallowed.fetch_add(1, Ordering::SeqCst);
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            continue;
        }
        tokio::time::sleep(state.delay()).await;
        client.write_all(&buffer[..length]).await?;
    }
}
