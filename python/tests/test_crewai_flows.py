"""`crewai.flow`: everything that `inputs.flow` can name, pauses for people, and the trap of the memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Crew
from tests.support.engine import Message
from tests.support.provider import Provider, answer
from tests.test_crewai_human import Journal, answered

FLOW = """
from crewai import LLM
from crewai.flow.flow import Flow, listen, start
from pydantic import BaseModel
class State(BaseModel):
    topic: str = "nothing"
    said: str = ""
class Talk(Flow[State]):
    @start()
    def think(self):
        self.state.said = LLM(model="gpt-4o").call(f"about {self.state.topic}")
        return self.state.said
    @listen(think)
    def end(self, said):
        return {"said": said, "topic": self.state.topic}
def make():
    return Talk()
talk = Talk()
"""
DOCUMENT = {
    "schema": "crewai.flow/v1",
    "name": "Talk",
    "state": {"type": "dict", "default": {"topic": "nothing"}},
    "methods": {
        "think": {
            "start": True,
            "do": {
                "call": "agent",
                "with": {"role": "Thinker", "goal": "G", "backstory": "B", "input": "${'about ' + state.topic}"},
            },
        },
    },
}


def of(named: str) -> Callable[[Path], Any]:
    def kind(folder: Path) -> Any:
        (folder / "talks.py").write_text(FLOW)
        return named

    kind.__name__ = named
    return kind


def project(folder: Path) -> Any:
    (folder / "p" / "src" / "talk").mkdir(parents=True)
    (folder / "p" / "src" / "talk" / "main.py").write_text(FLOW)
    (folder / "p" / "pyproject.toml").write_text('[tool.crewai]\ntype = "flow"\n')
    return "p"


@pytest.mark.parametrize(
    "kind", [of("talks:Talk"), of("talks:make"), of("talks:talk"), project], ids=lambda k: k.__name__
)
def test_a_flow_of_code(rehearse: Crew, provider: Provider, tmp_path: Path, kind: Callable[[Path], Any]) -> None:
    attempt = rehearse("crewai.flow", {"flow": kind(tmp_path), "topic": "bees"})
    result = attempt.final()
    assert result["type"] == "result", result
    assert result["output"]["output"] == {"said": "answer 1", "topic": "bees"}
    assert result["output"]["state"]["said"] == "answer 1"
    assert result["usage"]["model_calls"] == 1
    assert result["warnings"] == []
    assert "about bees" in json.dumps(provider.requests[0].body)
    assert [each["method"] for each in attempt.events("method_completed")] == ["think", "end"]
    assert len(attempt.events("flow_started")) == 1


def inline(_: Path) -> Any:
    return DOCUMENT


def file(folder: Path) -> Any:
    (folder / "talk.json").write_text(json.dumps(DOCUMENT))
    return "talk.json"


def declared(folder: Path) -> Any:
    (folder / "p").mkdir()
    # JSON is YAML.
    (folder / "p" / "talk.yaml").write_text(json.dumps(DOCUMENT))
    (folder / "p" / "pyproject.toml").write_text('[tool.crewai]\ntype = "flow"\ndefinition = "talk.yaml"\n')
    return "p"


@pytest.mark.parametrize("kind", [inline, file, declared], ids=lambda kind: kind.__name__)
def test_a_flow_of_a_document(rehearse: Crew, provider: Provider, tmp_path: Path, kind: Callable[[Path], Any]) -> None:
    attempt = rehearse("crewai.flow", {"flow": kind(tmp_path), "topic": "bees"})
    result = attempt.final()
    assert result["type"] == "result", result
    assert result["output"]["output"] == "answer 1"
    assert "about bees" in json.dumps(provider.requests[0].body)
    assert [each["method"] for each in attempt.events("method_completed")] == ["think"]


@pytest.mark.parametrize(
    ("named", "kind", "said"),
    [
        (3, "invalid_input", "inputs.flow"),
        ("nowhere", "load", "nowhere"),
        ("talks:Nobody", "load", "Nobody"),
        ("talks:LLM", "load", "LLM"),
        ("missing.yaml", "load", "missing.yaml"),
        ({"schema": "crewai.flow/v1"}, "load", "inputs.flow"),
    ],
)
def test_what_is_no_flow(rehearse: Crew, tmp_path: Path, named: Any, kind: str, said: str) -> None:
    (tmp_path / "talks.py").write_text(FLOW)
    error = rehearse("crewai.flow", {"flow": named}).final()
    assert (error["type"], error["kind"]) == ("error", kind)
    assert said in error["message"]


def test_a_flow_is_no_crew(rehearse: Crew, tmp_path: Path) -> None:
    (tmp_path / "talks.py").write_text(FLOW)
    assert "crewai.flow" in rehearse("crewai.crew", {"crew": "talks:Talk"}).final()["message"]
    assert "crewai.flow" in rehearse("crewai.crew", {"crew": project(tmp_path)}).final()["message"]


REVIEW = """
from pathlib import Path
from crewai import LLM
from crewai.flow.flow import Flow, listen, start
from crewai.flow.human_feedback import human_feedback
class Review(Flow):
    @start()
    @human_feedback(message="Publish it?", emit=["publish", "drop"], llm="gpt-4o", default_outcome="drop")
    def draft(self):
        with Path("drafts").open("a") as file:
            file.write("x")
        self.state["draft"] = LLM(model="gpt-4o").call("draft it")
        return {"text": self.state["draft"]}
    @listen("publish")
    def send(self):
        return ["published", self.state["draft"]]
    @listen("drop")
    def keep(self):
        return ["dropped", self.state["draft"]]
"""


@pytest.fixture
def flow(rehearse: Crew, tmp_path: Path) -> Any:
    """Runs an attempt of the flow of some code."""

    def run(code: str, resume: Message | None = None, **fields: Any) -> Message:
        (tmp_path / "mine.py").write_text(code)
        name = code.split("class ")[-1].split("(")[0]
        return rehearse("crewai.flow", {"flow": f"mine:{name}"}, resume=resume, **fields).final()

    return run


@pytest.mark.parametrize(("said", "ended"), [("publish", "published"), ("Drop", "dropped"), ("", "dropped")])
def test_a_paused_flow_goes_on_behind_the_method(
    flow: Any, provider: Provider, tmp_path: Path, said: str, ended: str
) -> None:
    waiting = flow(REVIEW)
    assert waiting["prompt"].startswith("Publish it?")
    (item,) = waiting["items"]
    assert item["value"] == {"text": "answer 1"}
    assert item["schema"] == {"type": "string", "examples": ["publish", "drop"]}
    result = flow(REVIEW, answered(waiting, said))
    assert result["type"] == "result", result
    assert result["output"]["output"] == [ended, "answer 1"]
    # Neither the method nor a model was asked again.
    assert (tmp_path / "drafts").read_text() == "x"
    assert len(provider.requests) == 1


OWN = """
from crewai.flow.async_feedback import HumanFeedbackPending
class Own:
    def request_feedback(self, context, flow):
        open("told", "w").write(context.message)
        raise HumanFeedbackPending(context=context)
""" + REVIEW.replace('default_outcome="drop"', 'default_outcome="drop", provider=Own()')


def test_a_provider_of_the_users_own_may_tell_and_pause(flow: Any, tmp_path: Path) -> None:
    waiting = flow(OWN)
    assert (tmp_path / "told").read_text() == "Publish it?"
    assert flow(OWN, answered(waiting, "publish"))["output"]["output"] == ["published", "answer 1"]


def test_an_answer_in_words_is_understood_by_the_model(flow: Any, provider: Provider) -> None:
    waiting = flow(REVIEW)
    provider.behave = lambda _: answer('{"outcome": "publish"}')
    result = flow(REVIEW, answered(waiting, "yes, go ahead"))
    assert result["output"]["output"] == ["published", "answer 1"]
    assert len(provider.requests) == 2


def test_the_token_holds_no_key(flow: Any) -> None:
    code = REVIEW.replace('llm="gpt-4o"', 'llm=LLM(model="gpt-4o", api_key="sk-in-the-code-0123456789")')
    waiting = flow(code)
    assert "sk-in-the-code" not in json.dumps(waiting)
    assert flow(code, answered(waiting, "publish"))["output"]["output"][0] == "published"


TWICE = """
from crewai.flow.flow import Flow, listen, start
from crewai.flow.human_feedback import human_feedback
from pydantic import BaseModel
class State(BaseModel):
    heard: list[str] = []
class Twice(Flow[State]):
    @start()
    @human_feedback(message="First?")
    def first(self):
        return "one"
    @listen(first)
    @human_feedback(message="Second?")
    def second(self, result):
        self.state.heard.append(result.feedback)
        return "two"
    @listen(second)
    def end(self, result):
        return [*self.state.heard, result.feedback]
"""


def test_several_pauses_one_after_the_other(flow: Any) -> None:
    first = flow(TWICE)
    second = flow(TWICE, answered(first, "a"))
    assert (first["prompt"], second["prompt"]) == ("First?", "Second?")
    assert flow(TWICE, answered(second, "b"))["output"]["output"] == ["a", "b"]


MIXED = """
from crewai import Agent, Crew, Task
from crewai.flow.flow import Flow, listen, start
from crewai.flow.human_feedback import human_feedback
class Mixed(Flow):
    @start()
    def greet(self):
        self.state["name"] = self.ask("Your name?")
    @listen(greet)
    @human_feedback(message="Is it right?")
    def check(self):
        return self.state["name"]
    @listen(check)
    def write(self, result):
        agent = Agent(role="R", goal="G", backstory="B")
        task = Task(name="letter", description="write", expected_output="e", agent=agent, human_input=True)
        letter = Crew(agents=[agent], tasks=[task]).kickoff().raw
        return [self.state["name"], result.feedback, letter, self.ask("Send it?")]
"""


def test_all_kinds_of_questions_in_one_flow(flow: Any, provider: Provider) -> None:
    provider.behave = journal = Journal()
    prompts, resume, said = [], None, iter(["Ada", "yes", "", "now"])
    while (message := flow(MIXED, resume))["type"] == "waiting":
        prompts.append(message["prompt"][:13])
        resume = answered(message, next(said))
    assert message["output"]["output"] == ["Ada", "yes", "text 1", "now"]
    assert prompts == ["Your name?", "Is it right?", "R has a resul", "Send it?"]
    assert journal.paid == 1


AGAIN = """
from crewai.flow.flow import Flow, listen, start
from crewai.flow.human_feedback import human_feedback
class Again(Flow):
    @start()
    def before(self):
        self.state["before"] = self.ask("Which?")
    @listen(before)
    @human_feedback(message="Go on?")
    def check(self):
        return self.state["before"]
    @listen(check)
    def after(self):
        return [self.state["before"], self.ask("Which?")]
"""


def test_an_answer_is_good_for_one_question(flow: Any) -> None:
    """The same question behind a pause is another one."""
    first = flow(AGAIN)
    second = flow(AGAIN, answered(first, "red"))
    third = flow(AGAIN, answered(second, "yes"))
    assert [each["prompt"] for each in (first, second, third)] == ["Which?", "Go on?", "Which?"]
    assert flow(AGAIN, answered(third, "blue"))["output"]["output"] == ["red", "blue"]


NESTED = (
    REVIEW
    + """
class Outer(Flow):
    @start()
    def inner(self):
        return {"inner": Review().kickoff()}
"""
)


def test_a_flow_inside_a_flow_asks_and_is_no_result(flow: Any, provider: Provider) -> None:
    provider.behave = Journal()
    waiting = flow(NESTED)
    assert flow(NESTED, answered(waiting, "publish"))["output"]["output"] == {"inner": ["published", "text 1"]}


def test_a_hint_forbids_questions(flow: Any) -> None:
    for code in (REVIEW, MIXED):
        error = flow(code, hints={"human": "fail"})
        assert (error["type"], error["kind"], error["retryable"]) == ("error", "invalid_input", False), error
        assert "hints.crewai.human" in error["message"]


def test_a_state_that_cannot_be_kept_is_an_error_that_says_so(flow: Any) -> None:
    code = REVIEW.replace('self.state["draft"] =', 'self.state["odd"] = object(); self.state["draft"] =')
    error = flow(code)
    assert (error["kind"], error["retryable"]) == ("output", False)
    assert "state" in error["message"]


def test_a_state_without_a_json_form_is_left_out_of_a_result(flow: Any) -> None:
    code = FLOW.replace('said: str = ""', 'said: str = ""\n    odd: object = object()').replace("talk = Talk()", "")
    result = flow(code)
    assert set(result["output"]["state"]) == {"id", "topic", "said"}
    assert "odd" in result["warnings"][0]


def test_a_method_that_changed_since_is_told(flow: Any) -> None:
    waiting = flow(REVIEW)
    error = flow(REVIEW.replace("def draft", "def sketch"), answered(waiting, "publish"))
    assert error["kind"] == "invalid_input"
    assert "draft" in error["message"]


LOADED = """
import sys
from crewai.flow.flow import Flow, start
class Light(Flow):
    @start()
    def look(self):
        {}
        return "lancedb" in sys.modules
"""


@pytest.mark.parametrize(("code", "loaded"), [("pass", False), ("self.recall('x')", True), ("self.memory", True)])
def test_a_memory_that_nobody_uses_is_not_made(flow: Any, code: str, loaded: bool) -> None:
    result = flow(LOADED.format(code))
    assert result["type"] == "result", result
    assert result["output"]["output"] is loaded


def test_the_memory_of_a_flow_works_from_elsewhere(flow: Any, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.py").write_text(
        "def keep(flow):\n    flow.remember('the hive is old')\n    return flow.recall('hive')\n"
    )
    code = LOADED.format("import elsewhere; elsewhere.keep(self)")
    assert flow(code)["output"]["output"] is True


def test_a_flow_that_streams_gives_its_result(flow: Any) -> None:
    assert flow(LOADED.format("pass").replace("@start", "stream = True\n    @start"))["type"] == "result"
