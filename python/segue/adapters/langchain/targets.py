"""From what an input names to what can be run."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from segue.adapters.langchain.framework import is_a
from segue.worker import faults, project
from segue.worker.adapter import Failure, Start

INPUTS: Final = {"langchain.runnable": "runnable", "langgraph.graph": "graph"}
"""The input that names the target, by handler."""
_CONFIG: Final = "langgraph.json"


async def resolve(start: Start, config: dict[str, Any], stack: contextlib.AsyncExitStack) -> Any:
    """A `Runnable` (a compiled graph is one). Raises `Failure` of kind `load` or `invalid_input`.

    What a factory opens for the time of the attempt (an asynchronous context manager) is closed by `stack`.
    """
    named = start.inputs.get(INPUTS.get(start.handler, ""))
    found = project.loaded(named, _root(start))
    if found is not None:
        return await _runnable(found, str(named), config, stack)
    loop = asyncio.get_running_loop()
    # An import may take seconds, and the loop beats for others too.
    reference, found = await loop.run_in_executor(None, _load, start)
    return await _runnable(found, reference, config, stack)


def _root(start: Start) -> str:
    return str(start.target.get("project") or start.base_dir or os.getcwd())


def is_graph(target: Any) -> bool:
    """Is it a compiled graph, an agent or an `@entrypoint` workflow?"""
    return is_a(target, "langgraph.pregel", "Pregel")


def _load(start: Start) -> tuple[str, Any]:
    name = INPUTS.get(start.handler)
    if name is None:
        raise Failure("invalid_input", f"no handler {start.handler!r} here")
    named = start.inputs.get(name)
    root = _root(start)
    project.enter([root, start.base_dir])
    if isinstance(named, str) and project.is_reference(named):
        project.load_env(Path(root, ".env"))
        return named, project.load(named, root)
    return _of_config(named, name, Path(start.target.get("config") or Path(root, _CONFIG)))


def _of_config(named: Any, name: str, path: Path) -> tuple[str, Any]:
    """A graph that the project's `langgraph.json` names."""
    forms = f'inputs.{name}: "module:attr", "./file.py:attr" or the name of a graph in {_CONFIG} expected'
    if not isinstance(named, str) or not named:
        raise Failure("invalid_input", forms)
    try:
        config = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise Failure("load", f"{named!r} is no reference, and there is no {path}; {forms}") from None
    except (OSError, ValueError) as error:
        raise Failure("load", f"{path} cannot be read: {faults.text(error)}") from error
    graphs = config.get("graphs") if isinstance(config, dict) else None
    graphs = graphs if isinstance(graphs, dict) else {}
    entry = graphs.get(named)
    reference = entry.get("path") if isinstance(entry, dict) else entry
    if not isinstance(reference, str):
        known = ", ".join(sorted(graphs)) or "none"
        raise Failure("load", f"{path} has no graph {named!r} (it has: {known})")
    root = path.parent
    dependencies = config.get("dependencies")
    local = dependencies if isinstance(dependencies, list) else []
    project.enter([str(root), *(str(root / each) for each in local if str(each).startswith("."))])
    _take_env(config.get("env"), root)
    return reference, project.load(reference, str(root))


def _take_env(env: Any, root: Path) -> None:
    if isinstance(env, dict):
        for name, value in env.items():
            os.environ.setdefault(str(name), str(value))
    else:
        project.load_env(root / env if isinstance(env, str) else root / ".env")


async def _runnable(found: Any, reference: str, config: dict[str, Any], stack: contextlib.AsyncExitStack) -> Any:
    for _ in range(4):
        if is_a(found, "langchain_core.runnables", "Runnable"):
            return found
        if is_a(found, "langgraph.graph", "StateGraph"):
            return found.compile()
        if is_a(found, "langgraph.func", "_TaskFunction"):
            raise Failure("load", f"{reference} is a @task, which only an @entrypoint can call; name the @entrypoint")
        if hasattr(found, "__aenter__"):
            found = await stack.enter_async_context(found)
        elif inspect.isawaitable(found):
            found = await found
        elif callable(found) and not inspect.isclass(found):
            found = await _make(found, reference, config)
        else:
            break
    raise Failure(
        "load",
        f"{reference} gives a {type(found).__name__}, not a Runnable, a graph, an agent, an @entrypoint or a function "
        "that makes one (a plain function is a python.call)",
    )


async def _make(factory: Callable[..., Any], reference: str, config: dict[str, Any]) -> Any:
    """Calls a factory, with the configuration if it takes one."""
    try:
        parameters = list(inspect.signature(factory).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    required = [each.name for each in parameters if each.kind in kinds and each.default is inspect.Parameter.empty]
    if len(required) > 1:
        raise Failure(
            "load", f"{reference} takes {', '.join(required)}; what makes a graph takes the configuration or nothing"
        )
    keywords: dict[str, Any] = {}
    arguments = [config] if required else []
    if not required and any(each.name == "config" for each in parameters):
        keywords["config"] = config
    if inspect.iscoroutinefunction(factory):
        return await factory(*arguments, **keywords)
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(None, lambda: factory(*arguments, **keywords))
