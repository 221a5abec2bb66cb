"""An attempt that asks and ends, one that goes on with the answers, and what it says while a model speaks."""

from __future__ import annotations

import pytest

from segue.worker.adapter import Start
from tests.conftest import Play
from tests.test_golden import golden, shape

QUESTION = """
from segue.worker.adapter import Item, Question, Waiting
question = Question("Refund?", [Item("a", {"order": 17}, {"type": "object"}), Item("b", "Which?")], {"at": 3})
"""
FROM_A_THREAD = """
import threading
threading.Thread(target=lambda: context.ask(question)).start()
threading.Event().wait()
"""


@pytest.mark.parametrize("code", ["raise Waiting(question)", "context.ask(question)", FROM_A_THREAD])
def test_asking_ends_the_attempt(play: Play, code: str) -> None:
    message = play(QUESTION + code).final()
    assert message["type"] == "waiting"
    assert message["prompt"] == "Refund?"
    assert message["items"] == [
        {"id": "a", "value": {"order": 17}, "schema": {"type": "object"}},
        {"id": "b", "value": "Which?"},
    ]
    assert message["resume"] == {"at": 3}
    expected = golden("attempt.waiting")
    assert shape({**message, "items": 0, "resume": 0}) == shape({**expected, "items": 0, "resume": 0})


def test_a_question_that_cannot_be_sent_is_an_error(play: Play) -> None:
    for value in ("object()", "'x' * (2 << 20)"):
        error = play(QUESTION + f"context.ask(Question('p', [Item('a', {value})], None))").final()
        assert (error["kind"], error["retryable"]) == ("output", False)
        assert "asks" in error["message"]


def test_who_is_told_to_stop_asks_nobody(play: Play) -> None:
    attempt = play(QUESTION + "context.log('info', 'here')\nwhile not context.stopping: pass\ncontext.ask(question)")
    attempt.connection.until("log")
    attempt.connection.send({"type": "cancel", "reason": "cancelled", "grace_ms": 5000})
    assert attempt.final()["type"] == "cancelled"


def test_the_answers_arrive(play: Play) -> None:
    attempt = play(
        "output = [context.start.resume.token, context.start.resume.answers, context.start.thread]",
        resume={"token": {"at": 3}, "answers": {"a": True}},
        thread="run_1/n1",
    )
    assert attempt.final()["output"] == [{"at": 3}, {"a": True}, "run_1/n1"]


def test_start_is_understood_with_and_without_a_resume() -> None:
    start = Start.of(golden("engine.start.graph"))
    assert start.resume is not None
    assert start.resume.answers == {"8f1d": {"approved": True}}
    assert (start.stream, start.provider.api_key) == (True, "sgt-example")
    assert "sgt-example" not in repr(start)
    assert Start.of(golden("engine.start.crew")).resume is None
    with pytest.raises(ValueError, match="answers"):
        Start.of({**golden("engine.start.crew"), "resume": {"token": 1}})


SPEAKS = """
for word in ["one ", "two ", "three "] * 20:
    context.chunk(word, message_id="m1")
context.chunk("other", message_id="m2")
"""


def test_pieces_are_joined_and_none_is_lost_or_mixed(play: Play) -> None:
    attempt = play(SPEAKS, stream=True)
    attempt.final()
    chunks = [each for each in attempt.messages if each["type"] == "chunk"]
    said = "".join(each["text"] for each in chunks if each["message_id"] == "m1")
    assert said == "one two three " * 20
    assert [each["text"] for each in chunks if each["message_id"] == "m2"] == ["other"]
    assert len(chunks) < 60
    assert [each["seq"] for each in chunks] == list(range(1, len(chunks) + 1))


def test_a_piece_does_not_wait_for_the_next_one(play: Play) -> None:
    code = "context.chunk('a')\ncontext.chunk('b')\nimport threading; threading.Event().wait()"
    attempt = play(code, stream=True, heartbeat_ms=60_000)
    said = ""
    while said != "ab":
        said += attempt.connection.until("chunk")["text"]


def test_nobody_listens_nothing_is_said(play: Play) -> None:
    attempt = play(SPEAKS)
    attempt.final()
    assert all(each["type"] != "chunk" for each in attempt.messages)
