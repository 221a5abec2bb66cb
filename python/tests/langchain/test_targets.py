"""Everything that a project can export, run; and what cannot be run, said."""

from __future__ import annotations

import json

import pytest

from tests.langchain.conftest import Begin, Project
from tests.support.provider import Provider, answer, tool_call

CHAIN = """
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI

model = ChatOpenAI(model="gpt-test")
chain = ChatPromptTemplate.from_template("about {topic}") | model | StrOutputParser()
"""
AGENT = """
from langchain.agents import create_agent
from langchain_core.tools import tool

@tool
def add(a: int, b: int) -> int:
    "Adds."
    return a + b

agent = create_agent("openai:gpt-test", tools=[add], system_prompt="Count.")
"""
GRAPH = """
import operator
from typing import Annotated
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

class State(TypedDict):
    log: Annotated[list, operator.add]

def one(state):
    return {"log": ["one"]}

async def two(state):
    return {"log": ["two"]}

builder = StateGraph(State)
builder.add_node("one", one)
builder.add_node("two", two)
builder.add_edge(START, "one")
builder.add_edge("one", "two")
graph = builder.compile()

def make(config):
    assert config["configurable"]["segue"]["task_id"] == "n1"
    return builder

def make_without():
    return graph

def make_optional(config=None, other=1):
    assert config["metadata"]["segue_attempt"] == 1
    return graph

async def make_async(config):
    return graph

import contextlib
@contextlib.asynccontextmanager
async def make_for_a_while():
    print("opened")
    yield graph
    print("closed")
"""


def test_a_chain(begin: Begin, project: Project, models: Provider) -> None:
    project.write(CHAIN)
    guest = begin({"runnable": "./app.py:chain", "topic": "the sea"})
    assert guest.output() == "answer 1"
    assert models.requests[0].body["messages"][0]["content"] == "about the sea"
    assert guest.messages[-1]["usage"] == {
        "model_calls": 1,
        "input_tokens": 10,
        "output_tokens": 5,
        "cached_input_tokens": 4,
    }
    call = guest.events("model_call_completed")[0]
    assert (call["model"], call["usage"]["input_tokens"]) == ("gpt-test", 10)


def test_a_bare_model_gives_its_message_flat(begin: Begin, project: Project) -> None:
    project.write(CHAIN)
    message = begin({"runnable": "app:model", "input": "hello"}).output()
    assert (message["type"], message["content"]) == ("ai", "answer 1")
    assert message["usage_metadata"]["input_tokens"] == 10
    again = begin({"runnable": "app:model", "input": [{"role": "user", "content": "hello"}, message]})
    assert again.output()["content"] == "answer 2"


def test_an_agent_with_a_tool(begin: Begin, project: Project, models: Provider) -> None:
    project.write(AGENT)
    replies = [tool_call("add", {"a": 2, "b": 3}), answer("five")]
    models.behave = lambda _: replies[len(models.requests) - 1]
    guest = begin({"graph": "./app.py:agent", "prompt": "2 + 3?"})
    messages = guest.output()["messages"]
    assert [message["type"] for message in messages] == ["human", "ai", "tool", "ai"]
    assert (messages[2]["content"], messages[3]["content"]) == ("5", "five")
    assert guest.messages[-1]["usage"]["model_calls"] == 2
    assert [each["step"] for each in guest.events("step_completed")] == ["model", "tools", "model"]
    assert guest.events("tool_completed")[0]["tool"] == "add"
    assert "2 + 3?" not in json.dumps([each for each in guest.messages if each["type"] == "event"])


@pytest.mark.parametrize(("hint", "expected"), [("text", "answer 1"), ({"key": "messages"}, 2), ("last_message", "ai")])
def test_a_part_of_the_output(begin: Begin, project: Project, hint: object, expected: object) -> None:
    project.write(AGENT)
    output = begin({"graph": "./app.py:agent", "prompt": "hello"}, hints={"output": hint}).output()
    assert expected == (output["type"] if isinstance(output, dict) else output if hint == "text" else len(output))


@pytest.mark.parametrize(
    "name", ["builder", "graph", "make", "make_without", "make_optional", "make_async", "make_for_a_while"]
)
def test_graphs_and_factories(begin: Begin, project: Project, name: str) -> None:
    project.write(GRAPH)
    guest = begin({"graph": f"./app.py:{name}", "log": ["in"]})
    assert guest.output() == {"log": ["in", "one", "two"]}
    opened = ["opened", "closed"] if name == "make_for_a_while" else []
    assert guest.lines("stdout") == opened


def test_an_entrypoint_and_what_is_inside_it(begin: Begin, project: Project) -> None:
    project.write(
        """
        from langgraph.func import entrypoint, task

        @task
        async def twice(x: int) -> int:
            return 2 * x

        @entrypoint()
        async def workflow(x: int) -> dict:
            return {"twice": await twice(x)}
        """
    )
    assert begin({"graph": "./app.py:workflow", "input": 21}).output() == {"twice": 42}
    error = begin({"graph": "./app.py:twice", "input": 21}).error()
    assert (error["kind"], error["retryable"]) == ("load", False)
    assert "@entrypoint" in error["message"]


def test_a_tool(begin: Begin, project: Project) -> None:
    project.write(AGENT)
    assert begin({"runnable": "./app.py:add", "a": 2, "b": 3}).output() == 5


def test_names_of_langgraph_json(begin: Begin, project: Project) -> None:
    project.write(GRAPH, "src/flows/app.py")
    project.write("SECRET_THING=from-env\n", ".env")
    graphs = {"plain": "./src/flows/app.py:graph", "described": {"path": "./src/flows/app.py:make_without"}}
    project.write(json.dumps({"dependencies": ["."], "graphs": graphs, "env": ".env"}), "langgraph.json")
    for name in graphs:
        assert begin({"graph": name, "log": []}).output() == {"log": ["one", "two"]}
    error = begin({"graph": "other"}).error()
    assert error["kind"] == "load"
    assert "described, plain" in error["message"]


def test_a_file_of_a_package_may_import_its_neighbours(begin: Begin, project: Project) -> None:
    project.write("", "pack_a/__init__.py")
    project.write("WORD = 'near'\n", "pack_a/words.py")
    project.write(
        """
        from langchain_core.runnables import RunnableLambda
        from .words import WORD
        chain = RunnableLambda(lambda _: WORD)
        """,
        "pack_a/app.py",
    )
    assert begin({"runnable": "./pack_a/app.py:chain"}).output() == "near"


@pytest.mark.parametrize(
    ("text", "named", "mark"),
    [
        ("x = 1\n", "./app.py:x", "gives a int"),
        ("x = 1\n", "./app.py:y", "no 'y'"),
        ("import no_such_module\n", "./app.py:x", "no_such_module"),
        ("raise ValueError('broken')\n", "./app.py:x", "ValueError: broken"),
        ("import sys; sys.exit(3)\n", "./app.py:x", "SystemExit"),
        ("", "./other.py:x", "no file"),
        ("", "nothing", "langgraph.json"),
        ("def f(a, b): ...\n", "./app.py:f", "takes a, b"),
    ],
)
def test_what_cannot_be_loaded_says_why(begin: Begin, project: Project, text: str, named: str, mark: str) -> None:
    project.write(text)
    error = begin({"graph": named}).error()
    assert (error["kind"], error["retryable"]) == ("load", False)
    assert mark in error["message"]


def test_the_task_is_in_configuration_and_metadata(begin: Begin, project: Project) -> None:
    project.write(
        """
        from langchain_core.runnables import RunnableLambda
        def look(value, config):
            return {"configurable": config["configurable"], "metadata": config["metadata"], "tags": config["tags"]}
        chain = RunnableLambda(look)
        """
    )
    hints = {"configurable": {"user": "ada"}, "tags": ["t"]}
    found = begin({"runnable": "./app.py:chain"}, hints=hints, attempt=3, context={"tenant": "t-1"}).output()
    segue = found["configurable"]["segue"]
    assert (segue["run_id"], segue["attempt"], segue["context"]) == ("run_1", 3, {"tenant": "t-1"})
    assert found["configurable"]["user"] == "ada"
    assert found["metadata"]["segue_idempotency_key"] == "run_1/n1"
    assert found["tags"] == ["t"]


@pytest.mark.parametrize("name", ["__pregel_send", "thread_id", "checkpoint_ns"])
def test_the_insides_of_graphs_cannot_be_configured(begin: Begin, project: Project, name: str) -> None:
    project.write(GRAPH)
    error = begin({"graph": "./app.py:graph", "log": []}, hints={"configurable": {name: 1}}).error()
    assert error["kind"] == "invalid_input"
    assert name in error["message"]


def test_the_runtime_context_of_a_graph(begin: Begin, project: Project) -> None:
    project.write(
        """
        from dataclasses import dataclass
        from langgraph.graph import START, StateGraph
        from langgraph.runtime import Runtime
        from typing_extensions import TypedDict

        @dataclass
        class Context:
            user: str

        class State(TypedDict):
            said: str

        def say(state, runtime: Runtime[Context]):
            return {"said": runtime.context.user}

        builder = StateGraph(State, context_schema=Context)
        builder.add_node("say", say)
        builder.add_edge(START, "say")
        """
    )
    assert begin({"graph": "./app.py:builder", "said": "", "context": {"user": "ada"}}).output() == {"said": "ada"}


@pytest.mark.parametrize(
    ("value", "place"),
    [("object()", "type object"), ("{'a': [float('nan')]}", "/a/0"), ("{(1, 2): 3}", "tuple")],
)
def test_what_has_no_json_form(begin: Begin, project: Project, value: str, place: str) -> None:
    project.write(
        f"""
        from langchain_core.runnables import RunnableLambda
        chain = RunnableLambda(lambda _: {value})
        """
    )
    error = begin({"runnable": "./app.py:chain"}).error()
    assert (error["kind"], error["retryable"]) == ("output", False)
    assert place in error["message"]
