//! The clocks of this machine.

use std::{
    fs,
    sync::LazyLock,
    time::{SystemTime, UNIX_EPOCH},
};

use segue_core::time::Timestamp;

/// Names the machine's boot: only within one do [`now_ms`] of two processes compare.
pub(crate) fn id() -> &'static str {
    static ID: LazyLock<String> = LazyLock::new(|| {
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        // Where there is none, time is the wall's, and this its name.
        if uptime_ms().is_some() { id.trim().to_owned() } else { "wall".to_owned() }
    });
    &ID
}

/// Milliseconds since the boot, suspended ones included. Never set, never backwards.
pub(crate) fn now_ms() -> i64 {
    uptime_ms().unwrap_or_else(|| wall().as_micros() / 1_000)
}

/// `12345.67 …`: seconds since the boot.
fn uptime_ms() -> Option<i64> {
    let text = fs::read_to_string("/proc/uptime").ok()?;
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
        let before = now_ms();
        assert!(before > 0 && now_ms() >= before);
        assert!(before < wall().as_micros() / 1_000, "a machine that has run since 1970");
        assert!(!id().is_empty());
    }
}
