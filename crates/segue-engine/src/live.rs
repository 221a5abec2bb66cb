//! The runs that this engine drives, and how to reach them.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use segue_core::{
    event::Waiting,
    ids::{RunId, TaskId},
    outcome::TaskOutcome,
    ports::{Request, RunRow},
};
use tokio::sync::{
    mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    watch,
};

/// What reaches a driven run.
#[derive(Debug)]
pub(crate) enum Message {
    /// An attempt is over.
    Ended { task: TaskId, attempt: u32, outcome: TaskOutcome },
    /// An attempt waits for another run from now on.
    Waits { task: TaskId, attempt: u32, waiting: Waiting },
    /// The engine's lease was renewed: a good moment to look whether anything was missed.
    Renewed,
    /// The inbox of the run, or a part of it; may come twice.
    Requests(Vec<Request>),
    /// A place that was refused may be free now.
    Place,
    /// A timer is due.
    Woke,
    /// Start nothing new.
    Drain,
    /// Stop what runs and give the run back.
    HandBack,
    /// The run belongs to another engine.
    Lost,
    /// It was claimed anew; in between it may have been another engine's.
    Regained,
    /// Stop at once; give nothing back.
    Stop,
}

/// How a run left this engine.
#[derive(Debug, Clone)]
pub(crate) enum End {
    /// It ended.
    Ended(Box<RunRow>),
    /// It goes on elsewhere, or later.
    Left,
    /// Its log cannot be used.
    Unusable(String),
}

/// The way to a driven run.
#[derive(Clone)]
pub(crate) struct Handle {
    pub(crate) sender: UnboundedSender<Message>,
    pub(crate) fence: Arc<AtomicU64>,
    /// Does nothing happen until somebody or some time comes?
    pub(crate) rests: Arc<AtomicBool>,
    pub(crate) end: watch::Receiver<Option<End>>,
}

/// The run's own end of it.
pub(crate) struct Mailbox {
    pub(crate) handle: Handle,
    pub(crate) inbox: UnboundedReceiver<Message>,
    pub(crate) ended: watch::Sender<Option<End>>,
}

#[derive(Default)]
pub(crate) struct LiveRuns(Mutex<HashMap<RunId, Handle>>);

impl LiveRuns {
    fn lock(&self) -> MutexGuard<'_, HashMap<RunId, Handle>> {
        self.0.lock().expect("no holder of this lock panics")
    }

    /// Opens a mailbox for a run; `None` if it has one. From here on requests reach it.
    pub(crate) fn open(&self, run: RunId) -> Option<Mailbox> {
        let (sender, inbox) = unbounded_channel();
        let (ended, end) = watch::channel(None);
        let handle = Handle { sender, fence: Arc::default(), rests: Arc::default(), end };
        match self.lock().entry(run) {
            std::collections::hash_map::Entry::Occupied(_) => return None,
            std::collections::hash_map::Entry::Vacant(free) => free.insert(handle.clone()),
        };
        Some(Mailbox { handle, inbox, ended })
    }

    /// Closes it, and tells those who wait how the run left.
    pub(crate) fn close(&self, run: RunId, ended: &watch::Sender<Option<End>>, end: End) {
        self.lock().remove(&run);
        ended.send_replace(Some(end));
    }

    pub(crate) fn get(&self, run: RunId) -> Option<Handle> {
        self.lock().get(&run).cloned()
    }

    /// Sends a message to a run; `false` if it is not driven here.
    pub(crate) fn tell(&self, run: RunId, message: Message) -> bool {
        self.lock().get(&run).is_some_and(|handle| handle.sender.send(message).is_ok())
    }

    pub(crate) fn tell_all(&self, message: impl Fn() -> Message) {
        for handle in self.lock().values() {
            // One that is about to leave has no use for it.
            let _ = handle.sender.send(message());
        }
    }

    pub(crate) fn ids(&self) -> Vec<RunId> {
        self.lock().keys().copied().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Those in which something happens.
    pub(crate) fn busy(&self) -> usize {
        self.lock().values().filter(|handle| !handle.rests.load(Ordering::Acquire)).count()
    }

    /// Gives a run its new fencing token. Two claims may overtake each other: the higher token is the later one.
    pub(crate) fn refence(&self, run: RunId, fence: u64) {
        if let Some(handle) = self.lock().get(&run)
            && handle.fence.fetch_max(fence, Ordering::AcqRel) < fence
        {
            // One that is about to leave has no use for it.
            let _ = handle.sender.send(Message::Regained);
        }
    }
}
