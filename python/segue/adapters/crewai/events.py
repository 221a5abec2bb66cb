"""CrewAI's events: a whitelist of them forwarded, their usage summed.

CrewAI's own JSON of an event holds prompts and the API key, its own token total counts a shared model twice, and its
`emission_sequence` is not unique; so fields are picked one by one and everything is counted here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from segue.adapters.crewai import shortcomings
from segue.adapters.crewai.framework import lookup, subclasses
from segue.worker.adapter import Context, Usage

_TEXT_CHARS_MAX: Final = 200
_ERROR_CHARS_MAX: Final = 500
_SETTLE_SECONDS_MAX: Final = 5.0
_CALLS_SECONDS_MAX: Final = 60.0
_TOOLS_SECONDS_MAX: Final = 5.0
_CHUNK: Final = "llm_stream_chunk"

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
    "flow_started": "flow_started",
    "flow_finished": "flow_completed",
    "flow_failed": "flow_failed",
    "flow_paused": "flow_paused",
    "method_execution_started": "method_started",
    "method_execution_finished": "method_completed",
    "method_execution_failed": "method_failed",
    "method_execution_paused": "method_paused",
}
"""CrewAI's type → ours. What is not here is noise."""

_FIELDS: Final = {
    "crew": ("crew_name",),
    "task": ("task_name", "agent_role"),
    "agent": ("task_name", "agent_role"),
    "model": ("task_name", "agent_role", "model", "call_id"),
    "tool": ("tool_name", "task_name", "agent_role"),
    "guardrail": ("task_name", "success"),
    "flow": ("flow_name",),
    "method": ("flow_name", "method_name"),
}
"""What an event tells, by the first word of our kind."""

_NAMES: Final = {
    "crew_name": "crew",
    "task_name": "task",
    "agent_role": "agent",
    "tool_name": "tool",
    "flow_name": "flow",
    "method_name": "method",
}


class Forwarder:
    """Turns CrewAI's events into the attempt's. Never raises: an event must not fail a crew."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._calls_open: set[str] = set()
        self._tools_open = 0
        self._changed = threading.Condition()
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

    def wait_for_quiet(self) -> None:
        """Waits, not without end, until no model is answering and no tool works: what they do is paid for."""
        since = time.monotonic()
        with self._changed:
            while self._context.stopping is None:
                waited = time.monotonic() - since
                is_asking = self._calls_open and waited < _CALLS_SECONDS_MAX
                if not is_asking and not (self._tools_open and waited < _TOOLS_SECONDS_MAX):
                    return
                self._changed.wait(0.1)

    def take(self, source: Any, event: Any) -> None:
        """Takes one event."""
        try:
            said = str(getattr(event, "type", ""))
            kind = _KINDS.get(said)
            if said == _CHUNK:
                self._take_chunk(event)
            elif said in shortcomings.EVENTS:
                self._context.warn(f"{shortcomings.EVENTS[said]}: {_reason(event)}")
            elif kind is not None and not (kind.startswith(("flow", "method")) and _is_inner(source)):
                self._take(kind, event)
        except Exception as error:
            self._context.log("warning", f"an event could not be forwarded: {type(error).__name__}")

    def _take_chunk(self, event: Any) -> None:
        # A tool's arguments come in pieces too, and are nobody's answer.
        if getattr(event, "tool_call", None) is None and isinstance(event.chunk, str):
            about = {"node": event.task_name, "agent": event.agent_role, "message_id": getattr(event, "call_id", None)}
            named = {name: _short(value, _TEXT_CHARS_MAX) for name, value in about.items() if value is not None}
            self._context.chunk(event.chunk, **named)

    def _take(self, kind: str, event: Any) -> None:
        data = _data(kind, event)
        # Usage first: the event may be the last thing this attempt gets to send.
        if kind == "model_call_completed":
            usage = usage_of(getattr(event, "usage", None))
            self._context.usage.add(usage)
            data["usage"] = usage.to_json()
            if (cut := shortcomings.CUT_OFF.get(str(getattr(event, "finish_reason", None)))) is not None:
                self._context.warn(f"an answer of {data.get('model', 'a model')}{_where(data)} {cut}")
        if kind == "tool_failed":
            self.tool_failures.append(_tool_warning(data))
            self._context.warn(self.tool_failures[-1])
        self._context.event(kind, data)
        if kind.startswith("model_call"):
            self._count_model_call(kind, str(getattr(event, "call_id", "")))
        elif kind == "tool_started":
            self._count_tool(+1)
        elif event.type in ("tool_usage_finished", "tool_usage_error"):
            self._count_tool(-1)

    def _count_tool(self, change: int) -> None:
        with self._changed:
            self._tools_open = max(0, self._tools_open + change)
            self._changed.notify_all()
        self._context.tool_call(change)

    def _count_model_call(self, kind: str, call_id: str) -> None:
        """A call that both completed and failed (its answer could not be parsed) ends once."""
        begins = kind == "model_call_started"
        with self._changed:
            if begins == (call_id in self._calls_open):
                return
            (self._calls_open.add if begins else self._calls_open.discard)(call_id)
            self._changed.notify_all()
        self._context.model_call(+1 if begins else -1)


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
    if kind.endswith("_failed") and (error := _error(event)) is not None:
        data["error"] = error
    return data


def _error(event: Any) -> str | None:
    error = getattr(event, "error", None) or getattr(getattr(event, "failure", None), "message", None)
    return None if error is None else _short(error, _ERROR_CHARS_MAX)


def _reason(event: Any) -> str:
    return _error(event) or "no reason given"


def _is_inner(flow: Any) -> bool:
    """An agent is a flow too, and so are steps of the memory: those of CrewAI's own, but for the class of documents."""
    kind = type(flow)
    return kind.__module__.startswith("crewai.") and kind is not lookup("crewai.flow.flow", "Flow")


def _short(value: Any, chars_max: int) -> str:
    return " ".join(str(value).split())[:chars_max]


def _tool_warning(data: Mapping[str, Any]) -> str:
    return f"tool {data.get('tool', '?')} failed{_where(data)}: {data.get('error', 'no reason given')}"


def _where(data: Mapping[str, Any]) -> str:
    return f" in task {data['task']}" if data.get("task") else ""


def _listen_on_the_bus(take: Callable[[Any, Any], None]) -> None:
    bus = lookup("crewai.events.event_bus", "crewai_event_bus")
    base = lookup("crewai.events.base_events", "BaseEvent")
    if bus is None or base is None:
        return
    heard = {_CHUNK, *_KINDS, *shortcomings.EVENTS}
    for event_class in subclasses(base):
        field = getattr(event_class, "model_fields", {}).get("type")
        if field is not None and field.default in heard:
            bus.on(event_class)(take)
