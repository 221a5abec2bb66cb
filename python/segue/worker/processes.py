"""Process trees on Linux: who belongs to whom, and how to end all of them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl {option}: {os.strerror(number)}")


def die_with_parent() -> None:
    """SIGKILL for this process when the thread that forked it ends."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def adopt_orphans() -> None:
    """Orphaned descendants become this process's children, wherever in the tree they were."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def go_first() -> None:
    """When the machine has no memory left, this process is to be killed before any that is worth more."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def children(pid: int) -> set[int]:
    """The direct children of a process, zombies included; none if it is gone."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return {int(child) for task in tasks for child in (task / "children").read_text().split()}
    except FileNotFoundError:
        return _children_by_scan(pid)
    except OSError:
        return set()


def _children_by_scan(pid: int) -> set[int]:
    found = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, ValueError, IndexError):
            # The name, in parentheses, may hold anything; the parent is the second field after it.
            if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                found.add(int(entry.name))
    return found


def descendants(pid: int) -> set[int]:
    """All that a process started and is still in its tree."""
    found: set[int] = set()
    ask = [pid]
    while ask:
        new = children(ask.pop()) - found
        found |= new
        ask.extend(new)
    return found


def kill(pid: int) -> bool:
    """SIGKILL. False if this process may not."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return True


def kill_tree(pid: int) -> None:
    """SIGKILL for a process, its group (of the same number) and its descendants, whichever group they moved to."""
    for each in descendants(pid):
        kill(each)
    # The process itself goes last: it may be this one.
    with contextlib.suppress(OSError):
        os.killpg(pid, signal.SIGKILL)
    kill(pid)


def rss_bytes() -> int:
    """The memory this process has resident."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
