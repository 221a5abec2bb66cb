//! What the user has: an interpreter that the hints name, a `.venv` in the project.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// The interpreter that a hint names: a program, by its path or its name, or a virtual environment's folder. Relative
/// paths start in the workflow's folder.
pub(super) fn interpreter_of(hint: &str, base_dir: Option<&Path>) -> Option<PathBuf> {
    let path = base_dir.unwrap_or(Path::new(".")).join(hint);
    let path = std::path::absolute(&path).unwrap_or(path);
    let python = if path.is_dir() { path.join("bin/python") } else { path };
    if python.is_file() {
        return Some(python);
    }
    if hint.contains('/') { None } else { on_path(hint) }
}

/// A program of this name in the `PATH`.
pub(super) fn on_path(name: &str) -> Option<PathBuf> {
    let folders = env::var_os("PATH")?;
    env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Where the project's `.venv` may be: from the folder of the user's code, then from the workflow's, upwards to the
/// root of the project (the folder with `.git`, or with a `pyproject.toml`).
pub(super) fn folders(project: Option<&Path>, base_dir: Option<&Path>) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for start in [project, base_dir].into_iter().flatten() {
        let start = std::path::absolute(start).unwrap_or_else(|_| start.to_owned());
        let upwards: Vec<&Path> = start.ancestors().collect();
        let is_root = |folder: &&&Path| folder.join(".git").exists() || folder.join("pyproject.toml").exists();
        // Without a mark of a project, only the folder itself: a `.venv` in a home folder is not this project's.
        let count = upwards.iter().position(|folder| is_root(&folder)).map_or(1, |index| index + 1);
        for folder in &upwards[..count] {
            if !found.iter().any(|known: &PathBuf| known == folder) {
                found.push(folder.to_path_buf());
            }
        }
    }
    found
}

/// The version of a distribution in a virtual environment.
pub(super) fn version_in(venv: &Path, distribution: &str) -> Option<String> {
    let prefix = format!("{distribution}-");
    let libraries = fs::read_dir(venv.join("lib")).ok()?.flatten();
    let packages = libraries.filter_map(|entry| fs::read_dir(entry.path().join("site-packages")).ok());
    packages.flatten().flatten().find_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        Some(name.strip_prefix(&prefix)?.strip_suffix(".dist-info")?.to_owned())
    })
}

/// Is one version (`1.15.30`) before the other? Compares the leading numbers.
pub(super) fn is_older(version: &str, than: &str) -> bool {
    fn numbers(version: &str) -> Vec<u64> {
        version.split('.').map_while(|part| part.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().ok()).collect()
    }
    numbers(version) < numbers(than)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers() {
        assert!(is_older("1.9.3", "1.15.5") && is_older("1.15.4", "1.15.5"));
        assert!(!is_older("1.15.5", "1.15.5") && !is_older("1.15.30", "1.15.5") && !is_older("2.0", "1.15.5"));
    }

    #[test]
    fn a_venv_is_looked_for_up_to_the_projects_root() {
        let outer = tempfile::tempdir().expect("a folder for temporary files");
        let project = outer.path().join("project");
        let flows = project.join("flows/daily");
        fs::create_dir_all(&flows).expect("a fresh folder");
        assert_eq!(folders(None, Some(&flows)), std::slice::from_ref(&flows));
        fs::write(project.join("pyproject.toml"), "").expect("a fresh folder");
        assert_eq!(folders(None, Some(&flows)), [flows.clone(), project.join("flows"), project.clone()]);
        assert_eq!(folders(Some(&project), Some(&flows))[0], project);
    }

    #[test]
    fn the_version_is_read_from_the_metadata() {
        let venv = tempfile::tempdir().expect("a folder for temporary files");
        let packages = venv.path().join("lib/python3.11/site-packages");
        fs::create_dir_all(packages.join("crewai_tools-0.1.dist-info")).expect("a fresh folder");
        assert_eq!(version_in(venv.path(), "crewai"), None);
        fs::create_dir_all(packages.join("crewai-1.15.30.dist-info")).expect("a fresh folder");
        assert_eq!(version_in(venv.path(), "crewai").as_deref(), Some("1.15.30"));
    }

    #[test]
    fn a_hint_is_a_program_or_a_folder() {
        let folder = tempfile::tempdir().expect("a folder for temporary files");
        fs::create_dir_all(folder.path().join("env/bin")).expect("a fresh folder");
        assert_eq!(interpreter_of("./env", Some(folder.path())), None);
        fs::write(folder.path().join("env/bin/python"), "").expect("a fresh folder");
        assert_eq!(interpreter_of("env", Some(folder.path())), Some(folder.path().join("env/bin/python")));
        assert_eq!(interpreter_of("env/bin/python", Some(folder.path())), Some(folder.path().join("env/bin/python")));
        assert!(interpreter_of("sh", None).is_some_and(|path| path.is_absolute()));
        assert_eq!(interpreter_of("no-such-python", Some(folder.path())), None);
    }
}
