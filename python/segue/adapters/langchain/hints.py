"""What the node's hints say. The engine has checked their form; what could do harm is checked here as well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from segue.worker.adapter import Failure

RECURSION_LIMIT: Final = 100
"""LangGraph's own is 10,007 and an agent's 9,999: a loop would cost thousands of calls."""
_CHECKPOINTS: Final = ("sync", "async", "exit", "off")
_STREAMS: Final = ("tasks", "updates", "messages", "custom")
_RESERVED: Final = ("thread_id", "segue")


@dataclass(frozen=True)
class Hints:
    """Read once an attempt."""

    recursion_limit: int
    max_concurrency: int | None
    configurable: dict[str, Any]
    tags: list[str]
    checkpoint: str
    stream: frozenset[str]
    input: str | None
    output: str | dict[str, str]

    @classmethod
    def of(cls, hints: dict[str, Any]) -> Hints:
        """Reads them. Raises `Failure` of kind `invalid_input`."""
        # YAML 1.1 writers mean "off" when their tools made it false.
        checkpoint = {None: "sync", True: "sync", False: "off"}.get(hints.get("checkpoint"), hints.get("checkpoint"))
        stream = hints.get("stream", ["tasks", "messages"])
        if checkpoint not in _CHECKPOINTS:
            raise _wrong("checkpoint", f"one of {', '.join(_CHECKPOINTS)}")
        if not isinstance(stream, list) or not set(stream) <= set(_STREAMS):
            raise _wrong("stream", f"a list of {', '.join(_STREAMS)}")
        return cls(
            recursion_limit=_number(hints, "recursion_limit") or RECURSION_LIMIT,
            max_concurrency=_number(hints, "max_concurrency"),
            configurable=_configurable(hints.get("configurable") or {}),
            tags=[str(tag) for tag in hints.get("tags") or []],
            checkpoint=checkpoint,
            stream=frozenset(stream),
            input=hints.get("input"),
            output=_output(hints.get("output", "full")),
        )


def _number(hints: dict[str, Any], name: str) -> int | None:
    value = hints.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise _wrong(name, "a whole number, 1 or more")
    return value


def _configurable(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong("configurable", "an object")
    for name in value:
        if name in _RESERVED or name.startswith(("__", "checkpoint_")):
            raise _wrong("configurable", f"no `{name}`, which is Segue's,")
    return value


def _output(value: Any) -> Any:
    if value in ("full", "last_message", "text"):
        return value
    if isinstance(value, dict) and list(value) == ["key"] and isinstance(value["key"], str):
        return value
    raise _wrong("output", "full, last_message, text or {key: NAME}")


def _wrong(name: str, expected: str) -> Failure:
    return Failure("invalid_input", f"hints.{name}: {expected} expected")
