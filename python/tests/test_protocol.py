"""Lines: what is refused, and how."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from segue.worker import protocol


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, b"bytes", object(), nested(200)])
def test_what_has_no_json_form_is_not_sent(value: Any) -> None:
    with pytest.raises(protocol.NotJson):
        protocol.encode({"type": "result", "output": value})


def test_a_ring_is_no_json() -> None:
    ring: list[Any] = []
    ring.append(ring)
    with pytest.raises(protocol.NotJson):
        protocol.encode({"type": "result", "output": ring})


def test_limits_depend_on_the_type() -> None:
    text = "x" * (protocol.LINE_BYTES_MAX + 1)
    protocol.encode({"type": "result", "output": text})
    with pytest.raises(protocol.TooLong):
        protocol.encode({"type": "log", "line": text})
    with pytest.raises(protocol.ProtocolError):
        protocol.decode(b'{"type":"cancel","reason":"' + text.encode() + b'"}\n')


@pytest.mark.parametrize("line", [b"{", b"[]", b"1", b'{"a":1}', b'{"type":7}', b"\xff\xfe", b"[" * 100_000])
def test_garbage_is_a_protocol_error(line: bytes) -> None:
    with pytest.raises(protocol.ProtocolError):
        protocol.decode(line)


def test_lone_surrogates_become_something_sendable() -> None:
    assert protocol.decode(protocol.encode({"type": "log", "line": "\ud800"})) == {"type": "log", "line": "?"}


def test_lines_come_whole_however_they_are_cut() -> None:
    ours, theirs = socket.socketpair()
    channel = protocol.Channel(ours)
    messages = [{"type": "log", "line": "ä" * length} for length in (0, 1, 1000)]
    received: list[protocol.Message] = []
    for byte in b"".join(map(protocol.encode, messages)):
        theirs.send(bytes([byte]))
        received += channel.receive() or []
    theirs.close()
    assert received == messages
    assert channel.receive() is None
    channel.close()
