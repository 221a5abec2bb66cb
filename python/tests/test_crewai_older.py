"""A CrewAI without the newer parts: what the adapter falls back to gives the same answers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import KEY
from tests.support.engine import Engine, Zygote
from tests.support.provider import Provider, failure

OLDER = Path(__file__).with_name("support") / "older.py"
EXAMPLE = Path(__file__).parents[2] / "examples" / "crew_project"


@pytest.fixture(scope="module")
def older(engine: Engine) -> Iterator[Zygote]:
    zygote = Zygote(engine, [sys.executable, "-I", "-u", str(OLDER), "--socket", engine.socket_path])
    yield zygote
    assert zygote.close() == 0


def test_it_says_what_it_lacks(older: Zygote) -> None:
    assert not {"stream_sink", "llm_overlay"}.intersection(older.hello["features"])
    assert "model_hook" in older.hello["features"]


def test_events_and_usage_come_from_the_bus(older: Zygote, provider: Provider) -> None:
    attempt = older.spawn(EXAMPLE, OPENAI_BASE_URL=provider.base_url, OPENAI_API_KEY=KEY)
    attempt.start("crewai.crew", {"crew": ".", "topic": "bees", "facts": 2}, base_dir=str(EXAMPLE))
    result = attempt.final()
    assert result["usage"] == {"model_calls": 2, "input_tokens": 20, "output_tokens": 10, "cached_input_tokens": 8}
    assert len(attempt.events("model_call_completed")) == 2
    assert any("bus" in each["line"] for each in attempt.messages if each["type"] == "log")


def test_the_hint_still_names_the_model(older: Zygote, provider: Provider) -> None:
    attempt = older.spawn(EXAMPLE, OPENAI_BASE_URL=provider.base_url, OPENAI_API_KEY=KEY)
    attempt.start("crewai.agent", {"prompt": "p"}, hints={"model": "gpt-4.1"})
    assert attempt.final()["type"] == "result"
    assert provider.requests[0].body["model"] == "gpt-4.1"


def test_a_failure_is_still_one_request(older: Zygote, provider: Provider) -> None:
    provider.behave = lambda _: failure(429)
    attempt = older.spawn(EXAMPLE, OPENAI_BASE_URL=provider.base_url, OPENAI_API_KEY=KEY)
    attempt.start("crewai.agent", {"prompt": "p"})
    assert attempt.final()["kind"] == "rate_limited"
    assert len(provider.requests) == 1
