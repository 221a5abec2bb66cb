//! `[secrets]` of a `segue.toml`: where the secrets are that workflows refer to. The values are read when they are
//! needed, and are no part of the configuration.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use segue_core::ports::Secrets;

use crate::failure::{Failure, Outcome};

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SecretSource {
    /// In an environment variable.
    Variable(String),
    /// In a file: its content, without a line break at the end.
    File(PathBuf),
}

/// Where secrets are, by name. Without an entry: in the environment variable of the secret's own name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SecretSources(pub(super) BTreeMap<String, SecretSource>);

impl Secrets for SecretSources {
    fn get(&self, name: &str) -> Option<String> {
        match self.0.get(name) {
            None => std::env::var(name).ok(),
            Some(SecretSource::Variable(variable)) => std::env::var(variable).ok(),
            Some(SecretSource::File(path)) => match fs::read_to_string(path) {
                Ok(text) => {
                    let text = text.strip_suffix('\n').unwrap_or(&text);
                    Some(text.strip_suffix('\r').unwrap_or(text).to_owned())
                }
                Err(error) => {
                    tracing::warn!(secret = name, file = %path.display(), %error, "the file of a secret cannot be read");
                    None
                }
            },
        }
    }
}

/// Reads the table of one file; relative paths start in the file's folder.
pub(super) fn read(file: &Path, table: &toml::Value) -> Outcome<BTreeMap<String, SecretSource>> {
    let wrong = |what: String| {
        Failure::invalid(format!("{}: {what}", file.display()))
            .help("write each as NAME = { env = \"VARIABLE\" } or NAME = { file = \"PATH\" }")
    };
    let table = table.as_table().ok_or_else(|| wrong("`secrets` is a table".to_owned()))?;
    table
        .iter()
        .map(|(name, source)| {
            let source = source.as_table().filter(|source| source.len() == 1);
            let (kind, text) = source
                .and_then(|source| source.iter().next())
                .and_then(|(kind, text)| Some((kind.as_str(), text.as_str()?)))
                .ok_or_else(|| wrong(format!("`secrets.{name}` does not say where the secret is")))?;
            match kind {
                "env" => Ok((name.clone(), SecretSource::Variable(text.to_owned()))),
                "file" => {
                    let folder = file.parent().unwrap_or(Path::new("."));
                    Ok((name.clone(), SecretSource::File(folder.join(text))))
                }
                other => Err(wrong(format!("`secrets.{name}` has no field `{other}`"))),
            }
        })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Outcome<BTreeMap<String, SecretSource>> {
        read(Path::new("/p/segue.toml"), &toml::Value::Table(text.parse().unwrap()))
    }

    #[test]
    fn a_source_is_a_variable_or_a_file() {
        let sources = parse("A = { env = \"V\" }\nB = { file = \"keys/b\" }\nC = { file = \"/etc/c\" }").unwrap();
        assert_eq!(sources["A"], SecretSource::Variable("V".into()));
        assert_eq!(sources["B"], SecretSource::File("/p/keys/b".into()));
        assert_eq!(sources["C"], SecretSource::File("/etc/c".into()));
        for bad in ["A = \"the secret itself\"", "A = { env = \"V\", file = \"f\" }", "A = { value = \"x\" }", "A = {}"]
        {
            let failure = parse(bad).unwrap_err().to_string();
            assert!(failure.starts_with("/p/segue.toml: `secrets.A`") && !failure.contains("itself"), "{failure}");
        }
    }

    #[test]
    fn a_file_is_read_when_it_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let sources = SecretSources([("K".to_owned(), SecretSource::File(path.clone()))].into());
        assert_eq!(sources.get("K"), None);
        fs::write(&path, "first\n").unwrap();
        assert_eq!(sources.get("K").as_deref(), Some("first"));
        fs::write(&path, "two\nlines\r\n").unwrap();
        assert_eq!(sources.get("K").as_deref(), Some("two\nlines"));
        assert_eq!(sources.get("SEGUE_NO_SUCH_SECRET"), None);
        assert_eq!(sources.get("PATH"), std::env::var("PATH").ok(), "without an entry: the variable of this name");
    }
}
