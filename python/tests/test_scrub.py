"""Secrets do not leave the worker; words that only look like secrets do."""

from __future__ import annotations

import json

import pytest

from segue.worker.scrub import MARK, Scrubber, is_secret_name
from tests.conftest import Play

SECRET = 'sk-"quoted"-0123456789'


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "token", "DB_PASSWORD", "AWS_SECRET_ACCESS_KEY", "WATSONX_APIKEY"])
def test_names_that_say_secret(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name", ["PATH", "PWD", "MAX_TOKENS", "KEYBOARD", "SEGUE_IDEMPOTENCY_KEY", "TOKENIZERS_PARALLELISM"]
)
def test_names_that_do_not(name: str) -> None:
    assert not is_secret_name(name)


def test_everywhere_in_a_message_but_its_structure() -> None:
    scrubber = Scrubber(["started"])
    scrubber.learn({"API_KEY": SECRET})
    message = {
        "type": "started",
        "message": f"with {SECRET}",
        "chain": [{"message": json.dumps({"key": SECRET}), SECRET: 1}],
    }
    assert scrubber.message(message) == {
        "type": "started",
        "message": f"with {MARK}",
        "chain": [{"message": f'{{"key": "{MARK}"}}', MARK: 1}],
    }


def test_a_result_keeps_short_words() -> None:
    scrubber = Scrubber()
    scrubber.learn({"DB_PASSWORD": "postgres"})
    assert scrubber.message({"type": "result", "output": "postgres"})["output"] == "postgres"
    assert scrubber.message({"type": "error", "message": "postgres"})["message"] == MARK


def test_an_attempt_tells_none_of_its_secrets(play: Play) -> None:
    code = "import os; context.log('info', os.environ['MY_API_KEY']); raise ValueError(os.environ['MY_API_KEY'])"
    attempt = play(code, {"MY_API_KEY": SECRET})
    error = attempt.final()
    assert error["message"] == f"ValueError: {MARK}"
    assert SECRET not in json.dumps(attempt.messages)
    assert json.dumps(SECRET)[1:-1] not in json.dumps(attempt.messages)


def test_what_an_attempt_needs_to_go_on_keeps_its_words() -> None:
    scrubber = Scrubber()
    scrubber.learn({"DB_PASSWORD": "postgres", "API_KEY": "sk-0123456789abcdef"})
    waiting = {"type": "waiting", "resume": {"flow": "postgres", "key": "sk-0123456789abcdef"}}
    assert scrubber.message(waiting)["resume"] == {"flow": "postgres", "key": "[secret]"}
