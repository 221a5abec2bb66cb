//! Ctrl-C and SIGTERM, for as many listeners as there are runs. None is lost: a listener hears what came before it too.

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::failure::{Failure, Outcome};

/// What somebody outside wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// SIGTERM: leave in good order.
    Terminate,
}

/// How often each was heard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Heard {
    interrupts: u32,
    terminations: u32,
}

/// One listener. A clone hears again what the original has not heard yet.
#[derive(Debug, Clone)]
pub(crate) struct Signals {
    all: watch::Receiver<Heard>,
    own: Heard,
}

impl Signals {
    /// Listens. From here on the signals no longer end the process by themselves.
    pub(crate) fn listen() -> Outcome<Self> {
        let cannot = |error: std::io::Error| Failure::internal(format!("signals cannot be heard: {error}"));
        let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
        let (heard, all) = watch::channel(Heard::default());
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    Some(()) = interrupt.recv() => heard.send_modify(|heard| heard.interrupts += 1),
                    Some(()) = terminate.recv() => heard.send_modify(|heard| heard.terminations += 1),
                    else => return,
                }
            }
        });
        Ok(Self { all, own: Heard::default() })
    }

    /// The next signal. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Signal {
        loop {
            let heard = *self.all.borrow_and_update();
            if heard.terminations > self.own.terminations {
                self.own.terminations += 1;
                return Signal::Terminate;
            }
            if heard.interrupts > self.own.interrupts {
                self.own.interrupts += 1;
                return Signal::Interrupt;
            }
            if self.all.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
