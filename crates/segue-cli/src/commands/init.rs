//! `segue init [DIR] [--template …]`: a first workflow in a folder. Never writes over what is there.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use crate::{
    args::{InitArgs, Template},
    exit::Exit,
    failure::{Failure, Outcome},
    terminal,
};

/// A file of a template: its path in the folder, and its text.
type File = (&'static str, &'static str);

const COMMON: &[File] = &[
    ("segue.toml", include_str!("../../templates/segue.toml")),
    (".gitignore", include_str!("../../templates/gitignore")),
];
const LINEAR: &[File] = &[("workflow.yaml", include_str!("../../templates/linear/workflow.yaml"))];
const CREWAI: &[File] = &[
    ("workflow.yaml", include_str!("../../templates/crewai/workflow.yaml")),
    ("research/__init__.py", include_str!("../../templates/crewai/research/__init__.py")),
    ("research/crew.py", include_str!("../../templates/crewai/research/crew.py")),
    ("research/config/agents.yaml", include_str!("../../templates/crewai/research/config/agents.yaml")),
    ("research/config/tasks.yaml", include_str!("../../templates/crewai/research/config/tasks.yaml")),
];
const LANGGRAPH: &[File] = &[
    ("workflow.yaml", include_str!("../../templates/langgraph/workflow.yaml")),
    ("agent.py", include_str!("../../templates/langgraph/agent.py")),
    ("langgraph.json", include_str!("../../templates/langgraph/langgraph.json")),
];

pub(super) fn init(args: &InitArgs) -> Outcome {
    let own = match args.template {
        Template::Linear => LINEAR,
        Template::Crewai => CREWAI,
        Template::Langgraph => LANGGRAPH,
    };
    if let Some((name, _)) = own.iter().find(|(name, _)| args.dir.join(name).exists()) {
        return Err(Failure::new(Exit::Conflict, format!("{} is there already", args.dir.join(name).display()))
            .help("name another folder: segue init FOLDER"));
    }
    for (name, text) in own.iter().chain(COMMON) {
        if write_new(&args.dir, name, text)? {
            terminal::say(format!("wrote {}", args.dir.join(name).display()));
        }
    }
    let workflow = shown(&args.dir.join("workflow.yaml"));
    terminal::say("\nnext:");
    terminal::say(format!("  segue validate {workflow}"));
    terminal::say(format!("  segue run {workflow} --rehearse      with the built-in model: no key, no cost"));
    Ok(Exit::Ok)
}

/// Writes a file unless it is there. Says whether it did.
fn write_new(dir: &Path, name: &str, text: &str) -> Outcome<bool> {
    let path = dir.join(name);
    let written = || -> std::io::Result<bool> {
        fs::create_dir_all(path.parent().unwrap_or(dir))?;
        match fs::File::create_new(&path) {
            Ok(mut file) => file.write_all(text.as_bytes()).map(|()| true),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    };
    written().map_err(|error| {
        Failure::usage(format!("{} cannot be written: {error}", path.display()))
            .help("name a folder that you may write to")
    })
}

fn shown(path: &Path) -> String {
    path.strip_prefix(".").map_or_else(|_| path.to_owned(), PathBuf::from).display().to_string()
}
