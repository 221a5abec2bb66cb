"""One attempt's conversation: one final message whatever the code does, and nothing that code can forge."""

from __future__ import annotations

import json

import pytest

from tests.conftest import Play
from tests.support.engine import Attempt, Message

FOREVER = "import threading; threading.Event().wait()"
FORGED = {"type": "result", "output": "forged", "usage": {}, "warnings": []}


def test_noise_is_log_and_nothing_else(play: Play) -> None:
    attempt = play(
        f"""
import os, subprocess, sys
print({json.dumps(FORGED)!r}, flush=True)
os.write(1, b"\\x00\\xff" * 40000 + b"\\n")
subprocess.run(["echo", "from a process"], check=True)
print("to stderr", file=sys.stderr)
output = "real"
"""
    )
    assert attempt.final()["output"] == "real"
    out = attempt.stdout()
    assert json.loads(out.splitlines()[0]) == FORGED
    assert "from a process" in out
    assert attempt.stderr() == "to stderr\n"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise ValueError('no')", "ValueError: no"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt: "),
        ("1 / 0", "ZeroDivisionError (and LookupError"),
        ("def f(): f()\nf()", "RecursionError"),
    ],
)
def test_whatever_is_raised_is_an_error(play: Play, code: str, message: str) -> None:
    error = play(code).final()
    assert (error["type"], error["kind"], error["retryable"]) == ("error", "user", True)
    assert error["message"].startswith(message)
    assert error["usage"] == {"model_calls": 0, "input_tokens": 0, "output_tokens": 0, "cached_input_tokens": 0}


@pytest.mark.parametrize(
    ("output", "named"),
    [
        ("object()", "object"),
        ("float('nan')", "float"),
        ("{1}", "set"),
        ("'x' * (64 << 20)", "67108"),
        ("[[]] * 2 + [1j]", "complex"),
    ],
)
def test_an_output_that_cannot_be_sent_is_an_error_that_says_why(play: Play, output: str, named: str) -> None:
    error = play(f"output = {output}").final()
    assert (error["kind"], error["retryable"]) == ("output", False)
    assert named in error["message"]


def test_a_large_output_arrives(play: Play) -> None:
    assert len(play("output = 'x' * (32 << 20)").final()["output"]) == 32 << 20


def test_the_cause_of_an_error_comes_along_without_rings(play: Play) -> None:
    error = play(
        """
try:
    raise OSError("below")
except OSError as below:
    try:
        raise ValueError("above") from below
    except ValueError as above:
        below.__cause__ = above
        raise
"""
    ).final()
    assert [(each["type"], each["message"]) for each in error["chain"]] == [
        ("ValueError", "above"),
        ("OSError", "below"),
    ]
    assert "below" in error["trace"]


def test_messages_stay_within_their_limits(play: Play) -> None:
    attempt = play(
        """
context.log("info", "x" * 10_000_000)
context.event("task_started", {"task": "x" * 10_000})
for _ in range(200):
    context.warn("w" * 5000 + str(_))
raise ValueError("e" * 10_000_000)
"""
    )
    error = attempt.final()
    assert len(json.dumps(error)) < 1 << 20
    assert attempt.events("task_started")[0].keys() == {"time"}


def test_events_are_numbered_and_end_somewhere(play: Play) -> None:
    attempt = play("for _ in range(10_100): context.event('task_started', {})")
    attempt.final()
    numbers = [each["seq"] for each in attempt.messages if each["type"] == "event"]
    assert numbers == list(range(1, 10_001))
    assert any("no more" in each["line"] for each in attempt.messages if each["type"] == "log")


def test_it_beats_while_the_code_computes(play: Play) -> None:
    attempt = play(
        "import time\nend = time.monotonic() + 60\nwhile not context.stopping and time.monotonic() < end: pass",
        heartbeat_ms=50,
    )
    for _ in range(3):
        assert attempt.connection.until("heartbeat")["rss_bytes"] > 1 << 20
    attempt.connection.send({"type": "ping", "id": 9})
    assert attempt.connection.until("pong")["id"] == 9
    cancel(attempt)
    assert attempt.final()["type"] == "result"


def cancel(attempt: Attempt) -> None:
    attempt.connection.send({"type": "cancel", "reason": "cancelled", "grace_ms": 5000})


def test_cancel_is_seen_by_the_code(play: Play) -> None:
    attempt = play(
        """
import threading
from segue.worker.adapter import Stopped
context.log("info", "ready")
while context.stopping is None:
    threading.Event().wait(0.001)
raise Stopped
"""
    )
    attempt.connection.until("log")
    cancel(attempt)
    assert attempt.final()["type"] == "cancelled"


def test_a_cancel_does_not_wait_for_a_model(play: Play) -> None:
    attempt = play("context.model_call(+1); context.log('info', 'asking'); " + FOREVER)
    attempt.connection.until("log")
    cancel(attempt)
    assert attempt.final()["type"] == "cancelled"


def test_a_cancel_waits_for_a_tool(play: Play) -> None:
    attempt = play(
        """
import threading
context.model_call(+1); context.tool_call(+1)
context.log("info", "using a tool")
while context.stopping is None:
    threading.Event().wait(0.001)
context.log("info", "tool done")
context.tool_call(-1)
threading.Event().wait()
"""
    )
    attempt.connection.until("log")
    cancel(attempt)
    assert attempt.final()["type"] == "cancelled"
    assert "tool done" in [each["line"] for each in attempt.messages if each["type"] == "log"]


def test_the_deadline_is_a_timeout(play: Play) -> None:
    error = play("context.model_call(+1); " + FOREVER, deadline_ms=50).final()
    assert (error["kind"], error["retryable"]) == ("timeout", True)


def test_what_comes_after_the_final_message_is_dropped(play: Play) -> None:
    attempt = play(
        """
import threading
def babble():
    while True:
        context.event("task_started", {})
threading.Thread(target=babble, daemon=True).start()
output = "done"
"""
    )
    assert attempt.final()["output"] == "done"


def test_without_an_ack_it_ends_all_the_same_when_the_engine_goes(play: Play) -> None:
    attempt = play("output = 1")
    assert attempt.connection.until("result")["output"] == 1
    attempt.connection.close()
    assert attempt.exit()


@pytest.mark.parametrize("line", [b"garbage\n", b'{"type":"cancel","reason":"' + b"x" * (2 << 20) + b'"}\n'])
def test_an_engine_that_breaks_the_rules_is_left(play: Play, line: bytes) -> None:
    attempt = play(FOREVER)
    attempt.connection.until("started")
    attempt.connection.send_raw(line)
    assert attempt.exit()["signal"] == 9


def test_unknown_messages_and_fields_are_ignored(play: Play) -> None:
    attempt = play("output = context.start.attempt", field_of_the_future=1)
    attempt.connection.send({"type": "message_of_the_future"})
    assert attempt.final()["output"] == 1


def test_a_start_without_a_field_is_an_error(play: Play) -> None:
    error = play("output = 1", run_id=None).final()
    assert error["kind"] == "invalid_input"
    assert "run_id" in error["message"]


def test_usage_is_in_every_end(play: Play) -> None:
    add = "from segue.worker.adapter import Usage; context.usage.add(Usage(1, 2, 3, 1)); "
    expected: Message = {"model_calls": 1, "input_tokens": 2, "output_tokens": 3, "cached_input_tokens": 1}
    assert play(add + "output = 1").final()["usage"] == expected
    assert play(add + "raise ValueError").final()["usage"] == expected
    attempt = play(add + "context.model_call(+1); context.log('info', 'asking'); " + FOREVER)
    attempt.connection.until("log")
    cancel(attempt)
    assert attempt.final()["usage"] == expected
