"""The host: neighbours on one loop, whatever one of them does."""

from __future__ import annotations

import os
import signal
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from segue.worker.calls import UNANSWERED_MAX, Calls
from segue.worker.protocol import Message
from tests.support.engine import MAIN, WAIT_SECONDS, Engine, Zygote
from tests.support.host import Guest, Host
from tests.test_zygote import is_alive

CODE = """
import asyncio, os, signal, subprocess, sys, threading, time

entered = threading.Event()
gate = threading.Event()

def value(x=1):
    return x

async def avalue(x=1):
    return x

async def forever(context):
    context.log("began")
    await asyncio.Event().wait()

async def leave():
    async def inner():
        sys.exit(3)
    await asyncio.create_task(inner())

def leave_in_a_thread():
    sys.exit(4)

async def interrupt():
    raise KeyboardInterrupt

async def block(path, context):
    context.log("blocking")
    while not os.path.exists(path):
        time.sleep(0.01)
    return "over"

async def swallow(context):
    context.log("began")
    for _ in range(3):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            context.log("swallowed")
    return "what nobody asked for"

def stay(path, context):
    context.log("began")
    while not os.path.exists(path):
        time.sleep(0.01)
    return "over"

async def forget(context):
    async def left_behind():
        try:
            await asyncio.Event().wait()
        finally:
            os.environ["LEFT_BEHIND"] = "cancelled"
    asyncio.create_task(left_behind())
    await asyncio.sleep(0)
    return "done"

def left_behind():
    return os.environ.pop("LEFT_BEHIND", None)

def say(context):
    print("one"); print("two", end=""); print("oops", file=sys.stderr)
    print('{"type":"result","output":"forged"}')
    os.write(1, b'{"type":"spawned","spawn_id":"forged","pid":1}\\n')
    return "said"

def flood():
    for number in range(200_000):
        print("x" * 50)
    return "flooded"

def start_a_process():
    return subprocess.Popen(["sleep", "600"]).pid

def who(context):
    context.log("who")
    return [context.run_id, context.attempt, context.idempotency_key, context.values]

async def cancel_yourself():
    asyncio.current_task().cancel()
    await asyncio.sleep(0)

def whole(a, b=2, *, c=3):
    return [a, b, c]

def strange():
    return {"deep": [object()]}

def fail():
    raise ValueError("mine")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project."""
    made = tmp_path_factory.mktemp("project")
    (made / "code.py").write_text(textwrap.dedent(CODE), "utf-8")
    return made


Begin = Callable[..., Guest]


@pytest.fixture
def host(engine: Engine, folder: Path) -> Iterator[Host]:
    """A fresh one."""
    made = Host(engine, "python", cwd=folder)
    yield made
    made.close()


@pytest.fixture
def begin(host: Host, folder: Path) -> Begin:
    """Starts a call."""

    def start(function: str, fields: dict[str, Any] | None = None, **inputs: Any) -> Guest:
        target = {"project": str(folder), "config": None}
        given = {"target": target, "base_dir": str(folder), **(fields or {})}
        return host.admit().start("python.call", {"call": f"./code.py:{function}", **inputs}, **given)

    return start


def test_functions_of_both_kinds_and_their_arguments(begin: Begin) -> None:
    assert begin("value", x={"a": [1]}).output() == {"a": [1]}
    assert begin("avalue", x=2).output() == 2
    assert begin("whole", args=[1], c=5).output() == [1, 2, 5]
    assert begin("whole", args={"a": 1}, b=0).output() == [1, 0, 3]
    assert begin("who", {"attempt": 2, "context": {"t": 1}}).output() == ["run_1", 2, "run_1/n1", {"t": 1}]


@pytest.mark.parametrize(
    ("function", "inputs", "kind", "mark"),
    [
        ("whole", {}, "invalid_input", "missing a required argument: 'a'"),
        ("whole", {"a": 1, "d": 1}, "invalid_input", "'d'"),
        ("whole", {"args": 3}, "invalid_input", "inputs.args"),
        ("strange", {}, "output", "/deep/0"),
        ("fail", {}, "user", "ValueError: mine"),
        ("absent", {}, "load", "no 'absent'"),
        ("gate", {}, "load", "cannot be called"),
        ("cancel_yourself", {}, "user", "cancelled itself"),
    ],
)
def test_what_goes_wrong_is_named(begin: Begin, function: str, inputs: Message, kind: str, mark: str) -> None:
    error = begin(function, **inputs).error()
    assert error["kind"] == kind
    assert mark in error["message"]
    assert error["retryable"] is (kind == "user")


@pytest.mark.parametrize("function", ["leave", "leave_in_a_thread", "interrupt"])
def test_who_exits_harms_no_neighbour(begin: Begin, function: str) -> None:
    neighbours = [begin("forever") for _ in range(3)]
    for each in neighbours:
        each.until("log")
    error = begin(function).error()
    assert (error["kind"], error["retryable"]) == ("user", True)
    assert begin("avalue", x="after").output() == "after"
    for each in neighbours:
        each.cancel()
        assert each.final()["type"] == "cancelled"


def test_a_blocked_loop_is_seen_from_outside(begin: Begin, host: Host, folder: Path) -> None:
    path = folder / "go-on"
    guest = begin("block", path=str(path))
    guest.until("log")
    until = time.monotonic() + WAIT_SECONDS
    while not any(beat["lag_ms"] >= 500 for beat in host.beats):
        assert time.monotonic() < until, host.beats
        host.connection.send({"type": "ping", "id": 7})
        assert host.about("")["id"] == 7
    path.touch()
    assert guest.output() == "over"
    path.unlink()


def test_a_cancel_that_is_swallowed_is_given_again(begin: Begin) -> None:
    guest = begin("swallow")
    guest.until("log")
    guest.cancel()
    assert guest.final()["type"] == "cancelled"
    assert guest.lines().count("swallowed") == 3


def test_cancelled_means_that_nothing_runs_any_more(begin: Begin, folder: Path) -> None:
    path = folder / "thread-may-end"
    guest = begin("stay", path=str(path))
    guest.until("log")
    guest.cancel()
    guest.connection.send({"type": "ping", "id": 1})
    guest.until("pong")
    # A thread cannot be cancelled; until it has ended, nothing is said.
    assert begin("avalue", x=1).output() == 1
    assert guest.has_said_no_more()
    path.touch()
    assert guest.final()["type"] == "cancelled"
    path.unlink()


def test_kill_makes_dirty_and_neighbours_finish(begin: Begin, host: Host, folder: Path) -> None:
    path = folder / "killed-may-end"
    neighbour = begin("forever")
    neighbour.until("log")
    guest = begin("stay", path=str(path))
    guest.until("log")
    guest.cancel()
    host.connection.send({"type": "kill", "spawn_id": guest.spawn_id})
    assert guest.spawn_id in host.dirty.get(timeout=WAIT_SECONDS)
    said, _, _ = host.try_to_spawn()
    assert said["type"] == "spawn_failed"
    neighbour.cancel()
    assert neighbour.final()["type"] == "cancelled"
    path.touch()
    assert guest.final()["type"] == "cancelled"
    path.unlink()


def test_what_an_attempt_leaves_behind_ends_with_it(begin: Begin) -> None:
    assert begin("forget").output() == "done"
    assert begin("left_behind").output() == "cancelled"


def test_what_is_printed_belongs_to_who_prints(begin: Begin, host: Host) -> None:
    guest = begin("say")
    assert guest.output() == "said"
    assert guest.lines("stdout") == ["one", "two" + '{"type":"result","output":"forged"}']
    assert guest.lines("stderr") == ["oops"]
    assert "forged" in host.log.read_text()


def test_a_flood_is_cut(begin: Begin) -> None:
    guest = begin("flood")
    assert guest.output() == "flooded"
    assert len(guest.lines("stdout")) < 100_000
    assert any("dropped" in line for line in guest.lines())


def test_an_attempt_whose_connection_is_closed_is_cancelled(begin: Begin, host: Host) -> None:
    guest = begin("forever")
    guest.until("log")
    guest.connection.close()
    assert host.about(guest.spawn_id)["type"] == "exit"


def test_the_deadline_is_the_attempts_own(begin: Begin) -> None:
    error = begin("forever", {"deadline_ms": 50}).error()
    assert (error["kind"], error["retryable"]) == ("timeout", True)


def test_drain_lets_attempts_finish_and_takes_no_more(begin: Begin, host: Host) -> None:
    guest = begin("forever")
    guest.until("log")
    host.connection.send({"type": "drain"})
    said, _, _ = host.try_to_spawn()
    assert (said["type"], said["message"]) == ("spawn_failed", "draining")
    guest.cancel()
    guest.until("cancelled")
    guest.connection.send({"type": "ack"})
    assert host.process.wait(WAIT_SECONDS) == 0


def test_when_the_engine_goes_the_host_goes_with_all_it_started(begin: Begin, host: Host) -> None:
    begin("forever").until("log")
    pid = begin("start_a_process").output()
    assert host.close() == 0
    until = time.monotonic() + WAIT_SECONDS
    while is_alive(pid):
        assert time.monotonic() < until


def test_code_that_has_changed_is_not_run(host: Host, folder: Path) -> None:
    path = folder / "changing.py"
    path.write_text("def now():\n    return 1\n", "utf-8")
    fields = {"target": {"project": str(folder)}}
    assert host.admit().start("python.call", {"call": "./changing.py:now"}, **fields).output() == 1
    path.write_text("def now():\n    return 'changed'\n", "utf-8")
    os.utime(path, (1, 1))
    until = time.monotonic() + WAIT_SECONDS
    while (said := host.try_to_spawn()[0])["type"] == "spawned":
        # Files are looked at no more than twice a second.
        assert time.monotonic() < until
    assert "has changed" in said["message"]
    assert "changing.py" in host.dirty.get(timeout=WAIT_SECONDS)


def test_a_spawn_that_makes_no_sense_is_refused(host: Host) -> None:
    host.connection.send({"type": "spawn", "spawn_id": "s-x"})
    assert "spawn." in host.about("s-x")["message"]


def test_an_interrupt_from_the_terminal_is_the_engines_business(begin: Begin, host: Host) -> None:
    os.kill(host.process.pid, signal.SIGINT)
    assert begin("avalue", x=1).output() == 1


def test_isolated_it_is_the_same(engine: Engine, folder: Path) -> None:
    program = [sys.executable, "-I", "-u", str(MAIN), "--socket", engine.socket_path, "--adapter", "python"]
    zygote = Zygote(engine, program)
    fields = {"target": {"project": str(folder)}}
    attempt = zygote.spawn(folder)
    attempt.start("python.call", {"call": "./code.py:avalue", "x": 3}, **fields)
    assert attempt.final()["output"] == 3
    attempt = zygote.spawn(folder)
    attempt.start("python.call", {"call": "./code.py:forever"}, **fields)
    attempt.connection.until("log")
    attempt.connection.send({"type": "cancel", "reason": "cancelled", "grace_ms": 5000})
    assert attempt.final()["type"] == "cancelled"
    zygote.close()


def test_no_more_calls_are_made_than_the_engine_takes() -> None:
    sent: list[Message] = []
    calls = Calls(sent.append)
    futures = [calls.make("checkpoint.get", {}) for _ in range(UNANSWERED_MAX + 3)]
    assert len(sent) == UNANSWERED_MAX
    calls.answer({"type": "rpc_ok", "id": sent[5]["id"], "value": "five"})
    assert futures[5].result(1) == "five"
    assert len(sent) == UNANSWERED_MAX + 1
    calls.answer({"type": "rpc_error", "id": sent[6]["id"], "message": "no"})
    with pytest.raises(Exception, match="no"):
        futures[6].result(1)
    calls.close("over")
    with pytest.raises(Exception, match="over"):
        futures[-1].result(1)
