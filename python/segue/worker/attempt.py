"""One attempt in a process of its own.

The main thread runs the adapter. A supervisor thread reads the socket and beats, so that neither a computing nor a
hanging user stops them. Whoever is first decides how the attempt ends; everything after that is dropped.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import threading
import time
from typing import Final, NoReturn

from segue.worker import chunks, current, processes, protocol
from segue.worker.adapter import Adapter, Failure, Question
from segue.worker.conversation import DEADLINE, Conversation

_ACK_SECONDS_MAX: Final = 10.0
_START_SECONDS_MAX: Final = 30.0


class Attempt(Conversation):
    """The attempt that has this process to itself."""

    def __init__(self, channel: protocol.Channel, adapter: Adapter, token: str) -> None:
        super().__init__(adapter, token)
        self._channel = channel
        self._deadline = float("inf")
        self._model_calls = 0
        self._tool_calls = 0
        self._ended = False
        self._acknowledged = threading.Event()
        self._reader = threading.get_ident()
        current.is_alone(self)

    def ask(self, question: Question) -> NoReturn:
        """Ends the attempt by asking; never returns."""
        self._finish(self._stopped() if self._stopping is not None else self._waiting(question))

    def model_call(self, change: int) -> None:
        """A model call begins (+1) or ended (-1)."""
        with self._lock:
            self._model_calls = max(0, self._model_calls + change)
        self._abandon_if_idle()

    def tool_call(self, change: int) -> None:
        """A tool begins (+1) or ended (-1)."""
        with self._lock:
            self._tool_calls = max(0, self._tool_calls + change)
        self._abandon_if_idle()

    # The attempt's life.

    def run(self) -> None:
        """From the `start` message to the end of the process. Returns only if the worker itself has a bug."""
        self._await_start()
        threading.Thread(target=self._supervise, name="segue-supervisor", daemon=True).start()
        self._send({"type": "started"})
        self._finish(self._carry_out())

    def _await_start(self) -> None:
        until = time.monotonic() + _START_SECONDS_MAX
        while self._start is None and not self._ended:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self._channel], [], [], left)[0]:
                os._exit(protocol.EXIT_SETUP)
            self._read()

    def _carry_out(self) -> protocol.Message:
        """Runs the adapter and says how it ended. No exception gets past it."""
        try:
            return self._result(self._adapter.run(self))
        except BaseException as error:
            return self._end_by(error)

    def _finish(self, message: protocol.Message) -> NoReturn:
        """Sends the final message, once, waits for its receipt and ends the process, from whichever thread it is."""
        with self._lock:
            if self._ended:
                final = False
            else:
                self._chunks.flush()
                self._send(message)
                final = self._ended = True
        while not final:
            # Another thread is ending the process.
            threading.Event().wait()
        self._await_acknowledgement()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(0)

    def _await_acknowledgement(self) -> None:
        if threading.get_ident() != self._reader:
            self._acknowledged.wait(_ACK_SECONDS_MAX)
            return
        until = time.monotonic() + _ACK_SECONDS_MAX
        while not self._acknowledged.is_set():
            left = until - time.monotonic()
            if left <= 0 or not select.select([self._channel], [], [], left)[0]:
                return
            self._read()

    # The supervisor.

    def _supervise(self) -> None:
        self._reader = threading.get_ident()
        beat = max(0.05, self.start.heartbeat_ms / 1000)
        next_beat = time.monotonic() + beat
        try:
            while True:
                now = time.monotonic()
                if now >= self._deadline:
                    self._deadline = float("inf")
                    self._stop(DEADLINE)
                if now >= next_beat:
                    next_beat = now + beat
                    self._send(
                        {"type": "heartbeat", "rss_bytes": processes.rss_bytes(), "usage": self._usage.to_json()}
                    )
                wait = min(next_beat, self._deadline) - time.monotonic()
                if self.start.stream:
                    wait = min(wait, chunks.SECONDS)
                    with self._lock:
                        self._chunks.flush_if_due()
                if select.select([self._channel], [], [], max(0.0, wait))[0]:
                    self._read()
        except OSError:
            self._engine_is_gone()

    def _read(self) -> None:
        """Reads what has come. If the engine is gone, so is this process."""
        try:
            messages = self._channel.receive()
        except protocol.ProtocolError as error:
            print(f"segue-worker: {error}", file=sys.stderr)
            messages = None
        if messages is None:
            self._engine_is_gone()
        for message in messages or ():
            self._handle(message)

    def _handle(self, message: protocol.Message) -> None:
        kind = message["type"]
        if kind == "start" and self._start is None:
            try:
                self._begin(message)
            except ValueError as error:
                self._finish(self._error(Failure("invalid_input", str(error)), error))
            if self.start.deadline_ms is not None:
                self._deadline = time.monotonic() + self.start.deadline_ms / 1000
        elif kind == "cancel":
            self._stop(str(message.get("reason") or "cancelled"))
        elif kind == "ack":
            self._acknowledged.set()
        elif kind in ("rpc_ok", "rpc_error"):
            self._calls.answer(message)
        elif kind == "ping":
            self._send({"type": "pong", "id": message.get("id")})

    def _stop(self, reason: str) -> None:
        super()._stop(reason)
        self._abandon_if_idle()

    def _abandon_if_idle(self) -> None:
        """Ends a stopped attempt that only waits for a model: nobody wants its answer, which is still paid for."""
        if self._stopping is not None and self._model_calls and not self._tool_calls and not self._ended:
            self._finish(self._stopped())

    def _engine_is_gone(self) -> None:
        processes.kill_tree(os.getpid())
        os._exit(0)

    def _send(self, message: protocol.Message) -> None:
        """Sends a message without the attempt's secrets, unless the final one has been sent."""
        with self._lock:
            if self._ended:
                return
            try:
                self._channel.send(self._scrubber.message(message))
            except OSError:
                self._engine_is_gone()
