"""`python.call`: a plain function of the user's, synchronous or not.

* `calls`: one attempt, from its inputs to its output;
* `context`: what a function gets that asks for a `context`.
"""

from __future__ import annotations

from segue.worker.adapter import SharedAdapter


def adapter() -> SharedAdapter:
    """The adapter. Needs nothing but the standard library."""
    from segue.adapters.python.calls import Python

    return Python()
