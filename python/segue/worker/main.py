"""The worker's program: `python -I -u …/segue/worker/main.py --socket PATH [--adapter NAME] [--mode process|shared]`.

It is run as a file, from a folder that need not be installed anywhere, so it finds its own package first.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import os
import platform
import re
import sys
import threading
import traceback
from typing import Any, Final

if not __package__:
    _FOLDER = os.path.dirname(os.path.abspath(__file__))
    # A script's own folder is no place to import from: `protocol` would shadow a user's module.
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or ".") != _FOLDER]
    sys.path.insert(0, os.path.dirname(os.path.dirname(_FOLDER)))

from segue.worker import processes, protocol
from segue.worker.adapter import Adapter, Loaded
from segue.worker.host import Host
from segue.worker.zygote import Zygote

EXIT_USAGE: Final = 2
EXIT_LOAD: Final = 3
TOKEN_VARIABLE: Final = "SEGUE_WORKER_TOKEN"
TRACE_CHARS_MAX: Final = 16_000


def main() -> int:
    """Runs the zygote until the engine is gone or done with it. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="segue-worker", description="Segue's Python worker; started by the engine.")
    parser.add_argument("--socket", required=True, metavar="PATH", help="the engine's Unix socket")
    parser.add_argument("--adapter", default="crewai", metavar="NAME", help="the framework to load")
    parser.add_argument("--mode", default="process", choices=("process", "shared"), help="a process an attempt, or not")
    arguments = parser.parse_args()
    token = os.environ.pop(TOKEN_VARIABLE, "")
    if not token:
        return _refuse(f"{TOKEN_VARIABLE} is not set: the worker is started by the engine, not by hand")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", arguments.adapter):
        return _refuse(f"no adapter can be called {arguments.adapter!r}")
    try:
        channel = protocol.Channel.connect(arguments.socket)
    except OSError as error:
        return _refuse(f"cannot connect to {arguments.socket}: {error}")

    # Ctrl-C on the engine's terminal is the engine's business. Refused if the engine has done it already.
    with contextlib.suppress(OSError):
        os.setsid()
    processes.adopt_orphans()
    try:
        adapter, loaded = _load(arguments.adapter, arguments.mode)
    except BaseException as error:
        channel.send(_load_error(arguments.adapter, token, error))
        return EXIT_LOAD
    with contextlib.suppress(OSError):
        hello = _hello(adapter.name, token, loaded)
        if arguments.mode == "shared":
            host = Host(channel, arguments.socket, adapter)
            channel.send({**hello, "mode": "shared"})
            host.run()
        channel.send(hello)
        return Zygote(channel, arguments.socket, adapter).run()
    return 0


def _refuse(message: str) -> int:
    print(f"segue-worker: {message}", file=sys.stderr)
    return EXIT_USAGE


def _load(name: str, mode: str) -> tuple[Any, Loaded]:
    """Imports the framework. What is in memory then is shared by all attempts, so it is frozen for the collector."""
    adapter: Adapter = importlib.import_module(f"segue.adapters.{name}").adapter()
    if mode == "shared" and not hasattr(adapter, "run_shared"):
        raise RuntimeError(f"{name} cannot share a process")
    loaded = adapter.load()
    if mode == "process" and threading.active_count() != 1:
        names = ", ".join(sorted(thread.name for thread in threading.enumerate()))
        raise RuntimeError(
            f"importing {name} started threads ({names}); a process with threads cannot be forked safely"
        )
    gc.collect()
    gc.freeze()
    return adapter, loaded


def _hello(name: str, token: str, loaded: Loaded) -> protocol.Message:
    return {
        "type": "hello",
        "role": "zygote",
        "protocol": [protocol.VERSION],
        "token": token,
        "pid": os.getpid(),
        "python": platform.python_version(),
        "framework": name,
        "versions": loaded.versions,
        "features": loaded.features,
        "inner_retries": loaded.inner_retries,
    }


def _load_error(name: str, token: str, error: BaseException) -> protocol.Message:
    return {
        "type": "error",
        "role": "zygote",
        "token": token,
        "pid": os.getpid(),
        "kind": "load",
        "message": f"{name} cannot be imported: {type(error).__name__}: {error}"[:2000],
        "retryable": False,
        "trace": "".join(traceback.format_exception(error))[-TRACE_CHARS_MAX:],
    }


if __name__ == "__main__":
    sys.exit(main())
