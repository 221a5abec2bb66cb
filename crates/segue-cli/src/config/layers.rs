//! Reads the layers and lets the upper one win, setting by setting.

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
};

use super::{
    limits::Limits,
    models::Models,
    secrets::{self, SecretSource, SecretSources},
    setting::{Kind, SETTINGS, Setting, find},
};
use crate::failure::{Failure, Outcome};

/// What the layers are read from: given, so that tests can give another.
#[derive(Debug)]
pub(crate) struct World {
    /// The current folder, absolute.
    pub(crate) cwd: PathBuf,
    /// The environment.
    pub(crate) env: BTreeMap<String, String>,
}

impl World {
    /// The process's own.
    pub(crate) fn of_process() -> Outcome<Self> {
        let cwd = std::env::current_dir().map_err(|error| {
            Failure::not_found(format!("the current folder cannot be read: {error}"))
                .help("change to a folder that exists")
        })?;
        let env =
            std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect();
        Ok(Self { cwd, env })
    }

    fn user_file(&self) -> Option<PathBuf> {
        let given = |name: &str| self.env.get(name).filter(|dir| Path::new(dir).is_absolute()).map(PathBuf::from);
        let config = given("XDG_CONFIG_HOME").or_else(|| Some(given("HOME")?.join(".config")))?;
        Some(config.join("segue").join("config.toml"))
    }
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    Flag,
    Variable(String),
    File(PathBuf),
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("the command line"),
            Self::Variable(name) => write!(f, "the variable {name}"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One setting's value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) text: String,
    pub(crate) origin: Origin,
    /// Where a relative path in it starts: the folder of the file that says so; for defaults that of the nearest
    /// `segue.toml`; else the current folder.
    pub(crate) base: PathBuf,
}

/// Every setting's value and origin.
#[derive(Debug)]
pub(crate) struct Resolved {
    entries: BTreeMap<&'static str, Entry>,
    secrets: SecretSources,
    models: Models,
    limits: Limits,
}

impl Resolved {
    /// The value of a setting of the table.
    pub(crate) fn entry(&self, key: &str) -> &Entry {
        self.entries.get(key).expect("every setting of the table has a value, at least its default")
    }

    /// Where the secrets are, as far as a file says so.
    pub(crate) fn secrets(&self) -> &SecretSources {
        &self.secrets
    }

    /// Who has models, and their limits and prices.
    pub(crate) fn models(&self) -> &Models {
        &self.models
    }

    /// Limits that all workflows share.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }
}

/// Reads the layers in `world` under the flags' values.
pub(crate) fn resolve(flags: &[(&'static str, String)], world: &World) -> Outcome<Resolved> {
    let project = world.cwd.ancestors().map(|dir| dir.join("segue.toml")).find(|file| file.is_file());
    let home = project.as_deref().and_then(Path::parent).unwrap_or(&world.cwd).to_owned();
    let layers = [
        world.user_file().map(|file| read_file(&file)).transpose()?.flatten(),
        project.map(|file| read_file(&file)).transpose()?.flatten(),
    ];

    let mut entries = BTreeMap::new();
    for setting in SETTINGS {
        let mut entry = Entry { text: setting.default.to_owned(), origin: Origin::Default, base: home.clone() };
        for layer in layers.iter().flatten() {
            if let Some(text) = layer.values.get(setting.key) {
                let base = layer.file.parent().unwrap_or(&world.cwd).to_owned();
                entry = Entry { text: text.clone(), origin: Origin::File(layer.file.clone()), base };
            }
        }
        let here = |text: &String, origin| Entry { text: text.clone(), origin, base: world.cwd.clone() };
        if let Some(text) = world.env.get(&setting.variable()).filter(|text| !text.is_empty()) {
            entry = here(text, Origin::Variable(setting.variable()));
        }
        if let Some((_, text)) = flags.iter().find(|(key, _)| *key == setting.key) {
            entry = here(text, Origin::Flag);
        }
        entries.insert(setting.key, entry);
    }
    let mut secrets = BTreeMap::new();
    let mut models = Models::default();
    let mut limits = Limits::default();
    for layer in layers.into_iter().flatten() {
        secrets.extend(layer.secrets);
        models.add(&layer.file, layer.providers, layer.models)?;
        limits.add(&layer.file, layer.limits)?;
    }
    Ok(Resolved { entries, secrets: SecretSources(secrets), models: models.with_defaults(world), limits })
}

struct Layer {
    file: PathBuf,
    values: BTreeMap<&'static str, String>,
    secrets: BTreeMap<String, SecretSource>,
    providers: Option<toml::Value>,
    models: Option<toml::Value>,
    limits: Option<toml::Value>,
}

fn read_file(file: &Path) -> Outcome<Option<Layer>> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => {
            return Err(Failure::invalid(format!("{} cannot be read: {error}", file.display()))
                .help("make it readable, or move it away"));
        }
    };
    let mut table = text.parse::<toml::Table>().map_err(|error| {
        Failure::invalid(format!("{} is not valid TOML: {}", file.display(), error.to_string().trim_end()))
            .help("correct the place that is shown")
    })?;
    let secrets = table.remove("secrets").map(|table| secrets::read(file, &table)).transpose()?.unwrap_or_default();
    let (providers, models) = (table.remove("providers"), table.remove("models"));
    let limits = table.remove("limits");
    let values = table.iter().map(|(key, value)| read_value(file, key, value)).collect::<Outcome<_>>()?;
    Ok(Some(Layer { file: file.to_owned(), values, secrets, providers, models, limits }))
}

fn read_value(file: &Path, key: &str, value: &toml::Value) -> Outcome<(&'static str, String)> {
    let Some(setting) = find(key) else {
        let failure = Failure::invalid(format!("{}: there is no setting `{key}`", file.display()));
        return Err(match nearest(key) {
            Some(near) => failure.help(format!("did you mean `{near}`?")),
            None => failure.help("`segue config show` lists the settings"),
        });
    };
    let text = match (setting.kind, value) {
        (Kind::Text | Kind::Choice(_), toml::Value::String(text)) => text.clone(),
        (Kind::Number, toml::Value::Integer(_) | toml::Value::Float(_)) => value.to_string(),
        _ => return Err(wrong_type(file, setting, value)),
    };
    Ok((setting.key, text))
}

fn wrong_type(file: &Path, setting: &Setting, value: &toml::Value) -> Failure {
    let (wanted, example) = match setting.kind {
        Kind::Text => ("a text", format!("{:?}", setting.default)),
        Kind::Choice(words) => ("a word", format!("{:?}", words[0])),
        Kind::Number => ("a number", setting.default.to_owned()),
    };
    Failure::invalid(format!(
        "{}: `{}` is {wanted}, not {}",
        file.display(),
        setting.key,
        match value.type_str() {
            "integer" | "array" => format!("an {}", value.type_str()),
            other => format!("a {other}"),
        }
    ))
    .help(format!("for example: {} = {example}", setting.key))
}

fn nearest(key: &str) -> Option<&'static str> {
    let near = SETTINGS.iter().map(|setting| (strsim::damerau_levenshtein(key, setting.key), setting.key)).min()?;
    (near.0 <= 1 + key.len() / 3).then_some(near.1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn world(dir: &Path, env: &[(&str, &str)]) -> World {
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        World { cwd: dir.join("a/b"), env }
    }

    #[test]
    fn the_upper_layer_wins() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path();
        fs::create_dir_all(dir.join("a/b")).unwrap();
        fs::create_dir_all(dir.join("xdg/segue")).unwrap();
        let xdg = dir.join("xdg").display().to_string();

        let env = [("XDG_CONFIG_HOME", xdg.as_str())];
        let store = |flags: &[(&'static str, String)], env: &[(&str, &str)]| {
            resolve(flags, &world(dir, env)).unwrap().entry("store").clone()
        };
        assert_eq!(store(&[], &env).origin, Origin::Default);
        assert_eq!(store(&[], &env).base, dir.join("a/b"));

        fs::write(dir.join("xdg/segue/config.toml"), "store = \"sqlite:user.db\"").unwrap();
        assert_eq!(store(&[], &env).text, "sqlite:user.db");

        fs::write(dir.join("segue.toml"), "store = \"sqlite:project.db\"\ndrain_seconds = 1.5").unwrap();
        assert_eq!(store(&[], &env).text, "sqlite:project.db");
        assert_eq!(store(&[], &env).base, dir);

        let with_variable = [env[0], ("SEGUE_STORE", "sqlite:variable.db")];
        assert_eq!(store(&[], &with_variable).text, "sqlite:variable.db");
        assert_eq!(store(&[("store", "memory:".to_owned())], &with_variable).origin, Origin::Flag);

        let mine = "[secrets]\nA = { env = \"MINE\" }\nB = { env = \"B\" }";
        fs::write(dir.join("xdg/segue/config.toml"), mine).unwrap();
        let project = "drain_seconds = 1.5\n[secrets]\nA = { file = \"a.key\" }";
        fs::write(dir.join("segue.toml"), project).unwrap();
        let resolved = resolve(&[], &world(dir, &env)).unwrap();
        assert_eq!(resolved.secrets().0["A"], SecretSource::File(dir.join("a.key")));
        assert_eq!(resolved.secrets().0["B"], SecretSource::Variable("B".into()));

        assert_eq!(resolved.entry("drain_seconds").text, "1.5");
        assert_eq!(resolved.entry("home").base, dir, "a default's path starts at the project's segue.toml");
    }

    #[test]
    fn a_bad_file_says_what_to_write() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path();
        fs::create_dir_all(dir.join("a/b")).unwrap();
        let failure = |text: &str| {
            fs::write(dir.join("segue.toml"), text).unwrap();
            let failure = resolve(&[], &world(dir, &[])).unwrap_err();
            format!("{failure} | {}", failure.help.join(" | ")).replace(&dir.display().to_string(), "DIR")
        };
        assert_eq!(failure("stroe = 1"), "DIR/segue.toml: there is no setting `stroe` | did you mean `store`?");
        assert_eq!(
            failure("drain_seconds = \"5m\""),
            "DIR/segue.toml: `drain_seconds` is a number, not a string | for example: drain_seconds = 10"
        );
        assert!(failure("store = ").starts_with("DIR/segue.toml is not valid TOML: "));
    }
}
