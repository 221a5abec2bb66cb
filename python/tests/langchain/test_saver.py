"""The public conformance suite against our saver; its peer here is in memory, the engine's own is tested in Rust."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Future
from typing import Any

from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import BASE_CAPABILITIES

from segue.adapters.langchain.saver import SegueSaver
from segue.worker.adapter import EngineError
from tests.langchain.conftest import THREAD, Begin, Project
from tests.support.checkpoints import Checkpoints


class Peer:
    """As much of a context as the saver needs."""

    def __init__(self, store: Checkpoints) -> None:
        self._store = store

    def rpc(self, op: str, args: dict[str, Any]) -> Future[Any]:
        """Answered at once."""
        future: Future[Any] = Future()
        said = self._store.answer({"type": "rpc", "id": 1, "op": op, "args": args}, THREAD)
        if said["type"] == "rpc_ok":
            future.set_result(said["value"])
        else:
            future.set_exception(EngineError(said["message"]))
        return future


def saver() -> SegueSaver:
    return SegueSaver(Peer(Checkpoints()), THREAD)  # type: ignore[arg-type]


def test_the_base_suite_passes_in_full() -> None:
    @checkpointer_test(name="segue")  # type: ignore[untyped-decorator]
    async def make() -> AsyncIterator[SegueSaver]:
        yield saver()

    report = asyncio.run(validate(make, capabilities={each.value for each in BASE_CAPABILITIES}))
    failures = [failure for result in report.results.values() for failure in result.failures or ()]
    assert failures == []
    base = [report.results[each.value] for each in BASE_CAPABILITIES]
    assert all(result.passed for result in base)
    assert sum(result.tests_passed for result in base) >= 58


def test_the_first_output_of_a_task_counts_and_its_last_error() -> None:
    made = saver()
    config = {"configurable": {"thread_id": THREAD, "checkpoint_ns": ""}}
    after = made.put(config, empty_checkpoint(), {"source": "input", "step": -1, "parents": {}}, {})
    for text in ("first", "second"):
        made.put_writes(after, [("out", text)], "task")
        made.put_writes(after, [("__error__", text)], "task")
    found = made.get_tuple(after)
    assert found is not None
    assert {write[1]: write[2] for write in found.pending_writes} == {"out": "first", "__error__": "second"}


def test_a_synchronous_graph_inside_a_node_keeps_its_checkpoints(begin: Begin, project: Project) -> None:
    project.write(
        """
        from langgraph.graph import START, StateGraph
        from typing_extensions import TypedDict

        class State(TypedDict):
            n: int

        inner_builder = StateGraph(State)
        inner_builder.add_node("more", lambda state: {"n": state["n"] + 1})
        inner_builder.add_edge(START, "more")
        inner = inner_builder.compile()

        def call(state):
            return inner.invoke(state)

        builder = StateGraph(State)
        builder.add_node("call", call)
        builder.add_edge(START, "call")

        async def call_wrongly(state):
            return inner.invoke(state)

        wrong_builder = StateGraph(State)
        wrong_builder.add_node("call", call_wrongly)
        wrong_builder.add_edge(START, "call")
        """
    )
    store = Checkpoints()
    assert begin({"graph": "./app.py:builder", "n": 1}, store).output() == {"n": 2}
    assert len({key[1] for key in store._rows}) == 2
    error = begin({"graph": "./app.py:wrong_builder", "n": 1}).error()
    assert "ainvoke" in error["message"]


def test_other_threads_lie_beneath_the_tasks_own() -> None:
    store = Checkpoints()
    made = SegueSaver(Peer(store), THREAD)  # type: ignore[arg-type]
    config = {"configurable": {"thread_id": "mine", "checkpoint_ns": ""}}
    after = made.put(config, empty_checkpoint(), {"source": "input", "step": -1, "parents": {}}, {})
    assert after["configurable"]["thread_id"] == "mine"
    assert {key[0] for key in store._rows} == {f"{THREAD}/mine"}
    found = made.get_tuple(config)
    assert found is not None
    assert found.config["configurable"]["thread_id"] == "mine"
    made.delete_thread("mine")
    assert made.get_tuple(config) is None
