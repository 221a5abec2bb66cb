//! `cargo xtask fuzz`: every target for a while, with its seeds and all that was once a problem.

use std::{fs, process::ExitCode};

use anyhow::{Context, Result, bail};

use crate::house::{House, run, works};

/// Without it the reader of documents would be asked for more than any document may hold.
const LENGTH_MAX: &str = "-max_len=4096";
/// One input may not take longer: a bound on what hangs, not a measure. In seconds.
const HANGS_AFTER: &str = "-timeout=25";
/// In megabytes.
const MEMORY_MAX: &str = "-rss_limit_mb=2048";

/// There is no unsafe code to watch, and without a sanitizer building and running take a fraction of the time. What is
/// looked for, panics, hangs and memory, the fuzzer sees by itself.
const SANITIZER: [&str; 2] = ["--sanitizer", "none"];

/// Arguments of `cargo xtask fuzz`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How long each target runs
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u64,
    /// Run only this target; may be given more than once
    #[arg(long, value_name = "TARGET")]
    only: Vec<String>,
}

pub(crate) fn run_all(house: &House, arguments: &Arguments) -> Result<ExitCode> {
    if !works(house.cargo(["fuzz", "--version"]).current_dir(&house.root)) {
        bail!("cargo-fuzz is missing; get it with `cargo install cargo-fuzz --locked`, and a C++ compiler with it");
    }
    let targets = chosen(targets(house)?, &arguments.only)?;
    let mut failed = Vec::new();
    for target in &targets {
        if let Err(error) = fuzz(house, target, arguments.seconds) {
            eprintln!("{target}: {error:#}");
            failed.push(target.as_str());
        }
    }
    if failed.is_empty() {
        println!("\n{} targets ran for {} s each; nothing was found", targets.len(), arguments.seconds);
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "\nfound something: {}\nThe input is under fuzz/artifacts. Fix it, and keep the input under fuzz/regressions/TARGET: the ordinary tests ask it again",
        failed.join(", ")
    );
    Ok(ExitCode::FAILURE)
}

/// The names of all targets, in order.
fn targets(house: &House) -> Result<Vec<String>> {
    let folder = house.root.join("fuzz/fuzz_targets");
    let files = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut names = Vec::new();
    for file in files {
        let path = file?.path();
        names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

fn chosen(targets: Vec<String>, only: &[String]) -> Result<Vec<String>> {
    if let Some(unknown) = only.iter().find(|name| !targets.contains(name)) {
        bail!("there is no target `{unknown}`; the targets are: {}", targets.join(", "));
    }
    Ok(targets.into_iter().filter(|target| only.is_empty() || only.contains(target)).collect())
}

fn fuzz(house: &House, target: &str, seconds: u64) -> Result<()> {
    let folder = |kind: &str| format!("fuzz/{kind}/{target}");
    // What the fuzzer learns goes to the first folder; git does not keep it.
    fs::create_dir_all(house.root.join(folder("corpus"))).context("cannot make the folder for what is learnt")?;
    let target_dir = house.target.join("fuzz").to_string_lossy().into_owned();
    let time = format!("-max_total_time={seconds}");
    let mut cargo = house.cargo(["fuzz", "run"]);
    cargo.args(SANITIZER).args(["--target-dir", &target_dir, target]);
    cargo.args(["corpus", "seeds", "regressions"].map(folder).iter().filter(|at| house.root.join(at).exists()));
    cargo.args(["--", &time, LENGTH_MAX, HANGS_AFTER, MEMORY_MAX, "-print_final_stats=1"]);
    // What cargo-fuzz asks of the compiler the stable one hides; this shows it.
    run(cargo.env("RUSTC_BOOTSTRAP", "1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_there_can_be_chosen() {
        let all = || vec!["event".to_owned(), "parser".to_owned()];
        assert_eq!(chosen(all(), &[]).expect("all"), all());
        assert_eq!(chosen(all(), &["parser".to_owned()]).expect("one"), ["parser"]);
        assert!(chosen(all(), &["parse".to_owned()]).is_err());
    }
}
