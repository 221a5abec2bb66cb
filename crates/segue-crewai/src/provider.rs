//! The settings of model providers, as the user's environment has them.

use std::collections::BTreeMap;

use segue_core::outcome::{ErrorKind, TaskError};

/// A variable whose name begins so is a provider's.
const PREFIXES: [&str; 20] = [
    "OPENAI_",
    "ANTHROPIC_",
    "AZURE_",
    "AWS_",
    "CEREBRAS_",
    "COHERE_",
    "DASHSCOPE_",
    "DEEPINFRA_",
    "DEEPSEEK_",
    "FIREWORKS_",
    "GEMINI_",
    "GOOGLE_",
    "GROQ_",
    "HOSTED_VLLM_",
    "MISTRAL_",
    "NVIDIA_NIM_",
    "OLLAMA_",
    "OPENROUTER_",
    "SNOWFLAKE_",
    "XAI_",
];
/// These name a model, not who has it.
const MODEL_NAMES: [&str; 3] = ["MODEL", "MODEL_NAME", "OPENAI_MODEL_NAME"];

/// The provider's variables that workers get. Not shown: their values are secrets.
#[derive(Clone, Default)]
pub struct ProviderSettings(BTreeMap<String, String>);

impl ProviderSettings {
    /// Those of this process's environment.
    pub fn of_this_process() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    /// Is anything set that leads to a model?
    pub fn is_set_up(&self) -> bool {
        self.0.iter().any(|(name, value)| !MODEL_NAMES.contains(&name.as_str()) && !is_aside(name) && !value.is_empty())
    }

    /// The names of what is set.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub(crate) fn is_of_a_provider(name: &str) -> bool {
        MODEL_NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    }
}

/// Set for other reasons on many machines, and no access to a model by itself.
fn is_aside(name: &str) -> bool {
    matches!(
        name,
        "AWS_CA_BUNDLE"
            | "AWS_PAGER"
            | "AWS_REGION"
            | "AWS_DEFAULT_REGION"
            | "GOOGLE_CLOUD_PROJECT"
            | "AZURE_CONFIG_DIR"
    )
}

/// Takes what is a provider's, and nothing else.
impl FromIterator<(String, String)> for ProviderSettings {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(variables: T) -> Self {
        Self(variables.into_iter().filter(|(name, _)| Self::is_of_a_provider(name)).collect())
    }
}

impl std::fmt::Debug for ProviderSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

const CURE: &str = "set OPENAI_API_KEY (and OPENAI_BASE_URL for a server of your own), or the variables of another provider \
                    such as ANTHROPIC_API_KEY, GEMINI_API_KEY or OLLAMA_HOST; or run it with --rehearse, which needs no \
                    model and no key";

/// No way to a model.
pub(crate) fn missing() -> TaskError {
    TaskError::new(ErrorKind::Auth, format!("no model provider is set up: {CURE}"))
}

/// What to do is added to an error of a worker that found no key.
pub(crate) fn explain(mut error: TaskError) -> TaskError {
    if error.kind == ErrorKind::Auth && !error.message.contains("--rehearse") {
        error.message =
            format!("{}. No model provider is set up for Segue: {CURE}", error.message.trim_end_matches('.'));
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(names: &[&str]) -> ProviderSettings {
        names.iter().map(|name| ((*name).to_owned(), "secret".to_owned())).collect()
    }

    #[test]
    fn only_what_is_a_providers_is_taken_and_no_value_is_shown() {
        let settings = settings(&["OPENAI_API_KEY", "MODEL", "DATABASE_URL", "GITHUB_TOKEN", "REDIS_URL"]);
        assert_eq!(settings.names().collect::<Vec<_>>(), ["MODEL", "OPENAI_API_KEY"]);
        assert!(!format!("{settings:?}").contains("secret"));
    }

    #[test]
    fn the_name_of_a_model_is_no_way_to_it() {
        assert!(!settings(&["MODEL", "OPENAI_MODEL_NAME", "AWS_CA_BUNDLE", "HOME"]).is_set_up());
        assert!(settings(&["OPENAI_BASE_URL"]).is_set_up());
        assert!(settings(&["OLLAMA_HOST"]).is_set_up());
        let empty: ProviderSettings = [("OPENAI_API_KEY".to_owned(), String::new())].into_iter().collect();
        assert!(!empty.is_set_up());
    }
}
