"""Forks attempts, reaps what they leave behind, kills what must end. Never runs any of the framework itself."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import sys
from dataclasses import dataclass
from typing import Any

from segue.worker import child, processes, protocol
from segue.worker.adapter import Adapter

_SECONDS_TO_DIE_MAX = 10


@dataclass
class _Attempt:
    """A forked process that has not been reported as gone."""

    spawn_id: str
    pid: int


class Zygote:
    """The loop: messages of the engine on one side, deaths of children on the other. Polls for neither."""

    def __init__(self, channel: protocol.Channel, socket_path: str, adapter: Adapter) -> None:
        self._channel = channel
        self._socket_path = socket_path
        self._adapter = adapter
        self._live: dict[int, _Attempt] = {}
        self._exited: list[protocol.Message] = []
        self._untouchable: set[int] = set()
        self._draining = False
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)

    def run(self) -> int:
        """Until the engine closes its end, or a drain is over. Returns the exit code."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        try:
            self._loop()
        finally:
            self._end_everything()
        return 0

    def _loop(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._channel, selectors.EVENT_READ)
            selector.register(self._wake_read, selectors.EVENT_READ)
            while not (self._draining and not self._live and not self._exited):
                ready = {key.fileobj for key, _ in selector.select()}
                if self._wake_read in ready:
                    with contextlib.suppress(BlockingIOError):
                        os.read(self._wake_read, 4096)
                    self._reap()
                if self._channel in ready:
                    messages = self._channel.receive()
                    if messages is None:
                        return
                    for message in messages:
                        self._handle(message)

    def _handle(self, message: protocol.Message) -> None:
        kind = message["type"]
        if kind == "spawn":
            self._spawn(message)
        elif kind == "kill":
            for attempt in [each for each in self._live.values() if each.spawn_id == message.get("spawn_id")]:
                processes.kill_tree(attempt.pid)
        elif kind == "ping":
            self._channel.send({"type": "pong", "id": message.get("id")})
        elif kind == "drain":
            self._draining = True

    def _spawn(self, message: protocol.Message) -> None:
        spawn_id = str(message.get("spawn_id"))
        try:
            order = child.Order.of(message, self._socket_path)
            if self._draining:
                raise ValueError("draining")
            if any(attempt.spawn_id == spawn_id for attempt in self._live.values()):
                raise ValueError("the id is in use")
            pid = self._fork(order)
        except (OSError, ValueError) as error:
            self._channel.send({"type": "spawn_failed", "spawn_id": spawn_id, "message": str(error)})
            return
        self._live[pid] = _Attempt(spawn_id, pid)
        self._channel.send({"type": "spawned", "spawn_id": spawn_id, "pid": pid})

    def _fork(self, order: child.Order) -> int:
        sys.stdout.flush()
        sys.stderr.flush()
        zygote = os.getpid()
        pid = os.fork()
        if pid:
            return pid
        # From here on it is the child, which must never come back into this loop.
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.close(self._wake_read)
            os.close(self._wake_write)
            self._channel.close()
            child.live(order, self._adapter, zygote)
        finally:
            os._exit(protocol.EXIT_BUG)

    def _reap(self) -> None:
        """Collects the dead; reports an attempt as gone only when nothing that it started is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            self._untouchable.discard(pid)
            attempt = self._live.pop(pid, None)
            if attempt is not None:
                self._exited.append(_exit_message(attempt, status))
        if self._strays_left():
            return
        while self._exited:
            self._channel.send(self._exited.pop(0))

    def _strays_left(self) -> bool:
        """Kills orphans, and tells whether there are any; their deaths wake the loop again.

        A live attempt adopts its own orphans, so a child of this process that is no attempt was left by a dead one.
        """
        strays = processes.children(os.getpid()) - self._live.keys() - self._untouchable
        for pid in strays:
            processes.kill_tree(pid)
            if not processes.kill(pid):
                self._untouchable.add(pid)
        return bool(strays - self._untouchable)

    def _end_everything(self) -> None:
        """Kills every attempt and all that they started. Gives up, with the process, if the kernel cannot."""
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(_SECONDS_TO_DIE_MAX)
        # Now every child is a stray.
        self._live.clear()
        self._strays_left()
        while True:
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                return
            if not self._strays_left() and self._untouchable:
                return


def _exit_message(attempt: _Attempt, status: int) -> dict[str, Any]:
    code = os.waitstatus_to_exitcode(status)
    how = {"signal": -code} if code < 0 else {"code": code}
    return {"type": "exit", "spawn_id": attempt.spawn_id, "pid": attempt.pid, **how}
