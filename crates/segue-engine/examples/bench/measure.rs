//! What a process used.

use std::{fs, time::Instant};

use anyhow::{Context, Result};
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike,
};

/// CPU seconds of this process so far, all threads, user and system.
pub fn cpu_seconds() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    Ok((usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e6)
}

/// A line of `/proc/self/status` in MB: `VmHWM` is the peak of the resident memory, `VmRSS` what it is now.
pub fn memory_mb(line: &str) -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let kb = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':')?.split_whitespace().next());
    Ok(kb.context("no such line in /proc/self/status")?.parse::<f64>()? / 1024.0)
}

/// Wall and CPU time since it was made.
pub struct Stopwatch {
    began: Instant,
    cpu: f64,
}

impl Stopwatch {
    pub fn start() -> Result<Self> {
        Ok(Self { began: Instant::now(), cpu: cpu_seconds()? })
    }

    pub fn wall(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    pub fn cpu(&self) -> Result<f64> {
        Ok(cpu_seconds()? - self.cpu)
    }
}
