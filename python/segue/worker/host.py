"""The host: one process, one asyncio loop for life, many attempts.

The main thread runs the loop. A supervisor thread talks to the engine, so that a loop that is blocked is seen and told.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import sys
import threading
import time
from typing import Final, NoReturn

from segue.worker import prints, processes, protocol
from segue.worker.adapter import SharedAdapter
from segue.worker.guest import Guest
from segue.worker.jobs import make_loop

_BEAT_SECONDS: Final = 1.0
_TICK_SECONDS: Final = 0.25


class Pulse:
    """Asks the loop for a sign of life, and knows for how long it has given none. For the supervisor's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._asked_at: float | None = None
        self._answered = threading.Event()
        self._answered.set()

    def ask(self) -> None:
        """Asks, unless the last answer is still owed."""
        if self._answered.is_set():
            self._answered.clear()
            self._asked_at = time.monotonic()
            self._loop.call_soon_threadsafe(self._answered.set)

    def lag_ms(self) -> int:
        """For how long it has owed its answer."""
        if self._asked_at is None or self._answered.is_set():
            return 0
        return round((time.monotonic() - self._asked_at) * 1000)


class Host:
    """Takes attempts until it is told to stop, or finds that something of one cannot be ended."""

    def __init__(self, channel: protocol.Channel, socket_path: str, adapter: SharedAdapter) -> None:
        # Ctrl-C on a terminal is the engine's business.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._channel = channel
        self._socket_path = socket_path
        self._adapter = adapter
        self._loop = make_loop()
        self._pulse = Pulse(self._loop)
        self._guests: dict[str, Guest] = {}
        self._lives: set[asyncio.Task[None]] = set()
        self._ids: set[str] = set()
        # Ids and the two below: of both threads.
        self._lock = threading.Lock()
        self._draining = False
        self._dirt: str | None = None

    def run(self) -> NoReturn:
        """Until the engine closes its end, or a drain is over. Ends the process."""
        prints.install()
        asyncio.set_event_loop(self._loop)
        threading.Thread(target=self._supervise, name="segue-supervisor", daemon=True).start()
        while True:
            try:
                self._loop.run_forever()
            except (SystemExit, KeyboardInterrupt):
                # Somebody's `sys.exit()`, in a task of his. He gets it as his error; the loop goes on for the others.
                continue

    # The supervisor.

    def _supervise(self) -> None:
        next_beat = time.monotonic()
        try:
            while True:
                self._pulse.ask()
                if time.monotonic() >= next_beat:
                    next_beat = time.monotonic() + _BEAT_SECONDS
                    self._channel.send(self._beat())
                if select.select([self._channel], [], [], _TICK_SECONDS)[0]:
                    messages = self._channel.receive()
                    if messages is None:
                        self._end()
                    for message in messages:
                        self._handle(message)
        except (OSError, protocol.ProtocolError) as error:
            os.write(2, f"segue-worker: {error}\n".encode("utf-8", "replace"))
            self._end()

    def _beat(self) -> protocol.Message:
        return {
            "type": "beat",
            "lag_ms": self._pulse.lag_ms(),
            "attempts": len(self._ids),
            "rss_bytes": processes.rss_bytes(),
        }

    def _handle(self, message: protocol.Message) -> None:
        kind = message["type"]
        if kind == "spawn":
            self._spawn(message)
        elif kind == "kill":
            spawn_id = str(message.get("spawn_id"))
            with self._lock:
                known = spawn_id in self._ids
            if known:
                self._become_dirty(f"{spawn_id} did not heed its cancel")
                self._loop.call_soon_threadsafe(self._stop, spawn_id)
        elif kind == "ping":
            self._channel.send({"type": "pong", "id": message.get("id")})
        elif kind == "drain":
            with self._lock:
                self._draining = True
                empty = not self._ids
            if empty:
                self._end()

    def _spawn(self, message: protocol.Message) -> None:
        spawn_id, token = str(message.get("spawn_id") or ""), str(message.get("token") or "")
        refusal = self._refusal(spawn_id) if spawn_id and token else "spawn.spawn_id and spawn.token: texts expected"
        if refusal is not None:
            self._channel.send({"type": "spawn_failed", "spawn_id": spawn_id, "message": refusal})
            return
        with self._lock:
            self._ids.add(spawn_id)
        self._channel.send({"type": "spawned", "spawn_id": spawn_id, "pid": os.getpid()})
        self._loop.call_soon_threadsafe(self._admit, spawn_id, token)

    def _refusal(self, spawn_id: str) -> str | None:
        if self._draining:
            return "draining"
        if self._dirt is None:
            stale = self._adapter.stale()
            if stale is not None:
                self._become_dirty(stale)
        if self._dirt is not None:
            return self._dirt
        return "the id is in use" if spawn_id in self._ids else None

    def _become_dirty(self, why: str) -> None:
        """Takes no more attempts. From either thread; said once."""
        with self._lock:
            first = self._dirt is None
            self._dirt = self._dirt or why
        if first:
            self._channel.send({"type": "dirty", "message": why})

    def _end(self) -> NoReturn:
        """Ends the process and what its attempts have started. Threads that do not end are no reason to stay."""
        for pid in processes.descendants(os.getpid()):
            processes.kill(pid)
        for stream in (sys.__stdout__, sys.__stderr__):
            if stream is not None:
                stream.flush()
        os._exit(0)

    # The loop.

    def _admit(self, spawn_id: str, token: str) -> None:
        guest = Guest(self._adapter, spawn_id, token, self._loop, self._become_dirty)
        self._guests[spawn_id] = guest
        life = self._loop.create_task(guest.live(self._socket_path))
        self._lives.add(life)
        life.add_done_callback(lambda ended: self._dismiss(spawn_id, ended))

    def _dismiss(self, spawn_id: str, life: asyncio.Task[None]) -> None:
        self._lives.discard(life)
        self._guests.pop(spawn_id, None)
        error = None if life.cancelled() else life.exception()
        if error is not None:
            os.write(2, f"segue-worker: {spawn_id}: a bug in the worker: {error!r}\n".encode("utf-8", "replace"))
        with self._lock:
            self._ids.discard(spawn_id)
            over = self._draining and not self._ids
        code = 0 if error is None else protocol.EXIT_BUG
        try:
            self._channel.send({"type": "exit", "spawn_id": spawn_id, "pid": os.getpid(), "code": code})
        except OSError:
            # The supervisor sees it too, and ends the process.
            return
        if over:
            self._end()

    def _stop(self, spawn_id: str) -> None:
        guest = self._guests.get(spawn_id)
        if guest is not None:
            guest.stop_for_good()
