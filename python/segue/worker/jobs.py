"""What an attempt has started on the shared loop: its asyncio tasks and its threads of the executor."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

from segue.worker import current

THREADS: Final = 64
"""Of the executor: synchronous nodes wait for models in them. The interpreter's own number is cores + 4."""
_AGAIN_SECONDS: Final = 0.5
"""How often what heeds no cancel is cancelled again."""


class Jobs:
    """Those of one attempt. To be used on the loop's thread, except for `thread_ended`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._tasks: set[asyncio.Task[Any]] = set()
        self._threads: set[Future[Any]] = set()
        self._changed = asyncio.Event()

    def task_started(self, task: asyncio.Task[Any]) -> None:
        """A task of this attempt begins."""
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)

    def _task_ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        self._changed.set()

    def thread_started(self, future: Future[Any]) -> None:
        """The executor has taken a call."""
        self._threads.add(future)
        future.add_done_callback(self._thread_ended)

    def _thread_ended(self, future: Future[Any]) -> None:
        self._threads.discard(future)
        try:
            self._loop.call_soon_threadsafe(self._changed.set)
        except RuntimeError:
            # The loop is over, and nobody waits.
            return

    def left(self) -> str | None:
        """What still runs, in words."""
        if self._tasks:
            return "a task"
        return "a thread" if self._threads else None

    async def ended(self, late: Callable[[str], None], late_seconds: float) -> None:
        """Cancels what is left until nothing is. `late` hears what does not end in that time."""
        began = self._loop.time()
        told = False
        while (left := self.left()) is not None:
            for task in self._tasks:
                task.cancel()
            for future in list(self._threads):
                # Effective for those that have not begun.
                future.cancel()
            self._changed.clear()
            if self._tasks or self._threads:
                wake = self._loop.call_later(_AGAIN_SECONDS, self._changed.set)
                await self._changed.wait()
                wake.cancel()
            if not told and self._loop.time() - began >= late_seconds:
                told = True
                late(self.left() or left)


class Executor(ThreadPoolExecutor):
    """The loop's default executor: what an attempt gives it runs in that attempt's context and is counted."""

    def __init__(self) -> None:
        super().__init__(THREADS, thread_name_prefix="segue")

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As `ThreadPoolExecutor`."""
        attempt = current.attempt()
        future = super().submit(contextvars.copy_context().run, fn, *args, **kwargs)
        if attempt is not None and attempt.jobs is not None:
            attempt.jobs.thread_started(future)
        return future


def make_task(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
    """The loop's task factory: a task belongs to the attempt in whose context it is made."""
    task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **options)
    attempt = current.attempt()
    if attempt is not None and attempt.jobs is not None:
        attempt.jobs.task_started(task)
    return task


def make_loop() -> asyncio.AbstractEventLoop:
    """A loop that counts what attempts start."""
    loop = asyncio.new_event_loop()
    loop.set_default_executor(Executor())
    loop.set_task_factory(make_task)
    return loop
