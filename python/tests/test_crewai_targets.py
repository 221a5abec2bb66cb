"""Everything that `inputs.crew` can name, run by real CrewAI: its output, its events, its usage."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import KEY, Crew
from tests.support.provider import Provider, answer, tool_call

EXAMPLE = Path(__file__).parents[2] / "examples" / "crew_project"
TOPIC = {"topic": "bees", "facts": 2}
AGENT = {"role": "R", "goal": "G", "backstory": "B"}
TASK = {"description": "about {topic}", "expected_output": "e", "agent": "a"}


def in_example(_: Path) -> tuple[Any, Path]:
    return ".", EXAMPLE


def by_class(_: Path) -> tuple[Any, Path]:
    return "crew_project.crew:ReportCrew", EXAMPLE


def from_above(_: Path) -> tuple[Any, Path]:
    return "crew_project", EXAMPLE.parent


def yaml_pair(_: Path) -> tuple[Any, Path]:
    config = "src/crew_project/config"
    return {"agents": f"{config}/agents.yaml", "tasks": f"{config}/tasks.yaml", "process": "sequential"}, EXAMPLE


def yaml_folder(folder: Path) -> tuple[Any, Path]:
    shutil.copytree(EXAMPLE / "src" / "crew_project" / "config", folder / "crew")
    return "crew", folder


def definition(folder: Path) -> dict[str, Any]:
    (folder / "agents").mkdir()
    for name, role in (("researcher", "Researcher"), ("writer", "Writer")):
        (folder / "agents" / f"{name}.jsonc").write_text(json.dumps({**AGENT, "role": role}))
    tasks = [
        {**TASK, "name": "research_task", "agent": "researcher"},
        {**TASK, "name": "report_task", "agent": "writer"},
    ]
    return {"name": "made of JSON", "agents": ["researcher", "writer"], "tasks": tasks, "inputs": {"topic": "wasps"}}


def json_crew(folder: Path) -> tuple[Any, Path]:
    (folder / "mine.jsonc").write_text("// a comment\n" + json.dumps(definition(folder)))
    return "mine.jsonc", folder


def json_project(folder: Path) -> tuple[Any, Path]:
    (folder / "crew.jsonc").write_text(json.dumps(definition(folder)))
    (folder / "pyproject.toml").write_text('[tool.crewai]\ntype = "crew"\ndefinition = "crew.jsonc"\n')
    return ".", folder


def inline(_: Path) -> tuple[Any, Path]:
    agents = {"r": {**AGENT, "role": "Researcher"}, "w": {**AGENT, "role": "Writer"}}
    tasks = {"research_task": {**TASK, "agent": "r"}, "report_task": {**TASK, "agent": "w"}}
    return {"agents": agents, "tasks": tasks}, EXAMPLE


KINDS = [in_example, by_class, from_above, yaml_pair, yaml_folder, json_crew, json_project, inline]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_crew_of_two(
    rehearse: Crew, provider: Provider, tmp_path: Path, kind: Callable[[Path], tuple[Any, Path]]
) -> None:
    named, base_dir = kind(tmp_path)
    attempt = rehearse("crewai.crew", {"crew": named, **TOPIC}, base_dir=str(base_dir))
    result = attempt.final()
    assert result["type"] == "result", result
    assert result["output"] == {
        "output": "answer 2",
        "tasks": [
            {"name": "research_task", "agent": "Researcher", "output": "answer 1"},
            {"name": "report_task", "agent": "Writer", "output": "answer 2"},
        ],
    }
    assert result["usage"] == {"model_calls": 2, "input_tokens": 20, "output_tokens": 10, "cached_input_tokens": 8}
    assert result["warnings"] == []
    assert "bees" in json.dumps(provider.requests[0].body)
    assert [each["task"] for each in attempt.events("task_started")] == ["research_task", "report_task"]
    assert [each["agent"] for each in attempt.events("model_call_completed")] == ["Researcher", "Writer"]


def test_a_projects_own_inputs_are_defaults(rehearse: Crew, provider: Provider, tmp_path: Path) -> None:
    named, _ = json_crew(tmp_path)
    rehearse("crewai.crew", {"crew": named}).final()
    assert "wasps" in json.dumps(provider.requests[0].body)


def test_the_project_is_where_its_code_expects_to_be(rehearse: Crew, tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "src" / "mine").mkdir(parents=True)
    (project / "pyproject.toml").write_text("[tool.crewai]\n")
    (project / ".env").write_text(
        "# a comment\nexport FROM_ENV='from the file'\nGIVEN=file\nOPENAI_API_KEY=sk-real-key-of-the-user\n"
    )
    (project / "src" / "mine" / "crew.py").write_text(
        """
import os
from pathlib import Path
from crewai import Agent, Crew, Task
def crew():
    told = " ".join([Path.cwd().name, os.environ["FROM_ENV"], os.environ["GIVEN"], os.environ["SEGUE_TASK_ID"]])
    agent = Agent(role="R", goal="G", backstory="B")
    return Crew(agents=[agent], tasks=[Task(description=told, expected_output="e", agent=agent, output_file="out.txt")])
"""
    )
    attempt = rehearse("crewai.crew", {"crew": "project"}, {"GIVEN": "given"})
    assert attempt.final()["output"]["tasks"][0]["name"] == "project from the file given n1"
    assert (project / "out.txt").read_text() == "answer 1"


def test_structured_tasks_give_objects(rehearse: Crew, provider: Provider, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        """
from crewai import Agent, Crew, Task
from pydantic import BaseModel
class Score(BaseModel):
    points: int
agent = Agent(role="R", goal="G", backstory="B")
crew = Crew(agents=[agent], tasks=[
    Task(name="text", description="d", expected_output="e", agent=agent),
    Task(name="score", description="d", expected_output="e", agent=agent, output_pydantic=Score),
])
"""
    )
    provider.behave = lambda request: answer('{"points": 3}' if "response_format" in request.body else "words")
    output = rehearse("crewai.crew", {"crew": "mine:crew"}).final()["output"]
    assert output["output"] == {"points": 3}
    assert [each["output"] for each in output["tasks"]] == ["words", {"points": 3}]


def test_an_agent_answers_text_or_an_object(rehearse: Crew, provider: Provider) -> None:
    assert rehearse("crewai.agent", {"prompt": "with {braces}"}).final()["output"] == "answer 1"
    assert "with {braces}" in json.dumps(provider.requests[0].body)
    provider.behave = lambda _: answer('{"n": 1}')
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    assert rehearse("crewai.agent", {"prompt": "p", "response_schema": schema}).final()["output"] == {"n": 1}
    assert provider.requests[-1].body["response_format"]["type"] == "json_schema"


def test_an_agent_without_a_prompt_takes_its_name_and_what_came_before(rehearse: Crew, provider: Provider) -> None:
    target = {
        "name": "summarize",
        "description": None,
        "material": [{"node": "n1", "output": {"words": ["Hello", "world"]}}],
    }
    attempt = rehearse("crewai.agent", {}, target=target)
    assert attempt.final()["type"] == "result"
    asked = provider.requests[0].body["messages"][-1]["content"]
    assert "summarize" in asked
    assert "n1" in asked
    assert "Hello" in asked


def test_events_hold_neither_prompts_nor_answers_nor_keys(rehearse: Crew, provider: Provider) -> None:
    provider.behave = lambda _: answer("the very secret answer")
    attempt = rehearse("crewai.agent", {"prompt": "the very secret question"}, target={"name": "quiz"})
    attempt.final()
    said = json.dumps([each for each in attempt.messages if each["type"] in ("event", "log")])
    assert "very secret" not in said
    assert KEY not in said
    kinds = [each["kind"] for each in attempt.messages if each["type"] == "event"]
    assert kinds == [
        "crew_started",
        "task_started",
        "agent_started",
        "model_call_started",
        "model_call_completed",
        "agent_completed",
        "task_completed",
        "crew_completed",
    ]


TOOLS = """
from crewai import Agent, Crew, Task
from crewai.tools import tool
@tool("search")
def search(query: str) -> str:
    "Searches."
    raise TimeoutError("no answer")
agent = Agent(role="R", goal="G", backstory="B", tools=[search])
crew = Crew(agents=[agent], tasks=[Task(name="look", description="d", expected_output="e", agent=agent)])
"""


def test_a_tool_that_fails_is_a_warning(rehearse: Crew, provider: Provider, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(TOOLS)
    provider.behave = lambda _: (
        tool_call("search", {"query": "q"}) if len(provider.requests) == 1 else answer("gave up")
    )
    attempt = rehearse("crewai.crew", {"crew": "mine:crew"})
    result = attempt.final()
    assert result["output"]["output"] == "gave up"
    assert len(result["warnings"]) == 1, result["warnings"]
    assert "search" in result["warnings"][0]
    assert "no answer" in result["warnings"][0]
    assert result["usage"]["model_calls"] == 2


def test_a_tool_that_fails_can_fail_the_task(rehearse: Crew, provider: Provider, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(TOOLS)
    provider.behave = lambda _: (
        tool_call("search", {"query": "q"}) if len(provider.requests) == 1 else answer("gave up")
    )
    error = rehearse("crewai.crew", {"crew": "mine:crew"}, hints={"tool_failures": "fail"}).final()
    assert (error["type"], error["kind"]) == ("error", "user")
    assert "search" in error["message"]


def test_a_guardrail_that_never_agrees_is_not_retried_by_the_engine(rehearse: Crew, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        """
from crewai import Agent, Crew, Task
agent = Agent(role="R", goal="G", backstory="B")
def never(output):
    return (False, "not good enough")
crew = Crew(agents=[agent], tasks=[
    Task(description="d", expected_output="e", agent=agent, guardrail=never, guardrail_max_retries=1)])
"""
    )
    error = rehearse("crewai.crew", {"crew": "mine:crew"}).final()
    assert (error["kind"], error["retryable"]) == ("model_output", False)
    assert "not good enough" in error["message"]


def test_agents_that_share_a_model_are_counted_once(rehearse: Crew, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        """
from crewai import LLM, Agent, Crew, Task
llm = LLM(model="gpt-4o")
agents = [Agent(role=f"R{n}", goal="G", backstory="B", llm=llm) for n in range(3)]
tasks = [Task(description="d", expected_output="e", agent=agent, async_execution=agent is not agents[2])
         for agent in agents]
crew = Crew(agents=agents, tasks=tasks)
"""
    )
    usage = rehearse("crewai.crew", {"crew": "mine:crew"}).final()["usage"]
    assert usage == {"model_calls": 3, "input_tokens": 30, "output_tokens": 15, "cached_input_tokens": 12}


def test_a_crew_that_streams_gives_its_answer(rehearse: Crew, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        """
from crewai import Agent, Crew, Task
agent = Agent(role="R", goal="G", backstory="B")
crew = Crew(agents=[agent], tasks=[Task(description="d", expected_output="e", agent=agent)], stream=True)
"""
    )
    assert rehearse("crewai.crew", {"crew": "mine:crew"}).final()["output"]["output"] == "answer 1"
