"""Graphs, agents and `@entrypoint` workflows: begun, taken up again, or resumed with answers.

A thread has one beginning. Where a checkpoint is there already, the input is never given again: reducers would add it
to what they have.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Final

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import Command

from segue.adapters.langchain import questions
from segue.adapters.langchain.framework import lookup
from segue.adapters.langchain.hints import Hints
from segue.adapters.langchain.saver import SegueSaver
from segue.worker import outputs
from segue.worker.adapter import Context, Failure, Waiting

_ERROR_CHARS_MAX: Final = 500
_STRICT: Final = "__pregel_strict_resume"
"""A second answer to the same question is refused, instead of answering the next one."""


class GraphRun:
    """One attempt of a graph."""

    def __init__(self, graph: Any, context: Context, hints: Hints, config: dict[str, Any]) -> None:
        self._context = context
        self._hints = hints
        self._graph = self._with_saver(graph)
        self._has_saver = isinstance(self._graph.checkpointer, BaseCheckpointSaver)
        configurable = {**config["configurable"], _STRICT: True}
        if self._has_saver:
            start = context.start
            configurable["thread_id"] = start.thread or f"{start.run_id}/{start.task_id}"
        self._config = {**config, "configurable": configurable}

    def _with_saver(self, graph: Any) -> Any:
        """A graph that has no checkpointer of its own gets ours."""
        thread = self._context.start.thread
        if thread is None or self._hints.checkpoint == "off" or isinstance(graph.checkpointer, BaseCheckpointSaver):
            return graph
        return graph.copy(update={"checkpointer": SegueSaver(self._context, thread)})

    async def run(self, value: Callable[[], Any], options: dict[str, Any]) -> Any:
        """Its output. `value` makes the input, where one is wanted. Raises `Waiting` for its interrupts."""
        entries = await self._entries(value)
        for entry in entries[:-1]:
            with contextlib.suppress(_unknown_interrupt()):
                return await self._stream(entry, options)
        return await self._stream(entries[-1], options)

    async def _entries(self, value: Callable[[], Any]) -> list[Any]:
        """What to begin with; each if the one before it turns out to be too late."""
        start = self._context.start
        if start.resume is not None and not questions.is_token(start.resume.token):
            raise Failure("invalid_input", "it cannot be resumed: the token is none of LangGraph's questions")
        is_first = start.attempt <= 1 and start.resume is None
        if is_first or not self._has_saver:
            if start.resume is not None:
                raise Failure("invalid_input", "it cannot be resumed: it has no checkpointer any more")
            return [value()]
        state = await self._graph.aget_state(self._config)
        if state.created_at is None:
            if start.resume is not None:
                raise Failure("invalid_input", "it cannot be resumed: the checkpoint at which it asked is gone")
            return [value()]
        self._context.log("info", f"goes on at {', '.join(state.next) or 'its end'}")
        if start.resume is None:
            return [None]
        # The answers may have taken effect already, in an attempt that was lost; then it only goes on.
        pending = {interrupt.id for task in state.tasks for interrupt in task.interrupts}
        answers = {id: answer for id, answer in start.resume.answers.items() if id in pending}
        return [Command(resume=answers), None] if answers else [None]

    async def _stream(self, entry: Any, options: dict[str, Any]) -> Any:
        latest: Any = None
        interrupts: list[Any] = []
        try:
            async for part in self._graph.astream(entry, self._config, **options, **self._options()):
                if part["type"] != "values":
                    self._forward(part)
                elif not part["ns"]:
                    latest = part["data"]
                    interrupts.extend(part.get("interrupts") or ())
        except Exception as error:
            if not _is_unfit_answer(error):
                raise
            raise await self._ask_again(error) from error
        if interrupts:
            raise self._waiting(interrupts)
        return latest

    def _options(self) -> dict[str, Any]:
        modes = ["values", *sorted(self._hints.stream - {"messages"})]
        options: dict[str, Any] = {
            "stream_mode": modes,
            "output_keys": self._graph.output_channels,
            "version": "v2",
            "subgraphs": "custom" in modes,
        }
        if self._has_saver and self._hints.checkpoint != "off":
            options["durability"] = self._hints.checkpoint
        return options

    def _waiting(self, interrupts: list[Any], note: str = "") -> Waiting:
        if not self._has_saver:
            raise Failure(
                "invalid_input",
                "it asks (interrupt), but has no checkpointer, so that it could never go on; "
                "leave the hint `checkpoint` away",
            )
        unique = {interrupt.id: interrupt for interrupt in interrupts}
        return Waiting(questions.question(unique.values(), note))

    async def _ask_again(self, error: BaseException) -> Waiting:
        """The answer did not fit, and nothing of it was kept."""
        state = await self._graph.aget_state(self._config)
        pending = [interrupt for task in state.tasks for interrupt in task.interrupts]
        if not pending:
            raise error
        said = " ".join(str(error).split())[:_ERROR_CHARS_MAX]
        return self._waiting(pending, f" (the last answer did not fit: {said})")

    # Progress.

    def _forward(self, part: dict[str, Any]) -> None:
        data = part["data"]
        where = {"within": "/".join(each.partition(":")[0] for each in part["ns"])} if part["ns"] else {}
        if part["type"] == "tasks":
            self._forward_step(data, where)
        elif part["type"] == "updates":
            for step, update in data.items() if isinstance(data, dict) else ():
                keys = [str(key) for key in update] if isinstance(update, dict) else []
                self._context.event("step_updated", {"step": step, "keys": keys, **where})
        elif part["type"] == "custom":
            # What user code hands to its stream writer is meant to be seen.
            with contextlib.suppress(Failure):
                self._context.event("custom", {"data": outputs.to_json(data), **where})

    def _forward_step(self, data: dict[str, Any], where: dict[str, str]) -> None:
        named = {"step": str(data.get("name")), **where}
        if "input" in data:
            self._context.event("step_started", named)
        elif data.get("error"):
            self._context.event("step_failed", {**named, "error": str(data["error"])[:_ERROR_CHARS_MAX]})
        elif data.get("interrupts"):
            self._context.event("step_waiting", named)
        else:
            self._context.event("step_completed", named)


def _unknown_interrupt() -> Any:
    return lookup("langgraph.errors", "UnknownInterruptError") or ()


def _is_unfit_answer(error: BaseException) -> bool:
    check = lookup("langgraph.errors", "is_invalid_resume")
    return bool(check is not None and check(error))
