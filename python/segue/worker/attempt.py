"""One attempt's conversation with the engine.

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
import traceback
from typing import Any, Final, NoReturn

from segue.worker import chunks, faults, processes, protocol
from segue.worker.adapter import Adapter, Failure, Question, Start, Stopped, Usage, Waiting
from segue.worker.scrub import Scrubber

_ACK_SECONDS_MAX: Final = 10.0
_START_SECONDS_MAX: Final = 30.0
_EVENTS_MAX: Final = 10_000
_EVENT_BYTES_MAX: Final = 4096
_LOG_CHARS_MAX: Final = 4000
_WARNINGS_MAX: Final = 100


class Attempt:
    """Implements `segue.worker.adapter.Context`."""

    def __init__(self, channel: protocol.Channel, adapter: Adapter, token: str) -> None:
        self._channel = channel
        self._adapter = adapter
        self._scrubber = Scrubber.of_environment([token])
        self._usage = Usage()
        self._warnings: list[str] = []
        self._events = 0
        self._start: Start | None = None
        self._stopping: str | None = None
        self._deadline = float("inf")
        # Guards the order of everything below and of what is sent. Reentrant: a send may log.
        self._lock = threading.RLock()
        self._model_calls = 0
        self._tool_calls = 0
        self._ended = False
        self._acknowledged = threading.Event()
        self._reader = threading.get_ident()
        self._chunks = chunks.Chunks(self._send)

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

    def ask(self, question: Question) -> NoReturn:
        """Ends the attempt by asking; never returns."""
        self._finish(self._stopped() if self._stopping is not None else self._waiting(question))

    def log(self, level: str, line: str) -> None:
        """A line for the attempt's log."""
        self._send({"type": "log", "level": level, "line": " ".join(line.split())[:_LOG_CHARS_MAX]})

    def warn(self, warning: str) -> None:
        """What a reader should know although it succeeded. Each once, and not without end."""
        with self._lock:
            if warning not in self._warnings and len(self._warnings) < _WARNINGS_MAX:
                self._warnings.append(warning[:1000])

    def learn_secrets(self) -> None:
        """The environment has changed: look for secrets again."""
        with self._lock:
            self._scrubber.learn(os.environ)

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
            output = self._adapter.run(self)
            message = {
                "type": "result",
                "output": output,
                "usage": self._usage.to_json(),
                "warnings": list(self._warnings),
            }
            # Tells before anything is promised whether it has a JSON form and fits.
            protocol.encode(message)
        except protocol.NotJson as error:
            return self._error(Failure("output", f"the output has no JSON form: {error}"), error)
        except protocol.TooLong as error:
            return self._error(Failure("output", f"the output is too long: {error}"), error)
        except Waiting as asked:
            return self._waiting(asked.question)
        except Stopped:
            return self._stopped()
        except BaseException as error:
            return self._error(error if isinstance(error, Failure) else self._classify(error), error)
        return message

    def _classify(self, error: BaseException) -> Failure:
        """The adapter's opinion. Exceptions come from anywhere and may be anything, so it may stumble over one."""
        try:
            return self._adapter.classify(error)
        except Exception as stumbled:
            return Failure("user", f"{faults.type_name(error)} (and {faults.type_name(stumbled)} while it was read)")

    def _waiting(self, question: Question) -> protocol.Message:
        message = {"type": "waiting", **question.to_json(), "usage": self._usage.to_json()}
        try:
            protocol.encode(message)
        except protocol.ProtocolError as error:
            return self._error(Failure("output", f"what it asks cannot be handed over: {error}"), error)
        return message

    def _stopped(self) -> protocol.Message:
        if self._stopping == "deadline":
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
                    self._stop("deadline")
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
                self._start = Start.of(message)
            except ValueError as error:
                self._finish(self._error(Failure("invalid_input", str(error)), error))
            if self._start.deadline_ms is not None:
                self._deadline = time.monotonic() + self._start.deadline_ms / 1000
        elif kind == "cancel":
            self._stop(str(message.get("reason") or "cancelled"))
        elif kind == "ack":
            self._acknowledged.set()
        elif kind == "ping":
            self._send({"type": "pong", "id": message.get("id")})

    def _stop(self, reason: str) -> None:
        if self._stopping is None:
            self._stopping = reason
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
