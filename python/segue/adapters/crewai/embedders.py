"""A local stand-in for every embedder, so that memory and knowledge work in a rehearsal and ask nobody."""

from __future__ import annotations

import hashlib
import importlib
import math
from typing import Any, Final

from segue.adapters.crewai.framework import lookup, subclasses

_DIMENSIONS: Final = 1536

_HOLDERS: Final = (
    "crewai.rag.embeddings.factory",
    "crewai.knowledge.storage.knowledge_storage",
    "crewai.memory.unified_memory",
)
"""The modules that hold the factory by name."""


def replace() -> None:
    """From now on every embedder here is the stand-in: what the factory makes, and the classes themselves."""
    for module in _HOLDERS:
        if lookup(module, "build_embedder") is not None:
            vars(importlib.import_module(module))["build_embedder"] = _build_embedder
    base = lookup("chromadb.api.types", "EmbeddingFunction")
    for each in subclasses(base) if base is not None else ():
        if "__call__" in each.__dict__:
            each.__call__ = _call


def _call(self: Any, input: Any) -> Any:
    """In the place of a method: chromadb insists on these names."""
    del self
    texts = [input] if isinstance(input, str) else list(input)
    vectors = [embed(str(text)) for text in texts]
    normalize = lookup("chromadb.api.types", "normalize_embeddings")
    return vectors if normalize is None else normalize(vectors)


def _build_embedder(*_arguments: Any, **_options: Any) -> Any:
    base: Any = lookup("chromadb.api.types", "EmbeddingFunction") or object

    class StandInEmbedder(base):  # type: ignore[misc]
        """What is asked for by a configuration."""

        def __init__(self) -> None:
            pass

        def __call__(self, input: Any) -> Any:
            return _call(self, input)

        @staticmethod
        def name() -> str:
            return "segue_rehearsal"

        def get_config(self) -> dict[str, Any]:
            return {}

        @staticmethod
        def build_from_config(config: dict[str, Any]) -> Any:
            del config
            return StandInEmbedder()

    return StandInEmbedder()


def embed(text: str) -> list[float]:
    """A unit vector that depends on the words of the text and on nothing else: texts with the same words are near."""
    vector = [0.0] * _DIMENSIONS
    for word in text.lower().split() or [""]:
        digest = hashlib.sha256(word.encode("utf-8", "replace")).digest()
        for start in range(0, 32, 4):
            place = int.from_bytes(digest[start : start + 4], "big")
            vector[place % _DIMENSIONS] += 1.0 if place & 1 << 31 else -1.0
    length = math.sqrt(sum(value * value for value in vector)) or 1.0
    return [value / length for value in vector]
