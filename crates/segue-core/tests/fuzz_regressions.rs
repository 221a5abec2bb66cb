//! Every input that has once been a problem, and every seed, is asked again what fuzzing asks (`fuzz/src/targets.rs`):
//! on a small stack, in bounded memory and processor time.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]
// The bounds are those of a process of its own.
#![allow(clippy::disallowed_types)]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

#[path = "../../../fuzz/src/lib.rs"]
mod fuzz;

/// What fuzzing asks.
type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 5] = [
    ("parser", fuzz::parser),
    ("expression", fuzz::expression),
    ("template", fuzz::template),
    ("event", fuzz::event),
    ("document", fuzz::document),
];
/// Says to this program that it is the bounded process.
const IS_BOUNDED: &str = "SEGUE_FUZZ_BOUNDED";
/// Much smaller than any stack that Segue runs on.
const STACK_BYTES: usize = 512 * 1024;
/// Of address space, and of processor time (not of time: the machine may be busy). Ten times what all inputs take.
const LIMITS: &str = "ulimit -v 4000000 && ulimit -t 300";

fn folder(kind: &str, target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz").join(kind).join(target)
}

fn inputs(target: &str) -> Vec<PathBuf> {
    let kinds = ["seeds", "regressions"].map(|kind| folder(kind, target));
    let files = kinds.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
    let mut files: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn replay() {
    for (name, target) in TARGETS {
        let files = inputs(name);
        assert!(!files.is_empty(), "no input for {name}");
        for file in files {
            // The last line that is printed names the input that was too much.
            println!("{}", file.display());
            let bytes = fs::read(&file).unwrap();
            let asked = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || target(&bytes)).unwrap();
            assert!(asked.join().is_ok(), "{name} fails on {}", file.display());
        }
    }
}

#[test]
fn every_input_is_answered_within_bounds() {
    if env::var_os(IS_BOUNDED).is_some() {
        return replay();
    }
    let script = format!("{LIMITS} && exec \"$0\" --exact every_input_is_answered_within_bounds --nocapture");
    let mut bounded = Command::new("sh");
    bounded.args(["-c", &script]).arg(env::current_exe().unwrap()).env(IS_BOUNDED, "1").env("RUST_BACKTRACE", "0");
    let output = bounded.output().unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).lines().rev().take(20).collect::<Vec<_>>().join("\n");
    assert!(output.status.success(), "{}:\n{}\n{}", output.status, said(&output.stdout), said(&output.stderr));
}

/// Each target of `fuzz/` is replayed here, and has inputs.
#[test]
fn no_target_is_forgotten() {
    let targets = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/fuzz_targets")).unwrap();
    let names = targets.map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned());
    let mut names: Vec<String> = names.collect();
    let mut known = TARGETS.map(|(name, _)| name);
    names.sort();
    known.sort_unstable();
    assert_eq!(names, known);
    assert!(TARGETS.iter().all(|(name, _)| inputs(name).iter().all(|file| fs::metadata(file).unwrap().len() < 65_536)));
}
