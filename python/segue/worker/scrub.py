"""Keeps secrets out of what leaves the worker."""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

MARK: Final = "[secret]"
_NAME: Final = re.compile(
    r"(^|_)(API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?)(_|$)", re.IGNORECASE
)
_NOT_SECRET: Final = frozenset({"SEGUE_IDEMPOTENCY_KEY"})
_STRUCTURE: Final = frozenset({"type", "role", "spawn_id", "token", "kind", "level"})
_LENGTH_MIN: Final = 6
_LENGTH_MIN_IN_RESULTS: Final = 12
"""Short values ("postgres") are words too; an output must not lose them, nor what an attempt needs to go on."""
_RESULTS: Final = frozenset({"result", "waiting"})


@functools.lru_cache(4096)
def is_secret_name(name: str) -> bool:
    """Does a variable of this name hold a secret?"""
    return name not in _NOT_SECRET and _NAME.search(name) is not None


class Scrubber:
    """Replaces known secrets in messages."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._given = set(secrets)
        self._known: list[str] = []
        self.learn({})

    @classmethod
    def of_environment(cls, secrets: Iterable[str] = ()) -> Scrubber:
        """One that knows this process's environment."""
        scrubber = cls(secrets)
        scrubber.learn(os.environ)
        return scrubber

    def learn(self, environment: Mapping[str, str]) -> None:
        """Adds the values of the variables whose names say secret."""
        self._given.update(value for name, value in environment.items() if is_secret_name(name))
        known = {value.strip() for value in self._given if len(value.strip()) >= _LENGTH_MIN}
        # Exceptions often quote a JSON body: the escaped spelling counts as well.
        known |= {json.dumps(value)[1:-1] for value in known}
        self._known = sorted(known, key=len, reverse=True)

    def add(self, secret: str) -> None:
        """Adds one that is in no variable."""
        self._given.add(secret)
        self.learn({})

    def text(self, value: str, length_min: int = _LENGTH_MIN) -> str:
        """The text without secrets."""
        for secret in self._known:
            if len(secret) >= length_min and secret in value:
                value = value.replace(secret, MARK)
        return value

    def message(self, message: dict[str, Any]) -> dict[str, Any]:
        """The message without secrets. Its structure (type, kind, ids, the token of a hello) stays, and so do calls:
        what the engine is asked to keep comes back."""
        if message.get("type") == "rpc":
            return message
        length_min = _LENGTH_MIN_IN_RESULTS if message.get("type") in _RESULTS else _LENGTH_MIN
        return {
            name: value if name in _STRUCTURE else self._value(value, length_min) for name, value in message.items()
        }

    def _value(self, value: Any, length_min: int) -> Any:
        if isinstance(value, str):
            return self.text(value, length_min)
        if isinstance(value, dict):
            return {
                self.text(name, length_min) if isinstance(name, str) else name: self._value(inner, length_min)
                for name, inner in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self._value(inner, length_min) for inner in value]
        return value
