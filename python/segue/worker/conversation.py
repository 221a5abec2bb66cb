"""What an attempt tells the engine, wherever it runs: progress, calls, and how it ended."""

from __future__ import annotations

import os
import threading
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final

from segue.worker import chunks, faults, protocol
from segue.worker.adapter import Adapter, Failure, Question, Start, Stopped, Usage, Waiting
from segue.worker.calls import Calls
from segue.worker.jobs import Jobs
from segue.worker.prints import Lines
from segue.worker.scrub import Scrubber

FINAL: Final = frozenset({"result", "waiting", "error", "cancelled"})
_EVENTS_MAX: Final = 10_000
_EVENT_BYTES_MAX: Final = 4096
_LOG_CHARS_MAX: Final = 4000
_WARNINGS_MAX: Final = 100
DEADLINE: Final = "deadline"
"""Why it stops, when the attempt's own clock says so."""


class Conversation(ABC):
    """One attempt, from its `start` on. Implements `segue.worker.adapter.Context`."""

    def __init__(self, adapter: Adapter, token: str) -> None:
        self._adapter = adapter
        self._scrubber = Scrubber.of_environment([token])
        self._usage = Usage()
        self._warnings: list[str] = []
        self._events = 0
        self._start: Start | None = None
        self._stopping: str | None = None
        self._on_stop: list[Callable[[], object]] = []
        # Guards the order of everything here and of what is sent. Reentrant: a send may log.
        self._lock = threading.RLock()
        self._calls = Calls(self._send)
        self._chunks = chunks.Chunks(self._send)
        self.jobs: Jobs | None = None
        """Where what it starts is counted, if it shares its process."""
        self.lines: Lines | None = None
        """Where what it prints goes, if it shares its process."""

    @abstractmethod
    def _send(self, message: protocol.Message) -> None:
        """Sends a message, from any thread, unless the final one has been sent."""

    # What adapters see.

    @property
    def start(self) -> Start:
        """What is to be done."""
        assert self._start is not None, "adapters run after the start"
        return self._start

    @property
    def usage(self) -> Usage:
        """What it consumed so far."""
        return self._usage

    @property
    def stopping(self) -> str | None:
        """Why it should end."""
        return self._stopping

    def event(self, kind: str, data: dict[str, Any]) -> None:
        """Progress for whoever watches; what is too long or too much is dropped."""
        with self._lock:
            if self._events >= _EVENTS_MAX:
                return
            message = {"type": "event", "seq": self._events + 1, "kind": kind, "data": {"time": time.time(), **data}}
            if len(protocol.encode(message)) > _EVENT_BYTES_MAX:
                message["data"] = {"time": time.time()}
            self._events += 1
            self._send(message)
            if self._events == _EVENTS_MAX:
                self.log("warning", f"{_EVENTS_MAX} events; no more will be sent for this attempt")

    def chunk(self, text: str, **about: str) -> None:
        """A piece of a model's answer, for whoever listens."""
        if self.start.stream and text:
            with self._lock:
                self._chunks.add(text, about)

    def rpc(self, op: str, args: dict[str, Any]) -> Future[Any]:
        """Asks the engine."""
        return self._calls.make(op, args)

    def log(self, level: str, line: str) -> None:
        """A line for the attempt's log."""
        self._send({"type": "log", "level": level, "line": " ".join(line.split())[:_LOG_CHARS_MAX]})

    def print(self, stream: str, line: str) -> None:
        """A line that its code has printed."""
        self._send({"type": "log", "level": "info", "line": line[:_LOG_CHARS_MAX], "stream": stream})

    def warn(self, warning: str) -> None:
        """What a reader should know although it succeeded. Each once, and not without end."""
        with self._lock:
            if warning not in self._warnings and len(self._warnings) < _WARNINGS_MAX:
                self._warnings.append(warning[:1000])

    def learn_secrets(self) -> None:
        """The environment has changed: look for secrets again."""
        with self._lock:
            self._scrubber.learn(os.environ)

    def on_stop(self, act: Callable[[], object]) -> None:
        """Has `act` called when the attempt is to stop."""
        with self._lock:
            self._on_stop.append(act)
            late = self._stopping is not None
        if late:
            act()

    @abstractmethod
    def model_call(self, change: int) -> None:
        """A model call begins (+1) or ended (-1)."""

    @abstractmethod
    def tool_call(self, change: int) -> None:
        """A tool begins (+1) or ended (-1)."""

    # How it begins and ends.

    def _begin(self, message: protocol.Message) -> None:
        """Reads the `start`. Raises `ValueError` for what is wrong with it."""
        self._start = Start.of(message)
        if self._start.provider.api_key:
            self._scrubber.add(self._start.provider.api_key)

    def _stop(self, reason: str) -> None:
        """The attempt is to end; the first reason stays."""
        with self._lock:
            if self._stopping is not None:
                return
            self._stopping = reason
            acts = list(self._on_stop)
        for act in acts:
            act()

    def _result(self, output: Any) -> protocol.Message:
        """What it came to. Raises `ProtocolError` for what cannot be said."""
        message = {"type": "result", "output": output, "usage": self._usage.to_json(), "warnings": list(self._warnings)}
        # Tells before anything is promised whether it has a JSON form and fits.
        protocol.encode(message)
        return message

    def _end_by(self, error: BaseException) -> protocol.Message:
        """The final message for what the adapter raised."""
        if isinstance(error, protocol.NotJson):
            return self._error(Failure("output", f"the output has no JSON form: {error}"), error)
        if isinstance(error, protocol.TooLong):
            return self._error(Failure("output", f"the output is too long: {error}"), error)
        if isinstance(error, Waiting):
            return self._waiting(error.question)
        if isinstance(error, Stopped):
            return self._stopped()
        return self._error(error if isinstance(error, Failure) else self._classify(error), error)

    def _waiting(self, question: Question) -> protocol.Message:
        message = {"type": "waiting", **question.to_json(), "usage": self._usage.to_json()}
        try:
            protocol.encode(message)
        except protocol.ProtocolError as error:
            return self._error(Failure("output", f"what it asks cannot be handed over: {error}"), error)
        return message

    def _classify(self, error: BaseException) -> Failure:
        """The adapter's opinion. Exceptions come from anywhere and may be anything, so it may stumble over one."""
        try:
            return self._adapter.classify(error)
        except Exception as stumbled:
            return Failure("user", f"{faults.type_name(error)} (and {faults.type_name(stumbled)} while it was read)")

    def _stopped(self) -> protocol.Message:
        if self._stopping == DEADLINE:
            return self._error(Failure("timeout", f"not done within {self.start.deadline_ms} ms"), None)
        return {"type": "cancelled", "usage": self._usage.to_json()}

    def _error(self, failure: Failure, error: BaseException | None) -> protocol.Message:
        # A failure that was found out has said all it knows in its message; what it was raised from may tell more.
        if isinstance(error, Failure):
            error = error.__cause__
        trace = "".join(traceback.format_exception(error)) if error is not None else None
        return {
            "type": "error",
            "kind": failure.kind,
            "message": failure.message[:4000],
            "retryable": failure.retryable,
            "retry_after_ms": failure.retry_after_ms,
            "chain": faults.describe(error),
            "trace": trace[-faults.TRACE_CHARS_MAX :] if trace else None,
            "usage": self._usage.to_json(),
            "warnings": list(self._warnings),
        }
