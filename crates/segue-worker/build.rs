//! Lists the Python worker's files, so that they are part of the program.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

fn main() -> io::Result<()> {
    let python =
        Path::new(&env::var("CARGO_MANIFEST_DIR").expect("set by cargo")).join("../../python").canonicalize()?;
    let mut files = Vec::new();
    collect(&python.join("segue"), &mut files)?;
    files.sort();
    let mut list = String::from("&[\n");
    for file in &files {
        let name = file.strip_prefix(&python).expect("it was found there");
        list += &format!("    ({name:?}, include_str!({file:?})),\n");
    }
    list += "]\n";
    let out = PathBuf::from(env::var("OUT_DIR").expect("set by cargo"));
    fs::write(out.join("worker_files.rs"), list)
}

/// The Python files of a folder and of those in it. A change in any of them, or of what there is, is a reason to build again.
fn collect(folder: &Path, into: &mut Vec<PathBuf>) -> io::Result<()> {
    println!("cargo::rerun-if-changed={}", folder.display());
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "__pycache__") {
                collect(&path, into)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "py") {
            into.push(path);
        }
    }
    Ok(())
}
