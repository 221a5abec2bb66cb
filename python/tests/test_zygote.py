"""Forking, killing, reaping: whatever an attempt does, the zygote goes on and says how it ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Play, ToyMaker
from tests.support.engine import BUNDLE, MAIN, Attempt

FOREVER = "import threading; threading.Event().wait()"
# A grandchild in a session of its own, that tells its pid and holds nothing of ours open.
DETACHED = """
import subprocess, sys
sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
context.log("info", str(sleeper.pid))
"""


def is_alive(pid: int) -> bool:
    """Zombies are dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def logged_pid(attempt: Attempt) -> int:
    return int(attempt.connection.until("log")["line"])


def test_an_attempt_is_a_session_of_its_own_with_the_given_environment(play: Play, tmp_path: Path) -> None:
    ids = "os.getpid(), os.getpgid(0), os.getsid(0)"
    code = f"import os, sys; output = [{ids}, os.getcwd(), dict(os.environ), sys.stdin.read()]"
    attempt = play(code, {"GIVEN": "yes"})
    pid, group, session, cwd, environment, stdin = attempt.final()["output"]
    assert pid == group == session == attempt.pid
    assert cwd == str(tmp_path)
    assert environment["GIVEN"] == "yes"
    assert "SEGUE_WORKER_TOKEN" not in environment
    assert stdin == ""


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import os; os._exit(9)", {"code": 9}),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", {"signal": signal.SIGSEGV}),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", {"signal": signal.SIGTERM}),
    ],
)
def test_a_death_without_a_word_is_reported(play: Play, code: str, expected: dict[str, int]) -> None:
    attempt = play(code)
    exit = attempt.exit()
    assert {name: exit.get(name) for name in expected} == expected
    while (message := attempt.connection.next()) is not None:
        assert message["type"] not in ("result", "error", "cancelled")
    assert play("output = 1").final()["output"] == 1


def test_kill_ends_the_attempt_and_its_detached_grandchildren(play: Play) -> None:
    neighbour = play(FOREVER)
    attempt = play(DETACHED + FOREVER)
    grandchild = logged_pid(attempt)
    assert is_alive(grandchild)
    attempt.zygote.connection.send({"type": "kill", "spawn_id": attempt.spawn_id})
    assert attempt.exit()["signal"] == signal.SIGKILL
    assert not is_alive(grandchild)
    assert is_alive(neighbour.pid)


def test_kill_minus_9_from_outside_is_reported_when_all_is_over(play: Play) -> None:
    attempt = play(DETACHED + FOREVER)
    grandchild = logged_pid(attempt)
    os.killpg(attempt.pid, signal.SIGKILL)
    assert attempt.exit()["signal"] == signal.SIGKILL
    assert not is_alive(grandchild)


def test_what_an_attempt_leaves_behind_ends_with_it(play: Play) -> None:
    attempt = play(DETACHED + "output = sleeper.pid")
    grandchild = attempt.final()["output"]
    assert not is_alive(grandchild)


# A grandchild whose parent is gone: an orphan, but of a living attempt.
ORPHANED = """
import subprocess, sys
program = '''
import subprocess, sys
sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(sleeper.pid)
'''
context.log("info", subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)
"""


def test_an_orphan_lives_as_long_as_its_attempt(play: Play) -> None:
    attempt = play(ORPHANED + FOREVER)
    orphan = logged_pid(attempt)
    play("output = 1").final()
    assert is_alive(orphan)
    attempt.zygote.connection.send({"type": "kill", "spawn_id": attempt.spawn_id})
    assert attempt.exit()["signal"] == signal.SIGKILL
    assert not is_alive(orphan)


def test_when_the_engine_goes_everything_goes(toy_zygote: ToyMaker, tmp_path: Path) -> None:
    zygote = toy_zygote()
    attempts = [zygote.spawn(tmp_path) for _ in range(2)]
    for attempt in attempts:
        attempt.start("toy", {"code": DETACHED + FOREVER})
    pids = [pid for attempt in attempts for pid in (attempt.pid, logged_pid(attempt))]
    assert zygote.close() == 0
    assert not any(map(is_alive, pids))


def test_when_the_zygote_is_killed_its_attempts_die(toy_zygote: ToyMaker, tmp_path: Path) -> None:
    zygote = toy_zygote()
    attempt = zygote.spawn(tmp_path)
    attempt.start("toy", {"code": FOREVER})
    attempt.connection.until("started")
    zygote.process.kill()
    assert attempt.connection.next() is None


def test_an_attempt_whose_connection_is_closed_ends(play: Play) -> None:
    attempt = play(DETACHED + FOREVER)
    grandchild = logged_pid(attempt)
    attempt.connection.close()
    assert attempt.exit()["signal"] == signal.SIGKILL
    assert not is_alive(grandchild)


def test_drain_lets_attempts_finish_and_takes_no_more(toy_zygote: ToyMaker, tmp_path: Path) -> None:
    zygote = toy_zygote()
    attempt = zygote.spawn(tmp_path)
    zygote.connection.send({"type": "drain"})
    zygote.connection.send(
        {"type": "spawn", "spawn_id": "late", "token": "t", "cwd": "/", "stdout": "x", "stderr": "x"}
    )
    assert zygote.connection.until("spawn_failed")["message"] == "draining"
    attempt.start("toy", {"code": "output = 1"})
    assert attempt.final()["output"] == 1
    assert zygote.process.wait(60) == 0


def test_a_spawn_that_makes_no_sense_is_refused_and_the_zygote_lives(toy_zygote: ToyMaker, tmp_path: Path) -> None:
    zygote = toy_zygote()
    zygote.connection.send({"type": "spawn", "spawn_id": "bad", "cwd": 7})
    assert "spawn." in zygote.connection.until("spawn_failed")["message"]
    assert zygote.spawn(tmp_path)


@pytest.mark.parametrize("wrong", ["stdout", "cwd"])
def test_an_attempt_that_cannot_be_set_up_ends_with_71(toy_zygote: ToyMaker, tmp_path: Path, wrong: str) -> None:
    zygote = toy_zygote()
    fifo = tmp_path / "nobody-reads-this"
    os.mkfifo(fifo)
    order = {"cwd": str(tmp_path), "stdout": os.devnull, "stderr": os.devnull}
    order[wrong] = str(fifo)
    zygote.connection.send({"type": "spawn", "spawn_id": "bad", "token": "t", "env": {}, **order})
    assert zygote.until("exit", "bad")["code"] == 71


def test_a_framework_that_cannot_be_loaded_is_said(toy_zygote: ToyMaker) -> None:
    zygote = toy_zygote("--broken")
    assert (zygote.hello["type"], zygote.hello["kind"]) == ("error", "load")
    assert "No module named 'toy'" in zygote.hello["message"]
    assert zygote.process.wait(60) == 3


def test_a_framework_that_starts_threads_is_not_forked(toy_zygote: ToyMaker) -> None:
    zygote = toy_zygote("--threaded")
    assert zygote.hello["type"] == "error"
    assert "stray" in zygote.hello["message"]


def test_by_hand_it_says_who_starts_it() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-u", str(MAIN), "--socket", "/nowhere"],
        capture_output=True,
        text=True,
        env={},
        check=False,
    )
    assert done.returncode == 2
    assert "SEGUE_WORKER_TOKEN" in done.stderr


def test_the_bundle_is_all_it_needs(tmp_path: Path) -> None:
    """The file is run from wherever it lies, and its own folder is no place to import from."""
    code = (
        f"import runpy, sys; sys.path.insert(0, {str(MAIN.parent)!r}); runpy.run_path({str(MAIN)!r}); print(sys.path)"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert repr(str(BUNDLE)) in done.stdout
    assert repr(str(MAIN.parent)) not in done.stdout
