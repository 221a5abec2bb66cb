"""Rehearsal: one OpenAI-compatible stand-in for every model, whatever provider a crew names.

Three doors lead to a model, and each gets a guard: `LLM(…)` (which also `llm="name"`, the default model, managers and
planners go through), a provider's class built directly, and the client that is built at the end. Embedders get a
local stand-in. Providers' keys in the environment are overwritten, so that what slips through cannot cost anything.
"""

from __future__ import annotations

import importlib
import os
from typing import Any, Final

from segue.adapters.crewai import embedders
from segue.adapters.crewai.framework import lookup, subclasses
from segue.adapters.crewai.models import is_for_a_role
from segue.worker.adapter import Failure, Provider

_OPENAI: Final = "crewai.llms.providers.openai.completion"

_KEYS: Final = (
    "OPENAI_API_KEY",
    "ANTHROPIC_API_KEY",
    "GEMINI_API_KEY",
    "GOOGLE_API_KEY",
    "AZURE_API_KEY",
    "AZURE_OPENAI_API_KEY",
    "GROQ_API_KEY",
    "MISTRAL_API_KEY",
    "COHERE_API_KEY",
    "CO_API_KEY",
    "DEEPSEEK_API_KEY",
    "OPENROUTER_API_KEY",
    "CEREBRAS_API_KEY",
    "DASHSCOPE_API_KEY",
    "DEEPINFRA_API_KEY",
    "HUGGINGFACE_API_KEY",
    "HF_TOKEN",
    "FIREWORKS_API_KEY",
    "TOGETHER_API_KEY",
    "PERPLEXITY_API_KEY",
    "XAI_API_KEY",
    "WATSONX_APIKEY",
    "NVIDIA_NIM_API_KEY",
    "SNOWFLAKE_PAT",
    "SNOWFLAKE_API_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_BEARER_TOKEN_BEDROCK",
    "VOYAGE_API_KEY",
    "JINA_API_KEY",
)
_PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
_ADDRESSES: Final = ("OPENAI_BASE_URL", "OPENAI_API_BASE", "BASE_URL")
_FOREIGN_ADDRESSES: Final = ("API_BASE", "AZURE_API_BASE", "AZURE_ENDPOINT", "AZURE_OPENAI_ENDPOINT", "OLLAMA_HOST")

_KEPT: Final = frozenset(
    {
        "temperature",
        "top_p",
        "n",
        "stop",
        "seed",
        "max_tokens",
        "max_completion_tokens",
        "presence_penalty",
        "frequency_penalty",
        "response_format",
        "stream",
        "timeout",
        "additional_params",
    }
)
"""Settings that mean the same everywhere. Addresses, keys and clients are what must not be kept."""


def begin(provider: Provider, model: str | None) -> None:
    """From now on this process has no model but the stand-in. Before any of the user's code is loaded."""
    key = os.environ.get(provider.api_key_env or "")
    if not provider.base_url or not key:
        raise Failure("invalid_input", "a rehearsal needs provider.base_url and the key named by provider.api_key_env")
    _redirect_environment(provider.base_url, key)
    stand_in = _StandIn(provider.base_url, key, model)
    stand_in.guard_factory()
    stand_in.guard_clients()
    stand_in.guard_classes()
    embedders.replace()


def _redirect_environment(base_url: str, key: str) -> None:
    for name in (*_PROXIES, *_FOREIGN_ADDRESSES):
        os.environ.pop(name, None)
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"
    os.environ.update(dict.fromkeys(_ADDRESSES, base_url))
    # Set, not removed: code that only looks whether a key is there goes on, and a `.env` file overrides nothing.
    os.environ.update(dict.fromkeys(_KEYS, key))


class _StandIn:
    def __init__(self, base_url: str, key: str, model: str | None) -> None:
        self._base_url = base_url
        self._key = key
        self._model = model
        self._completion = importlib.import_module(_OPENAI).OpenAICompletion

    def build(self, model: str, settings: dict[str, Any]) -> Any:
        """A client of the stand-in that calls itself `model`."""
        kept = {name: value for name, value in settings.items() if name in _KEPT and value is not None}
        return self._completion(
            model=(None if is_for_a_role() else self._model) or _bare_name(model),
            provider="openai",
            api_key=self._key,
            base_url=self._base_url,
            **kept,
        )

    def guard_factory(self) -> None:
        """`LLM(…)`, in all its ways."""
        llm = lookup("crewai", "LLM")
        original = llm.__new__
        build = self.build

        def new(cls: Any, model: Any = None, *arguments: Any, **options: Any) -> Any:
            if cls is not llm:
                return original(cls, model, *arguments, **options)
            if not isinstance(model, str) or not model:
                raise ValueError("Model must be a non-empty string")
            return build(model, options)

        llm.__new__ = staticmethod(new)

    def guard_clients(self) -> None:
        """OpenAI's class and those made from it, built directly: the address, the key and the one API there is."""
        base_url, key = self._base_url, self._key
        for each in (self._completion, *subclasses(self._completion)):
            original = each.__dict__.get("_get_client_params")
            if original is not None:
                each._get_client_params = _redirected(original, base_url, key)
            for name in ("call", "acall"):
                if name in each.__dict__:
                    setattr(each, name, _by_completions(each.__dict__[name]))

    def guard_classes(self) -> None:
        """Any other class of model: its `call` is answered by a stand-in with its settings."""
        base = lookup("crewai.llms.base_llm", "BaseLLM")
        for each in subclasses(base):
            self._guard_class(each)
        guard = self._guard_class
        own = base.__dict__.get("__init_subclass__")

        def init_subclass(cls: Any, /, **options: Any) -> None:
            if own is not None:
                own.__func__(cls, **options)
            else:
                super(base, cls).__init_subclass__(**options)
            guard(cls)

        base.__init_subclass__ = classmethod(init_subclass)

    def _guard_class(self, llm_class: Any) -> None:
        if issubclass(llm_class, self._completion):
            return
        for name in ("call", "acall"):
            if name in llm_class.__dict__:
                setattr(llm_class, name, self._answering(name))

    def _answering(self, name: str) -> Any:
        build = self.build

        def answer(llm: Any, *arguments: Any, **options: Any) -> Any:
            settings = {field: getattr(llm, field, None) for field in _KEPT - {"additional_params", "response_format"}}
            stand_in = build(str(getattr(llm, "model", "unknown")), settings)
            return getattr(stand_in, name)(*arguments, **options)

        return answer


def _redirected(original: Any, base_url: str, key: str) -> Any:
    def parameters(self: Any, *arguments: Any, **options: Any) -> dict[str, Any]:
        found: dict[str, Any] = original(self, *arguments, **options)
        kept: dict[str, Any] = {name: value for name, value in found.items() if name in ("timeout", "max_retries")}
        return {**kept, "api_key": key, "base_url": base_url}

    return parameters


def _by_completions(original: Any) -> Any:
    def call(self: Any, *arguments: Any, **options: Any) -> Any:
        self.api = "completions"
        return original(self, *arguments, **options)

    return call


def _bare_name(model: str) -> str:
    """The name without its provider: `anthropic/claude-x` is `claude-x` to the stand-in."""
    aliases = lookup("crewai.llm", "PROVIDER_ALIASES") or {}
    prefix, separator, rest = model.partition("/")
    return rest if separator and rest and prefix.lower() in {"openai", *aliases} else model
