"""What a target gave: the part that is wanted, as JSON, and warnings where a success is none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from segue.adapters.langchain.hints import Hints
from segue.worker import outputs
from segue.worker.adapter import Context, Failure

_FAILED_MODEL: Final = "Model call failed after "
_LIMITS: Final = ("Model call limits exceeded: ", "Tool call limit", "call limit reached: ")
_TEXT_CHARS_MAX: Final = 300


def output(value: Any, hints: Hints, context: Context) -> Any:
    """The output of the task. Raises `Failure` of kind `output` for what has no JSON form or no such part."""
    warn(messages_of(value), context)
    wanted = hints.output
    if isinstance(wanted, dict):
        key = wanted["key"]
        if not isinstance(value, Mapping) or key not in value:
            raise Failure("output", f"hints.output: the result has no {key!r}")
        return outputs.to_json(value[key])
    if wanted == "full":
        return outputs.to_json(value)
    if wanted == "text" and isinstance(value, str):
        return value
    messages = messages_of(value)
    if not messages:
        raise Failure("output", f"hints.output: {wanted}: the result has no messages")
    return outputs.to_json(messages[-1] if wanted == "last_message" else text_of(messages[-1]))


def messages_of(value: Any) -> list[Any]:
    """The messages of a state, or the one that it is."""
    if _is_message(value):
        return [value]
    found = value.get("messages") if isinstance(value, Mapping) else getattr(value, "messages", None)
    return [each for each in found if _is_message(each)] if isinstance(found, (list, tuple)) else []


def _is_message(value: Any) -> bool:
    return hasattr(value, "content") and isinstance(getattr(value, "type", None), str)


def text_of(message: Any) -> str:
    """What it says, without what is not text."""
    text = getattr(message, "text", None)
    if isinstance(text, str):
        return str(text)
    return message.content if isinstance(message.content, str) else ""


def warn(messages: list[Any], context: Context) -> None:
    """Some middleware ends a failed agent with a message that says so, which looks like a success."""
    for message in messages:
        text = text_of(message)[:_TEXT_CHARS_MAX]
        if message.type == "ai" and not getattr(message, "tool_calls", None):
            if text.startswith(_FAILED_MODEL):
                context.warn(f"the agent ended with an error text in the place of an answer: {text}")
            elif text.startswith(_LIMITS[0]) or any(mark in text for mark in _LIMITS[1:]):
                context.warn(f"the agent was ended by a limit: {text}")
        elif message.type == "tool" and getattr(message, "status", None) == "error":
            context.warn(f"tool {getattr(message, 'name', None) or '?'} failed: {text}")
