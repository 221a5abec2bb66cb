"""A host and its attempts, as the engine sees them. Calls for checkpoints are answered in the background."""

from __future__ import annotations

import itertools
import queue
import sys
import threading
import time
from pathlib import Path
from typing import Any

from tests.support.checkpoints import Checkpoints
from tests.support.engine import GUARD, MAIN, WAIT_SECONDS, Connection, Engine, Message, Zygote

FINAL = ("result", "waiting", "error", "cancelled")


class Host(Zygote):
    """A host of an adapter."""

    def __init__(self, engine: Engine, adapter: str, cwd: Path | None = None, **environment: str) -> None:
        self._spawns = itertools.count(1)
        self._waiting: dict[str, queue.Queue[Message]] = {}
        forbidden = engine.folder / f"forbidden-{next(_numbers)}.log"
        forbidden.touch()
        worker = [str(MAIN), "--socket", engine.socket_path, "--adapter", adapter, "--mode", "shared"]
        guard = [sys.executable, "-I", "-u", str(GUARD), str(forbidden)]
        super().__init__(engine, [*guard, *worker], cwd=cwd, **environment)
        self.forbidden = forbidden
        self.beats: list[Message] = []
        self.dirty: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._sort, daemon=True).start()

    def _sort(self) -> None:
        while (message := self.connection.next(float("inf"))) is not None:
            if message["type"] == "beat":
                self.beats.append(message)
            elif message["type"] == "dirty":
                self.dirty.put(message["message"])
            elif "spawn_id" in message:
                self._of(message["spawn_id"]).put(message)
            else:
                self._of("").put(message)

    def _of(self, spawn_id: str) -> queue.Queue[Message]:
        return self._waiting.setdefault(spawn_id, queue.Queue())

    def about(self, spawn_id: str) -> Message:
        """The next message about an attempt; with `""`: about none."""
        return self._of(spawn_id).get(timeout=WAIT_SECONDS)

    def try_to_spawn(self) -> tuple[Message, str, queue.Queue[Connection]]:
        """Asks for an attempt: what the host says, its id, and where its connection appears."""
        spawn_id = f"s-{next(self._spawns)}"
        token, waiting = self.engine.expect()
        self.connection.send({"type": "spawn", "spawn_id": spawn_id, "token": token})
        return self.about(spawn_id), spawn_id, waiting

    def admit(self, store: Checkpoints | None = None) -> Guest:
        """An attempt that has said hello."""
        said, spawn_id, waiting = self.try_to_spawn()
        assert said["type"] == "spawned", said
        return Guest(self, spawn_id, waiting.get(timeout=WAIT_SECONDS), store or Checkpoints())


_numbers = itertools.count(1)


class Guest:
    """One attempt of a host."""

    def __init__(self, host: Host, spawn_id: str, connection: Connection, store: Checkpoints) -> None:
        self.host = host
        self.spawn_id = spawn_id
        self.connection = connection
        self.store = store
        self.messages: list[Message] = []
        self._thread: str | None = None
        self._queue: queue.Queue[Message | None] = queue.Queue()

    def start(self, handler: str, inputs: Message, **fields: Any) -> Guest:
        """Sends `start`."""
        message = {
            "type": "start",
            "run_id": "run_1",
            "workflow_id": "flow",
            "task_id": "n1",
            "attempt": 1,
            "idempotency_key": "run_1/n1",
            "handler": handler,
            "target": {},
            "inputs": inputs,
            "hints": {},
            "rehearsal": False,
            "provider": None,
            "base_dir": None,
            "deadline_ms": None,
            "heartbeat_ms": 5000,
            "context": {},
            "resume": None,
            "stream": False,
            "thread": None,
            **fields,
        }
        self._thread = message["thread"]
        self.connection.send(message)
        threading.Thread(target=self._sort, daemon=True).start()
        return self

    def _sort(self) -> None:
        while (message := self.connection.next(float("inf"))) is not None:
            if message["type"] == "rpc":
                self.connection.send(self.store.answer(message, self._thread))
            else:
                self._queue.put(message)
        self._queue.put(None)

    def until(self, *types: str) -> Message:
        """The next message of one of these types."""
        end = time.monotonic() + WAIT_SECONDS
        while True:
            message = self._queue.get(timeout=max(0.0, end - time.monotonic()))
            assert message is not None, f"closed before {types}; {self.host.log.read_text()[-3000:]}"
            self.messages.append(message)
            if message["type"] in types:
                return message

    def has_said_no_more(self) -> bool:
        """Has nothing come that was not read?"""
        return self._queue.empty()

    def event(self, kind: str) -> Message:
        """The data of the next event of this kind."""
        while True:
            message = self.until("event")
            if message["kind"] == kind:
                data: Message = message["data"]
                return data

    def cancel(self, reason: str = "cancelled") -> None:
        """Sends `cancel`."""
        self.connection.send({"type": "cancel", "reason": reason, "grace_ms": 5000})

    def final(self) -> Message:
        """Reads to the final message, acknowledges it and waits for the end."""
        message = self.until(*FINAL)
        self.connection.send({"type": "ack"})
        assert self._queue.get(timeout=WAIT_SECONDS) is None, "nothing comes after the final message"
        exit = self.host.about(self.spawn_id)
        assert (exit["type"], exit.get("code")) == ("exit", 0), exit
        return message

    def output(self) -> Any:
        """The output of the result that it must end with."""
        message = self.final()
        assert message["type"] == "result", message
        return message["output"]

    def error(self) -> Message:
        """The error that it must end with."""
        message = self.final()
        assert message["type"] == "error", message
        return message

    def events(self, kind: str) -> list[Message]:
        """The data of its events of this kind."""
        return [each["data"] for each in self.messages if each["type"] == "event" and each["kind"] == kind]

    def lines(self, stream: str | None = None) -> list[str]:
        """Its log."""
        return [each["line"] for each in self.messages if each["type"] == "log" and each.get("stream") == stream]
