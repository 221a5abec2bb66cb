"""What an exception out of CrewAI means. The outermost one seldom says: a timeout comes as a `ConnectionError`, a wrong
model as a `ValueError`. So the whole chain is read, for a status first, then for types, then for words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from segue.worker import faults, statuses
from segue.worker.adapter import Failure

_TYPES: Final = {
    "APITimeoutError": "timeout",
    "Timeout": "timeout",
    "TimeoutException": "timeout",
    "ReadTimeout": "timeout",
    "ConnectTimeout": "timeout",
    "APIConnectionError": "connection",
    "RemoteProtocolError": "connection",
    "ConnectError": "connection",
    "ReadError": "connection",
    "APIResponseValidationError": "provider",
    "RateLimitError": "rate_limited",
    "InternalServerError": "provider",
    "ServiceUnavailableError": "provider",
    "AuthenticationError": "auth",
    "PermissionDeniedError": "auth",
    "NotFoundError": "invalid_input",
    "BadRequestError": "invalid_input",
    "LLMContextLengthExceededError": "context_overflow",
    "HookAborted": "cancelled",
    "JSONDecodeError": "provider",
    "ValidationError": "model_output",
    "OutputParserError": "model_output",
    "ConverterError": "model_output",
    "OutputParserException": "model_output",
    "JSONProjectError": "load",
    "JSONProjectValidationError": "load",
}
"""By the class's name: clients of all providers spell these alike. The first in the chain, from the root, wins."""

_STATUS_WORDS: Final = {
    "auth": "refused the key",
    "quota": "says that the quota is used up",
    "rate_limited": "says: too many requests",
    "provider": "failed",
    "invalid_input": "refused the request",
    "context_overflow": "says that the prompt is too long",
    "timeout": "took too long",
}


def classify(error: BaseException) -> Failure:
    """The failure that an exception stands for."""
    chain = faults.chain(error)
    for each in chain:
        if isinstance(each, Failure):
            return each
    return _by_status(chain) or _by_type(chain) or _by_words(error, chain) or _by_place(error) or _of_user(error)


def _by_status(chain: list[BaseException]) -> Failure | None:
    for each in reversed(chain):
        status = faults.status(each)
        if status is None or status < 400:
            continue
        kind = _kind_of_status(status, each)
        retry_after_ms = statuses.retry_after_ms(each) if kind in ("rate_limited", "provider") else None
        said = f"The provider {_STATUS_WORDS[kind]} ({status}): {_provider_text(each)}"
        return Failure(kind, said, retry_after_ms=retry_after_ms)
    return None


def _kind_of_status(status: int, error: BaseException) -> str:
    words = f"{_code(error)} {faults.text(error)}".lower()
    if status == 402 or (status == 429 and ("insufficient_quota" in words or "servicequota" in words)):
        return "quota"
    if status == 429:
        return "rate_limited"
    if status in (401, 403):
        return "auth"
    if status in (408, 504):
        return "timeout"
    if status >= 500:
        return "provider"
    return "context_overflow" if _is_about_length(words) else "invalid_input"


def _provider_text(error: BaseException) -> str:
    """What the provider wrote, without the client's wrapping."""
    body = getattr(error, "body", None)
    said = body.get("message") if isinstance(body, Mapping) else None
    return said[:1000] if isinstance(said, str) and said else faults.text(error)


def _code(error: BaseException) -> str:
    body = getattr(error, "body", None)
    inner = body.get("code") if isinstance(body, Mapping) else None
    return f"{getattr(error, 'code', None) or ''} {inner or ''}"


_LENGTH_MARKS: Final = (
    "context_length",
    "context length",
    "maximum context",
    "context window",
    "too many tokens",
    "prompt is too long",
)


def _is_about_length(words: str) -> bool:
    return any(mark in words for mark in _LENGTH_MARKS)


def _by_type(chain: list[BaseException]) -> Failure | None:
    for each in reversed(chain):
        for name in (kind.__name__ for kind in type(each).__mro__):
            kind = _TYPES.get(name)
            if kind is None or (name in ("ValidationError", "JSONDecodeError") and not _is_of_an_answer(chain)):
                continue
            return _of_type(kind, each, chain[0])
    return None


def _of_type(kind: str, each: BaseException, outermost: BaseException) -> Failure:
    said = faults.text(each)
    if kind == "context_overflow":
        return Failure(kind, f"The prompt is longer than the model takes: {said}")
    if kind == "timeout":
        return Failure(kind, f"A model call took too long: {said}")
    if kind == "connection":
        return Failure(kind, f"The provider could not be reached, or the connection broke: {_root_text(each)}")
    if kind == "provider":
        return Failure(kind, f"The provider's answer cannot be read: {said}")
    if kind == "model_output":
        return Failure(kind, f"The model's answer does not fit the asked form: {said}")
    return Failure(kind, faults.text(outermost) if kind == "load" else said)


def _root_text(error: BaseException) -> str:
    """ "Connection error." alone tells nobody anything; what lies under it does."""
    return faults.text(faults.chain(error)[-1])


_READERS: Final = ("crewai.llms", "crewai.utilities", "crewai.task", "openai", "httpx")
"""The modules in which answers are read."""


def _is_of_an_answer(chain: list[BaseException]) -> bool:
    """Was it raised while an answer was read, and not in the user's tools or while the crew was built?"""
    return any(module.startswith(_READERS) for each in chain for module in _modules(each))


def _modules(error: BaseException) -> Iterator[str]:
    trace = error.__traceback__
    while trace is not None:
        yield str(trace.tb_frame.f_globals.get("__name__", ""))
        trace = trace.tb_next


def _by_words(error: BaseException, chain: list[BaseException]) -> Failure | None:
    """Where CrewAI raises plain exceptions, its words are all there is."""
    for each in chain:
        said = faults.text(each)
        words = said.lower()
        if "_api_key is required" in words or ("api_key" in words and "must be set" in words):
            return Failure(
                "auth",
                f"No key for the model's provider: {said}. Set it in the environment, or try it without: --rehearse",
            )
        if "missing required template variable" in words or "template variable" in words:
            return Failure("invalid_input", said)
        if "executor is already running" in words:
            cure = "two tasks at once have the same agent, which CrewAI cannot do; give each an agent of its own"
            return Failure("invalid_input", f"{said} ({cure})")
        if "guardrail" in words and ("fail" in words or "validation" in words):
            return Failure("model_output", said, retryable=False)
        if "none or empty" in words or "empty response" in words:
            return Failure("model_output", f"The model answered nothing: {said}")
        if isinstance(each, EOFError):
            asked = "it read from the terminal, where nobody is; use human_input, @human_feedback or an approval node"
            return Failure("invalid_input", f"{faults.type_name(each)}: {asked}")
        if isinstance(each, SystemExit) and "context length" in words:
            return Failure("context_overflow", said)
        if "error importing native provider" in words or "litellm fallback" in words:
            return Failure("load", said)
    if isinstance(error, ImportError):
        return Failure("load", faults.text(error))
    if any(isinstance(each, TimeoutError) for each in chain):
        return Failure("timeout", faults.text(error))
    if any(isinstance(each, ConnectionError) for each in chain):
        return Failure("connection", _root_text(error))
    return None


def _by_place(error: BaseException) -> Failure | None:
    """CrewAI tripping over an answer without choices is no fault of the user's."""
    tripped = isinstance(error, (TypeError, LookupError, AttributeError))
    last = list(_modules(error))[-1:]
    if tripped and last and last[0].startswith(("crewai.llms", "openai", "httpx")):
        return Failure("provider", f"The provider's answer cannot be read: {faults.type_name(error)}: {error}")
    return None


def _of_user(error: BaseException) -> Failure:
    name = faults.type_name(error)
    said = faults.text(error)
    if isinstance(error, SystemExit):
        said = f"the code called exit({error.code!r})"
    return Failure("user", said if said == name else f"{name}: {said}")
