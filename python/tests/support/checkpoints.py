"""What the engine keeps for graphs, in memory: the peer of the worker's `checkpoint.*` calls."""

from __future__ import annotations

import threading
from typing import Any

Row = dict[str, Any]


class Checkpoints:
    """Checkpoints and writes by their names."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[tuple[str, str, str], Row] = {}
        self._writes: dict[tuple[str, str, str], dict[tuple[str, int], Row]] = {}
        self.calls: list[str] = []

    def answer(self, message: Row, thread: str | None) -> Row:
        """The answer to an `rpc`, as the engine gives it."""
        args = message["args"]
        asked = str(args.get("thread"))
        if thread is None or (asked != thread and not asked.startswith(f"{thread}/")):
            return {"type": "rpc_error", "id": message["id"], "message": f"thread `{asked}` is not this task's"}
        with self._lock:
            self.calls.append(message["op"])
            value = getattr(self, message["op"].removeprefix("checkpoint."))(**args)
        return {"type": "rpc_ok", "id": message["id"], "value": value}

    def put(self, thread: str, ns: str, id: str, parent: str | None, kind: str, data: str, metadata: Row) -> None:
        """Keeps a checkpoint."""
        row = {"thread": thread, "ns": ns, "id": id, "parent": parent, "kind": kind, "data": data}
        self._rows[thread, ns, id] = {**row, "metadata": metadata}

    def put_writes(
        self, thread: str, ns: str, id: str, task_id: str, task_path: str, writes: list[Row], replace: bool
    ) -> None:
        """Keeps writes."""
        kept = self._writes.setdefault((thread, ns, id), {})
        for write in writes:
            key = (task_id, write["idx"])
            if replace or key not in kept:
                kept[key] = {"task_id": task_id, "task_path": task_path, **write}

    def get(self, thread: str, ns: str, id: str | None) -> Row | None:
        """One, or the newest."""
        found = [key for key in self._rows if key[:2] == (thread, ns) and id in (None, key[2])]
        return self._whole(max(found)) if found else None

    def list(
        self, thread: str, ns: str | None, filter: Row | None, before: str | None, id: str | None, limit: int | None
    ) -> list[Row]:
        """Those that are asked for, newest first."""
        found = [
            key
            for key, row in self._rows.items()
            if key[0] == thread
            and ns in (None, key[1])
            and id in (None, key[2])
            and (before is None or key[2] < before)
            and all(row["metadata"].get(name) == value for name, value in (filter or {}).items())
        ]
        return [self._whole(key) for key in sorted(found, key=lambda key: key[2], reverse=True)[:limit]]

    def delete_thread(self, thread: str) -> None:
        """Forgets."""
        for kept in (self._rows, self._writes):
            for key in [key for key in kept if key[0] == thread]:
                del kept[key]

    def _whole(self, key: tuple[str, str, str]) -> Row:
        writes = self._writes.get(key, {}).values()
        ordered = sorted(writes, key=lambda row: (row["task_path"], row["task_id"], row["idx"]))
        return {**self._rows[key], "writes": ordered}
