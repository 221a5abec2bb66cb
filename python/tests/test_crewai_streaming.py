"""What a model says, piece by piece, while somebody listens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.conftest import Crew
from tests.support.provider import Provider, Reply, answer, streamed

CREW = """
from crewai import LLM, Agent, Crew, Task
from pydantic import BaseModel
class Score(BaseModel):
    points: int
agent = Agent(role="Poet", goal="G", backstory="B", llm=LLM(model="gpt-4o"))
crew = Crew(agents=[agent], tasks=[Task(name="poem", description="d", expected_output="e", agent=agent)])
scored = Crew(agents=[agent], tasks=[
    Task(name="score", description="d", expected_output="e", agent=agent, output_pydantic=Score)])
"""


def chunks(attempt: Any) -> list[dict[str, Any]]:
    return [each for each in attempt.messages if each["type"] == "chunk"]


def test_pieces_arrive_and_usage_is_right(rehearse: Crew, provider: Provider, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(CREW)
    provider.behave = lambda _: streamed("Roses ", "are ", "red.")
    attempt = rehearse("crewai.crew", {"crew": "mine:crew"}, stream=True)
    result = attempt.final()
    assert result["type"] == "result", result
    assert result["output"]["output"] == "Roses are red."
    assert "".join(each["text"] for each in chunks(attempt)) == "Roses are red."
    assert {(each["node"], each["agent"]) for each in chunks(attempt)} == {("poem", "Poet")}
    assert len({each["message_id"] for each in chunks(attempt)}) == 1
    assert result["usage"] == {"model_calls": 1, "input_tokens": 10, "output_tokens": 5, "cached_input_tokens": 0}
    assert provider.requests[0].body["stream"] is True


def test_a_structured_answer_may_stream(rehearse: Crew, provider: Provider, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(CREW)
    provider.behave = lambda _: streamed('{"poi', 'nts": 3}')
    result = rehearse("crewai.crew", {"crew": "mine:scored"}, stream=True).final()
    assert result["type"] == "result", result
    assert result["output"]["output"] == {"points": 3}
    assert result["usage"]["model_calls"] == 1


def test_nobody_listens_nothing_streams(rehearse: Crew, provider: Provider, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(CREW)
    attempt = rehearse("crewai.crew", {"crew": "mine:crew"})
    assert attempt.final()["output"]["output"] == "answer 1"
    assert chunks(attempt) == []
    assert not provider.requests[0].body.get("stream")


def test_a_stream_that_breaks_fails_and_is_asked_once(rehearse: Crew, provider: Provider, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(CREW)
    whole = streamed("Roses ", "are ", "red.").body or b""
    provider.behave = lambda _: Reply(
        body=whole[: whole.index(b"red.") - 100], headers={"Content-Type": "text/event-stream"}, missing=100
    )
    attempt = rehearse("crewai.crew", {"crew": "mine:crew"}, stream=True)
    error = attempt.final()
    assert error["type"] == "error", error
    assert (error["kind"], error["retryable"]) == ("connection", True)
    assert len(provider.requests) == 1


def test_pieces_hold_no_key(rehearse: Crew, provider: Provider, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(CREW)
    provider.behave = lambda request: (
        streamed("the key is sk-of-the-user-0123456789") if request.body.get("stream") else answer("x")
    )
    attempt = rehearse("crewai.crew", {"crew": "mine:crew"}, {"MY_API_KEY": "sk-of-the-user-0123456789"}, stream=True)
    attempt.final()
    assert "sk-of-the-user" not in json.dumps(chunks(attempt))


TOOLS = """
from crewai import LLM, Agent, Crew, Task
from crewai.tools import tool
@tool("look")
def look(what: str) -> str:
    "Looks."
    return "seen: " + what
agent = Agent(role="Scout", goal="G", backstory="B", tools=[look], llm=LLM(model="gpt-4o"))
crew = Crew(agents=[agent], tasks=[Task(name="t", description="d", expected_output="e", agent=agent)])
"""


def streamed_tool_call(name: str, *pieces: str) -> Reply:
    """A tool is called, its arguments in pieces."""
    base = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "stub"}
    first = {"index": 0, "id": "call_1", "type": "function", "function": {"name": name, "arguments": ""}}
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": None, "tool_calls": [first]}]
    deltas += [{"tool_calls": [{"index": 0, "function": {"arguments": piece}}]} for piece in pieces]
    chunks = [{**base, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks.append({**base, "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    chunks.append({**base, "choices": [], "usage": usage})
    body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
    return Reply(body=body.encode(), headers={"Content-Type": "text/event-stream"})


def test_tools_are_called_while_it_streams(rehearse: Crew, provider: Provider, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(TOOLS)
    provider.behave = lambda _: (
        streamed_tool_call("look", '{"wh', 'at": "bees"}')
        if len(provider.requests) == 1
        else streamed("It is ", "seen.")
    )
    attempt = rehearse("crewai.crew", {"crew": "mine:crew"}, stream=True)
    result = attempt.final()
    assert result["type"] == "result", result
    assert result["output"]["output"] == "It is seen."
    assert "seen: bees" in json.dumps(provider.requests[1].body)
    assert result["usage"]["model_calls"] == 2
    assert result["usage"]["input_tokens"] == 20
    assert "".join(each["text"] for each in chunks(attempt)) == "It is seen."
