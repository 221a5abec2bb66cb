"""Lines on the socket: one JSON object each, bounded. See `docs/reference/worker-protocol.md`."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any, Final

VERSION: Final = 1
LINE_BYTES_MAX: Final = 1 << 20
"""Of every type but those below."""
LONG_LINE_BYTES_MAX: Final = 64 << 20
LONG_TYPES: Final = frozenset({"start", "result", "rpc", "rpc_ok"})
DEPTH_MAX: Final = 100
"""Of nesting: what parsers on the other side take without complaint."""

EXIT_BUG: Final = 70
"""An attempt's process found a bug in the worker."""
EXIT_SETUP: Final = 71
"""An attempt's process could not begin: no streams, no folder, no connection, no `start`."""

Message = dict[str, Any]


class ProtocolError(Exception):
    """The other side broke the rules, or what we were asked to send would."""


class NotJson(ProtocolError):
    """A value has no JSON form."""


class TooLong(ProtocolError):
    """A line is over its limit."""


def line_bytes_max(message_type: object) -> int:
    """The longest line of a message of this type, its newline included."""
    return LONG_LINE_BYTES_MAX if message_type in LONG_TYPES else LINE_BYTES_MAX


def encode(message: Message) -> bytes:
    """One line. Raises `NotJson` for what JSON cannot say and `TooLong` for what a line cannot hold."""
    try:
        check_depth(message)
        text = json.dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise NotJson(str(error)) from error
    line = text.encode("utf-8", "replace") + b"\n"
    limit = line_bytes_max(message.get("type"))
    if len(line) > limit:
        raise TooLong(f"{len(line)} bytes, the limit is {limit}")
    return line


def check_depth(value: object) -> None:
    """Raises `NotJson` for nesting deeper than `DEPTH_MAX`, cycles included, without recursion."""
    level: list[Any] = [value]
    for _ in range(DEPTH_MAX):
        level = [inner for outer in level for inner in _children(outer)]
        if not level:
            return
    raise NotJson(f"nested deeper than {DEPTH_MAX} levels")


def _children(value: object) -> Iterator[object]:
    inner: Iterator[object] = iter(())
    if isinstance(value, dict):
        inner = iter(value.values())
    elif isinstance(value, (list, tuple)):
        inner = iter(value)
    return (child for child in inner if isinstance(child, (dict, list, tuple)))


def decode(line: bytes) -> Message:
    """The object of a line. Raises `ProtocolError` for anything else."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"not a line of JSON: {error}") from error
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise ProtocolError("not an object with a type")
    if len(line) > line_bytes_max(message["type"]):
        raise ProtocolError(f"a {message['type']} of {len(line)} bytes")
    return message


class Lines:
    """Whole lines out of pieces."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._searched = 0

    def take(self, chunk: bytes) -> list[Message]:
        """The messages that this piece completes. Raises `ProtocolError` for what is none."""
        self._received += chunk
        return [decode(line) for line in self._whole()]

    def _whole(self) -> Iterator[bytes]:
        while True:
            end = self._received.find(b"\n", self._searched)
            if end < 0:
                self._searched = len(self._received)
                if self._searched >= LONG_LINE_BYTES_MAX:
                    raise ProtocolError("a line without an end")
                return
            line = bytes(self._received[: end + 1])
            del self._received[: end + 1]
            self._searched = 0
            yield line


class Channel:
    """A connection to the engine: whole lines out, from any thread; whole lines in, from one."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._send_lock = threading.Lock()
        self._lines = Lines()

    @classmethod
    def connect(cls, path: str) -> Channel:
        """Connects to the engine's socket."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(path)
        except OSError:
            connection.close()
            raise
        return cls(connection)

    def fileno(self) -> int:
        """For `select`."""
        return self._connection.fileno()

    def close(self) -> None:
        """Closes this process's end."""
        self._connection.close()

    def send(self, message: Message) -> None:
        """Sends one line, blocking while the engine reads nothing. `OSError` if the engine is gone."""
        line = encode(message)
        with self._send_lock:
            self._connection.sendall(line)

    def receive(self) -> list[Message] | None:
        """What has come since the last call, after one read (which blocks if nothing has); None at the end."""
        try:
            chunk = self._connection.recv(1 << 18)
        except InterruptedError:
            return []
        except OSError:
            return None
        if not chunk:
            return None
        return self._lines.take(chunk)
