//! The clocks of this machine.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    sync::{
        OnceLock,
        atomic::{AtomicI64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use segue_core::{ports::StoreError, time::Timestamp};

use crate::mutants::planted;

/// The clock of the machine's boot.
struct Boot {
    id: String,
    /// Held open: a process that can open no file any more must still know what time it is. None where there is no such
    /// clock; then time is the wall's.
    uptime: Option<File>,
}

static BOOT: OnceLock<Boot> = OnceLock::new();

/// Finds the clock, before the first lease is looked at. One that is there and cannot be read now is no reason to go by
/// another: leases of others would seem to have ended.
pub(crate) fn find() -> Result<(), StoreError> {
    if BOOT.get().is_none() {
        let boot = Boot::find()
            .map_err(|error| StoreError::Unavailable(format!("the clock of this machine cannot be read: {error}")))?;
        BOOT.get_or_init(|| boot);
    }
    Ok(())
}

impl Boot {
    fn find() -> io::Result<Self> {
        let open = || -> io::Result<(String, File)> {
            Ok((fs::read_to_string("/proc/sys/kernel/random/boot_id")?, File::open("/proc/uptime")?))
        };
        match open() {
            Ok((id, uptime)) => Ok(Self { id: id.trim().to_owned(), uptime: Some(uptime) }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::of_wall()),
            Err(error) => Err(error),
        }
    }

    fn of_wall() -> Self {
        Self { id: "wall".to_owned(), uptime: None }
    }
}

/// Opening a connection has found it.
fn boot() -> &'static Boot {
    BOOT.get_or_init(|| Boot::find().unwrap_or_else(|_| Boot::of_wall()))
}

/// Names the machine's boot: only within one do [`now_ms`] of two processes compare.
pub(crate) fn id() -> &'static str {
    &boot().id
}

/// Milliseconds since the boot, suspended ones included. Never set, never backwards.
pub(crate) fn now_ms() -> i64 {
    static LAST: AtomicI64 = AtomicI64::new(0);
    let now = match &boot().uptime {
        // It can be read as long as it is open; should it not be, time stands still.
        Some(uptime) if !planted!(LeasesByTheWall) => uptime_ms(uptime).unwrap_or(0),
        _ => wall().as_micros() / 1_000,
    };
    LAST.fetch_max(now, Ordering::AcqRel).max(now)
}

/// `12345.67 …`: seconds since the boot.
fn uptime_ms(uptime: &File) -> Option<i64> {
    let mut bytes = [0; 64];
    let length = uptime.read_at(&mut bytes, 0).ok()?;
    let text = std::str::from_utf8(&bytes[..length]).ok()?;
    let (seconds, hundredths) = text.split_ascii_whitespace().next()?.split_once('.')?;
    Some(seconds.parse::<i64>().ok()? * 1_000 + hundredths.parse::<i64>().ok()? * 10)
}

/// What the wall clock shows.
pub(crate) fn wall() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boots_clock_goes_on_and_is_not_the_walls() {
        find().expect("this machine has one");
        let before = now_ms();
        assert!(before > 0 && now_ms() >= before);
        assert!(before < wall().as_micros() / 1_000, "a machine that has run since 1970");
        assert!(!id().is_empty());
        while now_ms() == before {
            std::thread::yield_now();
        }
    }
}
