//! What the database's own processes take of the CPU.

use std::{fs, path::Path};

use anyhow::Result;

/// The clock ticks of `/proc`: a hundred a second on every Linux.
const TICKS: f64 = 100.0;

/// A PostgreSQL server on this machine.
pub struct Server {
    /// Its first process, which starts all others and takes over their figures when they end.
    postmaster: u32,
}

impl Server {
    /// The server behind a URL, if its processes can be seen from here.
    pub fn of(url: &str) -> Option<Self> {
        let address = url.split_once("://")?.1.split('/').next()?.rsplit('@').next()?;
        let port: u16 = address.rsplit_once(':')?.1.parse().ok()?;
        let socket = format!("socket:[{}]", listening(port)?);
        let mut owners = pids().filter(|pid| {
            let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
            files.filter_map(|file| fs::read_link(file.path()).ok()).any(|link| link == Path::new(&socket))
        });
        owners.next().map(|postmaster| Self { postmaster })
    }

    /// CPU seconds so far: of the postmaster, of its living processes, and of those that have ended.
    pub fn cpu_seconds(&self) -> Result<f64> {
        let own = Stat::of(self.postmaster).map_or(0, |stat| stat.own + stat.ended);
        let living: u64 =
            pids().filter_map(Stat::of).filter(|stat| stat.parent == self.postmaster).map(|s| s.own).sum();
        Ok((own + living) as f64 / TICKS)
    }
}

/// The inode of the socket that listens on this port.
fn listening(port: u16) -> Option<u64> {
    const LISTEN: &str = "0A";
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    let ending = format!(":{port:04X}");
    tables.iter().flat_map(|table| table.lines()).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let fits = fields.get(1)?.ends_with(&ending) && *fields.get(3)? == LISTEN;
        fits.then(|| fields.get(9)?.parse().ok()).flatten()
    })
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Of `/proc/PID/stat`, in ticks.
struct Stat {
    parent: u32,
    own: u64,
    /// Of children that have ended and been waited for.
    ended: u64,
}

impl Stat {
    fn of(pid: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
        let parent = u32::try_from(number(1)?).ok()?;
        Some(Self { parent, own: number(11)? + number(12)?, ended: number(13)? + number(14)? })
    }
}
