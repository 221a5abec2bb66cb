"""What the workflow calls."""

from __future__ import annotations

from typing import Any


def book(city: str, seats: int, context: Any) -> dict[str, Any]:
    """Books, and fails the first time: what is raised is retried as the node's `retry_policy` says."""
    context.log(f"booking {seats} seats to {city}")
    if context.attempt == 1:
        raise ConnectionError("the line is busy")
    # A service that takes a key books once, however often it is asked: the key is the same in all attempts.
    return {"city": city, "seats": seats, "key_given": bool(context.idempotency_key)}


async def confirm(ticket: dict[str, Any]) -> str:
    """Asynchronous functions are awaited, and cancelled when their task is."""
    return f"{ticket['seats']} seats to {ticket['city']}"
