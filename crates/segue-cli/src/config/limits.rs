//! `[limits]` of a `segue.toml`: limits that all workflows share.

use std::{collections::BTreeMap, path::Path};

use segue_core::{
    expr::Expression,
    spec::{LimitSpec, is_limit_name},
};
use serde_json::Value;

use super::{
    layers::Origin,
    models::{entries, wrong},
};
use crate::failure::Outcome;

/// Limits by name, each from the uppermost layer that names it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Limits(BTreeMap<String, (LimitSpec, Origin)>);

impl Limits {
    /// Adds one file's table, over what lower layers said.
    pub(super) fn add(&mut self, file: &Path, table: Option<toml::Value>) -> Outcome<()> {
        for (name, spec) in entries::<LimitSpec>(file, "limits", table)? {
            if !is_limit_name(&name) {
                return Err(wrong(file, &format!("`{name}` cannot name a limit"))
                    .help("1 to 128 of A-Z a-z 0-9 _ . - : / @, beginning with a letter, a digit or _"));
            }
            if spec.is_empty() {
                return Err(wrong(file, &format!("`limits.{name}` limits nothing"))
                    .help("write `concurrent`, `per_minute` or `tokens_per_minute`"));
            }
            if let Some((_, why)) = spec.out_of_range().next() {
                return Err(wrong(file, &format!("`limits.{name}`: {why}")));
            }
            check_key(file, &name, spec.key.as_deref())?;
            self.0.insert(name, (spec, Origin::File(file.to_owned())));
        }
        Ok(())
    }

    /// Their names.
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    /// All of them, for an engine.
    pub(crate) fn specs(&self) -> BTreeMap<String, LimitSpec> {
        self.0.iter().map(|(name, (spec, _))| (name.clone(), spec.clone())).collect()
    }

    /// Each entry as `limits.NAME`, for people.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (String, Value, &Origin)> {
        self.0.iter().map(|(name, (spec, origin))| {
            (format!("limits.{name}"), serde_json::to_value(spec).expect("a limit can be written as JSON"), origin)
        })
    }
}

/// The key of a limit that all workflows share can read what all of them have.
fn check_key(file: &Path, name: &str, key: Option<&str>) -> Outcome<()> {
    let Some(key) = key else { return Ok(()) };
    let help = "write an expression, for example: key = \"params.customer\"";
    let expression = Expression::compile(key)
        .map_err(|error| wrong(file, &format!("`limits.{name}.key`: {}", error.message)).help(help))?;
    if !expression.references().nodes.is_empty() {
        let why = format!("`limits.{name}.key` reads a node, which another workflow may not have");
        return Err(wrong(file, &why).help("read `params` or `run`, or declare the limit in the workflow"));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(text: &str) -> Outcome<Limits> {
        let mut limits = Limits::default();
        limits.add(Path::new("/p/segue.toml"), text.parse::<toml::Table>().unwrap().remove("limits"))?;
        Ok(limits)
    }

    #[test]
    fn a_file_names_limits() {
        let limits =
            read("[limits.\"model:gpt-4o\"]\nconcurrent = 8\nper_minute = 500\nkey = \"params.customer\"").unwrap();
        assert_eq!(limits.names(), ["model:gpt-4o"]);
        let spec = &limits.specs()["model:gpt-4o"];
        assert_eq!((spec.concurrent, spec.per_minute, spec.tokens_per_minute), (Some(8), Some(500), None));
        assert!(limits.entries().all(|(name, ..)| name == "limits.model:gpt-4o"));
    }

    #[test]
    fn a_wrong_limit_is_named() {
        for (text, part) in [
            ("[limits.\"a b\"]\nconcurrent = 1", "`a b` cannot name a limit"),
            ("[limits.a]", "`limits.a` limits nothing"),
            ("[limits.a]\nconcurrent = 0", "`concurrent` is between 1 and"),
            ("[limits.a]\nconcurency = 1", "unknown field `concurency`"),
            ("[limits.a]\nconcurrent = 1\nkey = \"a +\"", "`limits.a.key`"),
            ("[limits.a]\nconcurrent = 1\nkey = \"nodes.x.output\"", "reads a node"),
        ] {
            let failure = read(text).unwrap_err().to_string();
            assert!(failure.starts_with("/p/segue.toml: ") && failure.contains(part), "{failure}");
        }
    }
}
