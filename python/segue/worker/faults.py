"""Exceptions as data: the chain from what was caught to what it came from."""

from __future__ import annotations

from typing import Any, Final

CHAIN_MAX: Final = 8
TRACE_CHARS_MAX: Final = 16_000
_MESSAGE_CHARS_MAX: Final = 1000


def chain(error: BaseException | None) -> list[BaseException]:
    """The exception and what caused it, outermost first. `raise e from e` makes rings; each is listed once."""
    found: list[BaseException] = []
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        found.append(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return found


def type_name(error: BaseException) -> str:
    """`package.Class`, without the private modules in between; builtins by their name alone."""
    kind = type(error)
    package = kind.__module__.partition(".")[0]
    return kind.__qualname__ if package == "builtins" else f"{package}.{kind.__qualname__}"


def text(error: BaseException) -> str:
    """What the exception says, or its type where it says nothing. Some raise when asked."""
    try:
        said = str(error)
    except Exception:
        said = ""
    return said[:_MESSAGE_CHARS_MAX] or type_name(error)


def status(error: BaseException) -> int | None:
    """The HTTP status that the exception carries, as clients spell it."""
    for holder in (error, getattr(error, "response", None)):
        for name in ("status_code", "status"):
            value = getattr(holder, name, None)
            if isinstance(value, int) and 100 <= value <= 599:
                return value
    return None


def describe(error: BaseException | None) -> list[dict[str, Any]]:
    """The chain for the protocol: what was caught, what follows, and in any case the root."""
    errors = chain(error)
    if len(errors) > CHAIN_MAX:
        errors = [*errors[: CHAIN_MAX - 1], errors[-1]]
    return [_describe_one(each) for each in errors]


def _describe_one(error: BaseException) -> dict[str, Any]:
    described: dict[str, Any] = {"type": type_name(error), "message": text(error)}
    found = status(error)
    if found is not None:
        described["status"] = found
    return described
