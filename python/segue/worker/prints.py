"""What attempts of a host print. stdout and stderr are the host's; a line becomes a log line of who printed it."""

from __future__ import annotations

import io
import sys
import time
from typing import Final, Protocol, TextIO

from segue.worker import current

_LINES_PER_SECOND_MAX: Final = 1000
_CHARS_PER_SECOND_MAX: Final = 512 * 1024
_LINE_CHARS_MAX: Final = 4000


class Printed(io.TextIOBase):
    """In the place of `sys.stdout` or `sys.stderr`."""

    def __init__(self, name: str, beneath: TextIO) -> None:
        super().__init__()
        self._name = name
        self._beneath = beneath

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """UTF-8."""
        return "utf-8"

    @property
    def buffer(self) -> io.BufferedIOBase:
        """The host's own, for those who write bytes."""
        buffer: io.BufferedIOBase = self._beneath.buffer  # type: ignore[assignment]
        return buffer

    def write(self, text: str) -> int:
        """To the attempt that calls; else to the host's own."""
        attempt = current.attempt()
        if attempt is None or attempt.lines is None:
            return self._beneath.write(text)
        attempt.lines.add(self._name, text)
        return len(text)

    def flush(self) -> None:
        """The host's own."""
        self._beneath.flush()

    def writable(self) -> bool:
        """It is."""
        return True

    def fileno(self) -> int:
        """Of the host's own: what is written there is nobody's."""
        return self._beneath.fileno()


class Speaker(Protocol):
    """Whose lines they are."""

    def print(self, stream: str, line: str) -> None:
        """A line that was printed."""

    def log(self, level: str, line: str) -> None:
        """A line of the worker's own."""


class Lines:
    """What one attempt prints, as lines, with a bound on how much in a second. For threads that take turns."""

    def __init__(self, attempt: Speaker) -> None:
        self._attempt = attempt
        self._open = {"stdout": "", "stderr": ""}
        self._second = 0
        self._count = 0
        self._chars = 0
        self._dropped = 0

    def add(self, stream: str, text: str) -> None:
        """Takes a piece; whole lines go out."""
        *whole, rest = (self._open[stream] + text).split("\n")
        # A line without end is cut, not kept.
        while len(rest) > _LINE_CHARS_MAX:
            whole.append(rest[:_LINE_CHARS_MAX])
            rest = rest[_LINE_CHARS_MAX:]
        self._open[stream] = rest
        for line in whole:
            self._line(stream, line)

    def close(self) -> None:
        """What has no end yet goes out too."""
        for stream, rest in self._open.items():
            if rest:
                self._open[stream] = ""
                self._line(stream, rest)
        self._tell_dropped()

    def _line(self, stream: str, line: str) -> None:
        second = int(time.monotonic())
        if second != self._second:
            self._tell_dropped()
            self._second, self._count, self._chars = second, 0, 0
        self._count += 1
        self._chars += len(line)
        if self._count > _LINES_PER_SECOND_MAX or self._chars > _CHARS_PER_SECOND_MAX:
            self._dropped += 1
        elif line.strip():
            self._attempt.print(stream, line[:_LINE_CHARS_MAX])

    def _tell_dropped(self) -> None:
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            self._attempt.log("warning", f"{dropped} lines were printed too fast and dropped")


def install() -> None:
    """From now on `sys.stdout` and `sys.stderr` ask who prints."""
    sys.stdout = Printed("stdout", sys.stdout)
    sys.stderr = Printed("stderr", sys.stderr)
