"""What exceptions mean, told from the exceptions alone."""

from __future__ import annotations

import email.utils
import time
from types import SimpleNamespace
from typing import Any

import pytest

from segue.adapters.crewai.errors import classify
from segue.worker import faults
from segue.worker.adapter import Failure


class StatusError(Exception):
    """As clients of providers raise it."""

    def __init__(self, status: int, message: str = "said", code: str | None = None, **headers: str) -> None:
        super().__init__(message)
        self.status_code = status
        self.body = {"message": message, "code": code}
        self.response = SimpleNamespace(
            status_code=status, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )


def caused(outer: BaseException, inner: BaseException) -> BaseException:
    outer.__cause__ = inner
    return outer


def named(name: str, message: str = "said") -> Exception:
    error: Exception = type(name, (Exception,), {})(message)
    return error


@pytest.mark.parametrize(
    ("error", "kind", "retryable"),
    [
        (StatusError(429), "rate_limited", True),
        (StatusError(429, code="insufficient_quota"), "quota", False),
        (StatusError(402), "quota", False),
        (StatusError(401), "auth", False),
        (StatusError(403), "auth", False),
        (StatusError(400), "invalid_input", False),
        (StatusError(404), "invalid_input", False),
        (StatusError(422), "invalid_input", False),
        (StatusError(400, "maximum context length is 8192 tokens"), "context_overflow", False),
        (StatusError(408), "timeout", True),
        (StatusError(500), "provider", True),
        (StatusError(529), "provider", True),
        (caused(ValueError("Model x not found"), StatusError(404)), "invalid_input", False),
        (caused(ConnectionError("failed"), named("APITimeoutError")), "timeout", True),
        (caused(RuntimeError("failed"), named("RemoteProtocolError")), "connection", True),
        (named("LLMContextLengthExceededError"), "context_overflow", False),
        (SystemExit("Context length exceeded and user opted not to summarize."), "context_overflow", False),
        (SystemExit(1), "user", True),
        (KeyboardInterrupt(), "user", True),
        (ValueError("OPENAI_API_KEY is required"), "auth", False),
        (ValueError("Missing required template variable 'topic' in description"), "invalid_input", False),
        (Exception("Task failed guardrail validation after 3 retries."), "model_output", False),
        (ValueError("Invalid response from LLM call - None or empty."), "model_output", True),
        (ImportError("Error importing native provider: install it"), "load", False),
        (ValueError("mine"), "user", True),
        (TimeoutError("slow"), "timeout", True),
        (named("JSONDecodeError"), "user", True),
        (caused(RuntimeError("wrapped"), Failure("load", "known")), "load", False),
    ],
    ids=lambda value: repr(value) if isinstance(value, BaseException) else "",
)
def test_kinds(error: BaseException, kind: str, retryable: bool) -> None:
    failure = classify(error)
    assert (failure.kind, failure.retryable) == (kind, retryable), failure


@pytest.mark.parametrize(
    ("headers", "milliseconds"),
    [
        ({"retry_after": "2"}, 2000),
        ({"retry_after": "0.5"}, 500),
        ({"retry_after": "60", "retry_after_ms": "1500"}, 1500),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "-1"}, None),
        ({"retry_after": "NaN"}, None),
        ({"retry_after": "Infinity"}, None),
        ({"retry_after": "99999999"}, 24 * 3600 * 1000),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], milliseconds: int | None) -> None:
    assert classify(StatusError(429, **headers)).retry_after_ms == milliseconds


def test_retry_after_as_a_date() -> None:
    date = email.utils.formatdate(time.time() + 100, usegmt=True)
    milliseconds = classify(StatusError(429, retry_after=date)).retry_after_ms
    assert milliseconds is not None
    assert 90_000 < milliseconds <= 100_000


def test_the_message_says_who_and_what() -> None:
    assert classify(StatusError(429, "slow down")).message == "The provider says: too many requests (429): slow down"


def test_rings_end() -> None:
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    assert faults.chain(one) == [one, two]
    assert classify(one).kind == "user"


def test_a_long_chain_keeps_its_root() -> None:
    error: BaseException = ValueError("root")
    for number in range(20):
        error = caused(ValueError(str(number)), error)
    described = faults.describe(error)
    assert len(described) == faults.CHAIN_MAX
    assert described[-1]["message"] == "root"


def test_exceptions_that_cannot_speak() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert classify(Mute()).kind == "user"
    described: dict[str, Any] = faults.describe(Mute())[0]
    assert described["message"].endswith("Mute")
