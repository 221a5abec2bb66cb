"""Which model answers: a hint's, and names that CrewAI does not know at an address that the user gave."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any, Final

from segue.adapters.crewai.framework import lookup
from segue.worker.adapter import Failure, Provider

_ADDRESS: Final = ("OPENAI_BASE_URL", "OPENAI_API_BASE")


def use_provider(provider: Provider) -> None:
    """The engine's address and key, where the environment has none of its own."""
    if provider.base_url and not any(os.environ.get(name) for name in _ADDRESS):
        os.environ["OPENAI_BASE_URL"] = provider.base_url
    key = os.environ.get(provider.api_key_env or "")
    if key and not os.environ.get("OPENAI_API_KEY"):
        os.environ["OPENAI_API_KEY"] = key


def accept_unknown_names() -> None:
    """`LLM("my-model")` with the address in the environment is an ImportError in CrewAI; here it is asked there."""
    llm = lookup("crewai", "LLM")
    original = llm.__new__

    def new(cls: Any, model: str, *arguments: Any, **options: Any) -> Any:
        try:
            return original(cls, model, *arguments, **options)
        except ImportError as error:
            addressed = any(os.environ.get(name) for name in _ADDRESS)
            if cls is not llm or not addressed or "LiteLLM fallback" not in str(error):
                raise
        return original(cls, model, *arguments, **{**options, "custom_openai": True})

    llm.__new__ = staticmethod(new)


@contextlib.contextmanager
def override(model: str | None) -> Iterator[None]:
    """Everything built inside runs on `model`, with the settings of what it was declared with."""
    if model is None:
        yield
        return
    overlay = lookup("crewai.llm_overlay", "llm_overlay")
    if overlay is not None:
        with overlay({"model:*": model}):
            yield
        return
    with _override_by_hand(model):
        yield


@contextlib.contextmanager
def _override_by_hand(model: str) -> Iterator[None]:
    """For versions without the overlay: every `LLM(…)` inside gets the name. Its other settings are its own."""
    llm = lookup("crewai", "LLM")
    original = llm.__new__

    def new(cls: Any, declared: Any = None, *arguments: Any, **options: Any) -> Any:
        declared = options.pop("model", declared)
        return original(cls, model if cls is llm else declared, *arguments, **options)

    llm.__new__ = staticmethod(new)
    os.environ["MODEL"] = model
    try:
        yield
    finally:
        llm.__new__ = staticmethod(original)


def hinted(hints: dict[str, Any]) -> str | None:
    """The hint `model`."""
    model = hints.get("model")
    if model is not None and (not isinstance(model, str) or not model.strip()):
        raise Failure("invalid_input", "hints.crewai.model: the name of a model expected")
    return model
