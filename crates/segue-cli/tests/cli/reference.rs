//! The reference pages that are made from the program: `docs/reference/command-line.md`, `configuration.md` and
//! `diagnostics.md`.
//! `SEGUE_BLESS=1 cargo test -p segue-cli reference` writes them anew.

use std::fs;

use crate::support::Place;
use segue_core::spec::codes;
use serde_json::Value;

fn compare(page: &str, text: &str) {
    let path = format!("{}/../../docs/reference/{page}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("SEGUE_BLESS").is_some() {
        fs::write(&path, text).unwrap();
    }
    assert!(fs::read_to_string(&path).unwrap_or_default() == text, "{path} is not what the program says");
}

/// The commands as the top help lists them.
fn commands_of(help: &str) -> Vec<String> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // What is indented further goes on with the line above.
    let listed = listed.filter(|line| !line.starts_with("   "));
    listed.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[test]
fn every_command_is_in_the_reference() {
    let place = Place::new();
    let mut text =
        "# Command line\n\nMade from `segue --help` by a test. Exit codes: [execution](execution.md).\n".to_owned();
    let mut open: Vec<Vec<String>> = vec![Vec::new()];
    while let Some(path) = open.pop() {
        let args: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
        let ran = place.segue(&args);
        assert_eq!(ran.code, 0, "{ran:#?}");
        let name = [&["segue".to_owned()][..], &path].concat().join(" ");
        // What holds for every command is told once.
        let own =
            if path.is_empty() { &*ran.stdout } else { ran.stdout.split("Options of every command:").next().unwrap() };
        let body: Vec<&str> = own.trim_end().lines().map(str::trim_end).collect();
        text += &format!("\n## {name}\n\n```text\n{}\n```\n", body.join("\n"));
        for command in commands_of(&ran.stdout).into_iter().rev() {
            open.push([&path[..], &[command]].concat());
        }
    }
    assert!(text.contains("## segue runs retry") && text.contains("## segue config show"));
    compare("command-line.md", &text);
}

#[test]
fn every_setting_is_in_the_reference() {
    let schema: Value = serde_json::from_str(&Place::new().segue(&["schema", "config"]).stdout).unwrap();
    let mut text = "\
# Configuration

A flag stands above the environment (`SEGUE_` and the name in capitals), that above the nearest `segue.toml` upwards, that above
`$XDG_CONFIG_HOME/segue/config.toml`, that above the default. A relative path starts in the folder of the file that names it; that of a
default in the folder of the nearest `segue.toml`, else in the current folder. `segue config show --origin` shows what is in force and why.

| setting | default | |
|---|---|---|
"
    .to_owned();
    for (name, setting) in schema["properties"].as_object().unwrap() {
        let default = match &setting["default"] {
            Value::String(text) => text.clone(),
            other => other.to_string().trim_end_matches(".0").to_owned(),
        };
        text += &format!("| `{name}` | `{default}` | {} |\n", setting["description"].as_str().unwrap());
    }
    text += "\nA provider's key stands in a variable or a file that `providers` names; the [guide of models](../guides/models.md) shows it. `SEGUE_PYTHON` names the interpreter from which \
             Python environments are made. `NO_COLOR` switches colour off.\n";
    compare("configuration.md", &text);
}

#[test]
fn every_rule_is_in_the_reference() {
    let mut text = "\
# Diagnostics

What `segue validate`, and every start, can say of a document or of the inputs of a run. An error is exit code 3; a warning lets it run.
"
    .to_owned();
    for code in codes::ALL {
        text += &format!("\n#{}", code.page());
    }
    compare("diagnostics.md", &text);
}
