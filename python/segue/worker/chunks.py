"""Pieces of a model's answer, joined: a message for every token would cost more than the token."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

SECONDS: Final = 0.05
"""How long a piece may wait for the next one, about."""
_CHARS_MAX: Final = 1000
"""Of one message: 4 KiB in UTF-8 at the most."""


class Chunks:
    """Joins what belongs together and sends it as `chunk`. Not for several threads at once."""

    def __init__(self, send: Callable[[dict[str, Any]], None]) -> None:
        self._send = send
        self._sent = 0
        self._text = ""
        self._about: dict[str, str] = {}
        self._last = float("-inf")

    def add(self, text: str, about: dict[str, str]) -> None:
        """Takes a piece. `about`: what is known of it; pieces of which the same is known are joined."""
        if about != self._about:
            self.flush()
            self._about = about
        self._text += text
        if len(self._text) >= _CHARS_MAX or time.monotonic() - self._last >= SECONDS:
            self.flush()

    def flush_if_due(self) -> None:
        """Sends what has waited long enough for another piece."""
        if self._text and time.monotonic() - self._last >= SECONDS:
            self.flush()

    def flush(self) -> None:
        """Sends what is there."""
        text, self._text = self._text, ""
        for start in range(0, len(text), _CHARS_MAX):
            self._sent += 1
            piece = text[start : start + _CHARS_MAX]
            self._send({"type": "chunk", "seq": self._sent, "text": piece, **self._about})
            self._last = time.monotonic()
