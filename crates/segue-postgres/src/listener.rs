//! One connection that listens, for as long as somebody wants to hear: lost, it is made again.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_postgres::AsyncMessage;

use crate::pool::Pool;

/// How long to wait before the next attempt, at first and at most.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// What is heard on a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    /// From now on nothing is missed; what was said before may have been: look for yourself.
    Connected,
    /// Somebody said this.
    Said(String),
}

/// Listens on a channel until it is dropped.
#[derive(Debug)]
pub(crate) struct Listener {
    heard: mpsc::UnboundedReceiver<Heard>,
    task: JoinHandle<()>,
}

impl Listener {
    /// Needs a runtime. `channel` is a plain name.
    pub(crate) fn start(pool: Pool, channel: &'static str) -> Self {
        let (say, heard) = mpsc::unbounded_channel();
        Self { heard, task: tokio::spawn(listen(pool, channel, say)) }
    }

    /// The next thing that is heard. Waits for ever while there is no connection.
    pub(crate) async fn next(&mut self) -> Option<Heard> {
        self.heard.recv().await
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(pool: Pool, channel: &'static str, say: mpsc::UnboundedSender<Heard>) {
    let mut pause = PAUSE_MIN;
    loop {
        match session(&pool, channel, &say).await {
            // It lasted: the next attempt is made at once.
            Ok(()) => pause = PAUSE_MIN,
            Err(error) => {
                tracing::warn!(database = pool.shown(), channel, %error, "not listening; trying again");
            }
        }
        if say.is_closed() {
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Listens on one connection until it is lost. An error: it was not even made ready.
async fn session(
    pool: &Pool,
    channel: &str,
    say: &mpsc::UnboundedSender<Heard>,
) -> Result<(), segue_core::ports::StoreError> {
    let (client, mut messages) = pool.alone().await?;
    // The server cuts off nobody who only listens: the limit of a statement does not count for that.
    let begin = format!("{}; LISTEN {channel}", pool.setup());
    let begun = async {
        let ready = pool.in_time(async { Ok(client.batch_execute(&begin).await?) }).await;
        if ready.is_ok() {
            let _ = say.send(Heard::Connected);
        }
        ready
    };
    tokio::pin!(begun);
    let mut is_ready = false;
    loop {
        tokio::select! {
            ready = &mut begun, if !is_ready => {
                ready.map_err(|failure| failure.explain(pool.shown()))?;
                is_ready = true;
            }
            message = messages.next() => match message {
                Some(Ok(AsyncMessage::Notification(said))) => {
                    // Nobody hears it any more: the task is about to be ended.
                    let _ = say.send(Heard::Said(said.payload().to_owned()));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) if !is_ready => {
                    return Err(crate::failure::explain(&error, pool.shown()));
                }
                Some(Err(error)) => {
                    tracing::info!(database = pool.shown(), %error, "the connection that listens was lost");
                    return Ok(());
                }
                None => return Ok(()),
            }
        }
    }
}
