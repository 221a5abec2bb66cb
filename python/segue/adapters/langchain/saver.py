"""Where a graph's checkpoints go: to the engine, which keeps them with the run.

A checkpoint is one blob to the engine, as LangGraph serialises it; only its metadata is JSON: lists are filtered by it.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import Future
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_checkpoint_id,
    get_serializable_checkpoint_metadata,
)

from segue.worker import outputs
from segue.worker.adapter import Context


class SegueSaver(BaseCheckpointSaver[int]):  # type: ignore[misc]
    """A checkpointer of one task. Other threads than the task's own are kept beneath it, and go with it."""

    def __init__(self, context: Context, thread: str) -> None:
        super().__init__()
        self._context = context
        self._thread = thread

    # Names.

    def _named(self, config: RunnableConfig) -> str:
        """The engine's name of a thread."""
        thread = str(config["configurable"]["thread_id"])
        return thread if thread == self._thread else f"{self._thread}/{thread}"

    def _config(self, row: dict[str, Any], id: str) -> RunnableConfig:
        thread = str(row["thread"])
        own = thread if thread == self._thread else thread.removeprefix(f"{self._thread}/")
        return {"configurable": {"thread_id": own, "checkpoint_ns": row["ns"], "checkpoint_id": id}}

    # Calls. Each is made at once; the two families of methods differ in how they wait.

    def _put(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata
    ) -> tuple[Future[Any], RunnableConfig]:
        kind, data = self.serde.dumps_typed(checkpoint)
        options = config["configurable"]
        args = {
            "thread": self._named(config),
            "ns": options.get("checkpoint_ns", ""),
            "id": checkpoint["id"],
            "parent": options.get("checkpoint_id"),
            "kind": kind,
            "data": base64.b64encode(data).decode("ascii"),
            "metadata": outputs.to_json(get_serializable_checkpoint_metadata(config, metadata)),
        }
        after: RunnableConfig = {
            "configurable": {
                "thread_id": options["thread_id"],
                "checkpoint_ns": args["ns"],
                "checkpoint_id": checkpoint["id"],
            }
        }
        return self._context.rpc("checkpoint.put", args), after

    def _put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str
    ) -> Future[Any]:
        options = config["configurable"]
        args = {
            "thread": self._named(config),
            "ns": options.get("checkpoint_ns", ""),
            "id": options["checkpoint_id"],
            "task_id": task_id,
            "task_path": task_path,
            "writes": [self._write(index, channel, value) for index, (channel, value) in enumerate(writes)],
            # Of errors, interrupts and answers the last one counts; of a task's output the first.
            "replace": all(channel in WRITES_IDX_MAP for channel, _ in writes),
        }
        return self._context.rpc("checkpoint.put_writes", args)

    def _write(self, index: int, channel: str, value: Any) -> dict[str, Any]:
        kind, data = self.serde.dumps_typed(value)
        encoded = base64.b64encode(data).decode("ascii")
        return {"idx": WRITES_IDX_MAP.get(channel, index), "channel": channel, "kind": kind, "data": encoded}

    def _get(self, config: RunnableConfig) -> Future[Any]:
        options = config["configurable"]
        args = {"thread": self._named(config), "ns": options.get("checkpoint_ns", ""), "id": get_checkpoint_id(config)}
        return self._context.rpc("checkpoint.get", args)

    def _list(
        self,
        config: RunnableConfig | None,
        filter: dict[str, Any] | None,
        before: RunnableConfig | None,
        limit: int | None,
    ) -> Future[Any]:
        args = {
            "thread": self._thread if config is None else self._named(config),
            "ns": None if config is None else config["configurable"].get("checkpoint_ns"),
            "filter": filter or None,
            "before": None if before is None else get_checkpoint_id(before),
            "id": None if config is None else get_checkpoint_id(config),
            "limit": limit,
        }
        return self._context.rpc("checkpoint.list", args)

    def _delete(self, thread_id: str) -> Future[Any]:
        config: RunnableConfig = {"configurable": {"thread_id": thread_id}}
        return self._context.rpc("checkpoint.delete_thread", {"thread": self._named(config)})

    def _tuple(self, row: dict[str, Any]) -> CheckpointTuple:
        return CheckpointTuple(
            config=self._config(row, row["id"]),
            checkpoint=self.serde.loads_typed((row["kind"], base64.b64decode(row["data"]))),
            metadata=row["metadata"],
            parent_config=self._config(row, row["parent"]) if row.get("parent") else None,
            pending_writes=[
                (
                    each["task_id"],
                    each["channel"],
                    self.serde.loads_typed((each["kind"], base64.b64decode(each["data"]))),
                )
                for each in row["writes"]
            ],
        )

    # As LangGraph calls it from its loop.

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,  # noqa: ARG002
    ) -> RunnableConfig:
        """Keeps a checkpoint; durable when it returns."""
        future, after = self._put(config, checkpoint, metadata)
        await asyncio.wrap_future(future)
        return after

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Keeps what a step wrote."""
        await asyncio.wrap_future(self._put_writes(config, writes, task_id, task_path))

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """A checkpoint, or the newest."""
        row = await asyncio.wrap_future(self._get(config))
        return None if row is None else self._tuple(row)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Checkpoints, the newest first."""
        for row in await asyncio.wrap_future(self._list(config, filter, before, limit)):
            yield self._tuple(row)

    async def adelete_thread(self, thread_id: str) -> None:
        """Forgets a thread."""
        await asyncio.wrap_future(self._delete(thread_id))

    # As synchronous code calls it, from a thread.

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,  # noqa: ARG002
    ) -> RunnableConfig:
        """As `aput`."""
        future, after = self._put(config, checkpoint, metadata)
        self._await(future)
        return after

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """As `aput_writes`."""
        self._await(self._put_writes(config, writes, task_id, task_path))

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """As `aget_tuple`."""
        row = self._await(self._get(config))
        return None if row is None else self._tuple(row)

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """As `alist`."""
        for row in self._await(self._list(config, filter, before, limit)):
            yield self._tuple(row)

    def delete_thread(self, thread_id: str) -> None:
        """As `adelete_thread`."""
        self._await(self._delete(thread_id))

    def _await(self, future: Future[Any]) -> Any:
        if _on_a_loop() and not future.done():
            raise RuntimeError(
                "a synchronous call of a graph with Segue's checkpointer would block the loop that it waits for; "
                "use `await graph.ainvoke(…)`, or call it from a synchronous node"
            )
        return future.result()


def _on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
