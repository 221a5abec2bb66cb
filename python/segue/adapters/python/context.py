"""What a function gets that has a parameter called `context`."""

from __future__ import annotations

from typing import Any

from segue.worker.adapter import Context


class TaskContext:
    """Which attempt of which task this is, and how to speak to its log."""

    def __init__(self, context: Context) -> None:
        self._context = context
        start = context.start
        self.run_id = start.run_id
        self.workflow_id = start.workflow_id
        self.task_id = start.task_id
        self.attempt = start.attempt
        """From 1."""
        self.idempotency_key = start.idempotency_key
        """The same in all attempts: for services that are not to do a thing twice."""
        self.base_dir = start.base_dir
        """The folder of the workflow."""
        self.values: dict[str, Any] = start.context
        """What was given to the run for all of its tasks."""

    @property
    def stopping(self) -> bool:
        """Is it to end? An asynchronous function is cancelled; a synchronous one has to look."""
        return self._context.stopping is not None

    def log(self, line: str, level: str = "info") -> None:
        """A line for the task's log (`debug`, `info`, `warning`, `error`)."""
        self._context.log(level, line)
