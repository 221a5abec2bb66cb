"""One attempt of `python.call`."""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import platform
from collections.abc import Callable
from typing import Any

from segue.adapters.python.context import TaskContext
from segue.worker import alone, faults, outputs, project
from segue.worker.adapter import Context, Failure, Loaded, Start


class Python:
    """Implements `segue.worker.adapter.SharedAdapter`."""

    name = "python"

    def load(self) -> Loaded:
        """There is nothing to import."""
        return Loaded({"python": platform.python_version()}, ["context"], "off")

    def run(self, context: Context) -> Any:
        """In a process of its own."""
        return alone.run(self, context)

    async def run_shared(self, context: Context) -> Any:
        """Calls the function: an asynchronous one on the loop, another one in a thread."""
        start = context.start
        if start.handler != "python.call":
            raise Failure("invalid_input", f"no handler {start.handler!r} here")
        loop = asyncio.get_running_loop()
        function = project.loaded(start.inputs.get("call"), _root(start))
        if function is None:
            # An import may take seconds, and the loop beats for others too.
            function = await loop.run_in_executor(None, _load, start)
            context.learn_secrets()
        if not callable(function):
            raise Failure("load", f"{start.inputs['call']} is a {type(function).__name__}, which cannot be called")
        call = _bound(function, start, context)
        if inspect.iscoroutinefunction(inspect.unwrap(function)):
            result = await call()
        else:
            result = await loop.run_in_executor(None, call)
            if inspect.isawaitable(result):
                result = await result
        return outputs.to_json(result)

    def classify(self, error: BaseException) -> Failure:
        """Whatever a function raises is its own matter."""
        name, said = faults.type_name(error), faults.text(error)
        if isinstance(error, SystemExit):
            said = f"the code called exit({error.code!r})"
        if isinstance(error, asyncio.CancelledError):
            said = "it cancelled itself"
        return Failure("user", said if said == name else f"{name}: {said}")

    def stale(self) -> str | None:
        """Has a file changed since it was loaded?"""
        return project.stale()


def _load(start: Start) -> Any:
    named = start.inputs.get("call")
    if not isinstance(named, str) or not project.is_reference(named):
        raise Failure("invalid_input", 'inputs.call: "module:function" or "./file.py:function" expected')
    project.enter([_root(start), start.base_dir])
    return project.load(named, _root(start))


def _root(start: Start) -> str:
    return str(start.target.get("project") or start.base_dir or os.getcwd())


def _bound(function: Callable[..., Any], start: Start, context: Context) -> Callable[[], Any]:
    """The function with its arguments. Ones that do not fit are an error of the workflow, not of the code."""
    keywords = {name: value for name, value in start.inputs.items() if name not in ("call", "args")}
    given = start.inputs.get("args")
    positional = given if isinstance(given, list) else []
    if isinstance(given, dict):
        keywords.update(given)
    elif given is not None and not isinstance(given, list):
        raise Failure("invalid_input", "inputs.args: a list or an object expected")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        # A builtin that does not tell. It will say itself what it misses.
        return functools.partial(function, *positional, **keywords)
    if "context" in signature.parameters and "context" not in keywords:
        keywords["context"] = TaskContext(context)
    try:
        signature.bind(*positional, **keywords)
    except TypeError as error:
        name = getattr(function, "__name__", "it")
        raise Failure("invalid_input", f"{name}{signature} cannot be called so: {error}") from None
    return functools.partial(function, *positional, **keywords)
