"""CrewAI itself: switched to quiet, imported once, warmed up, and asked what it has."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from typing import Any, Final

from segue.adapters.crewai import retries
from segue.worker.adapter import Loaded

FLOOR: Final = (1, 15, 5)
"""The oldest version that has all that cannot be done without."""

_ENVIRONMENT: Final = {
    # Not OTEL_SDK_DISABLED: that would also silence what the user's own code reports.
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_DISABLE_TRACKING": "true",
    "CREWAI_TRACING_ENABLED": "false",
    "CREWAI_DISABLE_VERSION_CHECK": "1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "ANONYMIZED_TELEMETRY": "False",
}
_DROPPED: Final = ("REDIS_URL", "CREWAI_USER_ID", "CREWAI_ORG_ID")
"""With `REDIS_URL` set, CrewAI's file locks silently become locks on somebody's Redis."""

_PRELOAD: Final = (
    "crewai.events.stream_context",
    "crewai.hooks.contexts",
    "crewai.hooks.llm_hooks",
    "crewai.llm_overlay",
    "crewai.llms.providers.openai.completion",
    "crewai.llms.retry",
    "crewai.project.crew_base",
    "crewai.project.crew_loader",
    "h11",
    "httpcore",
)
"""Used by every attempt, imported lazily by CrewAI, and starting no thread."""

STORAGE: Final = "CREWAI_STORAGE_DIR"

_STORAGE_HOLDERS: Final = (
    "crewai.rag.chromadb.constants",
    "crewai.rag.chromadb.config",
    "crewai.rag.qdrant.constants",
    "crewai.rag.qdrant.config",
)

_DISTRIBUTIONS: Final = ("crewai", "crewai-tools", "openai", "anthropic", "litellm", "pydantic")

_MODULE_FEATURES: Final = {
    "stream_sink": ("crewai.events.stream_context", "add_stream_sink"),
    "model_hook": ("crewai.hooks.dispatch", "HookAborted"),
    "llm_overlay": ("crewai.llm_overlay", "llm_overlay"),
    "crew_loader": ("crewai.project.crew_loader", "load_crew_from_definition"),
}


def load() -> Loaded:
    """Imports CrewAI. Raises if it is absent, too old or broken; the message says which."""
    quiet()
    version = _version("crewai")
    if version is None:
        raise ModuleNotFoundError("crewai is not installed in this environment")
    if _numbers(version) < FLOOR:
        raise ImportError(f"crewai {version} is too old; {'.'.join(map(str, FLOOR))} or newer is needed")
    with _storage_elsewhere():
        importlib.import_module("crewai")
        for name in _PRELOAD:
            lookup(name)
    _warm_client_up()
    features = [name for name, (module, attribute) in _MODULE_FEATURES.items() if lookup(module, attribute)]
    shims = retries.available()
    features += [f"retry_shim.{name}" for name in shims]
    features.append("storage_dir")
    versions = {name: found for name in _DISTRIBUTIONS if (found := _version(name)) is not None}
    return Loaded(versions, features, "off" if set(shims) == set(retries.LAYERS) else "partial")


def quiet() -> None:
    """Telemetry, tracing prompts and downloads off: must come before the import, and again for every attempt."""
    os.environ.update(_ENVIRONMENT)
    for name in _DROPPED:
        os.environ.pop(name, None)


@contextlib.contextmanager
def _storage_elsewhere() -> Iterator[None]:
    """At its import CrewAI makes a folder for the project it believes to be in; there is none yet."""
    given = os.environ.get(STORAGE)
    with tempfile.TemporaryDirectory(prefix="segue-crewai-") as folder:
        os.environ[STORAGE] = folder
        try:
            yield
        finally:
            os.environ.pop(STORAGE)
            if given is not None:
                os.environ[STORAGE] = given


def use_storage() -> None:
    """Makes CrewAI use the folder that the environment names now: some of its modules asked at their import."""
    path = lookup("crewai_core.paths", "db_storage_path") or lookup("crewai.utilities.paths", "db_storage_path")
    for name in _STORAGE_HOLDERS:
        module = sys.modules.get(name)
        if path is not None and hasattr(module, "DEFAULT_STORAGE_PATH"):
            below = "qdrant" if "qdrant" in name else ""
            vars(module)["DEFAULT_STORAGE_PATH"] = os.path.join(path(), below)


def lookup(module: str, attribute: str | None = None) -> Any:
    """A module, or something in it; None if this version has no such thing."""
    try:
        found: Any = importlib.import_module(module)
    except ImportError:
        return None
    return found if attribute is None else getattr(found, attribute, None)


def subclasses(of: Any) -> list[Any]:
    """All classes made from a class, however far down."""
    found: list[Any] = []
    ask = [of]
    while ask:
        for each in ask.pop().__subclasses__():
            if each not in found:
                found.append(each)
                ask.append(each)
    return found


def _warm_client_up() -> None:
    """The client's resources are imported at its first use, which is 0.6 s of every first call. Asks nobody."""
    openai = lookup("openai")
    if openai is not None:
        client = openai.OpenAI(api_key="none", base_url="http://127.0.0.1:9/v1")
        assert client.chat.completions is not None, "imported by being looked at"
        client.close()


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])
