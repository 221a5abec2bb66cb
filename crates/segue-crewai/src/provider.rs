//! Model providers, as far as an adapter must know of them: their variables, which no worker gets unless a node names them,
//! and what to do when there is none.

use std::collections::BTreeMap;

use segue_core::{
    outcome::{ErrorKind, TaskError},
    ports::ModelDoor,
};

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
/// These say which model is meant and who is billed for it. They are no keys, and workers get them.
const NAMES: [&str; 6] =
    ["MODEL", "MODEL_NAME", "OPENAI_MODEL_NAME", "OPENAI_ORG_ID", "OPENAI_ORGANIZATION", "OPENAI_PROJECT_ID"];
/// Where clients look for an address.
const ADDRESS: [&str; 2] = ["OPENAI_BASE_URL", "OPENAI_API_BASE"];
/// Where clients look for a key.
const KEY: &str = "OPENAI_API_KEY";

/// Is it a provider's, or does it lead to one?
pub(crate) fn is_of_a_provider(name: &str) -> bool {
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Those of this process's variables that name models.
pub(crate) fn model_names() -> BTreeMap<String, String> {
    NAMES.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?))).collect()
}

/// The way to models, in the variables that every client of an OpenAI-compatible API reads.
pub(crate) fn variables(door: &dyn ModelDoor) -> impl Iterator<Item = (&'static str, String)> {
    let address = ADDRESS.map(|name| (name, door.base_url().to_owned()));
    address.into_iter().chain([(KEY, door.api_key().to_owned())])
}

const NOT_SET_UP: &str = "no model provider is set up";
const CURE: &str = "set OPENAI_API_KEY (and OPENAI_BASE_URL for a server of your own), or name providers in segue.toml \
                    under [providers]; or run it with --rehearse, which needs no model and no key";

/// No way to a model.
pub(crate) fn missing() -> TaskError {
    TaskError::new(ErrorKind::Auth, format!("{NOT_SET_UP}: {CURE}"))
}

/// What to do is added to an error of a worker that found no key.
pub(crate) fn explain(mut error: TaskError) -> TaskError {
    if error.kind == ErrorKind::Auth && !error.message.contains("--rehearse") {
        let said = error.message.trim_end_matches('.');
        error.message = match said {
            NOT_SET_UP => format!("{said}: {CURE}"),
            _ => format!("{said}. No model provider is set up for Segue: {CURE}"),
        };
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_providers_variables_are_told_from_others() {
        for name in ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "AWS_SECRET_ACCESS_KEY", "MODEL"] {
            assert!(is_of_a_provider(name), "{name}");
        }
        for name in ["DATABASE_URL", "GITHUB_TOKEN", "REDIS_URL", "HOME", "MODELS"] {
            assert!(!is_of_a_provider(name), "{name}");
        }
        assert!(NAMES.iter().all(|name| !name.contains("KEY") && !name.contains("SECRET")));
    }
}
