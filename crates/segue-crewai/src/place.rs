//! Where an attempt works, and where it keeps what it stores.

use std::path::{Path, PathBuf};

use segue_core::{
    ids::ContentHash,
    outcome::{ErrorKind, TaskError},
    ports::ExecutionContext,
};

/// The folder of `hints.crewai.workdir`, made if it is not there.
pub(crate) fn workdir(hint: &str, base_dir: Option<&Path>, context: &ExecutionContext) -> Result<PathBuf, TaskError> {
    let path =
        hint.replace("{run_id}", &context.run_id.to_string()).replace("{task_id}", &plain(context.task_id.as_str()));
    let folder = base_dir.map_or_else(|| PathBuf::from(&path), |base| base.join(&path));
    let failed = |error| {
        let message = format!("hints.crewai.workdir: the folder {} cannot be made: {error}", folder.display());
        TaskError::new(ErrorKind::InvalidInput, message)
    };
    std::fs::create_dir_all(&folder).map_err(failed)?;
    // A worker that starts elsewhere must find it too.
    std::fs::canonicalize(&folder).map_err(failed)
}

/// The folder in which the crews of a project keep memory and knowledge, from one run to the next.
pub(crate) fn storage(root: &Path, project: &Path) -> Result<PathBuf, TaskError> {
    let project = std::fs::canonicalize(project).unwrap_or_else(|_| project.to_owned());
    let hash = ContentHash::of(project.as_os_str().as_encoded_bytes()).to_string();
    let name = project.file_name().map(|name| plain(&name.to_string_lossy())).unwrap_or_default();
    let digits: String = hash.chars().filter(char::is_ascii_alphanumeric).rev().take(12).collect();
    let folder = root.join("storage").join(format!("{name}-{digits}"));
    let failed = |error| {
        let message = format!("hints.crewai.storage: the folder {} cannot be made: {error}", folder.display());
        TaskError::new(ErrorKind::Load, message)
    };
    std::fs::create_dir_all(&folder).map_err(failed)?;
    std::fs::canonicalize(&folder).map_err(failed)
}

/// A name without what means something in a path.
fn plain(name: &str) -> String {
    let keep = |character: char| character.is_alphanumeric() || matches!(character, '-' | '_');
    name.chars().map(|character| if keep(character) { character } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_has_one_storage_and_projects_of_one_name_have_two() {
        let root = tempfile::tempdir().expect("a folder");
        let projects = ["a/crew", "b/crew"].map(|name| root.path().join(name));
        for project in &projects {
            std::fs::create_dir_all(project).expect("a project");
        }
        let one = storage(root.path(), &projects[0]).expect("a storage");
        assert!(one.is_dir() && one.file_name().is_some_and(|name| name.to_string_lossy().starts_with("crew-")));
        assert_eq!(storage(root.path(), &root.path().join("b/../a/crew")).expect("as before"), one);
        assert_ne!(storage(root.path(), &projects[1]).expect("another"), one);
    }

    #[test]
    fn names_lead_nowhere_else() {
        assert_eq!(plain("each[0].../x y"), "each_0_____x_y");
    }
}
