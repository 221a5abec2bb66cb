"""Whose code is running: the attempt of this task or thread."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segue.worker.conversation import Conversation

_current: ContextVar[Conversation | None] = ContextVar("segue_attempt", default=None)
_only: list[Conversation] = []


def attempt() -> Conversation | None:
    """The attempt on whose behalf this is called; None: nobody's, as in a thread that user code has made by itself."""
    return _current.get() or (_only[0] if _only else None)


def enter(conversation: Conversation) -> None:
    """From here on, in this context and those made from it."""
    _current.set(conversation)


def leave() -> None:
    """From here on nobody's."""
    _current.set(None)


def is_alone(conversation: Conversation) -> None:
    """This process has one attempt only: all that runs in it is that one's."""
    _only[:] = [conversation]
