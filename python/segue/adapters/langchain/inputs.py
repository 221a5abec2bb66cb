"""What a target is given."""

from __future__ import annotations

from typing import Any

from segue.adapters.langchain.hints import Hints
from segue.adapters.langchain.targets import INPUTS, is_graph
from segue.worker.adapter import Failure, Start


def given(start: Start, target: Any, hints: Hints) -> Any:
    """The input `input`, else all others as an object; a lone `prompt` becomes a message where there are messages."""
    if "input" in start.inputs:
        return start.inputs["input"]
    reserved = {INPUTS[start.handler], *(["context"] if is_graph(target) else [])}
    values = {name: value for name, value in start.inputs.items() if name not in reserved}
    as_messages = hints.input == "messages" or (
        hints.input is None and list(values) == ["prompt"] and "messages" in (getattr(target, "channels", None) or ())
    )
    if not as_messages:
        return values
    prompt = values.pop("prompt", None)
    if not isinstance(prompt, str):
        raise Failure("invalid_input", "inputs.prompt: a text expected, as `input: messages` makes a message of it")
    return {**values, "messages": [{"role": "user", "content": prompt}]}


def context(start: Start, target: Any) -> dict[str, Any]:
    """A graph's runtime context, as an option of its call."""
    found = start.inputs.get("context")
    return {"context": found} if is_graph(target) and found is not None else {}
