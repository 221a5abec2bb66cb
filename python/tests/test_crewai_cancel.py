"""Ending a real crew: in a model call, between two, in a tool, and when it does not listen."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

from tests.conftest import Crew
from tests.support.engine import WAIT_SECONDS, Attempt
from tests.support.provider import Provider, Reply, answer, tool_call

CANCEL = {"type": "cancel", "reason": "cancelled", "grace_ms": 5000}


def held(provider: Provider) -> None:
    """From now on the provider does not answer."""
    provider.behave = lambda _: Reply(hold=threading.Event())


def asking(attempt: Attempt, provider: Provider) -> None:
    assert provider.arrived.wait(WAIT_SECONDS)
    attempt.connection.until("started")


def test_a_cancel_during_a_model_call_ends_it_and_hangs_up(rehearse: Crew, provider: Provider) -> None:
    held(provider)
    attempt = rehearse("crewai.agent", {"prompt": "p"})
    asking(attempt, provider)
    attempt.connection.send(CANCEL)
    assert attempt.final()["type"] == "cancelled"
    assert provider.hung_up.wait(WAIT_SECONDS)


def test_the_deadline_ends_it_too(rehearse: Crew, provider: Provider) -> None:
    held(provider)
    attempt = rehearse("crewai.agent", {"prompt": "p"}, deadline_ms=700)
    assert attempt.final()["kind"] == "timeout"


def test_kill_minus_9_during_a_model_call(rehearse: Crew, provider: Provider) -> None:
    held(provider)
    attempt = rehearse("crewai.agent", {"prompt": "p"})
    asking(attempt, provider)
    os.killpg(attempt.pid, signal.SIGKILL)
    assert attempt.exit()["signal"] == signal.SIGKILL
    assert provider.hung_up.wait(WAIT_SECONDS)


TOOL = """
import threading
from pathlib import Path
from crewai import Agent, Crew, Task
from crewai.tools import tool
@tool("work")
def work(what: str) -> str:
    "Works."
    Path("begun").touch()
    while not Path("finish").exists():
        threading.Event().wait(0.005)
    Path("ended").touch()
    return "worked"
agent = Agent(role="R", goal="G", backstory="B", tools=[work])
crew = Crew(agents=[agent], tasks=[Task(description="d", expected_output="e", agent=agent)])
"""


def test_a_tool_may_finish_but_no_model_is_asked_again(rehearse: Crew, provider: Provider, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(TOOL)
    provider.behave = lambda _: tool_call("work", {"what": "w"}) if len(provider.requests) == 1 else answer("done")
    attempt = rehearse("crewai.crew", {"crew": "mine:crew"})
    while attempt.connection.until("event")["kind"] != "tool_started":
        continue
    attempt.connection.send(CANCEL)
    attempt.connection.send({"type": "ping", "id": 1})
    attempt.connection.until("pong")
    (tmp_path / "finish").touch()
    cancelled = attempt.final()
    assert cancelled["type"] == "cancelled"
    assert cancelled["usage"]["model_calls"] == 1
    assert (tmp_path / "ended").exists()
    assert len(provider.requests) == 1


TWO_TOOLS = """
import threading
from pathlib import Path
from crewai import Agent, Crew, Task
from crewai.tools import tool
def wait_for(name):
    while not Path(name).exists():
        threading.Event().wait(0.005)
@tool("slow")
def slow(what: str) -> str:
    "Works until it is told to stop."
    wait_for("slow")
    return "slow worked"
@tool("quick")
def quick(what: str) -> str:
    "Works a little."
    wait_for("quick")
    return "quick worked"
agents = {each.name: Agent(role=each.name, goal="G", backstory="B", tools=[each]) for each in (slow, quick)}
crew = Crew(agents=list(agents.values()), tasks=[
    Task(description="use slow", expected_output="e", agent=agents["slow"], async_execution=True),
    Task(description="use quick", expected_output="e", agent=agents["quick"], async_execution=True),
    Task(description="end", expected_output="e", agent=agents["quick"])])
"""


def test_while_one_tool_works_another_agent_asks_no_model(rehearse: Crew, provider: Provider, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(TWO_TOOLS)
    provider.behave = lambda request: tool_call("slow" if "use slow" in str(request.body) else "quick", {"what": "w"})
    attempt = rehearse("crewai.crew", {"crew": "mine:crew"})
    for _ in range(2):
        while attempt.connection.until("event")["kind"] != "tool_started":
            continue
    attempt.connection.send(CANCEL)
    attempt.connection.send({"type": "ping", "id": 1})
    attempt.connection.until("pong")
    (tmp_path / "quick").touch()
    while attempt.connection.until("event")["kind"] != "task_failed":
        continue
    (tmp_path / "slow").touch()
    assert attempt.final()["type"] == "cancelled"
    assert len(provider.requests) == 2


def test_many_at_once_do_not_mix(rehearse: Crew, provider: Provider) -> None:
    def echo(request: object) -> Reply:
        asked = str(getattr(request, "body", ""))
        number = next(n for n in range(8) if f"number-{n}." in asked)
        return answer(f"echo {number}", prompt_tokens=100 + number)

    provider.behave = echo
    attempts = [rehearse("crewai.agent", {"prompt": f"number-{n}."}) for n in range(8)]
    for number, attempt in enumerate(attempts):
        result = attempt.final()
        assert result["output"] == f"echo {number}"
        assert result["usage"]["input_tokens"] == 100 + number
