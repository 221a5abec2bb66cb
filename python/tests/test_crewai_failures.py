"""Real CrewAI and a provider that fails: one request, the right kind, usage, and no secret."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import KEY, Crew
from tests.support.engine import Zygote
from tests.support.provider import DROPPED, MALFORMED, NO_CHOICES, Provider, Reply, answer, failure

PROMPT = {"prompt": "say something"}
NOTHING = {"model_calls": 0, "input_tokens": 0, "output_tokens": 0, "cached_input_tokens": 0}

CASES = {
    "429": (failure(429), "rate_limited", True),
    "429 with Retry-After": (failure(429, Retry_After="7"), "rate_limited", True),
    "quota": (failure(429, "insufficient_quota"), "quota", False),
    "500": (failure(500), "provider", True),
    "503": (failure(503, Retry_After="1"), "provider", True),
    "dropped": (DROPPED, "connection", True),
    "malformed": (MALFORMED, "provider", True),
    "no choices": (NO_CHOICES, "provider", True),
    "empty answer": (answer(""), "model_output", True),
    "401": (failure(401), "auth", False),
    "404": (failure(404), "invalid_input", False),
    "400": (failure(400), "invalid_input", False),
}


@pytest.mark.parametrize(("reply", "kind", "retryable"), CASES.values(), ids=CASES)
def test_one_request_an_attempt(rehearse: Crew, provider: Provider, reply: Reply, kind: str, retryable: bool) -> None:
    provider.behave = lambda _: reply
    error = rehearse("crewai.agent", PROMPT).final()
    assert (error["type"], error["kind"], error["retryable"]) == ("error", kind, retryable), error
    assert len(provider.requests) == 1
    assert error["retry_after_ms"] == {"7": 7000, "1": 1000}.get(reply.headers.get("Retry-After", ""))
    assert KEY not in json.dumps(error)


def test_one_request_also_from_a_users_crew_with_a_manager(rehearse: Crew, provider: Provider, tmp_path: Path) -> None:
    (tmp_path / "team.py").write_text(
        """
from crewai import LLM, Agent, Crew, Process, Task
agent = Agent(role="R", goal="G", backstory="B", llm=LLM(model="gpt-4o", max_retries=5), max_retry_limit=5)
task = Task(description="d", expected_output="e")
crew = Crew(agents=[agent], tasks=[task], process=Process.hierarchical, manager_llm="gpt-4o")
"""
    )
    provider.behave = lambda _: failure(429)
    assert rehearse("crewai.crew", {"crew": "team:crew"}).final()["kind"] == "rate_limited"
    assert len(provider.requests) == 1


def test_a_timeout_of_the_client_is_one_request(live: Crew, provider: Provider, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        """
from crewai import LLM, Agent, Crew, Task
agent = Agent(role="R", goal="G", backstory="B", llm=LLM(model="gpt-4o", timeout=0.2))
crew = Crew(agents=[agent], tasks=[Task(description="d", expected_output="e", agent=agent)])
"""
    )
    provider.behave = lambda _: Reply(hold=threading.Event())
    error = live("crewai.crew", {"crew": "slow:crew"}).final()
    assert (error["kind"], error["retryable"]) == ("timeout", True)
    assert len(provider.requests) == 1


@pytest.mark.parametrize(("mode", "requests"), [("off", 1), ("provider", 3)])
def test_the_hint_decides_about_inner_retries(rehearse: Crew, provider: Provider, mode: str, requests: int) -> None:
    provider.behave = lambda _: failure(500, Retry_After_Ms="1")
    rehearse("crewai.agent", PROMPT, hints={"inner_retries": mode}).final()
    assert len(provider.requests) == requests


def test_what_was_paid_for_before_the_failure_is_counted(rehearse: Crew, provider: Provider) -> None:
    crew = {
        "agents": {"a": {"role": "R", "goal": "G", "backstory": "B"}},
        "tasks": [{"name": f"t{n}", "description": "d", "expected_output": "e", "agent": "a"} for n in (1, 2)],
    }
    provider.behave = lambda _: answer("fine", 100, 20) if len(provider.requests) == 1 else failure(500)
    error = rehearse("crewai.crew", {"crew": crew}).final()
    assert error["usage"] == {"model_calls": 1, "input_tokens": 100, "output_tokens": 20, "cached_input_tokens": 4}


def test_nothing_paid_for_is_nothing(rehearse: Crew, provider: Provider) -> None:
    provider.behave = lambda _: failure(500)
    assert rehearse("crewai.agent", PROMPT).final()["usage"] == NOTHING


def test_no_key_names_the_way_out(crewai: Zygote, tmp_path: Path) -> None:
    attempt = crewai.spawn(tmp_path)
    attempt.start("crewai.agent", PROMPT)
    error = attempt.final()
    assert (error["kind"], error["retryable"]) == ("auth", False)
    assert "OPENAI_API_KEY" in error["message"]
    assert "--rehearse" in error["message"]


BAD_INPUTS: list[tuple[str, dict[str, Any], str, str]] = [
    ("crewai.agent", {}, "invalid_input", "prompt"),
    ("crewai.agent", {"prompt": 7}, "invalid_input", "prompt"),
    ("crewai.agent", {"prompt": "p", "promt": "p"}, "invalid_input", "promt"),
    ("crewai.agent", {"prompt": "p", "response_schema": {"type": "array"}}, "invalid_input", "response_schema"),
    ("crewai.crew", {}, "invalid_input", "inputs.crew"),
    ("crewai.crew", {"crew": {"agents": {}}}, "invalid_input", "tasks"),
    ("crewai.crew", {"crew": "no_such_folder"}, "load", "no_such_folder"),
    ("crewai.crew", {"crew": "no_such:Crew"}, "load", "no_such"),
    ("crewai.crew", {"crew": "json:nothing"}, "load", "nothing"),
    ("crewai.crew", {"crew": "json:loads.__name__"}, "load", "str"),
    ("crewai.crew", {"crew": "missing.jsonc"}, "load", "missing.jsonc"),
    ("crewai.crew", {"crew": "."}, "load", "no CrewAI project"),
    ("crewai.crew", {"crew": {"agents": "a.yaml", "tasks": "t.yaml"}}, "load", "a.yaml"),
    ("crewai.flow", {}, "invalid_input", "crewai.flow"),
]


@pytest.mark.parametrize(("handler", "inputs", "kind", "named"), BAD_INPUTS)
def test_what_cannot_run_is_said_before_any_request(
    rehearse: Crew, provider: Provider, handler: str, inputs: dict[str, Any], kind: str, named: str
) -> None:
    error = rehearse(handler, inputs).final()
    assert (error["kind"], error["retryable"]) == (kind, False), error
    assert named in error["message"]
    assert provider.requests == []


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("raise RuntimeError('mine')", "load"),
        ("import a_package_that_is_not_there", "load"),
        ("def crew(): raise KeyError('mine')", "user"),
        ("def crew():\n    import sys; sys.exit(2)", "user"),
        ("def crew():\n    input('well?')", "invalid_input"),
    ],
)
def test_the_users_own_mistakes(rehearse: Crew, tmp_path: Path, code: str, kind: str) -> None:
    (tmp_path / "mine.py").write_text(code)
    assert rehearse("crewai.crew", {"crew": "mine:crew"}).final()["kind"] == kind


def test_hints_are_checked(rehearse: Crew) -> None:
    error = rehearse("crewai.agent", PROMPT, hints={"inner_retries": "sometimes"}).final()
    assert error["kind"] == "invalid_input"
    assert "inner_retries" in error["message"]
