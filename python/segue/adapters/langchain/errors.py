"""What an exception out of LangChain, LangGraph or a client means: by attributes and class names over the whole chain,
so that no integration has to be imported to know its errors."""

from __future__ import annotations

import asyncio
from typing import Final

from segue.worker import faults, statuses
from segue.worker.adapter import Failure

_LIMITS: Final = frozenset(
    {"GraphRecursionError", "ModelCallLimitExceededError", "ToolCallLimitExceededError", "RunLimitExceededError"}
)
_TYPES: Final = {
    # Of LangChain, the same for all providers.
    "ModelRateLimitError": "rate_limited",
    "ModelAPIError": "provider",
    "ModelConnectionError": "connection",
    "ModelTimeoutError": "timeout",
    "ModelAuthenticationError": "auth",
    "ModelPermissionDeniedError": "auth",
    "ModelNotFoundError": "invalid_input",
    "ModelInvalidRequestError": "invalid_input",
    "ContextOverflowError": "context_overflow",
    # Of clients, which spell these alike.
    "APITimeoutError": "timeout",
    "TimeoutException": "timeout",
    "APIConnectionError": "connection",
    "RemoteProtocolError": "connection",
    "ConnectError": "connection",
    "ReadError": "connection",
    "APIResponseValidationError": "provider",
    # Of graphs and parsers.
    "NodeTimeoutError": "timeout",
    "OutputParserException": "model_output",
    "StructuredOutputError": "model_output",
    "StructuredOutputValidationError": "model_output",
    "MultipleStructuredOutputsError": "model_output",
    "InvalidUpdateError": "user",
    "EmptyInputError": "invalid_input",
    "UnknownInterruptError": "invalid_input",
}
_WORDS: Final = {
    "timeout": "took too long",
    "connection": "could not be reached, or the connection broke",
    "rate_limited": "says: too many requests",
    "provider": "failed",
    "auth": "refused the key",
    "invalid_input": "refused the request",
    "context_overflow": "says that the prompt is too long",
}
_OF_PROVIDERS: Final = frozenset(
    name for name in _TYPES if name.startswith(("Model", "API", "Context", "Remote", "Connect", "Read", "TimeoutEx"))
)


def classify(error: BaseException) -> Failure:
    """The failure that an exception stands for."""
    chain = faults.chain(error)
    for each in chain:
        if isinstance(each, Failure):
            return each
    found = (
        _of_graph(chain) or statuses.by_status(chain) or _by_type(chain) or _by_words(error, chain) or _of_user(error)
    )
    place = _place(chain)
    if place and place not in found.message:
        found.message = f"{found.message} ({place})"
    return found


def _of_graph(chain: list[BaseException]) -> Failure | None:
    for each in chain:
        names = {kind.__name__ for kind in type(each).__mro__}
        if names & _LIMITS:
            return Failure("limit", faults.text(each).partition("\n")[0], retryable=False)
        if "GraphDrained" in names:
            return Failure("cancelled", faults.text(each))
    return None


def _by_type(chain: list[BaseException]) -> Failure | None:
    for each in chain:
        for name in (kind.__name__ for kind in type(each).__mro__):
            kind = _TYPES.get(name)
            if kind is None:
                continue
            said = faults.text(each)
            if name in _OF_PROVIDERS:
                root = faults.text(faults.chain(each)[-1]) if kind in ("connection", "timeout") else said
                return Failure(kind, f"The provider {_WORDS[kind]}: {root}")
            if kind == "model_output":
                said = said.partition("For troubleshooting")[0].strip()
                said = f"The model's answer does not fit the asked form: {said}"
            return Failure(kind, said)
    return None


def _by_words(error: BaseException, chain: list[BaseException]) -> Failure | None:
    for each in chain:
        said = faults.text(each)
        words = said.lower()
        if "api_key" in words and ("must be set" in words or "missing credentials" in words or "did not find" in words):
            return Failure("auth", f"No key for the model's provider: {said}")
        if isinstance(each, EOFError):
            return Failure(
                "invalid_input", "it asked on the terminal (input()), where nobody is; use interrupt() instead"
            )
    if type(error).__name__ == "JSONDecodeError" and _is_of_client(error):
        return Failure("provider", f"The provider's answer cannot be read: {faults.text(error)}")
    if isinstance(error, ImportError):
        return Failure("load", faults.text(error))
    if any(isinstance(each, (TimeoutError, asyncio.TimeoutError)) for each in chain):
        return Failure("timeout", faults.text(error))
    if any(isinstance(each, ConnectionError) for each in chain):
        return Failure("connection", faults.text(chain[-1]))
    return None


def _is_of_client(error: BaseException) -> bool:
    trace = error.__traceback__
    while trace is not None:
        if str(trace.tb_frame.f_globals.get("__name__", "")).startswith(("openai", "httpx", "langchain_")):
            return True
        trace = trace.tb_next
    return False


def _of_user(error: BaseException) -> Failure:
    name, said = faults.type_name(error), faults.text(error)
    if isinstance(error, SystemExit):
        said = f"the code called exit({error.code!r})"
    if isinstance(error, asyncio.CancelledError):
        said = "it cancelled itself"
    return Failure("user", said if said == name else f"{name}: {said}")


def _place(chain: list[BaseException]) -> str:
    """The step in which it happened, as LangGraph notes it."""
    for each in chain:
        for note in getattr(each, "__notes__", None) or ():
            if isinstance(note, str) and note.startswith("During task with name '"):
                return f"in step {note.split(chr(39))[1]}"
    return ""
