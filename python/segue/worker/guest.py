"""One attempt of a host: a task of its loop, with a connection of its own.

Everything here happens on the loop's thread, but for what an attempt's threads say; that is handed to the loop.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Final, NoReturn

from segue.worker import chunks, current, protocol
from segue.worker.adapter import Failure, Question, SharedAdapter, Stopped, Waiting
from segue.worker.conversation import DEADLINE, Conversation
from segue.worker.jobs import Jobs
from segue.worker.prints import Lines

_START_SECONDS_MAX: Final = 30.0
_ACK_SECONDS_MAX: Final = 10.0
_LATE_SECONDS: Final = 8.0
"""What has not ended so long after it was to be over makes the host dirty."""
_CANCEL_AGAIN_SECONDS: Final = 1.0
_CONGESTED_BYTES: Final = 1 << 20


class Guest(Conversation, asyncio.Protocol):
    """The attempt. `live` is its life, from the connection to the last thing it has started."""

    def __init__(
        self,
        adapter: SharedAdapter,
        spawn_id: str,
        token: str,
        loop: asyncio.AbstractEventLoop,
        dirty: Callable[[str], None],
    ) -> None:
        super().__init__(adapter, token)
        self.spawn_id = spawn_id
        self._shared = adapter
        self._token = token
        self._loop = loop
        self._thread = threading.get_ident()
        self._dirty = dirty
        self._received = protocol.Lines()
        self._transport: asyncio.Transport | None = None
        self._begun = asyncio.Event()
        self._acknowledged = asyncio.Event()
        self._ended = False
        # Whoever speaks: in one order. Only the loop's thread writes.
        self._outbox: deque[bytes] = deque()
        self._work: asyncio.Task[protocol.Message] | None = None
        self.jobs = Jobs(loop)
        self.lines = Lines(self)

    async def live(self, socket_path: str) -> None:
        """Connects, carries the attempt out and returns when nothing of it runs any more."""
        try:
            await self._loop.create_unix_connection(lambda: self, socket_path)
        except OSError as error:
            os.write(2, f"segue-worker: {self.spawn_id}: cannot connect: {error}\n".encode())
            return
        assert self._transport is not None, "set by connection_made"
        try:
            await _within(self._begun, _START_SECONDS_MAX)
            if self._start is not None:
                await self._carry_out()
        finally:
            self._ended = True
            self._calls.close("the attempt is over")
            self._transport.close()

    # The connection.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Says who it is."""
        assert isinstance(transport, asyncio.Transport), "a stream"
        self._transport = transport
        hello = {"type": "hello", "role": "attempt", "protocol": [protocol.VERSION], "spawn_id": self.spawn_id}
        transport.write(protocol.encode({**hello, "token": self._token, "pid": os.getpid()}))

    def data_received(self, data: bytes) -> None:
        """Takes what has come."""
        try:
            for message in self._received.take(data):
                self._handle(message)
        except protocol.ProtocolError as error:
            os.write(2, f"segue-worker: {self.spawn_id}: {error}\n".encode("utf-8", "replace"))
            self._hang_up()

    def eof_received(self) -> bool:
        """The engine is not interested any more."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """The same."""
        self._hang_up()

    def _hang_up(self) -> None:
        """Nobody waits for an answer."""
        self._ended = True
        self._stop("gone")
        self._begun.set()
        self._acknowledged.set()

    def _handle(self, message: protocol.Message) -> None:
        kind = message["type"]
        if kind == "start" and self._start is None:
            try:
                self._begin(message)
            except ValueError as error:
                self._final(self._error(Failure("invalid_input", str(error)), error))
            self._begun.set()
        elif kind == "cancel":
            self._stop(str(message.get("reason") or "cancelled"))
        elif kind == "ack":
            self._acknowledged.set()
        elif kind in ("rpc_ok", "rpc_error"):
            self._calls.answer(message)
        elif kind == "ping":
            self._send({"type": "pong", "id": message.get("id")})

    # Its work.

    async def _carry_out(self) -> None:
        self._send({"type": "started"})
        context = contextvars.copy_context()
        context.run(current.enter, self)
        work = self._work = context.run(self._loop.create_task, self._run())
        clock = None
        if self.start.deadline_ms is not None:
            clock = self._loop.call_later(self.start.deadline_ms / 1000, self._stop, DEADLINE)
        flusher = self._loop.call_later(chunks.SECONDS, self._flush_chunks) if self.start.stream else None
        if self._stopping is not None:
            self._cancel()
        await asyncio.wait([work])
        for timer in (clock, flusher):
            if timer is not None:
                timer.cancel()
        message = self._stopped() if work.cancelled() else work.result()
        if self._stopping is not None:
            # Said only when it is so: what it had started is over.
            await self._jobs_ended()
        self._final(message)
        await self._jobs_ended()
        await _within(self._acknowledged, _ACK_SECONDS_MAX)

    async def _run(self) -> protocol.Message:
        """Runs the adapter and says how it ended. No exception gets past it."""
        try:
            output = await self._shared.run_shared(self)
            if self._stopping is not None:
                # It was cancelled and went on: whatever it gives is not what it was asked for.
                raise Stopped
            return self._result(output)
        except asyncio.CancelledError as error:
            return self._end_by(Stopped() if self._stopping is not None else error)
        except BaseException as error:
            # Once it is to stop, whatever comes out of it is that it stopped.
            return self._end_by(Stopped() if self._stopping is not None else error)

    async def _jobs_ended(self) -> None:
        assert self.jobs is not None, "set when it was made"
        await self.jobs.ended(lambda left: self._dirty(f"{left} of {self.spawn_id} does not end"), _LATE_SECONDS)

    def stop_for_good(self) -> None:
        """The engine kills what heeds no cancel. Here nothing can be killed; it is cancelled again and again."""
        self._stop("killed")

    def _stop(self, reason: str) -> None:
        first = self._stopping is None
        super()._stop(reason)
        if first:
            self._cancel()

    def _cancel(self) -> None:
        """Cancels the work until it ends: a node that swallows one cancel is followed by others."""
        if self._work is not None and not self._work.done():
            self._work.cancel()
            self._loop.call_later(_CANCEL_AGAIN_SECONDS, self._cancel)

    # What it says.

    def ask(self, question: Question) -> NoReturn:
        """Ends the attempt by asking, where an exception gets through."""
        raise Waiting(question)

    def model_call(self, change: int) -> None:
        """A cancel takes effect at once in any case."""

    def tool_call(self, change: int) -> None:
        """The same."""

    def _flush_chunks(self) -> None:
        with self._lock:
            self._chunks.flush_if_due()
        if not self._ended:
            self._loop.call_later(chunks.SECONDS, self._flush_chunks)

    def _final(self, message: protocol.Message) -> None:
        with self._lock:
            assert self.lines is not None, "set when it was made"
            self.lines.close()
            self._chunks.flush()
            self._send(message)
            self._ended = True

    def _send(self, message: protocol.Message) -> None:
        """Sends a message without the attempt's secrets, unless the final one has been sent."""
        with self._lock:
            if self._ended or self._transport is None:
                return
            if message["type"] == "chunk" and self._transport.get_write_buffer_size() > _CONGESTED_BYTES:
                return
            self._outbox.append(protocol.encode(self._scrubber.message(message)))
        if threading.get_ident() == self._thread:
            self._post()
        else:
            self._loop.call_soon_threadsafe(self._post)

    def _post(self) -> None:
        while self._outbox and self._transport is not None:
            self._transport.write(self._outbox.popleft())


async def _within(event: asyncio.Event, seconds: float) -> None:
    """Waits for an event, but no longer than this."""
    if event.is_set():
        return
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except asyncio.TimeoutError:
        return
