"""Chains and graphs of a project, most of which behave badly."""

import asyncio
import operator
import os
import sys
import time
from typing import Annotated

from langchain.agents import create_agent
from langchain.chat_models import init_chat_model
from langchain_core.output_parsers import StrOutputParser
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict

model = init_chat_model("openai:gpt-4o-mini")
chain = model | StrOutputParser()
agent = create_agent(model, tools=[])


class State(TypedDict, total=False):
    said: Annotated[list, operator.add]
    left: str
    right: str


def _graph(*steps):
    return StateGraph(State).add_sequence(list(steps)).add_edge(START, steps[0].__name__).compile()


def _step(number):
    async def step(state: State) -> State:
        with open("pid", "w") as file:
            file.write(str(os.getpid()))
        answer = await model.ainvoke(f"step {number}")
        return {"said": [answer.text]}

    step.__name__ = f"step{number}"
    return step


steps = _graph(*(_step(number) for number in range(1, 5)))


async def say(state: State) -> State:
    return {"said": ["y"]}


trivial = _graph(say)


async def leave(state: State) -> State:
    sys.exit(3)


leaves = _graph(leave)


async def fail(state: State) -> State:
    raise RuntimeError("no graph today")


raises = _graph(fail)


async def die(state: State) -> State:
    os.kill(os.getpid(), 9)


dies = _graph(die)


class _Running:
    """Is noted down while it runs."""

    def __enter__(self):
        self.path = f"running/{time.monotonic_ns()}"
        with open(self.path, "w") as file:
            file.write(str(os.getpid()))
        print("ready")

    def __exit__(self, *_):
        os.unlink(self.path)


async def wait(state: State) -> State:
    with _Running():
        await asyncio.sleep(3600)


waits = _graph(wait)


def hang(state: State) -> State:
    with _Running():
        time.sleep(3600)


hangs = _graph(hang)


def tell(state: State, config) -> State:
    about = config["configurable"]["segue"]
    return {"said": [about["idempotency_key"], about["task_id"], str(about["attempt"])]}


tells = _graph(tell)


def count(state: State) -> State:
    for number in range(1, 51):
        print(number)
    return {"said": []}


counts = _graph(count)


def pid(state: State) -> State:
    return {"said": [os.getpid()]}


process = _graph(pid)


async def left(state: State) -> State:
    return {"left": interrupt("left?")}


async def right(state: State) -> State:
    return {"right": interrupt("right?")}


asks = (
    StateGraph(State)
    .add_node("left", left)
    .add_node("right", right)
    .add_edge(START, "left")
    .add_edge(START, "right")
    .compile()
)

endless = (
    StateGraph(State).add_node("say", say).add_edge(START, "say").add_edge("say", "say").compile()
)
