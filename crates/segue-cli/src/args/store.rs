//! Arguments of `segue store …`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};

use super::span::age;

/// `segue store …`
#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Show what the store holds, how large it is, and who works on it
    #[command(before_help = "\
  segue store status
  segue store status --json")]
    Status(StoreStatusArgs),
    /// Check that everything in the store is what was written, and that every summary is what its log says
    #[command(before_help = "\
  segue store verify                              exit code 0: whole; 1: a list of what is wrong
  segue store verify --run @last
  segue store verify --store sqlite:copy.db       a copy, before it is needed")]
    Verify(StoreVerifyArgs),
    /// Bring the store to this program's schema
    #[command(before_help = "\
  segue store migrate --check      exit code 0: nothing to do; 1: a migration is due
  segue store migrate")]
    Migrate(StoreMigrateArgs),
    /// Remove runs that ended long ago, and cached results that are too old
    #[command(before_help = "\
  segue store gc --older-than 30d --dry-run      what would go
  segue store gc --older-than 30d
  segue store gc --older-than 12h --json         for a timer, each night")]
    Gc(StoreGcArgs),
    /// Copy the store at one moment, while runs go on
    #[command(before_help = "\
  segue store backup copies/monday.db
  segue store verify --store sqlite:copies/monday.db")]
    Backup(StoreBackupArgs),
}

impl StoreCommand {
    pub(super) const fn wants_json(&self) -> bool {
        match self {
            Self::Status(args) => args.json,
            Self::Verify(args) => args.json,
            Self::Migrate(args) => args.json,
            Self::Gc(args) => args.json,
            Self::Backup(args) => args.json,
        }
    }
}

/// `segue store status`
#[derive(Debug, Args)]
pub(crate) struct StoreStatusArgs {
    /// One JSON document on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

/// `segue store verify`
#[derive(Debug, Args)]
pub(crate) struct StoreVerifyArgs {
    /// Only this run: its id, the beginning of it, or @last
    #[arg(long, value_name = "RUN")]
    pub(crate) run: Option<String>,
    /// One JSON document on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

/// `segue store migrate`
#[derive(Debug, Args)]
pub(crate) struct StoreMigrateArgs {
    /// Say whether there is something to do, and do nothing
    #[arg(long)]
    pub(crate) check: bool,
    /// One JSON document on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

/// `segue store gc`
#[derive(Debug, Args)]
pub(crate) struct StoreGcArgs {
    /// Runs that ended longer ago than this: seconds, or with a unit 15m, 12h, 30d
    #[arg(long, value_name = "AGE", value_parser = age)]
    pub(crate) older_than: Duration,
    /// Say which runs would go, and remove nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// One JSON document on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

/// `segue store backup`
#[derive(Debug, Args)]
pub(crate) struct StoreBackupArgs {
    /// Where the copy goes; nothing may be there
    #[arg(value_name = "FILE")]
    pub(crate) to: PathBuf,
    /// One JSON document on stdout
    #[arg(long)]
    pub(crate) json: bool,
}
