"""The golden messages: this side reads those of the engine and writes its own in the same form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from segue.worker import child, protocol
from segue.worker.adapter import Start
from tests.conftest import Play, ToyMaker

GOLDEN = Path(__file__).with_name("golden")
FILES = sorted(GOLDEN.glob("*.json"))


def golden(name: str) -> protocol.Message:
    """One of them."""
    message: protocol.Message = json.loads((GOLDEN / f"{name}.json").read_text("utf-8"))
    return message


def shape(value: object) -> object:
    """Names and types, without the values."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return "list"
    return "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value).__name__


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_golden_message_survives_the_wire(path: Path) -> None:
    message = golden(path.stem)
    assert message["type"] == path.stem.split(".")[1]
    assert protocol.decode(protocol.encode(message)) == message


def test_there_is_one_for_every_type_in_the_documentation() -> None:
    page = (GOLDEN.parents[2] / "docs" / "reference" / "worker-protocol.md").read_text("utf-8")
    for path in FILES:
        assert f"`{path.stem.split('.')[1]}`" in page


@pytest.mark.parametrize("name", ["engine.start.agent", "engine.start.crew"])
def test_start_is_understood(name: str) -> None:
    message = golden(name)
    start = Start.of(message)
    assert (start.handler, start.inputs, start.hints) == (message["handler"], message["inputs"], message["hints"])
    assert start.rehearsal is message["rehearsal"]
    assert start.provider.base_url == (message["provider"] or {}).get("base_url")


@pytest.mark.parametrize("field", ["run_id", "attempt", "handler"])
def test_start_names_what_is_missing(field: str) -> None:
    message = {name: value for name, value in golden("engine.start.crew").items() if name != field}
    with pytest.raises(ValueError, match=rf"start\.{field}"):
        Start.of(message)


def test_spawn_is_understood() -> None:
    order = child.Order.of(golden("engine.spawn"), "/socket")
    assert order.environment["HTTP_PROXY"] is None
    assert order.environment["OPENAI_API_KEY"] == "sk-example"


@pytest.mark.parametrize("change", [{"cwd": None}, {"env": {"A=B": "x"}}, {"env": {"A": 1}}, {"token": ""}])
def test_a_wrong_spawn_is_refused(change: protocol.Message) -> None:
    with pytest.raises(ValueError, match="spawn"):
        child.Order.of({**golden("engine.spawn"), **change}, "/socket")


def test_what_the_worker_sends_has_the_golden_form(play: Play, toy_zygote: ToyMaker) -> None:
    attempt = play(
        "context.event('task_started', {'task': 't', 'agent': 'a'}); context.log('warning', 'w'); output = 'x'",
        heartbeat_ms=5000,
    )
    attempt.connection.send(golden("engine.ping"))
    attempt.final()
    attempt.zygote.connection.send(golden("engine.ping"))
    pong = attempt.zygote.connection.until("pong")
    seen = {
        "zygote.hello": {**attempt.zygote.hello, "versions": golden("zygote.hello")["versions"]},
        "zygote.pong": pong,
        "attempt.hello": attempt.connection.hello,
        "zygote.error": toy_zygote("--broken").hello,
    }
    by_type = {message["type"]: message for message in attempt.messages}
    for name in ("started", "log"):
        seen[f"attempt.{name}"] = by_type[name]
    seen["attempt.event.task_started"] = by_type["event"]
    seen["attempt.result.text"] = by_type["result"]
    for name, message in seen.items():
        assert shape(message) == shape(golden(name)), name
