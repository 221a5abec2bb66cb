"""Which model answers: a hint's, that of an agent's role, and names that CrewAI does not know at a given address."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
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
def override(model: str | None, by_role: Mapping[str, str], rehearsal: bool) -> Iterator[None]:
    """Everything built inside runs on `model`, and agents of these roles on theirs, with the settings of what they were
    declared with. In a rehearsal the stand-in has `model` already."""
    overlay = lookup("crewai.llm_overlay", "llm_overlay")
    if overlay is not None and not rehearsal:
        with overlay({**by_role, **({} if model is None else {"model:*": model})} or None):
            yield
        return
    if by_role:
        _assign_by_hand({role.strip(): model for role, model in by_role.items()})
    with contextlib.nullcontext() if model is None or rehearsal else _override_by_hand(model):
        yield


_for_a_role: ContextVar[bool] = ContextVar("segue_for_a_role", default=False)


def is_for_a_role() -> bool:
    """Is the model that is built here a role's own, which the hint for all does not replace?"""
    return _for_a_role.get()


_BEGINNINGS: Final = ("execute_task", "aexecute_task", "kickoff", "akickoff", "kickoff_async")


def _assign_by_hand(by_role: Mapping[str, str]) -> None:
    """For versions without the overlay, and for the stand-in: an agent gets its model when it begins to work, in its
    final role, wherever it was made."""
    agent_class = lookup("crewai", "Agent")
    llm = lookup("crewai", "LLM")

    def begins(original: Any) -> Any:
        @functools.wraps(original)
        def call(self: Any, *arguments: Any, **options: Any) -> Any:
            model = by_role.get(str(self.role).strip())
            if model is not None and getattr(self.llm, "model", None) != model:
                settings = {name: getattr(self.llm, name, None) for name in _CARRIED}
                given = _for_a_role.set(True)
                self.llm = llm(model, **{name: value for name, value in settings.items() if value is not None})
                _for_a_role.reset(given)
            return original(self, *arguments, **options)

        return call

    for name in _BEGINNINGS:
        if name in agent_class.__dict__:
            setattr(agent_class, name, begins(agent_class.__dict__[name]))


_CARRIED: Final = ("temperature", "top_p", "max_tokens", "max_completion_tokens", "seed", "timeout")


@contextlib.contextmanager
def _override_by_hand(model: str) -> Iterator[None]:
    """For versions without the overlay: every `LLM(…)` inside gets the name. Its other settings are its own."""
    llm = lookup("crewai", "LLM")
    original = llm.__new__

    def new(cls: Any, declared: Any = None, *arguments: Any, **options: Any) -> Any:
        declared = options.pop("model", declared)
        return original(cls, model if cls is llm and not is_for_a_role() else declared, *arguments, **options)

    llm.__new__ = staticmethod(new)
    os.environ["MODEL"] = model
    try:
        yield
    finally:
        llm.__new__ = staticmethod(original)


def hinted_by_role(hints: dict[str, Any]) -> dict[str, str]:
    """The hint `models`: by the agent's role."""
    models = hints.get("models") or {}
    if not isinstance(models, dict) or not all(isinstance(each, str) and each.strip() for each in models.values()):
        raise Failure("invalid_input", "hints.crewai.models: names of models by the roles of agents expected")
    return models


def hinted(hints: dict[str, Any]) -> str | None:
    """The hint `model`."""
    model = hints.get("model")
    if model is not None and (not isinstance(model, str) or not model.strip()):
        raise Failure("invalid_input", "hints.crewai.model: the name of a model expected")
    return model
