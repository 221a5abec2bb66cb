"""Tasks with `human_input`: the attempt ends by asking, and another process goes on with the answer."""

from __future__ import annotations

import dataclasses
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Crew
from tests.support.engine import Message
from tests.support.provider import Provider, Reply, Request, answer, tool_call

CREW = """
from crewai import Agent, Crew, Task
agents = [Agent(role=role, goal="G", backstory="B") for role in ("Researcher", "Writer")]
crew = Crew(agents=agents, tasks=[
    Task(name="facts", description="find facts", expected_output="e", agent=agents[0], human_input=True),
    Task(name="letter", description="write a letter", expected_output="e", agent=agents[1], human_input=True)])
"""


class Journal:
    """What the gateway does for a retried attempt: the same question gets the same answer, and is not paid again."""

    def __init__(self) -> None:
        self.paid = 0
        self._known: dict[str, Reply] = {}

    def __call__(self, request: Request) -> Reply:
        key = json.dumps(request.body["messages"], sort_keys=True)
        if key not in self._known:
            self.paid += 1
            self._known[key] = answer(f"text {self.paid}")
        return self._known[key]


def answered(waiting: Message, said: str) -> Message:
    """The `resume` of the next attempt."""
    assert waiting["type"] == "waiting", waiting
    (item,) = waiting["items"]
    assert item["id"] == "answer"
    return {"token": json.loads(json.dumps(waiting["resume"])), "answers": {"answer": said}}


@pytest.fixture
def crew(rehearse: Crew, tmp_path: Path) -> Any:
    """Runs an attempt of `CREW`, or of other code."""
    (tmp_path / "mine.py").write_text(CREW)

    def run(resume: Message | None = None, **fields: Any) -> Message:
        return rehearse("crewai.crew", {"crew": "mine:crew"}, resume=resume, **fields).final()

    return run


def test_every_question_ends_an_attempt_and_nothing_is_paid_twice(crew: Any, provider: Provider) -> None:
    provider.behave = journal = Journal()
    first = crew()
    assert (first["items"][0]["value"], first["items"][0]["schema"]) == ("text 1", {"type": "string"})
    assert "Researcher" in first["prompt"]
    assert "facts" in first["prompt"]
    assert first["usage"]["model_calls"] == 1

    second = crew(answered(first, "shorter, please"))
    assert second["items"][0]["value"] == "text 2"
    assert "shorter, please" in json.dumps(provider.requests[-1].body)

    third = crew(answered(second, "OK."))
    assert "Writer" in third["prompt"]
    assert third["items"][0]["value"] == "text 3"

    result = crew(answered(third, ""))
    assert result["type"] == "result", result
    assert [each["output"] for each in result["output"]["tasks"]] == ["text 2", "text 3"]
    assert result["warnings"] == []
    assert journal.paid == 3


def test_who_asks_again_is_given_the_same_answers(crew: Any, provider: Provider) -> None:
    provider.behave = Journal()
    resume = answered(crew(), "")
    assert crew(resume)["items"] == crew(resume)["items"]


def test_what_the_person_saw_is_what_counts(crew: Any, provider: Provider, tmp_path: Path) -> None:
    # Without a journal a model says something else the second time.
    (tmp_path / "mine.py").write_text(CREW.replace(", agent=agents[1], human_input=True", ", agent=agents[1]"))
    waiting = crew()
    assert waiting["items"][0]["value"] == "answer 1"
    result = crew(answered(waiting, ""))
    assert result["output"]["tasks"][0]["output"] == "answer 1"
    assert len(result["warnings"]) == 1
    assert "facts" in result["warnings"][0]
    asked = json.dumps(provider.requests[-1].body)
    assert "answer 1" in asked
    assert "answer 2" not in asked


def test_it_is_also_what_is_to_be_improved(crew: Any, provider: Provider) -> None:
    second = crew(answered(crew(), "shorter"))
    messages = provider.requests[-1].body["messages"]
    said = [each["content"] for each in messages if each["role"] == "assistant"]
    assert "answer 2" not in said
    assert second["items"][0]["value"] == "answer 3"


STRUCTURED = """
from crewai import Agent, Crew, Task
from pydantic import BaseModel
class Score(BaseModel):
    points: int
agent = Agent(role="R", goal="G", backstory="B")
crew = Crew(agents=[agent], tasks=[
    Task(description="d", expected_output="e", agent=agent, output_pydantic=Score, human_input=True)])
"""


def test_a_structured_answer_stays_what_was_seen(crew: Any, provider: Provider, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(STRUCTURED)
    provider.behave = lambda _: answer(f'{{"points": {len(provider.requests)}}}')
    waiting = crew()
    assert waiting["items"][0]["value"] in ({"points": 1}, '{"points": 1}')
    assert crew(answered(waiting, ""))["output"]["output"] == {"points": 1}


def test_a_hint_forbids_it(crew: Any, provider: Provider) -> None:
    error = crew(hints={"human": "fail"})
    assert (error["kind"], error["retryable"]) == ("invalid_input", False)
    assert "human" in error["message"]
    assert len(provider.requests) == 1


def test_an_answer_that_nobody_wants_any_more_is_told(crew: Any, provider: Provider, tmp_path: Path) -> None:
    provider.behave = Journal()
    waiting = crew()
    (tmp_path / "mine.py").write_text(CREW.replace(", human_input=True", ""))
    result = crew(answered(waiting, ""))
    assert result["type"] == "result", result
    assert ["facts" in each for each in result["warnings"]] == [True], result["warnings"]


@pytest.mark.parametrize(
    "resume",
    [
        {"token": 7, "answers": {"answer": ""}},
        {"token": {"answered": []}, "answers": {"other": ""}},
        {"token": {"answered": [3]}, "answers": {"answer": ""}},
    ],
)
def test_a_token_that_is_none_is_refused(crew: Any, provider: Provider, resume: Message) -> None:
    assert crew(resume)["kind"] == "invalid_input"
    assert provider.requests == []


def test_a_single_agent_asks_too(rehearse: Crew, provider: Provider) -> None:
    provider.behave = Journal()
    inputs = {"prompt": "write", "human_input": True}
    waiting = rehearse("crewai.agent", inputs).final()
    assert rehearse("crewai.agent", inputs, resume=answered(waiting, "")).final()["output"] == "text 1"


PARALLEL = """
from pathlib import Path
import threading
from crewai import Agent, Crew, Task
from crewai.tools import tool
@tool("work")
def work(what: str) -> str:
    "Works."
    while not Path("asked").exists():
        threading.Event().wait(0.005)
    # Long enough to be seen if nobody waited for it.
    threading.Event().wait(0.2)
    Path("ended").touch()
    return "worked"
agents = [Agent(role=role, goal="G", backstory="B") for role in ("Asks", "Works", "Ends")]
agents[1].tools = [work]
crew = Crew(agents=agents, tasks=[
    Task(name="ask", description="ask", expected_output="e", agent=agents[0], async_execution=True, human_input=True),
    Task(name="work", description="use the tool", expected_output="e", agent=agents[1], async_execution=True),
    Task(name="end", description="end", expected_output="e", agent=agents[2])])
"""


def test_a_tool_at_work_is_not_torn_out_of_it(rehearse: Crew, provider: Provider, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PARALLEL)
    at_work = threading.Event()

    def behave(request: Request) -> Reply:
        if "use the tool" in json.dumps(request.body["messages"]):
            return tool_call("work", {"what": "w"})
        return dataclasses.replace(answer("a result"), hold=at_work)

    provider.behave = behave
    attempt = rehearse("crewai.crew", {"crew": "mine:crew"})
    events = iter(lambda: attempt.connection.until("event"), None)
    next(event for event in events if event["kind"] == "tool_started")
    at_work.set()
    next(event for event in events if event["kind"] == "model_call_completed")
    (tmp_path / "asked").touch()
    waiting = attempt.connection.until("waiting")
    assert (tmp_path / "ended").exists()
    assert "Asks" in waiting["prompt"]
    attempt.connection.send({"type": "ack"})
    assert attempt.exit()["code"] == 0


def test_a_provider_of_the_users_own_is_left_alone(crew: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        """
from crewai.core.providers.human_input import SyncHumanInputProvider, set_provider
class Mine(SyncHumanInputProvider):
    def handle_feedback(self, formatted_answer, context):
        formatted_answer.output = "approved by mine"
        context.ask_for_human_input = False
        return formatted_answer
set_provider(Mine())
"""
        + CREW
    )
    assert [each["output"] for each in crew()["output"]["tasks"]] == ["approved by mine"] * 2
