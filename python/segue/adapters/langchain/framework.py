"""LangChain and LangGraph themselves: made quiet, imported once, warmed up, and asked what they have."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import re
from typing import Any, Final

from segue.worker.adapter import Loaded

FLOORS: Final = {"langchain-core": (1, 7), "langgraph": (1, 2)}
"""The oldest versions that have all that cannot be done without."""

_ENVIRONMENT: Final = {
    # Checkpoints give back the types of the graph's own state, and instantiate no others.
    "LANGGRAPH_STRICT_MSGPACK": "true",
    "LANGGRAPH_CLI_NO_ANALYTICS": "1",
    "ANONYMIZED_TELEMETRY": "False",
}
_PRELOAD: Final = (
    "langchain_core.runnables",
    "langchain_core.messages",
    "langchain_core.callbacks",
    "langchain_core.tools",
    "langgraph.graph",
    "langgraph.func",
    "langgraph.prebuilt",
    "langchain.agents",
    "langchain.chat_models",
    "langchain_openai",
)
_DISTRIBUTIONS: Final = (
    "langchain",
    "langchain-core",
    "langchain-openai",
    "langgraph",
    "langgraph-checkpoint",
    "openai",
    "pydantic",
)
_FEATURES: Final = {
    "checkpoints": ("langgraph.checkpoint.base", "BaseCheckpointSaver"),
    "strict_resume": ("langgraph.errors", "UnknownInterruptError"),
    "agents": ("langchain.agents", "create_agent"),
    "token_stream": ("langchain_core.tracers._streaming", "_StreamingCallbackHandler"),
}


def load() -> Loaded:
    """Imports what there is. Raises if the core is absent, too old or broken; the message says which."""
    os.environ.update(_ENVIRONMENT)
    for name, floor in FLOORS.items():
        _check(name, floor)
    for name in _PRELOAD:
        lookup(name)
    # They look at the framework when they are imported.
    from segue.adapters.langchain import clients

    shims = clients.install()
    features = [name for name, (module, attribute) in _FEATURES.items() if lookup(module, attribute) is not None]
    versions = {name: found for name in _DISTRIBUTIONS if (found := _version(name)) is not None}
    has_client = lookup("openai") is not None
    inner_retries = "off" if not has_client or "retry_shim.client" in shims else "partial"
    return Loaded(versions, [*features, *shims], inner_retries)


def _check(name: str, floor: tuple[int, ...]) -> None:
    version = _version(name)
    wanted = ".".join(map(str, floor))
    if version is None:
        # A chain needs no langgraph.
        if name == "langchain-core":
            raise ModuleNotFoundError(f"{name} is not installed in this environment")
    elif tuple(map(int, re.findall(r"\d+", version)[:2])) < floor:
        raise ImportError(f"{name} {version} is too old; {wanted} or newer is needed")


def lookup(module: str, attribute: str | None = None) -> Any:
    """A module, or something in it; None if this environment has no such thing."""
    try:
        found: Any = importlib.import_module(module)
    except ImportError:
        return None
    return found if attribute is None else getattr(found, attribute, None)


def is_a(value: Any, module: str, name: str) -> bool:
    """Is it an instance of a class of the framework's?"""
    kind = lookup(module, name)
    return kind is not None and isinstance(value, kind)


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
