"""A host with real LangChain and LangGraph, and the one provider that its models ask."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.checkpoints import Checkpoints
from tests.support.engine import Engine, Message
from tests.support.host import Guest, Host
from tests.support.provider import Provider, serving

KEY = "sgt-attempt-0123456789"
PLACEHOLDER = "segue-placeholder-key"
THREAD = "run_1/n1"


@pytest.fixture(scope="session")
def served() -> Iterator[Provider]:
    """One provider for all: its address is in the host's environment."""
    with serving() as provider:
        yield provider


@pytest.fixture
def models(served: Provider) -> Provider:
    """The provider, as it was at first."""
    served.forget()
    return served


HostMaker = Callable[..., Host]


@pytest.fixture(scope="session")
def make_host(engine: Engine, served: Provider) -> Iterator[HostMaker]:
    """Makes hosts."""
    made: list[Host] = []

    def make(**environment: str) -> Host:
        given = {"OPENAI_BASE_URL": served.base_url, "OPENAI_API_KEY": PLACEHOLDER, **environment}
        host = Host(engine, "langchain", None, **given)
        assert host.hello["type"] == "hello", host.hello
        made.append(host)
        return host

    yield make
    for host in made:
        host.close()
        assert host.forbidden.read_text() == "", "something tried to reach the network"


@pytest.fixture(scope="session")
def host(make_host: HostMaker) -> Host:
    """One for all tests that leave it clean."""
    return make_host()


class Project:
    """A folder of a user's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, text: str, name: str = "app.py") -> Path:
        """A file of it."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), "utf-8")
        return path


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A fresh one."""
    return Project(tmp_path)


Begin = Callable[..., Guest]


@pytest.fixture
def begin(host: Host, models: Provider, project: Project) -> Begin:
    """Starts an attempt: of a graph if its inputs say `graph`, else of a runnable."""

    def start(inputs: Message, store: Checkpoints | None = None, *, at: Host | None = None, **fields: Any) -> Guest:
        handler = "langgraph.graph" if "graph" in inputs else "langchain.runnable"
        given = {
            "target": {"project": str(project.folder), "config": None},
            "base_dir": str(project.folder),
            "provider": {"base_url": models.base_url, "api_key_env": None, "api_key": KEY},
            "thread": THREAD if "graph" in inputs else None,
        }
        return (at or host).admit(store).start(handler, inputs, **{**given, **fields})

    return start
