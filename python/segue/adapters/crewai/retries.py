"""One request for one failing call: CrewAI's retry layers, switched off one by one.

By default a call that is answered 429 makes 27 requests: 3 of the client, times 3 of CrewAI for rate limits, times 3 of
the agent. The node's `retry_policy` is to decide instead. All three places are private, so each is looked for.
Classes are patched, not objects: the manager of a hierarchical crew is made inside `kickoff`.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any, Final

LAYERS: Final = ("rate_limit", "agent", "client")
MODES: Final = {"off": LAYERS, "provider": ("rate_limit", "agent"), "crewai": ()}
"""The hint `inner_retries` and the layers it switches off."""

_CLIENTS: Final = (
    ("crewai.llms.providers.openai.completion", "OpenAICompletion", "openai"),
    ("crewai.llms.providers.anthropic.completion", "AnthropicCompletion", "anthropic"),
)


def available() -> list[str]:
    """The layers that this CrewAI lets us switch off."""
    return [layer for layer in LAYERS if _FINDERS[layer]() is not None]


def switch_off(mode: str) -> list[str]:
    """Switches off what the mode says, for this process. Returns the layers that could not be."""
    missing = []
    for layer in MODES[mode]:
        patch = _FINDERS[layer]()
        if patch is None:
            missing.append(layer)
        else:
            patch()
    return missing


def _rate_limit() -> Callable[[], None] | None:
    try:
        retry = importlib.import_module("crewai.llms.retry")
    except ModuleNotFoundError:
        # Before 1.15.25 there is no such layer, so nothing is missing.
        return lambda: None
    if not isinstance(getattr(retry, "_LLM_RATE_LIMIT_MAX_ATTEMPTS", None), int):
        return None

    def patch() -> None:
        retry._LLM_RATE_LIMIT_MAX_ATTEMPTS = 1  # type: ignore[attr-defined]

    return patch


def _agent() -> Callable[[], None] | None:
    agent = importlib.import_module("crewai.agent.core").Agent
    original = getattr(agent, "_check_execution_error", None)
    if not callable(original):
        return None

    def patch() -> None:
        def give_up(self: Any, *arguments: Any, **options: Any) -> Any:
            self._times_executed = self.max_retry_limit
            return original(self, *arguments, **options)

        agent._check_execution_error = give_up

    return patch


def _client() -> Callable[[], None] | None:
    classes = [found for each in _CLIENTS if (found := _client_class(*each)) is not None]
    if not classes or not all(callable(getattr(each, "_get_client_params", None)) for each in classes):
        return None

    def patch() -> None:
        for each in classes:
            _patch_client_parameters(each)

    return patch


def _client_class(module: str, name: str, package: str) -> Any:
    if importlib.util.find_spec(package) is None:
        return None
    try:
        return getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None


def _patch_client_parameters(client_class: Any) -> None:
    original = client_class._get_client_params

    def without_retries(self: Any, *arguments: Any, **options: Any) -> dict[str, Any]:
        parameters: dict[str, Any] = original(self, *arguments, **options)
        parameters["max_retries"] = 0
        return parameters

    client_class._get_client_params = without_retries


_FINDERS: Final[dict[str, Callable[[], Callable[[], None] | None]]] = {
    "rate_limit": _rate_limit,
    "agent": _agent,
    "client": _client,
}
