"""Calls to the engine that wait for their answers."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final

from segue.worker.adapter import EngineError
from segue.worker.protocol import Message

UNANSWERED_MAX: Final = 64
"""More of one attempt are not taken by the engine; they wait here."""


class Calls:
    """The calls of one attempt, in the order in which they were made."""

    def __init__(self, send: Callable[[Message], None]) -> None:
        self._send = send
        self._lock = threading.RLock()
        self._last_id = 0
        self._sent: dict[int, Future[Any]] = {}
        self._queue: deque[tuple[Message, Future[Any]]] = deque()
        self._closed: str | None = None

    def make(self, op: str, args: dict[str, Any]) -> Future[Any]:
        """Makes a call. What cannot be said in a line fails at once, as the `ProtocolError` that it is."""
        future: Future[Any] = Future()
        with self._lock:
            if self._closed is not None:
                future.set_exception(EngineError(self._closed))
                return future
            self._last_id += 1
            self._queue.append(({"type": "rpc", "id": self._last_id, "op": op, "args": args}, future))
            self._flush()
        return future

    def _flush(self) -> None:
        while self._queue and len(self._sent) < UNANSWERED_MAX:
            message, future = self._queue.popleft()
            # One that nobody waits for any more is not made; one that is made cannot be taken back.
            if not future.set_running_or_notify_cancel():
                continue
            self._sent[message["id"]] = future
            try:
                self._send(message)
            except Exception as error:
                del self._sent[message["id"]]
                future.set_exception(error)

    def answer(self, message: Message) -> None:
        """Takes an `rpc_ok` or `rpc_error`."""
        with self._lock:
            future = self._sent.pop(message.get("id", 0), None)
            self._flush()
        if future is None:
            return
        if message["type"] == "rpc_ok":
            future.set_result(message.get("value"))
        else:
            future.set_exception(EngineError(str(message.get("message"))))

    def close(self, reason: str) -> None:
        """No answer will come any more."""
        with self._lock:
            self._closed = reason
            left = [*self._sent.values(), *(future for _, future in self._queue)]
            self._sent.clear()
            self._queue.clear()
        for future in left:
            if not future.done():
                future.set_exception(EngineError(reason))
