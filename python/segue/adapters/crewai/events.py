"""CrewAI's events: a whitelist of them forwarded, their usage summed.

CrewAI's own JSON of an event holds prompts and the API key, its own token total counts a shared model twice, and its
`emission_sequence` is not unique; so fields are picked one by one and everything is counted here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from segue.adapters.crewai.framework import lookup, subclasses
from segue.worker.adapter import Context, Usage

_TEXT_CHARS_MAX: Final = 200
_ERROR_CHARS_MAX: Final = 500
_SETTLE_SECONDS_MAX: Final = 5.0

_KINDS: Final = {
    "crew_kickoff_started": "crew_started",
    "crew_kickoff_completed": "crew_completed",
    "crew_kickoff_failed": "crew_failed",
    "task_started": "task_started",
    "task_completed": "task_completed",
    "task_failed": "task_failed",
    "agent_execution_started": "agent_started",
    "agent_execution_completed": "agent_completed",
    "agent_execution_error": "agent_failed",
    "lite_agent_execution_started": "agent_started",
    "lite_agent_execution_completed": "agent_completed",
    "lite_agent_execution_error": "agent_failed",
    "llm_call_started": "model_call_started",
    "llm_call_completed": "model_call_completed",
    "llm_call_failed": "model_call_failed",
    "tool_usage_started": "tool_started",
    "tool_usage_finished": "tool_completed",
    "tool_usage_error": "tool_failed",
    "tool_failure_detected": "tool_failed",
    "llm_guardrail_completed": "guardrail_completed",
}
"""CrewAI's type → ours. What is not here (an agent is an inner flow, for instance) is noise."""

_FIELDS: Final = {
    "crew": ("crew_name",),
    "task": ("task_name", "agent_role"),
    "agent": ("task_name", "agent_role"),
    "model": ("task_name", "agent_role", "model", "call_id"),
    "tool": ("tool_name", "task_name", "agent_role"),
    "guardrail": ("task_name", "success"),
}
"""What an event tells, by the first word of our kind."""

_NAMES: Final = {"crew_name": "crew", "task_name": "task", "agent_role": "agent", "tool_name": "tool"}


class Forwarder:
    """Turns CrewAI's events into the attempt's. Never raises: an event must not fail a crew."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._calls_open: set[str] = set()
        self.tool_failures: list[str] = []

    def attach(self) -> None:
        """Listens from now on, in this context and those made from it."""
        add_stream_sink = lookup("crewai.events.stream_context", "add_stream_sink")
        if add_stream_sink is not None:
            add_stream_sink(self.take)
            return
        self._context.log("warning", "no stream sink in this crewai; events come from its process-wide bus")
        _listen_on_the_bus(self.take)

    def settle(self) -> None:
        """Waits for what is under way: the bus calls its listeners from threads of its own."""
        flush = getattr(lookup("crewai.events.event_bus", "crewai_event_bus"), "flush", None)
        if flush is not None:
            flush(_SETTLE_SECONDS_MAX)

    def take(self, _source: Any, event: Any) -> None:
        """Takes one event."""
        try:
            kind = _KINDS.get(str(getattr(event, "type", "")))
            if kind is not None:
                self._take(kind, event)
        except Exception as error:
            self._context.log("warning", f"an event could not be forwarded: {type(error).__name__}")

    def _take(self, kind: str, event: Any) -> None:
        data = _data(kind, event)
        # Usage first: the event may be the last thing this attempt gets to send.
        if kind == "model_call_completed":
            usage = usage_of(getattr(event, "usage", None))
            self._context.usage.add(usage)
            data["usage"] = usage.to_json()
        if kind == "tool_failed":
            self.tool_failures.append(_tool_warning(data))
            self._context.warn(self.tool_failures[-1])
        self._context.event(kind, data)
        if kind.startswith("model_call"):
            self._count_model_call(kind, str(getattr(event, "call_id", "")))
        elif kind == "tool_started":
            self._context.tool_call(+1)
        elif event.type in ("tool_usage_finished", "tool_usage_error"):
            self._context.tool_call(-1)

    def _count_model_call(self, kind: str, call_id: str) -> None:
        """A call that both completed and failed (its answer could not be parsed) ends once."""
        if kind == "model_call_started":
            if call_id not in self._calls_open:
                self._calls_open.add(call_id)
                self._context.model_call(+1)
        elif call_id in self._calls_open:
            self._calls_open.discard(call_id)
            self._context.model_call(-1)


def usage_of(reported: Mapping[str, Any] | None) -> Usage:
    """One answered call, in whatever spelling its provider has."""
    reported = reported or {}

    def first(*names: str) -> int:
        for name in names:
            value = reported.get(name)
            if isinstance(value, int) and value > 0:
                return value
        return 0

    return Usage(
        model_calls=1,
        input_tokens=first("prompt_tokens", "prompt_token_count", "input_tokens"),
        output_tokens=first("completion_tokens", "candidates_token_count", "output_tokens"),
        cached_input_tokens=first("cached_prompt_tokens", "cached_tokens", "cached_content_token_count"),
    )


def _data(kind: str, event: Any) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for name in _FIELDS[kind.partition("_")[0]]:
        value = getattr(event, name, None)
        task = getattr(event, "task", None)
        if name == "agent_role" and value is None:
            agent = getattr(event, "agent", None) or getattr(task, "agent", None)
            value = getattr(agent, "role", None)
        if name == "task_name" and value is None:
            value = getattr(task, "name", None) or getattr(task, "description", None)
        if isinstance(value, bool):
            data[_NAMES.get(name, name)] = value
        elif value is not None:
            data[_NAMES.get(name, name)] = _short(value, _TEXT_CHARS_MAX)
    error = getattr(event, "error", None) or getattr(getattr(event, "failure", None), "message", None)
    if kind.endswith("_failed") and error is not None:
        data["error"] = _short(error, _ERROR_CHARS_MAX)
    return data


def _short(value: Any, chars_max: int) -> str:
    return " ".join(str(value).split())[:chars_max]


def _tool_warning(data: Mapping[str, Any]) -> str:
    where = f" in task {data['task']}" if data.get("task") else ""
    return f"tool {data.get('tool', '?')} failed{where}: {data.get('error', 'no reason given')}"


def _listen_on_the_bus(take: Callable[[Any, Any], None]) -> None:
    bus = lookup("crewai.events.event_bus", "crewai_event_bus")
    base = lookup("crewai.events.base_events", "BaseEvent")
    if bus is None or base is None:
        return
    for event_class in subclasses(base):
        field = getattr(event_class, "model_fields", {}).get("type")
        if field is not None and field.default in _KINDS:
            bus.on(event_class)(take)
