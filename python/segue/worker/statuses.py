"""What the HTTP status of a model provider's answer means, read from the exception that its client raised."""

from __future__ import annotations

import email.utils
import json
import math
import time
from collections.abc import Mapping
from typing import Any, Final

from segue.worker import faults
from segue.worker.adapter import Failure

_RETRY_AFTER_MS_MAX: Final = 24 * 3600 * 1000
_SAID: Final = {
    "auth": "refused the key",
    "quota": "says that the quota is used up",
    "rate_limited": "says: too many requests",
    "provider": "failed",
    "invalid_input": "refused the request",
    "context_overflow": "says that the prompt is too long",
    "timeout": "took too long",
}
_OWN: Final = {"segue_budget": "budget", "segue_limit": "rate_limited", "segue_token": "cancelled"}
"""Codes of Segue's own gateway, which stands between."""
_LENGTH_MARKS: Final = (
    "context_length",
    "context length",
    "maximum context",
    "context window",
    "too many tokens",
    "prompt is too long",
)


def by_status(chain: list[BaseException]) -> Failure | None:
    """The failure of the innermost exception that carries a status, if one does."""
    for each in reversed(chain):
        status = faults.status(each)
        if status is None or status < 400:
            continue
        own = _OWN.get(_code(each).strip())
        if own is not None:
            return Failure(own, provider_text(each))
        kind = kind_of(status, each)
        after = retry_after_ms(each) if kind in ("rate_limited", "provider") else None
        return Failure(kind, f"The provider {_SAID[kind]} ({status}): {provider_text(each)}", retry_after_ms=after)
    return None


def kind_of(status: int, error: BaseException) -> str:
    """The kind of failure."""
    words = f"{_code(error)} {faults.text(error)}".lower()
    if status == 402 or (status == 429 and ("insufficient_quota" in words or "servicequota" in words)):
        return "quota"
    if status == 429:
        return "rate_limited"
    if status in (401, 403):
        return "auth"
    if status in (408, 504):
        return "timeout"
    if status >= 500 or status in (409, 425):
        return "provider"
    return "context_overflow" if any(mark in words for mark in _LENGTH_MARKS) else "invalid_input"


def provider_text(error: BaseException) -> str:
    """What the provider wrote, without the client's wrapping."""
    body = getattr(error, "body", None)
    said = body.get("message") if isinstance(body, Mapping) else None
    return said[:1000] if isinstance(said, str) and said else faults.text(error)


def _code(error: BaseException) -> str:
    body = getattr(error, "body", None)
    inner = body.get("code") if isinstance(body, Mapping) else None
    return str(getattr(error, "code", None) or inner or "")


def retry_after_ms(error: BaseException) -> int | None:
    """Seconds, milliseconds (as OpenAI adds) or a date, from the headers of the answer."""
    headers = getattr(getattr(error, "response", None), "headers", None)
    if headers is None:
        return None
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is None:
        value = headers.get("retry-after")
        seconds = _number(value)
        if seconds is None:
            seconds = _seconds_until(value)
        milliseconds = None if seconds is None else seconds * 1000
    if milliseconds is None or milliseconds < 0:
        return None
    return min(round(milliseconds), _RETRY_AFTER_MS_MAX)


def _number(value: Any) -> float | None:
    try:
        number = json.loads(str(value))
    except ValueError:
        return None
    return float(number) if isinstance(number, (int, float)) and math.isfinite(number) else None


def _seconds_until(date: Any) -> float | None:
    try:
        return max(0.0, email.utils.parsedate_to_datetime(str(date)).timestamp() - time.time())
    except (TypeError, ValueError):
        return None
