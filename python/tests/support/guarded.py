"""Runs a program as `python` would, in a process that may speak to nobody but this machine.

    python -I guarded.py LOG PROGRAM [ARGUMENTS…]

What tries is written to LOG and fails. Forked children inherit the guard.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

_LOOPBACK = ("127.", "::1", "localhost")


def _guard(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect":
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else None
    elif event == "socket.getaddrinfo":
        host = arguments[0]
    else:
        return
    if host is None or str(host).startswith(_LOOPBACK) or host == b"localhost":
        return
    with Path(log).open("a", encoding="utf-8") as file:
        file.write(f"{event} {host!r}\n")
    raise OSError(f"{event} {host!r} is not allowed here")


log, program = sys.argv[1:3]
sys.argv[:] = sys.argv[2:]
sys.addaudithook(_guard)
runpy.run_path(program, run_name="__main__")
