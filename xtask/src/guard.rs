//! `cargo xtask guard`: what the kernel and the commit path cost, in instructions, against figures that are checked in.
//!
//! Times on a shared machine are noise; callgrind counts instructions, and the same work takes the same number of them.
//! A work is run in two sizes; the difference is what more of it costs, whatever the start of a process costs. Once in
//! every run a regression is planted and must be seen.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::{
    house::{House, output_of, run},
    test::MUTANTS,
};

/// A work, and its two sizes. What it is, its program says: `crates/segue-engine/examples/instructions`.
const WORKS: [(&str, u64, u64); 4] =
    [("kernel-chain", 100, 300), ("kernel-fan", 100, 300), ("kernel-fold", 100, 300), ("sqlite-commit", 20, 60)];

/// The work that a regression is planted in.
const PLANTED: &str = "kernel-chain";

/// By how much a figure may grow, in percent. Another processor takes other ways through the C library.
const TOLERANCE: f64 = 5.0;

/// The same where the compiler is another than the one that the figures were made with.
const TOLERANCE_OF_OTHERS: f64 = 25.0;

/// Arguments of `cargo xtask guard`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Write the figures anew, in the place of those that are checked in
    #[arg(long)]
    bless: bool,
}

/// The figures that are checked in.
#[derive(Serialize, Deserialize)]
struct Figures {
    /// The compiler that they were made with.
    rustc: String,
    /// Instructions of one task or commit more, by work.
    instructions: BTreeMap<String, u64>,
}

/// The command.
pub(crate) fn command(house: &House, arguments: &Arguments) -> Result<ExitCode> {
    if arguments.bless {
        let figures = Figures { rustc: rustc(house)?, instructions: measure_all(house)? };
        fs::write(file(house), serde_json::to_string_pretty(&figures)? + "\n")?;
        println!("written: {}", file(house).display());
    } else {
        check(house)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Measures, compares, and sees to it that a regression would have been found.
pub(crate) fn check(house: &House) -> Result<()> {
    let text = fs::read_to_string(file(house)).context("the figures that are checked in")?;
    let known: Figures = serde_json::from_str(&text).context("the figures that are checked in")?;
    let rustc = rustc(house)?;
    let tolerance = if rustc == known.rustc { TOLERANCE } else { TOLERANCE_OF_OTHERS };
    if rustc != known.rustc {
        println!("the figures were made with {}; this is {rustc}: {tolerance} % are let pass", known.rustc);
    }
    let measured = measure_all(house)?;
    let mut worse = Vec::new();
    for (name, now) in &measured {
        let before = *known.instructions.get(name).with_context(|| format!("no figure for {name}: --bless"))?;
        let change = change(before, *now);
        println!("{name:14} {now:>9} instructions, {before:>9} checked in: {change:+.1} %");
        if change > tolerance {
            worse.push(format!("{name} takes {change:.1} % more instructions"));
        }
    }
    if !worse.is_empty() {
        bail!("{}; if that is worth it: cargo xtask guard --bless", worse.join("; "));
    }
    let slower = measure(house, PLANTED, &["--slower"])?;
    let seen = change(known.instructions[PLANTED], slower);
    println!("{PLANTED:14} {slower:>9} instructions with a planted regression: {seen:+.1} %");
    ensure!(seen > tolerance, "a planted regression is not seen");
    Ok(())
}

/// In percent.
fn change(before: u64, now: u64) -> f64 {
    (now as f64 / before as f64 - 1.0) * 100.0
}

fn measure_all(house: &House) -> Result<BTreeMap<String, u64>> {
    // As `cargo test` has built it: of a run of all tests it is there already.
    let mut build = house.cargo(["build", "--quiet", "--workspace", "--profile", "test", "--example", "instructions"]);
    run(build.args(["--features", MUTANTS]))?;
    WORKS.iter().map(|(name, ..)| Ok(((*name).to_owned(), measure(house, name, &[])?))).collect()
}

/// Instructions of one unit more.
fn measure(house: &House, name: &str, more: &[&str]) -> Result<u64> {
    let (_, small, large) = WORKS.iter().find(|(known, ..)| *known == name).context("a work of the list")?;
    let of = |size: u64| instructions(house, name, size, more);
    Ok(of(*large)?.saturating_sub(of(*small)?) / (large - small))
}

/// All instructions of a process, as callgrind counts them.
fn instructions(house: &House, name: &str, size: u64, more: &[&str]) -> Result<u64> {
    let mut valgrind: Command = house.command("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    valgrind.arg(house.target.join("debug/examples/instructions")).args([name, &size.to_string()]).args(more);
    let output = valgrind.output().context("valgrind cannot be started (Debian, Ubuntu: apt-get install valgrind)")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name} {size} under callgrind ended with {}: {said}", output.status);
    let collected = said.lines().find_map(|line| line.split_once("Collected :"));
    let (_, count) = collected.with_context(|| format!("callgrind counted nothing: {said}"))?;
    count.trim().parse().with_context(|| format!("callgrind counted `{count}`"))
}

fn rustc(house: &House) -> Result<String> {
    Ok(output_of(house.command("rustc").arg("--version"))?.trim().to_owned())
}

fn file(house: &House) -> PathBuf {
    house.root.join("xtask/instructions.json")
}
