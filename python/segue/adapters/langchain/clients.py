"""What is changed in the clients that ask models. Each change is of a private part, so it is looked for and reported.

* `attempt_key`: attempts share clients, as modules make them at import; each request carries the key of the attempt
  that asks, and only to the address for which that key is good;
* `retry_shim.client`: one request for one failing call; the node's `retry_policy` decides about others;
* `rehearsal`: in a rehearsal every request of an OpenAI client goes to the stand-in, and `init_chat_model` makes
  nothing but OpenAI clients.
"""

from __future__ import annotations

import functools
import os
import sys
from typing import Any, Final

from segue.adapters.langchain.framework import lookup
from segue.worker import current
from segue.worker.adapter import Failure, Start

_RETRYING: Final = ("openai", "anthropic")
"""Packages of clients that are generated alike."""
_NETWORKED: Final = frozenset(
    {
        "anthropic",
        "google_genai",
        "google_vertexai",
        "amazon_bedrock",
        "bedrock",
        "mistralai",
        "mistral",
        "cohere",
        "groq",
        "fireworks",
        "together",
        "ollama",
        "huggingface",
        "deepseek",
        "xai",
        "perplexity",
        "ibm",
        "nvidia",
    }
)
_patched: set[str] = set()


def install() -> list[str]:
    """Makes the changes that this environment allows, once in a process. Returns their names."""
    found = []
    if _patch_requests():
        found.append("attempt_key")
    if _patch_models():
        found.append("rehearsal")
    if patch_retries():
        found.append("retry_shim.client")
    return found


def _start() -> Start | None:
    attempt = current.attempt()
    return None if attempt is None else attempt.start


def key_of(start: Start) -> str | None:
    """The key with which an attempt asks for models."""
    return start.provider.api_key or os.environ.get(start.provider.api_key_env or "")


# Where a request goes, and with which key.


def _patch_requests() -> bool:
    base = lookup("openai._base_client", "BaseClient")
    prepare, build = getattr(base, "_prepare_url", None), getattr(base, "_build_request", None)
    url = lookup("openai._base_client", "URL")
    if prepare is None or build is None or url is None:
        return False
    if "openai" in _patched:
        return True
    _patched.add("openai")

    @functools.wraps(prepare)
    def prepare_url(self: Any, *arguments: Any, **options: Any) -> Any:
        found = prepare(self, *arguments, **options)
        start = _start()
        if start is None or not start.rehearsal or not start.provider.base_url:
            return found
        return url(_moved(str(found), str(self.base_url), start.provider.base_url))

    @functools.wraps(build)
    def build_request(self: Any, *arguments: Any, **options: Any) -> Any:
        request = build(self, *arguments, **options)
        start = _start()
        if start is not None and start.provider.base_url and _is_below(str(request.url), start.provider.base_url):
            key = key_of(start)
            if key:
                request.headers["Authorization"] = f"Bearer {key}"
        return request

    base._prepare_url = prepare_url
    base._build_request = build_request
    return True


def _moved(url: str, from_base: str, to_base: str) -> str:
    """The same thing at another address."""
    rest = url[len(from_base) :] if url.startswith(from_base) else url.rpartition("/v1/")[2]
    return f"{to_base.rstrip('/')}/{rest.lstrip('/')}"


def _is_below(url: str, base: str) -> bool:
    return url.startswith(base.rstrip("/") + "/")


# Rehearsal.


def _patch_models() -> bool:
    module = lookup("langchain.chat_models.base")
    make = getattr(module, "_init_chat_model_helper", None)
    if make is None:
        return False
    if "models" in _patched:
        return True
    _patched.add("models")

    @functools.wraps(make)
    def make_model(model: Any = None, *arguments: Any, **options: Any) -> Any:
        start = _start()
        if start is None or not start.rehearsal:
            return make(model, *arguments, **options)
        name = str(model or "").rpartition(":")[2] or "rehearsal"
        kept = {key: options[key] for key in ("temperature", "max_tokens", "timeout") if key in options}
        return lookup("langchain_openai", "ChatOpenAI")(model=name, **kept)

    module._init_chat_model_helper = make_model
    return True


def refuse_in_rehearsal(start: Start, provider: str) -> None:
    """Raises where a rehearsal would ask a real provider: its client is not one that can be led elsewhere."""
    if start.rehearsal and provider.lower() in _NETWORKED:
        raise Failure(
            "invalid_input",
            f"a rehearsal has no stand-in for the client of {provider}; make the model with init_chat_model, "
            "or with ChatOpenAI",
        )


# Retries.


def patch_retries() -> bool:
    """One request a call, for the client packages that are imported by now. True if OpenAI's is among them."""
    for package in _RETRYING:
        if package in _patched_retries or (package not in sys.modules and package != "openai"):
            continue
        options = lookup(f"{package}._models", "FinalRequestOptions")
        original = getattr(options, "get_max_retries", None)
        if original is not None:
            options.get_max_retries = _once(original)
            _patched_retries.add(package)
    return "openai" in _patched_retries


_patched_retries: set[str] = set()


def _once(original: Any) -> Any:
    @functools.wraps(original)
    def get_max_retries(self: Any, max_retries: int) -> int:
        start = _start()
        if start is None or start.hints.get("inner_retries") == "keep":
            kept: int = original(self, max_retries)
            return kept
        return 0

    return get_max_retries
