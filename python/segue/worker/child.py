"""What a forked process does before it is an attempt: a session, streams, an environment, a connection of its own."""

from __future__ import annotations

import io
import os
import signal
import sys
import tempfile
import traceback
from dataclasses import dataclass

from segue.worker import processes, protocol
from segue.worker.adapter import Adapter
from segue.worker.attempt import Attempt


@dataclass(frozen=True)
class Order:
    """The `spawn` message, checked."""

    spawn_id: str
    token: str
    environment: dict[str, str | None]
    cwd: str
    stdout: str
    stderr: str
    socket_path: str

    @classmethod
    def of(cls, message: protocol.Message, socket_path: str) -> Order:
        """Reads the message. Raises `ValueError` for a field that is missing or of the wrong type."""

        def text(name: str) -> str:
            value = message.get(name)
            if not isinstance(value, str) or not value or "\0" in value:
                raise ValueError(f"spawn.{name}: a text expected")
            return value

        environment = message.get("env", {})
        if not isinstance(environment, dict) or not all(map(_is_variable, environment.items())):
            raise ValueError("spawn.env: an object of texts expected")
        return cls(
            spawn_id=text("spawn_id"),
            token=text("token"),
            environment=environment,
            cwd=text("cwd"),
            stdout=text("stdout"),
            stderr=text("stderr"),
            socket_path=socket_path,
        )


def _is_variable(item: tuple[object, object]) -> bool:
    name, value = item
    return (
        isinstance(name, str)
        and bool(name)
        and "=" not in name
        and "\0" not in name
        and (value is None or (isinstance(value, str) and "\0" not in value))
    )


def live(order: Order, adapter: Adapter, zygote: int) -> None:
    """Turns this process into the attempt and runs it to its end. Does not return."""
    try:
        channel = _set_up(order, zygote)
    except OSError as error:
        _last_words(f"segue-worker: attempt {order.spawn_id}: {error}\n")
        os._exit(protocol.EXIT_SETUP)
    try:
        Attempt(channel, adapter, order.token).run()
    except BaseException:
        _last_words(f"segue-worker: attempt {order.spawn_id}: a bug in the worker\n{traceback.format_exc()}")
        os._exit(protocol.EXIT_BUG)


def _set_up(order: Order, zygote: int) -> protocol.Channel:
    os.setsid()
    processes.die_with_parent()
    if os.getppid() != zygote:
        # The parent died before we asked to be told.
        os._exit(protocol.EXIT_SETUP)
    processes.adopt_orphans()
    processes.go_first()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    _redirect(os.devnull, os.O_RDONLY, 0)
    _redirect(order.stdout, os.O_WRONLY | os.O_APPEND, 1)
    _redirect(order.stderr, os.O_WRONLY | os.O_APPEND, 2)
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), encoding="utf-8")
    sys.stdout = _line_writer(1)
    sys.stderr = _line_writer(2)
    # What libraries kept at import (log handlers, consoles) goes the same way: it writes to fd 1 and 2.
    for name, value in order.environment.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    # The zygote may have asked where temporary files go; the answer is another one here.
    tempfile.tempdir = None
    os.chdir(order.cwd)
    channel = protocol.Channel.connect(order.socket_path)
    channel.send(
        {
            "type": "hello",
            "role": "attempt",
            "protocol": [protocol.VERSION],
            "spawn_id": order.spawn_id,
            "token": order.token,
            "pid": os.getpid(),
        }
    )
    return channel


def _redirect(path: str, flags: int, number: int) -> None:
    """Opens a path as a file descriptor. A FIFO that nobody reads is an error, not an endless wait."""
    opened = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
    os.set_blocking(opened, True)
    os.dup2(opened, number)
    os.close(opened)


def _line_writer(number: int) -> io.TextIOWrapper:
    binary = io.BufferedWriter(io.FileIO(number, "w", closefd=False))
    return io.TextIOWrapper(binary, encoding="utf-8", errors="backslashreplace", line_buffering=True)


def _last_words(text: str) -> None:
    try:
        os.write(2, text.encode("utf-8", "replace")[-4000:])
    except OSError:
        return
