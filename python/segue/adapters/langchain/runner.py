"""One attempt: from its inputs, over what they name, to its output."""

from __future__ import annotations

import contextlib
from typing import Any

from segue.adapters.langchain import chains, clients, errors, framework, inputs, targets
from segue.adapters.langchain.hints import Hints
from segue.worker import alone, project
from segue.worker.adapter import Context, Failure, Loaded, Start


class LangChain:
    """Implements `segue.worker.adapter.SharedAdapter`."""

    name = "langchain"

    def load(self) -> Loaded:
        """Imports LangChain and LangGraph."""
        return framework.load()

    def classify(self, error: BaseException) -> Failure:
        """What an exception means."""
        return errors.classify(error)

    def stale(self) -> str | None:
        """Has a file of the user's changed since it was loaded?"""
        return project.stale()

    def run(self, context: Context) -> Any:
        """In a process of its own."""
        return alone.run(self, context)

    async def run_shared(self, context: Context) -> Any:
        """Carries out an attempt."""
        from segue.adapters.langchain import answers
        from segue.adapters.langchain.events import Gate, Listener, Watcher

        start = context.start
        hints = Hints.of(start.hints)
        listens = start.stream and "messages" in hints.stream
        handlers: list[Any] = [Listener(context) if listens else Watcher(context)]
        if start.rehearsal:
            handlers.append(Gate(context))
        async with contextlib.AsyncExitStack() as stack:
            config = _config(start, hints, handlers)
            target = await targets.resolve(start, config, stack)
            context.learn_secrets()
            # Other clients may have been imported by the user's code.
            clients.patch_retries()
            value = await _run(target, context, hints, config)
            return answers.output(value, hints, context)


async def _run(target: Any, context: Context, hints: Hints, config: dict[str, Any]) -> Any:
    start = context.start
    if not targets.is_graph(target):
        return await chains.run(target, inputs.given(start, target, hints), config)
    from segue.adapters.langchain.graphs import GraphRun

    run = GraphRun(target, context, hints, config)
    return await run.run(lambda: inputs.given(start, target, hints), inputs.context(start, target))


def _config(start: Start, hints: Hints, handlers: list[Any]) -> dict[str, Any]:
    """A `RunnableConfig`. Code finds its task in `configurable["segue"]`; callbacks and traces in the metadata."""
    task = {
        "run_id": start.run_id,
        "workflow_id": start.workflow_id,
        "task_id": start.task_id,
        "attempt": start.attempt,
        "idempotency_key": start.idempotency_key,
    }
    config: dict[str, Any] = {
        "recursion_limit": hints.recursion_limit,
        "callbacks": handlers,
        "tags": hints.tags,
        "metadata": {f"segue_{name}": value for name, value in task.items()},
        "configurable": {**hints.configurable, "segue": {**task, "context": start.context}},
    }
    if hints.max_concurrency is not None:
        config["max_concurrency"] = hints.max_concurrency
    return config
