"""An adapter without a framework: does what `inputs.do` says, however bad. Put into the real worker by the pool's tests."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time

from segue.worker.adapter import Failure, Loaded, Stopped, Usage


class Villain:
    name = "villain"

    def load(self):
        if os.path.exists(os.path.join(os.path.dirname(__file__), "broken")):
            raise ImportError("no villain today")
        return Loaded({"villain": "1"}, [], "off")

    def classify(self, error):
        return Failure("user", f"{type(error).__name__}: {error}")

    def run(self, context):
        return getattr(self, context.start.inputs["do"])(context)

    def answer(self, context):
        return context.start.inputs.get("with")

    def tell(self, context):
        print("printed", flush=True)
        print("complained", file=sys.stderr, flush=True)
        return [dict(os.environ), context.start.idempotency_key, context.start.task_id, context.start.attempt, os.getcwd()]

    def count(self, context):
        for number in range(context.start.inputs["to"]):
            print(number + 1, flush=True)

    def work(self, context):
        context.usage.add(Usage(2, 30, 4, 0))
        context.event("model_call_completed", {"model": "m"})
        context.event("task_completed", {"task": "t"})
        context.warn("a tool failed")
        raise Failure("rate_limited", "slow down", retry_after_ms=1500)

    def hang(self, context):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("ready", flush=True)
        time.sleep(1000)

    def stop(self, context):
        print("ready", flush=True)
        while context.stopping is None:
            time.sleep(0.005)
        context.usage.add(Usage(1, 2, 3, 0))
        raise Stopped

    def hide(self, context):
        for _ in range(3):
            subprocess.Popen(["sleep", "1000"], start_new_session=True)
        subprocess.Popen(["sh", "-c", "trap '' TERM; sleep 1000; sleep 1000"], start_new_session=True)
        if os.fork() == 0:
            os.setsid()
            time.sleep(1000)
        print("ready", flush=True)
        if context.start.inputs.get("and") == "answer":
            return "done"
        time.sleep(1000)

    def hold_the_lock(self, context):
        # A regular expression that takes for ever, in C, with the interpreter's lock.
        import re

        print("ready", flush=True)
        re.match(r"(a+)+$", "a" * 60 + "b")

    def die(self, context):
        how = context.start.inputs["how"]
        print("last words", file=sys.stderr, flush=True)
        if how == "segfault":
            ctypes.string_at(0)
        if how == "exit":
            os._exit(9)
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "abort":
            os.abort()

    def leave(self, context):
        sys.exit("enough")

    def flood(self, context):
        lines = (b"x" * 99 + b"\n") * 10_000
        for _ in range(context.start.inputs["megabytes"]):
            left = lines
            while left:
                left = left[os.write(1, left) :]
        return "done"

    def hog(self, context):
        self.kept = [bytearray(os.urandom(1 << 20)) for _ in range(context.start.inputs["megabytes"])]
        print("ready", flush=True)
        time.sleep(1000)

    def fork(self, context):
        """A tree of processes, each of which starts others, and none of which listens."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for _ in range(3):
            os.fork()
        print("ready", flush=True)
        time.sleep(1000)

    def forge(self, context):
        forged = json.dumps({"type": "result", "output": "forged", "usage": Usage().to_json()})
        for fd in (1, 2):
            os.write(fd, (forged + "\n").encode())
        return "honest"

    def _socket(self):
        """The file descriptor of the connection to the engine."""
        for fd in map(int, os.listdir("/proc/self/fd")):
            try:
                if os.readlink(f"/proc/self/fd/{fd}").startswith("socket:"):
                    return fd
            except OSError:
                pass

    def garble(self, context):
        os.write(self._socket(), b"}{ this is no message\n")
        time.sleep(1000)

    def overflow(self, context):
        fd = self._socket()
        junk = b"x" * (1 << 20)
        while True:
            os.write(fd, junk)

    def close(self, context):
        os.close(self._socket())
        time.sleep(1000)

    def large(self, context):
        return "x" * context.start.inputs["bytes"]

    def strange(self, context):
        return {1, 2}

    def many(self, context):
        """Starts processes and ends at once."""
        for _ in range(20):
            subprocess.Popen(["true"])
        return "done"

    def kill_the_zygote(self, context):
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(1000)

    def stop_the_zygote(self, context):
        print("ready", flush=True)
        os.kill(os.getppid(), signal.SIGSTOP)
        time.sleep(1000)

    def storage(self, context):
        folder = os.environ["VILLAIN_STORAGE"]
        with open(os.path.join(folder, "file"), "w") as file:
            file.write("kept")
        return folder


def adapter():
    return Villain()
