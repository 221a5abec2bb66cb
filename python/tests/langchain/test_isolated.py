"""The same adapter with a process for each attempt (`isolation: process`)."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest

from tests.langchain.conftest import KEY, THREAD, Project
from tests.langchain.test_graphs import ASKING, resume
from tests.langchain.test_targets import CHAIN
from tests.support.checkpoints import Checkpoints
from tests.support.engine import MAIN, Attempt, Engine, Message, Zygote
from tests.support.host import FINAL
from tests.support.provider import Provider, answer


@pytest.fixture
def zygote(engine: Engine) -> Iterator[Zygote]:
    program = [sys.executable, "-I", "-u", str(MAIN), "--socket", engine.socket_path, "--adapter", "langchain"]
    made = Zygote(engine, program)
    assert made.hello["type"] == "hello", made.hello
    yield made
    made.close()


def final(attempt: Attempt, store: Checkpoints) -> Message:
    """Reads to the final message and answers calls on the way."""
    while True:
        message = attempt.connection.until("rpc", *FINAL)
        if message["type"] == "rpc":
            attempt.connection.send(store.answer(message, THREAD))
            continue
        attempt.connection.send({"type": "ack"})
        assert attempt.exit().get("code") == 0
        return message


def test_a_chain_a_cancel_and_a_question(zygote: Zygote, project: Project, models: Provider) -> None:
    project.write(CHAIN + ASKING)
    environment = {"OPENAI_BASE_URL": models.base_url, "OPENAI_API_KEY": KEY}
    fields = {"target": {"project": str(project.folder)}, "base_dir": str(project.folder), "thread": THREAD}
    store = Checkpoints()

    def begin(handler: str, inputs: Message, **more: object) -> Attempt:
        attempt = zygote.spawn(project.folder, **environment)
        attempt.start(handler, inputs, **{**fields, **more})
        return attempt

    chain = {"runnable": "./app.py:chain", "topic": "the sea"}
    assert final(begin("langchain.runnable", chain), store)["output"] == "answer 1"
    reply = answer("late")
    reply.hold = threading.Event()
    models.behave = lambda _: reply
    models.arrived.clear()
    held = begin("langchain.runnable", chain)
    assert models.arrived.wait(60)
    held.connection.send({"type": "cancel", "reason": "cancelled", "grace_ms": 5000})
    assert final(held, store)["type"] == "cancelled"
    assert models.hung_up.wait(60)
    graph = {"graph": "./app.py:graph", "log": ["in"]}
    asked = final(begin("langgraph.graph", graph), store)
    assert asked["type"] == "waiting", asked
    again = begin("langgraph.graph", graph, attempt=2, resume=resume(asked, {"approved": False}))
    assert final(again, store)["output"] == {"log": ["in", "before", "no"]}
