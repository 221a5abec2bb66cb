"""The engine's side of the protocol, as small as tests allow. Every wait is for a message and bounded."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

BUNDLE = Path(__file__).parents[2]
MAIN = BUNDLE / "segue" / "worker" / "main.py"
GUARD = Path(__file__).with_name("guarded.py")
WAIT_SECONDS = 60.0

Message = dict[str, Any]


class Connection:
    """One connection of a worker: its messages, in a queue; None at its end."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._file = connection.makefile("rb")
        self._queue: queue.Queue[Message | None] = queue.Queue()
        self.hello = self._line() or {}
        threading.Thread(target=self._read, daemon=True).start()

    def _line(self) -> Message | None:
        line = self._file.readline()
        if not line:
            return None
        message: Message = json.loads(line)
        return message

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while (message := self._line()) is not None:
                self._queue.put(message)
        self._queue.put(None)

    def send(self, message: Message) -> None:
        """Sends a message."""
        self._socket.sendall(json.dumps(message).encode() + b"\n")

    def send_raw(self, line: bytes) -> None:
        """Sends anything."""
        self._socket.sendall(line)

    def next(self, until: float | None = None) -> Message | None:
        """The next message; None: the other end is closed. `until`: at the latest, on the monotonic clock."""
        left = WAIT_SECONDS if until is None else max(0.0, until - time.monotonic())
        return self._queue.get(timeout=None if left == float("inf") else left)

    def until(self, *types: str) -> Message:
        """The next message of one of these types."""
        # Heartbeats keep coming, so that a wait for each message alone would never end.
        end = time.monotonic() + WAIT_SECONDS
        while True:
            message = self.next(end)
            assert message is not None, f"closed before {types}"
            if message["type"] in types:
                return message

    def close(self) -> None:
        """Closes the engine's end."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class Engine:
    """Listens; sorts connections by the token of their `hello`."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="segue-test-"))
        self.socket_path = str(self.folder / "s")
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.socket_path)
        self._listener.listen()
        self._waiting: dict[str, queue.Queue[Connection]] = {}
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                accepted, _ = self._listener.accept()
                threading.Thread(target=self._greet, args=(accepted,), daemon=True).start()

    def _greet(self, accepted: socket.socket) -> None:
        connection = Connection(accepted)
        waiting = self._waiting.get(connection.hello.get("token", ""))
        if waiting is None:
            connection.close()
        else:
            waiting.put(connection)

    def expect(self) -> tuple[str, queue.Queue[Connection]]:
        """A fresh token and where its connection will appear."""
        token = secrets.token_hex(16)
        self._waiting[token] = queue.Queue()
        return token, self._waiting[token]

    def close(self) -> None:
        """Stops listening and removes everything."""
        self._listener.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Zygote:
    """A worker process and its connection."""

    def __init__(
        self, engine: Engine, program: list[str] | None = None, *, cwd: Path | None = None, **environment: str
    ) -> None:
        self.engine = engine
        self._numbers = itertools.count(1)
        token, waiting = engine.expect()
        clean = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
        clean["HOME"] = str(engine.folder)
        self.log = engine.folder / f"zygote-{token[:6]}.log"
        self.forbidden = engine.folder / f"forbidden-{token[:6]}.log"
        self.forbidden.touch()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                program
                or [
                    sys.executable,
                    "-I",
                    "-u",
                    str(GUARD),
                    str(self.forbidden),
                    str(MAIN),
                    "--socket",
                    engine.socket_path,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**clean, "SEGUE_WORKER_TOKEN": token, **environment},
                start_new_session=True,
                cwd=cwd,
            )
        try:
            self.connection = waiting.get(timeout=WAIT_SECONDS)
        except queue.Empty:
            self.process.kill()
            raise AssertionError(f"no hello:\n{self.log.read_text()}") from None
        self.hello = self.connection.hello

    def spawn(self, cwd: Path, **environment: str | None) -> Attempt:
        """Forks an attempt and waits for its `hello`."""
        return Attempt(self, f"s-{next(self._numbers)}", cwd, environment)

    def until(self, kind: str, spawn_id: str) -> Message:
        """The next message of this type about this attempt."""
        while True:
            message = self.connection.until(kind)
            if message["spawn_id"] == spawn_id:
                return message

    def close(self) -> int:
        """Closes the connection and waits for the process."""
        self.connection.close()
        return self.process.wait(timeout=WAIT_SECONDS)


class Attempt:
    """One attempt: its connection, its streams, its end."""

    def __init__(self, zygote: Zygote, spawn_id: str, cwd: Path, environment: dict[str, str | None]) -> None:
        self.zygote = zygote
        self.spawn_id = spawn_id
        folder = zygote.engine.folder / secrets.token_hex(4)
        folder.mkdir()
        self._logs = {name: _Fifo(folder / name) for name in ("out", "err")}
        token, waiting = zygote.engine.expect()
        self.storage = folder / "storage"
        self.storage.mkdir()
        zygote.connection.send(
            {
                "type": "spawn",
                "spawn_id": spawn_id,
                "token": token,
                "env": {"CREWAI_STORAGE_DIR": str(self.storage), **environment},
                "cwd": str(cwd),
                "stdout": str(folder / "out"),
                "stderr": str(folder / "err"),
            }
        )
        self.pid: int = zygote.until("spawned", spawn_id)["pid"]
        self.connection = waiting.get(timeout=WAIT_SECONDS)
        self.messages: list[Message] = []

    def start(self, handler: str, inputs: Message, **fields: Any) -> None:
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
        }
        self.connection.send({**message, **fields})

    def final(self) -> Message:
        """Reads to the final message, acknowledges it and waits for the end of the process."""
        message: Message | None = None
        end = time.monotonic() + WAIT_SECONDS
        while message is None or message["type"] not in ("result", "waiting", "error", "cancelled"):
            message = self.connection.next(end)
            assert message is not None, f"no final message:\n{self.stderr()}"
            self.messages.append(message)
        self.connection.send({"type": "ack"})
        assert self.connection.next() is None, "nothing comes after the final message"
        exit = self.exit()
        assert exit.get("code") == 0, (exit, self.stderr())
        return message

    def exit(self) -> Message:
        """The zygote's word that it is over."""
        return self.zygote.until("exit", self.spawn_id)

    def events(self, kind: str) -> list[Message]:
        """The data of its events of this kind."""
        return [each["data"] for each in self.messages if each["type"] == "event" and each["kind"] == kind]

    def stdout(self) -> str:
        """All of its stdout; waits for its end."""
        return self._logs["out"].read()

    def stderr(self) -> str:
        """All of its stderr; waits for its end."""
        return self._logs["err"].read()


class _Fifo:
    """A FIFO that is read from the start, so that its writer never waits."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        # A writer of our own, until the end is asked for: else the end would come before the beginning.
        self._keep = os.open(path, os.O_WRONLY)
        os.set_blocking(self._fd, True)
        self._data = bytearray()
        self._thread = threading.Thread(target=self._drain, daemon=True)
        self._thread.start()

    def _drain(self) -> None:
        while chunk := os.read(self._fd, 65536):
            self._data += chunk
        os.close(self._fd)

    def read(self) -> str:
        if self._keep >= 0:
            os.close(self._keep)
            self._keep = -1
        self._thread.join(WAIT_SECONDS)
        return self._data.decode(errors="replace")
