"""What asks models: with whose key, how often, and what is counted."""

from __future__ import annotations

import json
import threading
from collections import Counter
from typing import Any

import pytest

from tests.langchain.conftest import KEY, Begin, HostMaker, Project
from tests.support.engine import Message
from tests.support.provider import DROPPED, MALFORMED, Provider, Reply, answer, failure, streamed, tool_call

MODELS = """
import asyncio
from langchain.agents import create_agent
from langchain_core.output_parsers import JsonOutputParser
from langchain_core.runnables import RunnableLambda
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from langgraph.graph import START, StateGraph
from langgraph.types import RetryPolicy
from typing_extensions import TypedDict

model = ChatOpenAI(model="gpt-test")
own_key = ChatOpenAI(model="gpt-test", api_key="sk-of-the-users-own")
parsed = model | JsonOutputParser()
embed = RunnableLambda(lambda text: OpenAIEmbeddings(check_embedding_ctx_length=False).embed_query(text))
agent = create_agent(model, tools=[])

class State(TypedDict):
    said: str

async def say(state):
    return {"said": (await model.ainvoke("hello")).content}

def say_in_a_thread(state):
    return {"said": model.invoke("hello").content}

graph = StateGraph(State).add_node("say", say).add_edge(START, "say")
threaded = StateGraph(State).add_node("say", say_in_a_thread).add_edge(START, "say")
"""


@pytest.mark.parametrize("name", ["model", "own_key"])
def test_a_request_carries_the_key_of_its_attempt(begin: Begin, project: Project, models: Provider, name: str) -> None:
    project.write(MODELS)
    for key in ("sgt-first-attempt", "sgt-second-attempt"):
        provider = {"base_url": models.base_url, "api_key_env": None, "api_key": key}
        begin({"runnable": f"./app.py:{name}", "input": "hello"}, provider=provider).output()
        assert models.requests[-1].headers["Authorization"] == f"Bearer {key}"


def test_attempts_at_once_do_not_mix_their_keys(begin: Begin, project: Project, models: Provider) -> None:
    project.write(MODELS)
    models.behave = lambda request: answer(request.headers["Authorization"])
    keys = [f"sgt-attempt-number-{number}" for number in range(20)]
    guests = []
    for number, key in enumerate(keys):
        provider = {"base_url": models.base_url, "api_key_env": None, "api_key": key}
        inputs = {"graph": f"./app.py:{'graph' if number % 2 else 'threaded'}", "said": ""}
        guests.append(begin(inputs, provider=provider))
    for guest in guests:
        # The output is searched for the attempt's own key.
        assert guest.output() == {"said": "Bearer [secret]"}
    assert Counter(each.headers["Authorization"] for each in models.requests) == Counter(
        f"Bearer {key}" for key in keys
    )


def test_the_key_goes_nowhere_else(begin: Begin, project: Project, models: Provider) -> None:
    project.write(MODELS)
    provider = {"base_url": "http://127.0.0.1:9/v1", "api_key_env": None, "api_key": KEY}
    begin({"runnable": "./app.py:model", "input": "hello"}, provider=provider).output()
    assert KEY not in str(models.requests[0].headers)


FAILURES: list[tuple[Reply, str, bool]] = [
    (failure(429, Retry_After="7"), "rate_limited", True),
    (failure(429, "insufficient_quota"), "quota", False),
    (failure(500), "provider", True),
    (failure(503), "provider", True),
    (failure(408), "timeout", True),
    (failure(409), "provider", True),
    (failure(400), "invalid_input", False),
    (failure(400, "context_length_exceeded"), "context_overflow", False),
    (failure(401), "auth", False),
    (failure(403), "auth", False),
    (failure(404), "invalid_input", False),
    (failure(422), "invalid_input", False),
    (DROPPED, "connection", True),
    (MALFORMED, "provider", True),
]


@pytest.mark.parametrize("target", ["model", "agent"])
@pytest.mark.parametrize(("reply", "kind", "retryable"), FAILURES, ids=[f"{r.status}-{k}" for r, k, _ in FAILURES])
def test_a_failing_call_is_made_once(
    begin: Begin, project: Project, models: Provider, target: str, reply: Reply, kind: str, retryable: bool
) -> None:
    project.write(MODELS)
    models.behave = lambda _: reply
    inputs = (
        {"graph": "./app.py:agent", "prompt": "hello"}
        if target == "agent"
        else {"runnable": "./app.py:model", "input": "hello"}
    )
    guest = begin(inputs)
    error = guest.error()
    assert (error["kind"], error["retryable"]) == (kind, retryable), error
    assert error["retry_after_ms"] == (7000 if "Retry-After" in reply.headers else None)
    assert len(models.requests) == 1
    assert guest.events("model_call_failed")
    assert KEY not in json.dumps(guest.messages)


def test_the_clients_retries_can_be_kept(begin: Begin, project: Project, models: Provider) -> None:
    project.write(MODELS)
    models.behave = lambda _: failure(500, Retry_After_Ms="1")
    begin({"runnable": "./app.py:model", "input": "hello"}, hints={"inner_retries": "keep"}).error()
    assert len(models.requests) == 3


def test_other_errors_have_kinds_too(begin: Begin, project: Project, models: Provider) -> None:
    project.write(
        MODELS
        + """
class Broken(Exception):
    pass

def fail(value):
    raise {"user": Broken("mine"), "time": TimeoutError("late"), "net": ConnectionResetError("gone")}[value]

failing = RunnableLambda(fail)
terminal = RunnableLambda(lambda _: input("name?"))
leaving = RunnableLambda(lambda _: exit(3))
"""
    )
    models.behave = lambda _: answer("no JSON at all")
    parsed = begin({"runnable": "./app.py:parsed", "input": "hello"}).error()
    assert (parsed["kind"], parsed["retryable"]) == ("model_output", True)
    for value, kind in [("user", "user"), ("time", "timeout"), ("net", "connection")]:
        assert begin({"runnable": "./app.py:failing", "input": value}).error()["kind"] == kind
    assert begin({"runnable": "./app.py:terminal", "input": 1}).error()["kind"] == "invalid_input"
    left = begin({"runnable": "./app.py:leaving", "input": 1}).error()
    assert (left["kind"], left["message"]) == ("user", "SystemExit: the code called exit(3)")


def test_usage_is_exact_under_a_hundred_at_once(begin: Begin, project: Project, models: Provider) -> None:
    project.write(MODELS)

    def behave(request: Any) -> Reply:
        number = int(request.headers["Authorization"].rpartition("-")[2])
        return answer("ok", prompt_tokens=number, completion_tokens=2 * number)

    models.behave = behave
    guests = []
    for number in range(1, 101):
        provider = {"base_url": models.base_url, "api_key_env": None, "api_key": f"sgt-attempt-{number}"}
        inputs: Message = (
            {"graph": "./app.py:agent", "prompt": "x"} if number % 2 else {"runnable": "./app.py:model", "input": "x"}
        )
        guests.append((number, begin(inputs, provider=provider)))
    for number, guest in guests:
        guest.output()
        usage = guest.messages[-1]["usage"]
        assert (usage["model_calls"], usage["input_tokens"], usage["output_tokens"]) == (1, number, 2 * number)


def test_a_failed_attempt_has_its_usage_too(begin: Begin, project: Project, models: Provider) -> None:
    project.write(MODELS)
    models.behave = lambda _: answer("no JSON at all")
    assert begin({"runnable": "./app.py:parsed", "input": "hello"}).error()["usage"]["input_tokens"] == 10


@pytest.mark.parametrize(
    "inputs", [{"graph": "./app.py:agent", "prompt": "x"}, {"runnable": "./app.py:model", "input": "x"}]
)
def test_tokens_are_streamed_only_to_who_listens(
    begin: Begin, project: Project, models: Provider, inputs: Message
) -> None:
    project.write(MODELS)
    models.behave = lambda request: streamed("Hel", "lo") if request.body.get("stream") else answer("Hello")
    quiet = begin(inputs)
    output = quiet.output()
    assert not models.requests[-1].body.get("stream")
    assert [each for each in quiet.messages if each["type"] == "chunk"] == []
    loud = begin(inputs, stream=True)
    streamed_output = loud.output()
    assert models.requests[-1].body["stream"] is True
    chunks = [each for each in loud.messages if each["type"] == "chunk"]
    assert "".join(each["text"] for each in chunks) == "Hello"
    if "graph" in inputs:
        assert chunks[0]["node"] == "model"
        output, streamed_output = output["messages"][-1], streamed_output["messages"][-1]
    assert streamed_output["content"] == output["content"]
    begin(inputs, stream=True, hints={"stream": ["tasks"]}).output()
    assert not models.requests[-1].body.get("stream")


def test_steps_and_what_code_says_are_forwarded(begin: Begin, project: Project) -> None:
    project.write(
        """
        from langgraph.config import get_stream_writer
        from langgraph.graph import START, StateGraph
        from typing_extensions import TypedDict
        class State(TypedDict):
            n: int
        def step(state):
            get_stream_writer()({"progress": 50})
            return {"n": 1}
        graph = StateGraph(State).add_node("step", step).add_edge(START, "step")
        """
    )
    guest = begin({"graph": "./app.py:graph", "n": 0}, hints={"stream": ["tasks", "updates", "custom"]})
    guest.output()
    assert [each["step"] for each in guest.events("step_started")] == ["step"]
    assert guest.events("step_updated")[0]["keys"] == ["n"]
    assert guest.events("custom")[0]["data"] == {"progress": 50}


def test_a_success_that_is_none_is_told(begin: Begin, project: Project, models: Provider) -> None:
    project.write(
        """
        from langchain.agents import create_agent
        from langchain.agents.middleware import ModelCallLimitMiddleware, ModelRetryMiddleware, ToolRetryMiddleware
        from langchain_core.tools import tool

        @tool
        def look(x: int) -> str:
            "Looks."
            raise ValueError("nothing there")

        retrying = create_agent("openai:m", tools=[], middleware=[ModelRetryMiddleware(max_retries=0)])
        limited = create_agent("openai:m", tools=[look], middleware=[
            ToolRetryMiddleware(max_retries=0), ModelCallLimitMiddleware(run_limit=1)])
        """
    )
    models.behave = lambda _: failure(500)
    guest = begin({"graph": "./app.py:retrying", "prompt": "x"})
    guest.output()
    assert "error text in the place of an answer" in guest.messages[-1]["warnings"][0]
    models.behave = lambda _: tool_call("look", {"x": 1})
    guest = begin({"graph": "./app.py:limited", "prompt": "x"})
    guest.output()
    warnings = " ".join(guest.messages[-1]["warnings"])
    assert "tool look failed" in warnings
    assert "ended by a limit" in warnings


def test_a_rehearsal_leads_every_request_to_the_stand_in(
    begin: Begin, make_host: HostMaker, project: Project, models: Provider
) -> None:
    project.write(
        MODELS
        + """
from langchain.chat_models import init_chat_model
elsewhere = ChatOpenAI(model="gpt-test", base_url="http://127.0.0.1:9/api/v1", api_key="sk-real")
by_name = RunnableLambda(lambda text: init_chat_model("anthropic:claude-x").invoke(text).content)
"""
    )
    host = make_host()
    for name in ("model", "elsewhere", "by_name"):
        begin({"runnable": f"./app.py:{name}", "input": "x"}, at=host, rehearsal=True).output()
        assert models.requests[-1].headers["Authorization"] == f"Bearer {KEY}"
    assert models.requests[-1].body["model"] == "claude-x"
    assert models.requests[-1].path == "/v1/chat/completions"


def test_a_rehearsal_refuses_clients_that_cannot_be_led(begin: Begin, project: Project) -> None:
    project.write(
        """
        from langchain_core.language_models import GenericFakeChatModel
        class ChatAnthropic(GenericFakeChatModel):
            def _get_ls_params(self, stop=None, **kwargs):
                return {"ls_provider": "anthropic"}
        model = ChatAnthropic(messages=iter([]))
        """
    )
    error = begin({"runnable": "./app.py:model", "input": "x"}, rehearsal=True).error()
    assert error["kind"] == "invalid_input"
    assert "anthropic" in error["message"]


@pytest.mark.parametrize(
    "inputs", [{"graph": "./app.py:graph", "said": ""}, {"runnable": "./app.py:model", "input": "x"}]
)
def test_a_cancel_closes_the_call(begin: Begin, project: Project, models: Provider, inputs: Message) -> None:
    project.write(MODELS)
    reply = answer("late")
    reply.hold = threading.Event()
    models.behave = lambda _: reply
    guest = begin(inputs)
    assert models.arrived.wait(60)
    guest.cancel()
    assert guest.final()["type"] == "cancelled"
    assert models.hung_up.wait(60)


def test_a_deadline_is_a_timeout(begin: Begin, project: Project, models: Provider) -> None:
    project.write(MODELS)
    reply = answer("late")
    reply.hold = threading.Event()
    models.behave = lambda _: reply
    # On a busy machine a short time is over before the model is called.
    for deadline_ms in (100, 1_000, 10_000, 60_000):
        error = begin({"runnable": "./app.py:model", "input": "x"}, deadline_ms=deadline_ms).error()
        assert (error["kind"], error["retryable"]) == ("timeout", True)
        if models.arrived.is_set():
            break
    assert models.hung_up.wait(60)


def test_what_the_host_tells_of_itself(begin: Begin, project: Project) -> None:
    project.write(MODELS)
    guest = begin({"runnable": "./app.py:model", "input": "x"})
    guest.output()
    hello = guest.host.hello
    assert (hello["mode"], hello["framework"], hello["inner_retries"]) == ("shared", "langchain", "off")
    assert {"attempt_key", "retry_shim.client", "rehearsal", "checkpoints"} <= set(hello["features"])
    assert hello["versions"]["langgraph"]
