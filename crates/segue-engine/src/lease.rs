//! The engine's lease: what it proves, how it is kept, and how its loss is noticed.
//!
//! The fencing token in every commit is what keeps results right. The lease saves work: an engine whose lease has
//! ended by its own monotonic clock commits and dispatches nothing until it has been renewed, and then asks the store
//! which of its runs are still its own.

use std::{
    fs, io,
    sync::{Arc, Mutex, OnceLock},
};

use segue_core::ports::{EngineRecord, OwnerProof, StoreError};
use tokio::{sync::watch, time::Instant};

use crate::{live::Message, mutants::planted, shared::Shared};

/// Until when the store has confirmed the lease, by this process's monotonic clock. Counted from the moment before
/// the renewal was asked for, so that it never ends later here than in the store.
pub(crate) struct LeaseState {
    until: watch::Sender<Instant>,
    /// Why the last renewal failed, if it did.
    problem: Mutex<Option<StoreError>>,
}

impl LeaseState {
    pub(crate) fn new(until: Instant) -> Self {
        Self { until: watch::Sender::new(until), problem: Mutex::default() }
    }

    /// May the engine act for its runs?
    pub(crate) fn is_valid(&self) -> bool {
        Instant::now() < *self.until.borrow()
    }

    /// Waits until it may.
    pub(crate) async fn valid(&self) {
        if !self.is_valid() {
            let mut renewed = self.until.subscribe();
            // The sender lives in `self`: it cannot be gone.
            let _ = renewed.wait_for(|until| Instant::now() < *until).await;
        }
    }

    /// What to tell those who cannot wait for it.
    pub(crate) fn problem(&self) -> StoreError {
        const WHAT: &str = "the engine's lease could not be renewed";
        match &*self.problem.lock().expect("no holder of this lock panics") {
            Some(StoreError::Full(why)) => StoreError::Full(why.clone()),
            Some(StoreError::Unavailable(why)) => StoreError::Unavailable(format!("{why} ({WHAT})")),
            _ => StoreError::Unavailable(WHAT.to_owned()),
        }
    }

    fn confirm(&self, until: Instant) {
        self.until.send_replace(until);
    }
}

/// Renews the lease three times in its length, until the engine stops.
pub(crate) async fn keep(shared: Arc<Shared>) {
    let ttl = shared.config.lease_ttl;
    let mut pause = ttl / 3;
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shared.stopped.cancelled() => return,
        }
        pause = match renew(&shared).await {
            Ok(()) => ttl / 3,
            Err(StoreError::Broken(why)) => return shared.break_down(why),
            Err(error) => {
                tracing::warn!(engine_id = %shared.config.engine_id, %error, "the engine's lease could not be renewed");
                *shared.lease.problem.lock().expect("no holder of this lock panics") = Some(error);
                ttl / 12
            }
        };
    }
}

async fn renew(shared: &Arc<Shared>) -> Result<(), StoreError> {
    let (asked, ttl) = (Instant::now(), shared.config.lease_ttl);
    shared.store.renew_engine(&shared.record(), ttl).await?;
    if !shared.lease.is_valid() && !planted!(TrustsAnEndedLease) {
        tracing::warn!(engine_id = %shared.config.engine_id, "the engine's lease had ended; checking what is still its own");
        shared.reclaim_all().await?;
        shared.limits.recheck().await?;
    }
    shared.lease.confirm(asked + ttl);
    shared.take_up_own().await?;
    if !planted!(ReliesOnSignals) {
        shared.reread_requests().await;
    }
    shared.live.tell_all(|| Message::Renewed);
    Ok(())
}

/// Proof of this process's life, for others on this machine. One that cannot be had now (no file can be opened) proves
/// nothing: then the end of the lease alone says that the engine is gone.
pub fn own_proof() -> OwnerProof {
    let pid = std::process::id();
    match (machine(), process_start(pid)) {
        (Ok(boot_id), Ok(Some(started_ticks))) => OwnerProof { boot_id: boot_id.to_owned(), pid, started_ticks },
        _ => OwnerProof { boot_id: String::new(), pid, started_ticks: 0 },
    }
}

/// The machine's boot and the pid namespace: only within one of these does a pid name one process.
fn machine() -> io::Result<&'static str> {
    static MACHINE: OnceLock<String> = OnceLock::new();
    if let Some(known) = MACHINE.get() {
        return Ok(known);
    }
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let pids = fs::read_link("/proc/self/ns/pid")?;
    Ok(MACHINE.get_or_init(|| format!("{} {}", boot.trim(), pids.display())))
}

/// The start time of a process in clock ticks since boot; `None` if there is none of this number that lives (a zombie does
/// not). An error: that cannot be told now.
fn process_start(pid: u32) -> io::Result<Option<u64>> {
    /// It ended while it was looked at.
    const ESRCH: i32 = 3;
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => start_of(&stat).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData)),
        Err(error) if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(ESRCH) => Ok(None),
        Err(error) => Err(error),
    }
}

/// From a line of `/proc/PID/stat`; `None` if it is none.
fn start_of(stat: &str) -> Option<Option<u64>> {
    // The name in parentheses may hold anything; what follows the last one is separated by spaces.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    match fields.next()? {
        "Z" | "X" => Some(None),
        _ => fields.nth(18)?.parse().ok().map(Some),
    }
}

/// Is this engine provably gone? Only of one on this machine, since its last boot, can that be said; and not while this
/// process cannot look.
pub(crate) fn is_gone(engine: &EngineRecord) -> bool {
    let proof = &engine.proof;
    let is_here = !proof.boot_id.is_empty() && machine().is_ok_and(|machine| machine == proof.boot_id);
    is_here && process_start(proof.pid).is_ok_and(|started| started != Some(proof.started_ticks))
}

#[cfg(test)]
mod tests {
    use segue_core::ids::EngineId;

    use super::*;

    fn engine(proof: OwnerProof) -> EngineRecord {
        EngineRecord { engine_id: EngineId::from("e"), proof }
    }

    #[test]
    fn only_a_process_of_this_boot_can_be_known_to_be_gone() {
        let own = own_proof();
        assert!(own.started_ticks > 0 && !own.boot_id.is_empty());
        assert!(!is_gone(&engine(own.clone())));
        assert!(is_gone(&engine(OwnerProof { started_ticks: own.started_ticks + 1, ..own.clone() })), "pid used again");
        assert!(is_gone(&engine(OwnerProof { pid: u32::MAX, ..own.clone() })));
        assert!(!is_gone(&engine(OwnerProof { boot_id: "elsewhere".into(), pid: u32::MAX, started_ticks: 1 })));
        let unknown = OwnerProof { boot_id: String::new(), pid: u32::MAX, started_ticks: 0 };
        assert!(!is_gone(&engine(unknown)), "it could not look at itself");
    }

    #[test]
    fn what_is_no_line_of_a_process_says_nothing() {
        assert_eq!(start_of("7 (a) b) Z 1 2"), Some(None));
        assert_eq!(start_of("7 (a) S 1 2"), None);
        assert_eq!(start_of(""), None);
    }

    #[test]
    fn a_zombie_is_gone() {
        let mut child = std::process::Command::new("true").spawn().expect("`true` exists");
        let pid = child.id();
        // It is a zombie from its exit to our wait; before that, it lives.
        while process_start(pid).expect("it can be looked at").is_some() {
            std::thread::yield_now();
        }
        child.wait().expect("our own child");
        assert!(process_start(pid).is_ok_and(|started| started.is_none()));
    }
}
