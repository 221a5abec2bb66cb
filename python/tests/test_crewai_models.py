"""Which model is asked, where, and with what key: hints, unknown names, and rehearsal for every provider."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import KEY, Crew
from tests.support.engine import Zygote
from tests.support.provider import Provider, answer

PROMPT = {"prompt": "say something"}


def one_agent(llm: str, rest: str = "") -> str:
    return f"""
from crewai import LLM, Agent, Crew, Process, Task
{rest}
agent = Agent(role="R", goal="G", backstory="B", llm={llm})
crew = Crew(agents=[agent], tasks=[Task(description="d", expected_output="e", agent=agent)])
"""


ANYBODY = [
    'LLM(model="gpt-4o")',
    'LLM(model="gpt-4o", base_url="https://models.example.com/v1", api_key="sk-real-key-of-a-user")',
    'LLM(model="gpt-5", api="responses")',
    '"anthropic/claude-sonnet-4-20250514"',
    'LLM(model="claude-3-5-haiku-latest", provider="anthropic", max_tokens=100)',
    '"gemini/gemini-2.5-pro"',
    '"azure/gpt-4o"',
    '"bedrock/anthropic.claude-3-sonnet-20240229-v1:0"',
    '"openrouter/meta-llama/llama-3-70b"',
    '"ollama/llama3"',
    '"groq/llama-3.1-8b"',
    '"a-name-that-nobody-knows"',
    '"openai/neither-this"',
    'LLM(model="x", is_litellm=True)',
    "None",
]


@pytest.mark.parametrize("llm", ANYBODY)
def test_a_rehearsal_stands_in_for_every_model(rehearse: Crew, provider: Provider, tmp_path: Path, llm: str) -> None:
    (tmp_path / "mine.py").write_text(one_agent(llm))
    result = rehearse("crewai.crew", {"crew": "mine:crew"}).final()
    assert result["type"] == "result", result
    assert result["output"]["output"] == "answer 1"
    assert [request.path for request in provider.requests] == ["/v1/chat/completions"]
    assert provider.requests[0].headers["Authorization"] == f"Bearer {KEY}"


DIRECT = [
    """
from crewai.llms.providers.openai.completion import OpenAICompletion
llm = OpenAICompletion(model="gpt-4o", api="responses", api_key="sk-real-key-of-a-user",
                       client_params={"base_url": "https://models.example.com/v1"})
""",
    """
from crewai.llms.providers.openai_compatible.completion import OpenAICompatibleCompletion
llm = OpenAICompatibleCompletion(model="deepseek-chat", provider="deepseek")
""",
    """
from crewai import BaseLLM
class Mine(BaseLLM):
    def call(self, messages, **options):
        raise AssertionError("asked")
llm = Mine(model="mine")
""",
    """
from crewai import BaseLLM
class Base(BaseLLM):
    def call(self, messages, tools=None, callbacks=None, available_functions=None, from_task=None, from_agent=None,
             response_model=None):
        raise AssertionError("asked")
class Mine(Base):
    pass
llm = Mine(model="mine", temperature=0.5)
""",
]


@pytest.mark.parametrize("code", DIRECT)
def test_also_for_models_that_are_built_directly(rehearse: Crew, provider: Provider, tmp_path: Path, code: str) -> None:
    (tmp_path / "mine.py").write_text(one_agent("llm", code))
    result = rehearse("crewai.crew", {"crew": "mine:crew"}).final()
    assert result["type"] == "result", result
    assert [request.path for request in provider.requests] == ["/v1/chat/completions"]
    assert provider.requests[0].headers["Authorization"] == f"Bearer {KEY}"


def test_also_for_managers_and_planners(rehearse: Crew, provider: Provider, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        """
from crewai import Agent, Crew, Process, Task
agent = Agent(role="R", goal="G", backstory="B", llm="gemini/gemini-2.5-pro",
              function_calling_llm="anthropic/claude-3-5-haiku-latest")
crew = Crew(agents=[agent], tasks=[Task(description="d", expected_output="e")], process=Process.hierarchical,
            manager_llm="anthropic/claude-sonnet-4-20250514", planning=True, planning_llm="azure/gpt-4o")
"""
    )
    plan = '{"list_of_plans_per_task": [{"task_number": 1, "task": "d", "plan": "do it"}]}'
    provider.behave = lambda request: answer(plan if "response_format" in request.body else "done")
    result = rehearse("crewai.crew", {"crew": "mine:crew"}).final()
    assert result["type"] == "result", result
    assert len(provider.requests) >= 2
    assert {request.headers["Authorization"] for request in provider.requests} == {f"Bearer {KEY}"}
    assert result["usage"]["model_calls"] == len(provider.requests)


def test_memory_and_knowledge_stay_here(rehearse: Crew, provider: Provider, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        """
from crewai import Agent, Crew, Task
from crewai.knowledge.source.string_knowledge_source import StringKnowledgeSource
agent = Agent(role="R", goal="G", backstory="B")
crew = Crew(agents=[agent], tasks=[Task(description="how old is the hive", expected_output="e", agent=agent)],
            memory=True, knowledge_sources=[StringKnowledgeSource(content="The hive is seven years old.")])
"""
    )
    attempt = rehearse("crewai.crew", {"crew": "mine:crew"})
    result = attempt.final()
    assert result["type"] == "result", result
    assert {request.path for request in provider.requests} == {"/v1/chat/completions"}
    assert any("seven years" in str(request.body) for request in provider.requests), attempt.stdout()
    assert {each.name for each in attempt.storage.iterdir()} >= {"chroma.sqlite3", "memory"}


def test_the_framework_is_quiet_whatever_the_environment_says(rehearse: Crew, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import os\nassert 'REDIS_URL' not in os.environ\n"
        "assert os.environ['CREWAI_DISABLE_TELEMETRY'] == 'true'\n" + one_agent("None")
    )
    loud = {"REDIS_URL": "redis://127.0.0.1:9", "CREWAI_DISABLE_TELEMETRY": "false"}
    assert rehearse("crewai.crew", {"crew": "mine:crew"}, loud).final()["type"] == "result"


def test_a_rehearsal_needs_somewhere_to_go(rehearse: Crew, provider: Provider) -> None:
    error = rehearse("crewai.agent", PROMPT, provider=None).final()
    assert error["kind"] == "invalid_input"
    assert provider.requests == []


def test_proxies_are_not_asked(rehearse: Crew, provider: Provider) -> None:
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
    assert rehearse("crewai.agent", PROMPT, proxies).final()["type"] == "result"
    assert len(provider.requests) == 1


@pytest.mark.parametrize("model", ["gpt-4o-mini", "a-name-that-nobody-knows", "openai/neither-this"])
def test_live_the_environment_says_where(live: Crew, provider: Provider, model: str) -> None:
    assert live("crewai.agent", PROMPT, hints={"model": model}).final()["type"] == "result"
    assert provider.requests[0].body["model"] == model.removeprefix("openai/")
    assert provider.requests[0].headers["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("llm", ['"openai/neither-this"', 'LLM(model="openai/neither-this", temperature=0)'])
def test_live_a_users_unknown_name_is_asked_where_the_environment_says(
    live: Crew, provider: Provider, tmp_path: Path, llm: str
) -> None:
    (tmp_path / "mine.py").write_text(one_agent(llm))
    result = live("crewai.crew", {"crew": "mine:crew"}).final()
    assert result["type"] == "result", result
    assert provider.requests[0].body["model"] == "neither-this"


def test_live_an_agent_finds_the_key_in_the_env_file(crewai: Zygote, provider: Provider, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"OPENAI_API_KEY=sk-of-the-file-1234\nOPENAI_BASE_URL={provider.base_url}\n")
    attempt = crewai.spawn(tmp_path)
    attempt.start("crewai.agent", PROMPT, base_dir=str(tmp_path))
    assert attempt.final()["type"] == "result"
    assert provider.requests[0].headers["Authorization"] == "Bearer sk-of-the-file-1234"


def test_live_the_engine_says_where(live: Crew, provider: Provider) -> None:
    attempt = live(
        "crewai.agent",
        PROMPT,
        {"OPENAI_BASE_URL": "", "OPENAI_API_KEY": "", "ENGINES_KEY": "sk-of-the-engine-1234"},
        provider={"base_url": provider.base_url, "api_key_env": "ENGINES_KEY"},
    )
    assert attempt.final()["type"] == "result"
    assert provider.requests[0].headers["Authorization"] == "Bearer sk-of-the-engine-1234"


@pytest.mark.parametrize("rehearsal", [False, True])
def test_the_hint_names_the_model_and_keeps_its_settings(
    live: Crew, rehearse: Crew, provider: Provider, tmp_path: Path, rehearsal: bool
) -> None:
    declared = 'LLM(model="gpt-4o", temperature=0.25)'
    (tmp_path / "mine.py").write_text(one_agent(declared))
    run = rehearse if rehearsal else live
    run("crewai.crew", {"crew": "mine:crew"}, hints={"model": "gpt-4.1"}).final()
    assert provider.requests[0].body["model"] == "gpt-4.1"
    assert provider.requests[0].body["temperature"] == 0.25


def test_the_hint_must_be_a_name(rehearse: Crew) -> None:
    assert rehearse("crewai.agent", PROMPT, hints={"model": 7}).final()["kind"] == "invalid_input"
