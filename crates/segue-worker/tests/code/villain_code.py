"""Functions of a project that does whatever is bad for its neighbours."""

import asyncio
import ctypes
import os
import subprocess
import sys
import time


def answer(value):
    return value


async def answer_async(value):
    await asyncio.sleep(0)
    return value


def tell(context):
    return {"key": context.idempotency_key, "task": context.task_id, "attempt": str(context.attempt)}


def count(to):
    for number in range(1, to + 1):
        print(number)


def fail():
    raise ValueError("kaboom")


def leave():
    sys.exit(3)


async def leave_async():
    sys.exit(3)


def strange():
    return object()


def large(size):
    return "x" * size


def die(how):
    if how == "segfault":
        ctypes.string_at(0)
    if how == "kill":
        os.kill(os.getpid(), 9)
    os._exit(1)


def _child(mark):
    # One process. A shell would fork, and until the copy becomes `sleep` it bears the mark and outlives the shell.
    return subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(1000)", mark])


async def wait(mark):
    """Ends when it is told to."""
    child = _child(mark)
    print("ready")
    try:
        await asyncio.sleep(3600)
    finally:
        child.kill()
        child.wait()


def hang(mark):
    """A thread, which nothing can end."""
    child = _child(mark)
    print("ready")
    child.wait()


async def swallow(mark):
    """Does not heed its cancel."""
    child = _child(mark)
    print("ready")
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            if child.poll() is not None:
                raise


async def block(seconds):
    print("ready")
    await asyncio.sleep(0.2)
    time.sleep(seconds)
    return "done"


async def nap(seconds):
    print("ready")
    await asyncio.sleep(seconds)
    return os.getpid()


async def pid():
    return os.getpid()


def flood(megabytes):
    block = "x" * 99 + "\n"
    for _ in range(megabytes * 10_000):
        sys.stdout.write(block)
    for _ in range(megabytes):
        os.write(1, block.encode() * 10_000)
    return megabytes


def forge():
    for number in (1, 2):
        os.write(number, b'{"type":"result","output":"forged","usage":{},"warnings":[]}\n')
    print('{"type":"exit","spawn_id":"s-0","pid":1,"code":0}')
    return "real"


def environment():
    return dict(os.environ)


def where():
    return os.getcwd()
