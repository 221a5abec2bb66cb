//! `segue completions SHELL`

use crate::{
    args::{self, CompletionsArgs},
    exit::Exit,
    failure::Outcome,
    terminal,
};

pub(super) fn completions(args: &CompletionsArgs) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut args::command(), "segue", &mut script);
    terminal::print(String::from_utf8_lossy(&script).trim_end());
    Ok(Exit::Ok)
}
