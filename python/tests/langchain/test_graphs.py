"""Checkpoints, resume after a crash, questions and answers; the process may be another one each time."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import pytest

from tests.langchain.conftest import THREAD, Begin, HostMaker, Project
from tests.support.checkpoints import Checkpoints
from tests.support.engine import Message
from tests.support.provider import Provider, Reply, answer, tool_call

STEPS = """
import operator
from typing import Annotated
from langchain_openai import ChatOpenAI
from langgraph.func import entrypoint, task
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

model = ChatOpenAI(model="gpt-test")

class State(TypedDict):
    log: Annotated[list, operator.add]

def step(name):
    async def run(state):
        return {"log": [(await model.ainvoke(name)).content]}
    return run

builder = StateGraph(State)
for name, after in [("a", START), ("b", "a"), ("c", "b"), ("d", "c")]:
    builder.add_node(name, step(name))
    builder.add_edge(after, name)
graph = builder.compile()

@task
async def ask(name):
    return (await model.ainvoke(name)).content

@entrypoint()
async def workflow(names):
    return [await ask(name) for name in names]
"""


def answering_by_prompt(models: Provider, held: str, hold: threading.Event) -> None:
    """Each prompt is answered with itself; the one called `held` not before `hold` is set."""

    def behave(request: Any) -> Reply:
        prompt = request.body["messages"][-1]["content"]
        reply = answer(f"said {prompt}")
        if prompt == held:
            reply.hold = hold
        return reply

    models.behave = behave


@pytest.mark.parametrize(
    "inputs",
    [{"graph": "./app.py:graph", "log": ["in"]}, {"graph": "./app.py:workflow", "input": ["a", "b", "c", "d"]}],
)
def test_a_killed_graph_goes_on_where_it_was(
    begin: Begin, make_host: HostMaker, project: Project, models: Provider, inputs: Message
) -> None:
    project.write(STEPS)
    store, hold = Checkpoints(), threading.Event()
    answering_by_prompt(models, "c", hold)
    victim = make_host()
    begin(inputs, store, at=victim)
    while [each.body["messages"][-1]["content"] for each in models.requests] != ["a", "b", "c"]:
        assert models.arrived.wait(60)
        models.arrived.clear()
    os.kill(victim.process.pid, signal.SIGKILL)
    victim.process.wait()
    hold.set()
    again = begin(inputs, store, attempt=2)
    said = ["said a", "said b", "said c", "said d"]
    assert again.output() == ({"log": ["in", *said]} if "log" in inputs else said)
    prompts = [each.body["messages"][-1]["content"] for each in models.requests]
    assert sorted(prompts) == ["a", "b", "c", "c", "d"]


def test_a_finished_graph_is_not_run_again(begin: Begin, project: Project, models: Provider) -> None:
    project.write(STEPS)
    store = Checkpoints()
    inputs = {"graph": "./app.py:graph", "log": ["in"]}
    first = begin(inputs, store).output()
    assert begin(inputs, store, attempt=2).output() == first
    assert len(models.requests) == 4


def test_a_first_attempt_that_kept_nothing_begins_at_the_beginning(begin: Begin, project: Project) -> None:
    project.write(STEPS)
    assert len(begin({"graph": "./app.py:graph", "log": []}, attempt=2).output()["log"]) == 4


def test_a_failed_step_is_all_that_is_done_again(begin: Begin, project: Project, models: Provider) -> None:
    project.write(STEPS)
    store = Checkpoints()
    replies = [answer("1"), answer("2"), Reply(500, b"{}"), answer("3"), answer("4")]
    models.behave = lambda _: replies[len(models.requests) - 1]
    inputs = {"graph": "./app.py:graph", "log": []}
    error = begin(inputs, store).error()
    assert (error["kind"], error["retryable"]) == ("provider", True)
    assert "in step c" in error["message"]
    assert begin(inputs, store, attempt=2).output() == {"log": ["1", "2", "3", "4"]}


def test_checkpoints_can_be_left_away(begin: Begin, project: Project) -> None:
    project.write(STEPS)
    store = Checkpoints()
    begin({"graph": "./app.py:graph", "log": []}, store, hints={"checkpoint": "off"}).output()
    assert store.calls == []
    begin({"graph": "./app.py:graph", "log": []}, store, hints={"checkpoint": "exit"}).output()
    assert 0 < len(store.calls) < 5


def test_threads_are_this_tasks(begin: Begin, project: Project) -> None:
    project.write(STEPS)
    store = Checkpoints()
    begin({"graph": "./app.py:graph", "log": []}, store).output()
    assert {key[0] for key in store._rows} == {THREAD}


ASKING = """
import operator
from typing import Annotated
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from pydantic import BaseModel
from typing_extensions import TypedDict

class Decision(BaseModel):
    approved: bool

class State(TypedDict):
    log: Annotated[list, operator.add]

def before(state):
    return {"log": ["before"]}

def ask(state):
    first = interrupt({"question": "Refund order 17?", "amount": 40}, response_schema=Decision)
    if not first.approved:
        return {"log": ["no"]}
    account = interrupt("Which account?")
    return {"log": [f"yes, {account}"]}

def ask_other(state):
    return {"log": [interrupt("Other?")]}

builder = StateGraph(State)
builder.add_node("before", before)
builder.add_node("ask", ask)
builder.add_edge(START, "before")
builder.add_edge("before", "ask")
graph = builder.compile()
builder.add_node("ask_other", ask_other)
builder.add_edge("before", "ask_other")
both = builder.compile()
"""


def resume(waiting: Message, *values: Any) -> Message:
    """The `resume` of the next start."""
    ids = [item["id"] for item in waiting["items"]]
    return {"token": waiting["resume"], "answers": dict(zip(ids, values, strict=True))}


def test_a_question_is_answered_in_another_process(begin: Begin, make_host: HostMaker, project: Project) -> None:
    project.write(ASKING)
    store = Checkpoints()
    inputs = {"graph": "./app.py:graph", "log": ["in"]}
    first = begin(inputs, store).final()
    assert first["type"] == "waiting", first
    assert first["prompt"] == "Refund order 17?"
    [item] = first["items"]
    assert item["value"] == {"question": "Refund order 17?", "amount": 40}
    assert item["schema"]["properties"]["approved"]["type"] == "boolean"
    second = begin(inputs, store, at=make_host(), attempt=2, resume=resume(first, {"approved": True})).final()
    assert (second["type"], second["prompt"]) == ("waiting", "Which account?")
    assert second["items"][0]["id"] != item["id"]
    third = begin(inputs, store, attempt=3, resume=resume(second, "savings"))
    assert third.output() == {"log": ["in", "before", "yes, savings"]}


def test_an_answer_given_twice_answers_nothing_else(begin: Begin, project: Project) -> None:
    """The attempt that took the answer was lost after it had taken effect; the next one has the same `resume`."""
    project.write(ASKING)
    store = Checkpoints()
    inputs = {"graph": "./app.py:graph", "log": ["in"]}
    first = begin(inputs, store).final()
    answers = resume(first, {"approved": True})
    second = begin(inputs, store, attempt=2, resume=answers).final()
    again = begin(inputs, store, attempt=3, resume=answers).final()
    assert (again["type"], again["items"]) == ("waiting", second["items"])
    assert begin(inputs, store, attempt=4, resume=resume(again, "savings")).output()["log"][-1] == "yes, savings"
    assert begin(inputs, store, attempt=5, resume=resume(again, "other")).output()["log"][-1] == "yes, savings"


def test_a_question_that_was_not_heard_is_asked_again(begin: Begin, project: Project) -> None:
    project.write(ASKING)
    store = Checkpoints()
    inputs = {"graph": "./app.py:graph", "log": ["in"]}
    first = begin(inputs, store).final()
    again = begin(inputs, store, attempt=2).final()
    assert (again["type"], again["items"]) == ("waiting", first["items"])


def test_an_answer_that_does_not_fit_is_asked_for_again(begin: Begin, project: Project) -> None:
    project.write(ASKING)
    store = Checkpoints()
    inputs = {"graph": "./app.py:graph", "log": []}
    first = begin(inputs, store).final()
    again = begin(inputs, store, attempt=2, resume=resume(first, {"approved": "perhaps"})).final()
    assert again["type"] == "waiting", again
    assert "did not fit" in again["prompt"]
    assert begin(inputs, store, attempt=3, resume=resume(again, {"approved": False})).output() == {
        "log": ["before", "no"]
    }


def test_two_questions_at_once(begin: Begin, project: Project) -> None:
    project.write(ASKING)
    store = Checkpoints()
    inputs = {"graph": "./app.py:both", "log": []}
    first = begin(inputs, store).final()
    assert len(first["items"]) == 2
    values = [{"approved": False} if isinstance(each["value"], dict) else "me" for each in first["items"]]
    log = begin(inputs, store, attempt=2, resume=resume(first, *values)).output()["log"]
    assert sorted(log) == ["before", "me", "no"]


def test_an_answer_of_two_that_has_taken_effect_is_not_given_again(begin: Begin, project: Project) -> None:
    """One of the two has gone on and is done when the attempt breaks; the next one has both answers again."""
    code = ASKING.replace(
        'return {"log": [interrupt("Other?")]}',
        """answer = interrupt("Other?")
    import os, pathlib, time
    while not any("yes" in str(each) or "no" in str(each) for each in done):
        time.sleep(0.01)
    if not os.environ.pop("BROKEN_ONCE", None):
        os.environ["BROKEN_ONCE"] = "1"
        raise ValueError("broken once")
    return {"log": [answer]}""",
    ).replace('return {"log": ["no"]}', 'done.append("no"); return {"log": ["no"]}')
    project.write("done = []\n" + code)
    store = Checkpoints()
    inputs = {"graph": "./app.py:both", "log": []}
    first = begin(inputs, store).final()
    values = [{"approved": False} if isinstance(each["value"], dict) else "me" for each in first["items"]]
    answers = resume(first, *values)
    assert begin(inputs, store, attempt=2, resume=answers).error()["kind"] == "user"
    log = begin(inputs, store, attempt=3, resume=answers).output()["log"]
    assert sorted(log) == ["before", "me", "no"]


def test_a_question_without_a_checkpointer_is_an_error(begin: Begin, project: Project) -> None:
    project.write(ASKING)
    error = begin({"graph": "./app.py:graph", "log": []}, hints={"checkpoint": "off"}).error()
    assert (error["kind"], error["retryable"]) == ("invalid_input", False)
    assert "interrupt" in error["message"]


def test_an_answer_to_what_is_forgotten_is_an_error(begin: Begin, project: Project) -> None:
    project.write(ASKING)
    for token, mark in [({"interrupts": ["x"]}, "checkpoint"), ("no token of anybody", "token")]:
        answers = {"token": token, "answers": {"x": 1}}
        error = begin({"graph": "./app.py:graph", "log": []}, attempt=2, resume=answers).error()
        assert (error["kind"], error["retryable"]) == ("invalid_input", False)
        assert mark in error["message"]


def test_an_agents_tool_is_approved(begin: Begin, project: Project, models: Provider) -> None:
    project.write(
        """
        from langchain.agents import create_agent
        from langchain.agents.middleware import HumanInTheLoopMiddleware
        from langchain_core.tools import tool

        @tool
        def pay(amount: int) -> str:
            "Pays."
            return f"paid {amount}"

        agent = create_agent(
            "openai:gpt-test", tools=[pay], middleware=[HumanInTheLoopMiddleware(interrupt_on={"pay": True})]
        )
        """
    )
    replies = [tool_call("pay", {"amount": 9}), answer("done")]
    models.behave = lambda _: replies[len(models.requests) - 1]
    store = Checkpoints()
    inputs = {"graph": "./app.py:agent", "prompt": "pay 9"}
    asked = begin(inputs, store).final()
    assert asked["type"] == "waiting", asked
    assert "pay" in asked["prompt"]
    [item] = asked["items"]
    assert item["value"]["action_requests"][0]["args"] == {"amount": 9}
    assert "decisions" in str(item["schema"])
    decision = {"decisions": [{"type": "edit", "edited_action": {"name": "pay", "args": {"amount": 7}}}]}
    messages = begin(inputs, store, attempt=2, resume=resume(asked, decision)).output()["messages"]
    assert any("paid 7" in str(message["content"]) for message in messages)
    assert len(models.requests) == 2


def test_a_users_own_checkpointer_is_left_alone(begin: Begin, project: Project) -> None:
    project.write(
        ASKING + "\nfrom langgraph.checkpoint.memory import InMemorySaver\nown = builder.compile(InMemorySaver())\n"
    )
    store = Checkpoints()
    assert begin({"graph": "./app.py:own", "log": []}, store).final()["type"] == "waiting"
    assert store.calls == []


def test_subgraphs_keep_their_state_too(begin: Begin, project: Project) -> None:
    project.write(
        ASKING
        + """
outer_builder = StateGraph(State)
outer_builder.add_node("inner", graph)
outer_builder.add_edge(START, "inner")
outer = outer_builder.compile()
"""
    )
    store = Checkpoints()
    inputs = {"graph": "./app.py:outer", "log": []}
    asked = begin(inputs, store).final()
    assert asked["type"] == "waiting", asked
    assert len({key[1] for key in store._rows}) == 2
    assert begin(inputs, store, attempt=2, resume=resume(asked, {"approved": False})).output() == {
        "log": ["before", "no"]
    }


def test_a_loop_ends_at_the_limit(begin: Begin, project: Project) -> None:
    project.write(
        """
        from langgraph.graph import START, StateGraph
        from typing_extensions import TypedDict
        class State(TypedDict):
            n: int
        builder = StateGraph(State)
        builder.add_node("again", lambda state: {"n": state["n"] + 1})
        builder.add_edge(START, "again")
        builder.add_edge("again", "again")
        """
    )
    guest = begin({"graph": "./app.py:builder", "n": 0})
    error = guest.error()
    assert (error["kind"], error["retryable"]) == ("limit", False)
    assert len(guest.events("step_completed")) == 100
    assert begin({"graph": "./app.py:builder", "n": 0}, hints={"recursion_limit": 5}).error()["kind"] == "limit"
