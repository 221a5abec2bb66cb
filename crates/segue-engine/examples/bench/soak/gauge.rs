//! What is read of the process and its store from outside.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use super::{process::PROGRESS, verdict::Left};
use crate::place::Lasting;

const MIB: f64 = (1 << 20) as f64;

/// One look.
#[derive(Debug, Default, Clone, Copy)]
pub struct Sample {
    /// Resident memory of the process.
    pub rss_mb: f64,
    /// Files and sockets that it has open.
    pub open_files: f64,
    /// The database's file, and what of it is in use.
    pub file_mb: f64,
    pub used_mb: f64,
    /// The write-ahead log.
    pub log_mb: f64,
    /// Runs in the database, ended ones included.
    pub kept: f64,
    /// How long ago the oldest run that is kept has ended.
    pub oldest_s: f64,
    /// Rows about slots of limits.
    pub slots: f64,
    /// Runs that this life of the process has ended so far.
    pub runs: f64,
}

impl Sample {
    /// The most of each.
    pub fn most(samples: &[Self]) -> Self {
        let of = |part: fn(&Self) -> f64| samples.iter().map(part).fold(0.0, f64::max);
        Self {
            rss_mb: of(|s| s.rss_mb),
            open_files: of(|s| s.open_files),
            file_mb: of(|s| s.file_mb),
            used_mb: of(|s| s.used_mb),
            log_mb: of(|s| s.log_mb),
            kept: of(|s| s.kept),
            oldest_s: of(|s| s.oldest_s),
            slots: of(|s| s.slots),
            runs: of(|s| s.runs),
        }
    }

    pub fn json(&self, life: &str) -> Value {
        json!({"life": life, "rss_mb": self.rss_mb, "open_files": self.open_files, "file_mb": self.file_mb,
               "used_mb": self.used_mb, "log_mb": self.log_mb, "kept": self.kept, "oldest_s": self.oldest_s,
               "slots": self.slots, "runs": self.runs})
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rss_mb, open_files, file_mb, used_mb, log_mb, kept, oldest_s, slots, runs } = self;
        write!(
            f,
            "{rss_mb:.1} MB of memory, {open_files} open files; {used_mb:.1} MB in use of a file of {file_mb:.1} MB, log \
             {log_mb:.1} MB; {kept} runs kept, the oldest ended {oldest_s:.1} s ago; {slots} slots; {runs} runs done"
        )
    }
}

/// Looks at one life of the process.
pub struct Gauge {
    db: Connection,
    file: PathBuf,
    progress: PathBuf,
    pid: u32,
}

impl Gauge {
    pub fn open(store: &Lasting, pid: u32) -> Result<Self> {
        let (file, progress) = (PathBuf::from(&store.at), store.folder.path().join(PROGRESS));
        Ok(Self { db: reader(&store.at)?, file, progress, pid })
    }

    pub fn read(&self) -> Result<Sample> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
        let open_files = fs::read_dir(format!("/proc/{}/fd", self.pid)).map_or(0, Iterator::count);
        let size = |path: &Path| fs::metadata(path).map_or(0, |file| file.len()) as f64 / MIB;
        let number = |sql: &str| self.db.query_row(sql, [], |row| row.get::<_, f64>(0)).context(sql.to_owned());
        let free = number("SELECT freelist_count * 1.0 FROM pragma_freelist_count")?;
        let pages = number("SELECT page_count * 1.0 FROM pragma_page_count")?;
        let page = number("SELECT page_size * 1.0 FROM pragma_page_size")?;
        let oldest = number("SELECT coalesce(min(ended_at), 9e18) * 1.0 FROM runs WHERE ended_at IS NOT NULL")?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros() as f64;
        let runs = fs::read_to_string(&self.progress).ok().and_then(|text| text.trim().parse().ok());
        Ok(Sample {
            rss_mb: rss.unwrap_or(0.0) / 1024.0,
            open_files: open_files as f64,
            file_mb: size(&self.file),
            used_mb: (pages - free) * page / MIB,
            log_mb: size(&self.file.with_extension("db-wal")),
            kept: number("SELECT count(*) * 1.0 FROM runs")?,
            oldest_s: ((now - oldest) / 1e6).max(0.0),
            slots: number("SELECT count(*) * 1.0 FROM limit_slots")?,
            runs: runs.unwrap_or(0.0),
        })
    }
}

fn reader(at: &str) -> Result<Connection> {
    let db = Connection::open_with_flags(at, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    db.busy_timeout(std::time::Duration::from_secs(5))?;
    Ok(db)
}

/// What is left in a store that nobody uses.
pub fn rows(at: &str, owners: usize) -> Result<Left> {
    let db = reader(at)?;
    let damage: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    let mut names = db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")?;
    let names = names.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
    let count = |name: String| {
        let rows: u64 = db.query_row(&format!("SELECT count(*) FROM \"{name}\""), [], |row| row.get(0))?;
        Ok((name, rows))
    };
    let rows = names.into_iter().map(count).collect::<Result<_, rusqlite::Error>>()?;
    Ok(Left { rows, owners, damage })
}
