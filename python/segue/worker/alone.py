"""An adapter that is made for a shared loop, in a process with one attempt."""

from __future__ import annotations

import asyncio
from typing import Any

from segue.worker.adapter import Context, SharedAdapter, Stopped
from segue.worker.jobs import make_loop


def run(adapter: SharedAdapter, context: Context) -> Any:
    """`Adapter.run` by `SharedAdapter.run_shared`: on a loop of its own, cancelled when the attempt is to stop."""
    loop = make_loop()
    asyncio.set_event_loop(loop)
    task = loop.create_task(adapter.run_shared(context))
    context.on_stop(lambda: loop.call_soon_threadsafe(task.cancel))
    try:
        return loop.run_until_complete(task)
    except asyncio.CancelledError:
        if context.stopping is not None:
            raise Stopped from None
        raise
