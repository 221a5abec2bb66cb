"""LangChain and LangGraph, from langchain-core 1.7 and langgraph 1.2 on: chains, agents, graphs, `@entrypoint`s.

What of the frameworks is private and may be gone in the next version is looked for, never assumed (`framework`):

* `framework`: environment, import, features;
* `clients`: what is changed in the clients that ask models: whose key they send, no retries of their own, rehearsal;
* `targets`: finds what an input names; `inputs`: what it is given; `answers`: what it gave, as JSON, with warnings;
* `chains`, `graphs`: carry it out; `saver`: where a graph's checkpoints go; `questions`: interrupts and their answers;
* `events`: what is forwarded, and usage; `errors`: what an exception means; `hints`: what the node says;
* `runner`: one attempt, from its inputs to its output.
"""

from __future__ import annotations

from segue.worker.adapter import SharedAdapter


def adapter() -> SharedAdapter:
    """The adapter. Imports LangChain only when it is loaded."""
    from segue.adapters.langchain.runner import LangChain

    return LangChain()
