"""The hints: models by role, time limits of calls, the working folder; and successes that are none."""

from __future__ import annotations

import dataclasses
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Crew
from tests.support.provider import Provider, Reply, Request, answer, tool_call

ROLES = """
from crewai import LLM, Agent, Crew, Process, Task
agents = [Agent(role=role, goal="G", backstory="B", llm=LLM(model="gpt-4o", temperature=0.25))
          for role in ("Researcher of {topic}", "Writer")]
crew = Crew(agents=agents, tasks=[
    Task(description="about {topic}", expected_output="e", agent=agent) for agent in agents])
"""


@pytest.mark.parametrize("rehearsal", [False, True])
@pytest.mark.parametrize("model", [None, "gpt-4.1-nano"])
def test_a_role_has_its_model(
    live: Crew, rehearse: Crew, provider: Provider, tmp_path: Path, rehearsal: bool, model: str | None
) -> None:
    (tmp_path / "mine.py").write_text(ROLES)
    run = rehearse if rehearsal else live
    hints = {"models": {"Researcher of bees": "gpt-4.1"}, **({} if model is None else {"model": model})}
    result = run("crewai.crew", {"crew": "mine:crew", "topic": "bees"}, hints=hints).final()
    assert result["type"] == "result", result
    assert [each.body["model"] for each in provider.requests] == ["gpt-4.1", model or "gpt-4o"]
    assert [each.body["temperature"] for each in provider.requests] == [0.25, 0.25]


def test_a_role_in_a_flow_has_its_model(rehearse: Crew, provider: Provider, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        """
from crewai import Agent
from crewai.flow.flow import Flow, start
class Mine(Flow):
    @start()
    def ask(self):
        return Agent(role="Poet", goal="G", backstory="B").kickoff("a poem").raw
"""
    )
    hints = {"models": {"Poet": "gpt-4.1"}}
    assert rehearse("crewai.flow", {"flow": "mine:Mine"}, hints=hints).final()["output"]["output"] == "answer 1"
    assert provider.requests[0].body["model"] == "gpt-4.1"


@pytest.mark.parametrize(
    "hints",
    [
        {"models": ["gpt-4o"]},
        {"models": {"Writer": 7}},
        {"llm_timeout_s": 0},
        {"llm_timeout_s": "10"},
        {"human": "block"},
    ],
)
def test_a_wrong_hint_is_refused(rehearse: Crew, provider: Provider, hints: dict[str, Any]) -> None:
    error = rehearse("crewai.agent", {"prompt": "p"}, hints=hints).final()
    assert (error["kind"], error["retryable"]) == ("invalid_input", False)
    assert next(iter(hints)) in error["message"]
    assert provider.requests == []


@pytest.mark.parametrize("rehearsal", [False, True])
def test_a_call_has_its_time(live: Crew, rehearse: Crew, provider: Provider, tmp_path: Path, rehearsal: bool) -> None:
    (tmp_path / "mine.py").write_text(ROLES.replace("temperature=0.25", "timeout=1000"))
    provider.behave = lambda _: Reply(hold=threading.Event())
    run = rehearse if rehearsal else live
    error = run("crewai.crew", {"crew": "mine:crew", "topic": "x"}, hints={"llm_timeout_s": 0.2}).final()
    assert (error["type"], error["kind"], error["retryable"]) == ("error", "timeout", True), error
    assert len(provider.requests) == 1


def test_a_working_folder_of_its_own(rehearse: Crew, tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "src" / "mine").mkdir(parents=True)
    (project / "pyproject.toml").write_text("[tool.crewai]\n")
    (project / ".env").write_text("FROM_ENV=known\n")
    (project / "src" / "mine" / "crew.py").write_text(
        """
import os
from crewai import Agent, Crew, Task
def crew():
    agent = Agent(role="R", goal="G", backstory="B")
    return Crew(agents=[agent], tasks=[
        Task(description=os.environ["FROM_ENV"], expected_output="e", agent=agent, output_file="out.txt")])
"""
    )
    # The engine starts the attempt in that folder; here it is `tmp_path`.
    result = rehearse("crewai.crew", {"crew": "project"}, hints={"workdir": str(tmp_path)}).final()
    assert result["type"] == "result", result
    assert (tmp_path / "out.txt").read_text() == "answer 1"
    assert not (project / "out.txt").exists()


def test_texts_that_nobody_filled_in_are_a_warning(rehearse: Crew, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(ROLES)
    warnings = rehearse("crewai.crew", {"crew": "mine:crew"}).final()["warnings"]
    assert ["{topic}" in each for each in warnings] == [True], warnings
    with_topic = rehearse("crewai.crew", {"crew": "mine:crew", "topic": "bees"}).final()
    assert with_topic["warnings"] == []


def test_an_agent_with_two_tasks_at_once_is_explained(rehearse: Crew, provider: Provider, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        """
from crewai import Agent, Crew, Task
agent, other = (Agent(role=role, goal="G", backstory="B") for role in "AB")
crew = Crew(agents=[agent, other], tasks=[
    *(Task(description="d", expected_output="e", agent=agent, async_execution=True) for _ in range(2)),
    Task(description="d", expected_output="e", agent=other)])
"""
    )
    first = threading.Event()
    provider.behave = lambda _: dataclasses.replace(answer("done"), hold=first)
    attempt = rehearse("crewai.crew", {"crew": "mine:crew"})
    while attempt.connection.until("event")["kind"] != "task_failed":
        continue
    first.set()
    error = attempt.final()
    assert (error["type"], error["kind"], error["retryable"]) == ("error", "invalid_input", False), error
    assert "agent of its own" in error["message"]


LOOPS = """
from crewai import Agent, Crew, Task
from crewai.tools import tool
@tool("look")
def look(what: str) -> str:
    "Looks."
    return "nothing there, look again at " + what
agent = Agent(role="R", goal="G", backstory="B", tools=[look], max_iter=2)
crew = Crew(agents=[agent], tasks=[Task(description="d", expected_output="e", agent=agent)])
"""


def test_an_agent_that_was_made_to_answer_is_a_warning(rehearse: Crew, provider: Provider, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(LOOPS)

    def behave(request: Request) -> Reply:
        again = len(provider.requests) <= 2 and request.body.get("tools")
        return tool_call("look", {"what": str(len(provider.requests))}) if again else answer("I give up")

    provider.behave = behave
    result = rehearse("crewai.crew", {"crew": "mine:crew"}).final()
    assert result["output"]["output"] == "I give up"
    assert any("max_iter" in each for each in result["warnings"]), result["warnings"]


def test_messages_that_were_summarized_are_a_warning(rehearse: Crew, provider: Provider, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(LOOPS)
    too_long = {"error": {"message": "maximum context length exceeded", "code": "context_length_exceeded"}}

    def behave(_: Request) -> Reply:
        if len(provider.requests) == 1:
            return Reply(400, json.dumps(too_long).encode(), {"Content-Type": "application/json"})
        return answer("done")

    provider.behave = behave
    result = rehearse("crewai.crew", {"crew": "mine:crew"}).final()
    assert result["type"] == "result", result
    assert any("summary" in each for each in result["warnings"]), result["warnings"]


def test_an_answer_that_was_cut_off_is_a_warning(rehearse: Crew, provider: Provider) -> None:
    whole = answer("half a sen").body or b""
    provider.behave = lambda _: Reply(
        body=whole.replace(b'"stop"', b'"length"'), headers={"Content-Type": "application/json"}
    )
    result = rehearse("crewai.agent", {"prompt": "p"}).final()
    assert result["output"] == "half a sen"
    assert len(result["warnings"]) == 1
    assert "cut off" in result["warnings"][0]


RESPONSE_MODEL = """
from crewai import Agent, Crew, Task
from pydantic import BaseModel
class Score(BaseModel):
    points: int
agent = Agent(role="R", goal="G", backstory="B")
crew = Crew(agents=[agent], tasks=[
    Task(name="score", description="d", expected_output="e", agent=agent, response_model=Score)])
json_crew = Crew(agents=[agent], tasks=[
    Task(name="score", description="d", expected_output="e", agent=agent, output_json=Score)])
"""


@pytest.mark.parametrize("name", ["crew", "json_crew"])
def test_structured_answers_are_objects(rehearse: Crew, provider: Provider, tmp_path: Path, name: str) -> None:
    (tmp_path / "mine.py").write_text(RESPONSE_MODEL)
    provider.behave = lambda _: answer('{"points": 3}')
    output = rehearse("crewai.crew", {"crew": f"mine:{name}"}).final()["output"]
    assert output["output"] == {"points": 3}
    assert output["tasks"][0]["output"] == {"points": 3}


AGENT = """
from crewai import Agent
from crewai.tools import BaseTool, tool
poet = Agent(role="Poet", goal="G", backstory="B")
def make():
    return Agent(role="Maker", goal="G", backstory="B")
@tool("decorated")
def decorated(what: str) -> str:
    "Decorated."
    return "1"
def plain(what: str) -> str:
    "Plain."
    return "2"
class Classy(BaseTool):
    name: str = "classy"
    description: str = "Classy."
    def _run(self, what: str) -> str:
        return "3"
number = 7
"""


@pytest.mark.parametrize(("agent", "role"), [("mine:poet", "Poet"), ("mine:make", "Maker")])
def test_an_agent_of_the_users_code(rehearse: Crew, provider: Provider, tmp_path: Path, agent: str, role: str) -> None:
    (tmp_path / "mine.py").write_text(AGENT)
    assert rehearse("crewai.agent", {"agent": agent, "prompt": "p"}).final()["output"] == "answer 1"
    assert f"You are {role}" in json.dumps(provider.requests[0].body)


def test_an_agent_gets_tools(rehearse: Crew, provider: Provider, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(AGENT)
    tools = ["mine:decorated", "mine:plain", "mine:Classy"]
    result = rehearse("crewai.agent", {"prompt": "p", "tools": tools}).final()
    assert result["type"] == "result", result
    names = [each["function"]["name"] for each in provider.requests[0].body["tools"]]
    assert names == ["decorated", "plain", "classy"]


@pytest.mark.parametrize(
    ("inputs", "kind"),
    [
        ({"agent": "mine:poet", "role": "Painter"}, "invalid_input"),
        ({"agent": "poet"}, "invalid_input"),
        ({"agent": "mine:number"}, "load"),
        ({"tools": "mine:plain"}, "invalid_input"),
        ({"tools": ["mine:number"]}, "load"),
        ({"tools": ["mine:nothing"]}, "load"),
        ({"human_input": "yes"}, "invalid_input"),
    ],
)
def test_what_is_no_agent_or_no_tool(rehearse: Crew, tmp_path: Path, inputs: dict[str, Any], kind: str) -> None:
    (tmp_path / "mine.py").write_text(AGENT)
    assert rehearse("crewai.agent", {"prompt": "p", **inputs}).final()["kind"] == kind
