"""A graph's interrupts as questions to a person, and the answers as what resumes it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from segue.worker import outputs
from segue.worker.adapter import Item, Question

_PROMPT_KEYS: Final = ("question", "prompt", "message", "instruction", "description", "task")
_PROMPT_CHARS_MAX: Final = 1000
_DECISIONS: Final = ("approve", "edit", "reject", "respond")


def question(interrupts: Iterable[Any], note: str = "") -> Question:
    """What a person is asked; each interrupt is an item, under its own id."""
    items = [_item(interrupt) for interrupt in interrupts]
    prompt = "; ".join(dict.fromkeys(_prompt(item.value) for item in items)) + note
    return Question(prompt[:_PROMPT_CHARS_MAX], items, {"interrupts": [item.id for item in items]})


def is_token(token: Any) -> bool:
    """Is it what a question of ours said as its `resume`?"""
    return isinstance(token, dict) and isinstance(token.get("interrupts"), list)


def _item(interrupt: Any) -> Item:
    value = outputs.to_json(interrupt.value)
    schema = _schema(getattr(interrupt, "response_schema", None)) or _review_schema(value)
    return Item(interrupt.id, value, schema)


def _schema(declared: Any) -> dict[str, Any] | None:
    """A JSON Schema, also from a model of pydantic."""
    if isinstance(declared, dict):
        return declared
    make = getattr(declared, "model_json_schema", None)
    return make() if callable(make) else None


def _prompt(value: Any) -> str:
    if isinstance(value, str) and value.strip():
        return value.strip()
    if isinstance(value, dict):
        requests = value.get("action_requests")
        if isinstance(requests, list) and requests:
            names = ", ".join(str(each.get("name", "?")) for each in requests if isinstance(each, dict))
            return f"The agent wants to use {names}: approve, edit or reject"
        for key in _PROMPT_KEYS:
            if isinstance(value.get(key), str):
                return str(value[key])
    return "The graph asks"


def _review_schema(value: Any) -> dict[str, Any] | None:
    """What `HumanInTheLoopMiddleware` takes as an answer: a decision for each action, in their order."""
    requests = value.get("action_requests") if isinstance(value, dict) else None
    configs = value.get("review_configs") if isinstance(value, dict) else None
    if not isinstance(requests, list) or not isinstance(configs, list) or not requests:
        return None
    allowed = {each.get("action_name"): each.get("allowed_decisions") for each in configs if isinstance(each, dict)}
    found = [name for each in allowed.values() for name in each or _DECISIONS]
    decision = {
        "type": "object",
        "required": ["type"],
        "properties": {
            "type": {"enum": list(dict.fromkeys(found)) or list(_DECISIONS)},
            "message": {"type": "string"},
            "edited_action": {"type": "object", "required": ["name", "args"]},
        },
    }
    decisions = {"type": "array", "minItems": len(requests), "maxItems": len(requests), "items": decision}
    return {"type": "object", "required": ["decisions"], "properties": {"decisions": decisions}}
