"""What many tests share: an engine, a zygote with the toy, one with real CrewAI, a provider."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.engine import Attempt, Engine, Message, Zygote
from tests.support.provider import Provider, serving

TOY = Path(__file__).with_name("support") / "toy.py"
KEY = "sk-rehearsal-0123456789"


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """One socket for all."""
    made = Engine()
    yield made
    made.close()


@pytest.fixture(scope="session")
def crewai(engine: Engine) -> Iterator[Zygote]:
    """Real CrewAI, imported once, in a process that may reach nothing but this machine."""
    zygote = Zygote(engine)
    assert zygote.hello["type"] == "hello", zygote.hello
    yield zygote
    assert zygote.close() == 0
    assert zygote.forbidden.read_text() == "", "something tried to reach the network"


ToyMaker = Callable[..., Zygote]


@pytest.fixture
def toy_zygote(engine: Engine) -> Iterator[ToyMaker]:
    """Makes zygotes of the toy."""
    made: list[Zygote] = []

    def make(*arguments: str) -> Zygote:
        program = [sys.executable, "-I", "-u", str(TOY), *arguments, "--socket", engine.socket_path]
        made.append(Zygote(engine, program))
        return made[-1]

    yield make
    for zygote in made:
        zygote.close()


Play = Callable[..., Attempt]


@pytest.fixture
def play(toy_zygote: ToyMaker, tmp_path: Path) -> Play:
    """Starts an attempt that runs a piece of code."""
    zygote = toy_zygote()

    def run(code: str, environment: dict[str, str] | None = None, **fields: object) -> Attempt:
        attempt = zygote.spawn(tmp_path, **(environment or {}))
        attempt.start("toy", {"code": code}, **fields)
        return attempt

    return run


@pytest.fixture
def provider() -> Iterator[Provider]:
    """A provider."""
    with serving() as served:
        yield served


Crew = Callable[..., Attempt]


@pytest.fixture
def rehearse(crewai: Zygote, provider: Provider, tmp_path: Path) -> Crew:
    """Starts an attempt of real CrewAI against the provider, as a rehearsal."""

    def run(handler: str, inputs: Message, environment: dict[str, str] | None = None, **fields: object) -> Attempt:
        attempt = crewai.spawn(tmp_path, SEGUE_MODEL_KEY=KEY, **(environment or {}))
        given: dict[str, object] = {
            "rehearsal": True,
            "provider": {"base_url": provider.base_url, "api_key_env": "SEGUE_MODEL_KEY"},
            "base_dir": str(tmp_path),
        }
        attempt.start(handler, inputs, **{**given, **fields})
        return attempt

    return run


@pytest.fixture
def live(crewai: Zygote, provider: Provider, tmp_path: Path) -> Crew:
    """The same, not as a rehearsal: the provider is where `OPENAI_BASE_URL` points."""

    def run(handler: str, inputs: Message, environment: dict[str, str] | None = None, **fields: object) -> Attempt:
        named = {"OPENAI_BASE_URL": provider.base_url, "OPENAI_API_KEY": KEY, **(environment or {})}
        attempt = crewai.spawn(tmp_path, **named)
        attempt.start(handler, inputs, **{"base_dir": str(tmp_path), **fields})
        return attempt

    return run
