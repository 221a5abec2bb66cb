//! `[providers]` and `[models]` of a `segue.toml`: who has models, what they cost, how much of them may be asked. Keys stand in
//! variables and files; their values are read when a session starts, and are no part of the configuration.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use segue_gateway::{ModelOptions, Price, ProviderKey, ProviderOptions};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::layers::{Origin, World};
use crate::failure::{Failure, Outcome};

/// Where OpenAI's own clients go.
const OPENAI: &str = "https://api.openai.com/v1";
const KEY: &str = "OPENAI_API_KEY";
const ADDRESS: &str = "OPENAI_BASE_URL";

/// Providers and models by name, each from the uppermost layer that names it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Models {
    providers: BTreeMap<String, (ProviderEntry, Origin)>,
    models: BTreeMap<String, (ModelEntry, Origin)>,
}

/// `[providers.NAME]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProviderEntry {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base_url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    api_key_env: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    api_key_file: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    models: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stream_usage: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proxy: Option<String>,
}

/// `[models.NAME]`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ModelEntry {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    concurrent: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    requests_per_minute: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tokens_per_minute: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    price: Option<PriceEntry>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceEntry {
    input: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cached_input: Option<f64>,
    output: f64,
}

impl Models {
    /// Adds one file's tables, over what lower layers said.
    pub(super) fn add(
        &mut self,
        file: &Path,
        providers: Option<toml::Value>,
        models: Option<toml::Value>,
    ) -> Outcome<()> {
        let origin = || Origin::File(file.to_owned());
        for (name, mut entry) in entries::<ProviderEntry>(file, "providers", providers)? {
            if entry.api_key_env.is_some() && entry.api_key_file.is_some() {
                return Err(wrong(file, &format!("`providers.{name}` names its key twice"))
                    .help("keep one of `api_key_env` and `api_key_file`"));
            }
            let folder = file.parent().unwrap_or(Path::new("."));
            entry.api_key_file = entry.api_key_file.map(|path| folder.join(path));
            if entry.base_url.is_none() && name != "openai" {
                return Err(wrong(file, &format!("`providers.{name}` has no `base_url`"))
                    .help(format!("for example: base_url = {OPENAI:?}")));
            }
            self.providers.insert(name, (entry, origin()));
        }
        for (name, entry) in entries::<ModelEntry>(file, "models", models)? {
            let zero = [("concurrent", entry.concurrent), ("requests_per_minute", entry.requests_per_minute)];
            if let Some((field, _)) = zero.iter().find(|(_, limit)| *limit == Some(0)) {
                return Err(wrong(file, &format!("`models.{name}.{field}` is 0: nothing would ever be asked"))
                    .help("leave it out for no limit"));
            }
            let prices =
                entry.price.iter().flat_map(|price| [Some(price.input), price.cached_input, Some(price.output)]);
            if prices.flatten().any(|price| !price.is_finite() || price < 0.0) {
                return Err(wrong(file, &format!("`models.{name}.price` is not a price"))
                    .help("write US dollars a million tokens, for example: input = 2.5"));
            }
            self.models.insert(name, (entry, origin()));
        }
        Ok(())
    }

    /// Without any `[providers]` the variables of OpenAI's own clients name one.
    pub(super) fn with_defaults(mut self, world: &World) -> Self {
        let set = |name: &str| world.env.get(name).filter(|value| !value.is_empty());
        let variable = [KEY, ADDRESS].into_iter().find(|name| set(name).is_some());
        if let (Some(variable), true) = (variable, self.providers.is_empty()) {
            let entry = ProviderEntry {
                base_url: set(ADDRESS).cloned(),
                api_key_env: set(KEY).map(|_| KEY.to_owned()),
                ..ProviderEntry::default()
            };
            self.providers.insert("openai".to_owned(), (entry, Origin::Variable(variable.to_owned())));
        }
        self
    }

    /// Is there nobody to ask?
    pub(crate) fn has_no_provider(&self) -> bool {
        self.providers.is_empty()
    }

    /// Who is asked, in words, without a key.
    pub(crate) fn told(&self) -> impl Iterator<Item = String> {
        self.providers.iter().map(|(name, (entry, _))| format!("{name} at {}", entry.address()))
    }

    /// The providers with their keys, for a gateway. A key that is not where it should be is missed when it is needed.
    pub(crate) fn provider_options(&self) -> Vec<ProviderOptions> {
        self.providers.iter().map(|(name, (entry, _))| entry.options(name)).collect()
    }

    /// Limits and prices, for a gateway.
    pub(crate) fn model_options(&self) -> Vec<ModelOptions> {
        self.models.iter().map(|(name, (entry, _))| entry.options(name)).collect()
    }

    /// Each entry as `providers.NAME` or `models.NAME`, for people.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (String, Value, &Origin)> {
        let json = |value: Result<Value, _>| value.expect("an entry can be written as JSON");
        let providers = self.providers.iter().map(move |(name, (entry, origin))| {
            (format!("providers.{name}"), json(serde_json::to_value(entry)), origin)
        });
        let models = self
            .models
            .iter()
            .map(move |(name, (entry, origin))| (format!("models.{name}"), json(serde_json::to_value(entry)), origin));
        providers.chain(models)
    }
}

impl ProviderEntry {
    fn address(&self) -> &str {
        self.base_url.as_deref().unwrap_or(OPENAI)
    }

    fn options(&self, name: &str) -> ProviderOptions {
        ProviderOptions {
            key: self.key(),
            models: self.models.clone(),
            stream_usage: self.stream_usage.unwrap_or(true),
            proxy: self.proxy.clone(),
            ..ProviderOptions::new(name, self.address())
        }
    }

    fn key(&self) -> ProviderKey {
        if let Some(path) = &self.api_key_file {
            return match fs::read_to_string(path) {
                Ok(key) if !key.trim().is_empty() => ProviderKey::Given(key.trim().to_owned()),
                Ok(_) => ProviderKey::Missing(format!("{} is empty", path.display())),
                Err(error) => ProviderKey::Missing(format!("{} cannot be read: {error}", path.display())),
            };
        }
        match &self.api_key_env {
            Some(name) => match std::env::var(name) {
                Ok(key) if !key.trim().is_empty() => ProviderKey::Given(key.trim().to_owned()),
                _ => ProviderKey::Missing(format!("the variable {name} is not set")),
            },
            None => ProviderKey::None,
        }
    }
}

impl ModelEntry {
    fn options(&self, name: &str) -> ModelOptions {
        ModelOptions {
            pattern: name.to_owned(),
            concurrent: self.concurrent,
            requests_per_minute: self.requests_per_minute,
            tokens_per_minute: self.tokens_per_minute,
            price: self.price.map(|PriceEntry { input, cached_input, output }| Price { input, cached_input, output }),
        }
    }
}

pub(super) fn entries<T: DeserializeOwned>(
    file: &Path,
    table: &str,
    value: Option<toml::Value>,
) -> Outcome<Vec<(String, T)>> {
    let Some(value) = value else { return Ok(Vec::new()) };
    let toml::Value::Table(named) = value else {
        return Err(wrong(file, &format!("`{table}` is a table")).help(format!("write each as [{table}.NAME]")));
    };
    let entry = |(name, value): (String, toml::Value)| match value.try_into::<T>() {
        Ok(entry) => Ok((name, entry)),
        Err(error) => Err(wrong(file, &format!("`{table}.{name}`: {}", error.message()))
            .help("`segue schema config` says what may stand there")),
    };
    named.into_iter().map(entry).collect()
}

pub(super) fn wrong(file: &Path, what: &str) -> Failure {
    Failure::invalid(format!("{}: {what}", file.display()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(text: &str) -> Outcome<Models> {
        let mut table = text.parse::<toml::Table>().unwrap();
        let mut models = Models::default();
        models.add(Path::new("/p/segue.toml"), table.remove("providers"), table.remove("models"))?;
        Ok(models)
    }

    fn world(env: &[(&str, &str)]) -> World {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        World { cwd: PathBuf::from("/p"), env }
    }

    #[test]
    fn a_file_names_providers_limits_and_prices() {
        let models = read(
            "[providers.local]\nbase_url = \"http://127.0.0.1:8000/v1\"\nmodels = [\"qwen*\"]\n\
             [providers.openai]\napi_key_file = \"keys/openai\"\n\
             [models.\"gpt-4o\"]\nconcurrent = 8\n[models.\"gpt-4o\".price]\ninput = 2.5\noutput = 10",
        )
        .unwrap();
        let options = models.provider_options();
        assert_eq!((options[0].name.as_str(), &options[0].key), ("local", &ProviderKey::None));
        assert_eq!(options[1].base_url, OPENAI);
        assert!(
            matches!(&options[1].key, ProviderKey::Missing(why) if why.starts_with("/p/keys/openai cannot be read"))
        );
        let price = Price { input: 2.5, cached_input: None, output: 10.0 };
        assert_eq!(models.model_options()[0].price, Some(price));
        let shown: Vec<_> = models.entries().map(|(name, ..)| name).collect();
        assert_eq!(shown, ["providers.local", "providers.openai", "models.gpt-4o"]);
    }

    #[test]
    fn a_wrong_entry_is_named() {
        for (text, part) in [
            ("[providers.a]\nbase_url = 3", "`providers.a`"),
            ("[providers.a]", "`providers.a` has no `base_url`"),
            ("[providers.openai]\napi_key = \"sk-1\"", "unknown field `api_key`"),
            ("[providers.openai]\napi_key_env = \"A\"\napi_key_file = \"b\"", "names its key twice"),
            ("[models.a]\nconcurrent = 0", "`models.a.concurrent` is 0"),
            ("[models.a.price]\ninput = -1\noutput = 1", "`models.a.price` is not a price"),
            ("models = 1", "`models` is a table"),
        ] {
            let failure = read(text).unwrap_err().to_string();
            assert!(failure.starts_with("/p/segue.toml: ") && failure.contains(part), "{failure}");
            assert!(!failure.contains("sk-1"), "{failure}");
        }
    }

    #[test]
    fn the_usual_variables_name_a_provider_unless_a_file_does() {
        let found = |env: &[(&str, &str)]| Models::default().with_defaults(&world(env));
        assert!(found(&[("ANTHROPIC_API_KEY", "sk-1"), (KEY, "")]).has_no_provider());
        let models = found(&[(KEY, "sk-canary"), (ADDRESS, "http://127.0.0.1:1/v1")]);
        assert_eq!(models.told().collect::<Vec<_>>(), ["openai at http://127.0.0.1:1/v1"]);
        assert!(models.entries().all(|(_, entry, _)| !entry.to_string().contains("sk-canary")));
        assert_eq!(found(&[(ADDRESS, "http://127.0.0.1:1/v1")]).provider_options()[0].key, ProviderKey::None);
        let own = read("[providers.local]\nbase_url = \"http://127.0.0.1:8000/v1\"").unwrap();
        assert_eq!(own.with_defaults(&world(&[(KEY, "sk-1")])).provider_options().len(), 1);
    }
}
