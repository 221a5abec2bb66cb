//! Our own children, and those of others that we inherit.
//!
//! As a subreaper we inherit every process whose parent has ended, and have to reap it. The children that tokio waits
//! for must be left to it; [`Root`] registers those.

use std::{
    collections::BTreeSet,
    io,
    sync::{
        Mutex, MutexGuard, Once, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use nix::{
    sys::{
        prctl,
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{Pid, getpgrp, getsid},
};

use super::table::{self, Row};

/// Held for reading while a child is started and registered, for writing while orphans are reaped: so that no child is
/// taken for an orphan in between.
static STARTING: RwLock<()> = RwLock::new(());
static ROOTS: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());
/// Orphans reaped so far. Counted while `STARTING` is held for writing.
static REAPED: AtomicU64 = AtomicU64::new(0);

fn roots() -> MutexGuard<'static, BTreeSet<i32>> {
    ROOTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A child of ours that somebody waits for. Registered until dropped.
#[derive(Debug)]
pub(super) struct Root(i32);

impl Root {
    /// Starts a child with `spawn`, which gives it and its number.
    pub(super) fn start<T>(spawn: impl FnOnce() -> io::Result<(T, i32)>) -> io::Result<(T, Self)> {
        become_subreaper();
        let _starting = STARTING.read().unwrap_or_else(PoisonError::into_inner);
        let (child, pid) = spawn()?;
        roots().insert(pid);
        Ok((child, Self(pid)))
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        roots().remove(&self.0);
    }
}

pub(super) fn is_root(pid: i32) -> bool {
    roots().contains(&pid)
}

fn become_subreaper() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if let Err(error) = prctl::set_child_subreaper(true) {
            tracing::warn!(%error, "cannot become a child subreaper: what a task leaves behind may escape");
        }
    });
}

/// Reaps those of `rows` that have ended and are ours without being waited for by anybody.
pub(super) fn reap_orphans(rows: &[Row]) {
    let _nobody_starts = STARTING.write().unwrap_or_else(PoisonError::into_inner);
    for row in rows.iter().filter(|row| row.is_over() && is_orphan(row)) {
        // It may have been reaped since the table was read: then there is nothing to do.
        if let Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) = waitpid(row.pid(), Some(WaitPidFlag::WNOHANG)) {
            REAPED.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Reaps all orphans that have ended, and tells how many that have been since we began. Two equal answers: no orphan
/// has ended in between, and so none has handed on its life to a child unseen.
pub(super) fn orphans_ended() -> u64 {
    let rows = match table::adopted_or_of_main_thread() {
        Some(children) => children.into_iter().filter_map(table::row).collect(),
        None => table::all(),
    };
    // Takes the lock even where nothing is to be reaped: what another thread is about to count is counted then.
    reap_orphans(&rows);
    REAPED.load(Ordering::Relaxed)
}

/// Is it a child of ours that we did not start? A child that other code in this process has started shares our group
/// and session; one that contains started is registered.
pub(super) fn is_orphan(row: &Row) -> bool {
    let me = Pid::this().as_raw();
    if row.parent != me {
        return false;
    }
    // Asked anew: what was read before may by now be another process.
    let Some(row) = table::row(row.identity.pid).filter(|now| now.identity == row.identity) else { return false };
    let ours = row.group == getpgrp().as_raw() && getsid(None).is_ok_and(|session| row.session == session.as_raw());
    row.parent == me && !is_root(row.identity.pid) && !ours
}
