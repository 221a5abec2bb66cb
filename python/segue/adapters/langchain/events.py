"""What LangChain's callbacks tell: a whitelist of it forwarded, usage summed, tokens passed on to whoever listens.

Prompts, answers and arguments of tools are in none of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Final
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler

from segue.adapters.langchain import clients
from segue.worker import faults
from segue.worker.adapter import Context, Usage

_TEXT_CHARS_MAX: Final = 200
_ERROR_CHARS_MAX: Final = 500
_NO_STREAM: Final = frozenset({"nostream", "langsmith:nostream"})


class Watcher(BaseCallbackHandler):  # type: ignore[misc]
    """Listens to one attempt. LangChain logs and swallows what a handler raises, so it cannot fail an attempt."""

    run_inline = True
    """On the thread that calls, not in the executor: in order, and cheap."""

    def __init__(self, context: Context) -> None:
        super().__init__()
        self._context = context
        self._calls: dict[UUID, dict[str, Any]] = {}
        self._tools: dict[UUID, dict[str, Any]] = {}

    # Models.

    def on_chat_model_start(
        self, serialized: dict[str, Any] | None, messages: list[list[Any]], *, run_id: UUID, **rest: Any
    ) -> None:
        """A chat model is asked."""
        del messages
        self._model_starts(serialized, run_id, rest)

    def on_llm_start(self, serialized: dict[str, Any] | None, prompts: list[str], *, run_id: UUID, **rest: Any) -> None:
        """A model of the older kind is asked."""
        del prompts
        self._model_starts(serialized, run_id, rest)

    def _model_starts(self, serialized: dict[str, Any] | None, run_id: UUID, rest: dict[str, Any]) -> None:
        metadata = rest.get("metadata") or {}
        parameters = rest.get("invocation_params") or {}
        model = metadata.get("ls_model_name") or parameters.get("model") or (serialized or {}).get("name")
        data = _data(model=model, call_id=str(run_id), step=metadata.get("langgraph_node"))
        self._calls[run_id] = data
        self._context.event("model_call_started", data)
        self._context.model_call(+1)

    def on_llm_end(self, response: Any, *, run_id: UUID, **_: Any) -> None:
        """It has answered."""
        usage, is_cached = usage_of(response)
        if not is_cached:
            self._context.usage.add(usage)
        data = self._calls.pop(run_id, {})
        self._context.event("model_call_completed", {**data, "usage": usage.to_json()})
        self._context.model_call(-1)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """It has not."""
        self._context.event("model_call_failed", {**self._calls.pop(run_id, {}), "error": _error(error)})
        self._context.model_call(-1)

    # Tools.

    def on_tool_start(self, serialized: dict[str, Any] | None, input_str: str, *, run_id: UUID, **rest: Any) -> None:
        """A tool begins."""
        del input_str
        metadata = rest.get("metadata") or {}
        data = _data(tool=(serialized or {}).get("name"), step=metadata.get("langgraph_node"))
        self._tools[run_id] = data
        self._context.event("tool_started", data)
        self._context.tool_call(+1)

    def on_tool_end(self, output: Any, *, run_id: UUID, **_: Any) -> None:
        """It ended."""
        failed = getattr(output, "status", None) == "error"
        data = self._tools.pop(run_id, {})
        self._context.event("tool_failed" if failed else "tool_completed", data)
        self._context.tool_call(-1)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """It raised."""
        self._context.event("tool_failed", {**self._tools.pop(run_id, {}), "error": _error(error)})
        self._context.tool_call(-1)


class Listener(Watcher):
    """One that makes models stream. LangChain knows it by the two methods for iterators."""

    def on_llm_new_token(self, token: Any, *, run_id: UUID, chunk: Any = None, **rest: Any) -> None:
        """A piece of an answer."""
        if _NO_STREAM.intersection(rest.get("tags") or ()):
            return
        text = token if isinstance(token, str) else ""
        message = getattr(chunk, "message", None)
        about = _data(node=self._calls.get(run_id, {}).get("step"), message_id=getattr(message, "id", None))
        self._context.chunk(text, **about)

    def tap_output_aiter(self, run_id: UUID, output: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """As it is."""
        del run_id
        return output

    def tap_output_iter(self, run_id: UUID, output: Iterator[Any]) -> Iterator[Any]:
        """As it is."""
        del run_id
        return output


class Gate(BaseCallbackHandler):  # type: ignore[misc]
    """Stops what a rehearsal must not do. Unlike others, what it raises ends the call."""

    raise_error = True
    run_inline = True

    def __init__(self, context: Context) -> None:
        super().__init__()
        self._context = context

    def on_chat_model_start(self, serialized: Any, messages: Any, **rest: Any) -> None:
        """Before a chat model is asked."""
        del serialized, messages
        clients.refuse_in_rehearsal(self._context.start, str((rest.get("metadata") or {}).get("ls_provider") or ""))

    def on_llm_start(self, serialized: Any, prompts: Any, **rest: Any) -> None:
        """Before a model of the older kind is asked."""
        self.on_chat_model_start(serialized, prompts, **rest)


def usage_of(response: Any) -> tuple[Usage, bool]:
    """One answered call, and whether a cache of the user's answered it."""
    reported: Any = None
    for generation in (each for batch in getattr(response, "generations", None) or () for each in batch):
        reported = getattr(getattr(generation, "message", None), "usage_metadata", None)
        if reported:
            break
    if not reported:
        reported = _of_older(response)
    details = reported.get("input_token_details") or {}
    usage = Usage(
        model_calls=1,
        input_tokens=int(reported.get("input_tokens") or 0),
        output_tokens=int(reported.get("output_tokens") or 0),
        cached_input_tokens=int(details.get("cache_read") or 0),
    )
    return usage, reported.get("total_cost") == 0


def _of_older(response: Any) -> dict[str, Any]:
    found = (getattr(response, "llm_output", None) or {}).get("token_usage") or {}
    return {"input_tokens": found.get("prompt_tokens"), "output_tokens": found.get("completion_tokens")}


def _data(**values: Any) -> dict[str, str]:
    return {name: str(value)[:_TEXT_CHARS_MAX] for name, value in values.items() if value is not None}


def _error(error: BaseException) -> str:
    return f"{faults.type_name(error)}: {' '.join(faults.text(error).split())}"[:_ERROR_CHARS_MAX]
