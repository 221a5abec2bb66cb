//! The Python worker's files, which are part of this program, on disk.

use std::{
    fs,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use segue_core::ids::ContentHash;

use super::{EnvironmentError, files};

/// Path and text of every file.
const FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/worker_files.rs"));

/// Puts them under `root`, in a folder that is named after their content and readable by the owner only, unless they
/// are there. Gives the path of the worker's program.
pub(super) fn extract(root: &Path) -> Result<PathBuf, EnvironmentError> {
    let folder = root.join(&content().to_string()[..16]);
    let program = folder.join("segue/worker/main.py");
    if program.exists() {
        return Ok(program);
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(root).map_err(files(root))?;
    let private = fs::Permissions::from_mode(0o700);
    let staging = tempfile::Builder::new().prefix("new-").permissions(private).tempdir_in(root).map_err(files(root))?;
    for (name, text) in FILES {
        let path = staging.path().join(name);
        let parent = path.parent().expect("a file of the worker is in a folder");
        fs::create_dir_all(parent).map_err(files(parent))?;
        fs::write(&path, text).map_err(files(&path))?;
    }
    // Whole or not at all. If another process was faster, its folder holds the same.
    match fs::rename(staging.path(), &folder) {
        Err(error) if !program.exists() => Err(files(&folder)(error)),
        _ => Ok(program),
    }
}

fn content() -> ContentHash {
    let mut all = Vec::new();
    for (name, text) in FILES {
        for part in [name, text] {
            all.extend_from_slice(&(part.len() as u64).to_le_bytes());
            all.extend_from_slice(part.as_bytes());
        }
    }
    ContentHash::of(&all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worker_is_whole_and_private() {
        let root = tempfile::tempdir().expect("a folder for temporary files");
        let root = root.path().join("worker");
        let program = extract(&root).expect("it can be written");
        assert!(fs::read_to_string(&program).expect("it is there").contains("def main()"));
        let folder = program.ancestors().nth(3).expect("three folders deep");
        assert_eq!(fs::metadata(folder).expect("it is there").permissions().mode() & 0o777, 0o700);
        assert_eq!(extract(&root).expect("it is there"), program);
        assert_eq!(fs::read_dir(&root).expect("it is there").count(), 1, "nothing else stays");
    }
}
