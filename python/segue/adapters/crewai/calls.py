"""How models are asked: for how long at most, and whether piece by piece."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from segue.adapters.crewai.framework import lookup, subclasses
from segue.worker.adapter import Failure

_COMPLETION = ("crewai.llms.providers.openai.completion", "OpenAICompletion")
_ANTHROPIC = ("crewai.llms.providers.anthropic.completion", "AnthropicCompletion")


def hinted_timeout(hints: dict[str, Any]) -> float | None:
    """The hint `llm_timeout_s`."""
    seconds = hints.get("llm_timeout_s")
    is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if seconds is not None and not (is_number and seconds > 0):
        raise Failure("invalid_input", "hints.crewai.llm_timeout_s: seconds, more than 0, expected")
    return seconds


def shape(timeout: float | None, stream: bool) -> None:
    """From now on every call takes at most `timeout` seconds, and streams if somebody listens.

    The clients are patched, not the models: those of a user's crew may be built already when we see them, and some are
    built inside `kickoff`.
    """
    for client in _clients() if timeout is not None or stream else ():
        parameters = client.__dict__.get("_get_client_params")
        if timeout is not None and callable(parameters):
            client._get_client_params = _limited(parameters, timeout)
        for name in ("call", "acall"):
            call = client.__dict__.get(name)
            if stream and callable(call):
                setattr(client, name, _streaming(call))


def _clients() -> list[Any]:
    found = []
    for base in filter(None, (lookup(*_COMPLETION), lookup(*_ANTHROPIC))):
        found += [base, *subclasses(base)]
    return found


def _limited(original: Callable[..., dict[str, Any]], timeout: float) -> Callable[..., dict[str, Any]]:
    @functools.wraps(original)
    def parameters(self: Any, *arguments: Any, **options: Any) -> dict[str, Any]:
        return {**original(self, *arguments, **options), "timeout": timeout}

    return parameters


def _streaming(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def call(self: Any, *arguments: Any, **options: Any) -> Any:
        self.stream = True
        return original(self, *arguments, **options)

    return call
