//! Arguments of `segue store …`.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::span::age;

/// `segue store …`
#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Show what the store holds, and how large it is
    #[command(before_help = "\
  segue store status
  segue store status --json")]
    Status(StoreStatusArgs),
    /// Remove runs that ended long ago, and cached results that are too old
    #[command(before_help = "\
  segue store gc --older-than 30d --dry-run      what would go
  segue store gc --older-than 30d
  segue store gc --older-than 12h --json         for a timer, each night")]
    Gc(StoreGcArgs),
}

impl StoreCommand {
    pub(super) const fn wants_json(&self) -> bool {
        match self {
            Self::Status(args) => args.json,
            Self::Gc(args) => args.json,
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
