//! What an attempt asks the engine to keep or give, carried out in order.

use std::{collections::VecDeque, sync::Arc};

use futures_util::future::BoxFuture;
use segue_core::ports::CheckpointStore;
use serde_json::Value;

use super::wire::Outbox;
use crate::protocol::{Call, CallError, Rpc, ToAttempt};

/// Calls that are taken before no more is read from the attempt.
const QUEUED_MAX: usize = 4;

type Answering = BoxFuture<'static, ()>;

/// The calls of one attempt: one at a time, each answer on its way before the next call begins.
pub(super) struct Calls {
    store: Option<Arc<dyn CheckpointStore>>,
    thread: String,
    queued: VecDeque<(u64, Call)>,
    current: Option<Answering>,
}

impl Calls {
    pub(super) fn new(store: Option<Arc<dyn CheckpointStore>>, thread: String) -> Self {
        Self { store, thread, queued: VecDeque::new(), current: None }
    }

    /// May more be read from the attempt? An attempt that asks faster than the store answers waits at its socket.
    pub(super) fn have_room(&self) -> bool {
        self.queued.len() < QUEUED_MAX
    }

    /// Takes a call. `Err`: it cannot be understood.
    pub(super) fn take(&mut self, rpc: Rpc) -> Result<(), String> {
        let id = rpc.id;
        self.queued.push_back((id, Call::read(rpc)?));
        Ok(())
    }

    /// Answers one call after the other. Has no end where there is none; may be dropped and begun again.
    pub(super) async fn answer(&mut self, outbox: Option<&Outbox>) {
        let Some(outbox) = outbox else { return std::future::pending().await };
        if self.current.is_none() {
            let Some((id, call)) = self.queued.pop_front() else { return std::future::pending().await };
            let (store, thread, replies) = (self.store.clone(), self.thread.clone(), outbox.replies());
            self.current = Some(Box::pin(async move {
                let answer = match store {
                    Some(store) => call.carry_out(&*store, &thread).await,
                    None => Err(CallError::NoStore),
                };
                replies.send(&reply(id, answer)).await;
            }));
        }
        if let Some(current) = &mut self.current {
            current.await;
        }
        self.current = None;
    }
}

fn reply(id: u64, answer: Result<Value, CallError>) -> ToAttempt {
    match answer {
        Ok(value) => ToAttempt::RpcOk { id, value },
        Err(error) => ToAttempt::RpcError { id, message: error.to_string() },
    }
}
