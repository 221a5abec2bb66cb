//! Fixed work, so that its instructions can be counted: `instructions WORK SIZE [--slower]`.
//!
//! `cargo xtask guard` runs each work under callgrind twice, in two sizes, and takes the difference: what one task more
//! costs, whatever the start of a process costs. Times on a shared machine are noise; instructions are not.
#![allow(unreachable_pub)]

mod kernel;
mod sqlite;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

/// One work: its name, and what carries it out in a size. `slower` plants a regression, to see it found.
type Work = (&'static str, fn(size: usize, slower: bool) -> Result<()>);

/// All there are.
const WORKS: [Work; 4] = [
    ("kernel-chain", kernel::chain),
    ("kernel-fan", kernel::fan),
    ("kernel-fold", kernel::fold),
    ("sqlite-commit", sqlite::commits),
];

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("instructions: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let (name, size, slower) = match arguments {
        [list] if list == "--list" => {
            WORKS.iter().for_each(|(name, _)| println!("{name}"));
            return Ok(());
        }
        [name, size] => (name, size, false),
        [name, size, slower] if slower == "--slower" => (name, size, true),
        _ => bail!("instructions --list | WORK SIZE [--slower]"),
    };
    let (_, work) = WORKS.iter().find(|(known, _)| known == name).with_context(|| format!("no work `{name}`"))?;
    work(size.parse().context("SIZE is a number")?, slower)
}
