"""Successes that are none: what CrewAI passes over in silence becomes a warning of the result."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, Final

from segue.worker.adapter import Context

_EXECUTORS: Final = (
    "crewai.utilities.agent_utils",
    "crewai.agents.agent_executor",
    "crewai.agents.crew_agent_executor",
    "crewai.experimental.agent_executor",
    "crewai.lite_agent",
)
"""The modules that hold these functions by name."""

_FUNCTIONS: Final = {
    "handle_max_iterations_exceeded": "an agent used up its iterations (max_iter) and was made to answer at once",
    "handle_context_length": "the context window was full; an agent went on with a summary of its messages",
}

EVENTS: Final = {
    "memory_save_failed": "something was not kept in memory",
    "memory_query_failed": "the memory could not be asked",
    "memory_retrieval_failed": "the memory could not be asked",
    "knowledge_query_failed": "the knowledge could not be asked",
    "knowledge_search_query_failed": "the knowledge could not be asked",
    "mcp_connection_failed": "an MCP server could not be reached; its tools were missing",
    "mcp_config_fetch_failed": "an MCP server could not be reached; its tools were missing",
    "agent_reasoning_failed": "an agent could not plan its work",
    "skill_load_failed": "a skill could not be loaded",
    "a2a_connection_error": "another agent could not be reached",
}
"""CrewAI's type of an event → what it means for the result."""

CUT_OFF: Final = {
    "length": "was cut off: it had reached the limit of tokens",
    "max_tokens": "was cut off: it had reached the limit of tokens",
    "content_filter": "was cut off by the provider's filter",
}
"""Why an answer ended, where that was not its end."""


def report(context: Context) -> None:
    """From now on they are warnings of this attempt."""
    for module in filter(None, map(sys.modules.get, _EXECUTORS)):
        for name, what in _FUNCTIONS.items():
            original = vars(module).get(name)
            if callable(original):
                vars(module)[name] = _reported(original, context, what)


def report_unfilled(context: Context, crew: Any) -> None:
    """Without any input CrewAI fills in nothing, and the model reads `{topic}`."""
    fetch = getattr(crew, "fetch_inputs", None)
    names = sorted(fetch()) if callable(fetch) else []
    if names:
        braced = ", ".join(f"{{{name}}}" for name in names)
        context.warn(f"the crew's texts name {braced}, and no input was given: the models read them as they are")


def _reported(original: Callable[..., Any], context: Context, what: str) -> Callable[..., Any]:
    @functools.wraps(original)
    def call(*arguments: Any, **options: Any) -> Any:
        context.warn(what)
        return original(*arguments, **options)

    return call
