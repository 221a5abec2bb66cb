"""Runnables that are no graphs: chains, models, retrievers, tools."""

from __future__ import annotations

from typing import Any


async def run(target: Any, value: Any, config: dict[str, Any]) -> Any:
    """What it gives."""
    return await target.ainvoke(value, config)
