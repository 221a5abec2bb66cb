"""What a framework's adapter offers the worker, and what the worker gives it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn, Protocol

RETRYABLE: Final = frozenset({"rate_limited", "timeout", "connection", "provider", "model_output", "user"})
"""Of the kinds a worker reports: those where another attempt may go better."""


@dataclass
class Usage:
    """What model calls consumed: sums of the provider's own figures. Safe to add to from any thread."""

    model_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, other: Usage) -> None:
        """Adds a call's figures."""
        with self._lock:
            self.model_calls += other.model_calls
            self.input_tokens += other.input_tokens
            self.output_tokens += other.output_tokens
            self.cached_input_tokens += other.cached_input_tokens

    def to_json(self) -> dict[str, int]:
        """As the protocol says it."""
        with self._lock:
            return {
                "model_calls": self.model_calls,
                "input_tokens": self.input_tokens,
                "output_tokens": self.output_tokens,
                "cached_input_tokens": self.cached_input_tokens,
            }


class Failure(Exception):
    """An attempt failed, and it is known why."""

    def __init__(
        self, kind: str, message: str, *, retryable: bool | None = None, retry_after_ms: int | None = None
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.retryable = kind in RETRYABLE if retryable is None else retryable
        self.retry_after_ms = retry_after_ms


class EngineError(Exception):
    """What the engine was asked, it did not do. It changed nothing that can be told."""


class Stopped(Exception):
    """The attempt ended because it was told to. Raised by adapters only after `Context.stopping` was set."""


@dataclass(frozen=True)
class Item:
    """One of the things that a question asks. `value` is what the framework shows, any JSON."""

    id: str
    value: Any = None
    schema: dict[str, Any] | None = None


ANSWER: Final = "answer"
"""The id of the item of a question that asks one thing."""


@dataclass(frozen=True)
class Question:
    """What a person is asked. `resume` comes back with the answers, in the next attempt's `start`."""

    prompt: str
    items: list[Item]
    resume: Any

    def to_json(self) -> dict[str, Any]:
        """As the protocol says it."""
        items = [
            {"id": item.id, "value": item.value, **({} if item.schema is None else {"schema": item.schema})}
            for item in self.items
        ]
        return {"prompt": self.prompt, "items": items, "resume": self.resume}


class Waiting(Exception):
    """The attempt ends by asking. `Context.ask` does the same from where no exception would get through."""

    def __init__(self, question: Question) -> None:
        super().__init__(question.prompt)
        self.question = question


@dataclass(frozen=True)
class Resume:
    """What an attempt before this one has asked, answered: its token and the answers by the ids of the items."""

    token: Any
    answers: dict[str, Any]


@dataclass(frozen=True)
class Provider:
    """Where models are asked, if not where the environment says."""

    base_url: str | None = None
    api_key_env: str | None = None
    api_key: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Start:
    """The `start` message, checked."""

    run_id: str
    workflow_id: str
    task_id: str
    attempt: int
    idempotency_key: str
    handler: str
    target: dict[str, Any]
    inputs: dict[str, Any]
    hints: dict[str, Any]
    rehearsal: bool
    provider: Provider
    base_dir: str | None
    deadline_ms: int | None
    heartbeat_ms: int
    context: dict[str, Any] = field(default_factory=dict)
    resume: Resume | None = None
    stream: bool = False
    """Does somebody listen, so that chunks are worth their cost?"""
    thread: str | None = None
    """The name of this task's checkpoints, the same in all its attempts."""

    @classmethod
    def of(cls, message: dict[str, Any]) -> Start:
        """Reads the message. Raises `ValueError` naming the field that is missing or of the wrong type."""

        def get(name: str, kind: type[Any], default: Any = ...) -> Any:
            value = message.get(name, default)
            if value is None and default is not ...:
                value = default
            if value is ... or (not isinstance(value, kind) and value is not default):
                raise ValueError(f"start.{name}: {kind.__name__} expected")
            return value

        provider = get("provider", dict, {})
        resume = get("resume", dict, {})
        if resume and not isinstance(resume.get("answers"), dict):
            raise ValueError("start.resume.answers: dict expected")
        return cls(
            run_id=get("run_id", str),
            workflow_id=get("workflow_id", str),
            task_id=get("task_id", str),
            attempt=get("attempt", int),
            idempotency_key=get("idempotency_key", str),
            handler=get("handler", str),
            target=get("target", dict, {}),
            inputs=get("inputs", dict, {}),
            hints=get("hints", dict, {}),
            rehearsal=get("rehearsal", bool, False),
            provider=Provider(provider.get("base_url"), provider.get("api_key_env"), provider.get("api_key")),
            base_dir=get("base_dir", str, None),
            deadline_ms=get("deadline_ms", int, None),
            heartbeat_ms=get("heartbeat_ms", int, 5000),
            context=get("context", dict, {}),
            resume=Resume(resume.get("token"), resume["answers"]) if resume else None,
            stream=get("stream", bool, False),
            thread=get("thread", str, None),
        )


class Context(Protocol):
    """One attempt, as its adapter sees it. All methods may be called from any thread."""

    @property
    def start(self) -> Start:
        """What is to be done."""

    @property
    def usage(self) -> Usage:
        """What it consumed so far; the adapter adds to it."""

    @property
    def stopping(self) -> str | None:
        """Why it should end (`cancelled`, `timeout`); None: go on."""

    def event(self, kind: str, data: dict[str, Any]) -> None:
        """Progress for whoever watches."""

    def chunk(self, text: str, **about: str) -> None:
        """A piece of a model's answer, for whoever listens; nothing where nobody does. What comes quickly is joined."""

    def ask(self, question: Question) -> NoReturn:
        """Ends the attempt, and with it the process, by asking. From any thread; never returns. Not for attempts that
        share a process: they raise `Waiting`."""

    def rpc(self, op: str, args: dict[str, Any]) -> Future[Any]:
        """Asks the engine; calls are carried out in order. `EngineError` if it refuses or fails."""

    def on_stop(self, act: Callable[[], object]) -> None:
        """Has `act` called, from any thread, when the attempt is to stop; at once if it is so already."""

    def log(self, level: str, line: str) -> None:
        """A line for the attempt's log."""

    def warn(self, warning: str) -> None:
        """What a reader should know although it succeeded."""

    def learn_secrets(self) -> None:
        """The environment has changed: look for secrets again."""

    def model_call(self, change: int) -> None:
        """+1: a model call begins, -1: it ended. While there is nothing else, a cancel takes effect at once."""

    def tool_call(self, change: int) -> None:
        """+1: a tool begins, -1: it ended. A tool is not torn out of its work before the grace period is over."""


@dataclass(frozen=True)
class Loaded:
    """What an adapter found in its environment."""

    versions: dict[str, str]
    features: list[str]
    inner_retries: str


class Adapter(Protocol):
    """A framework."""

    @property
    def name(self) -> str:
        """`crewai`."""

    def load(self) -> Loaded:
        """Imports the framework, in the zygote. Starts no thread. Any exception: it cannot be loaded."""

    def run(self, context: Context) -> Any:
        """Carries out an attempt, in its own process, and returns its output, any JSON value; or raises `Waiting`."""

    def classify(self, error: BaseException) -> Failure:
        """What an exception that `run` let through means."""


class SharedAdapter(Adapter, Protocol):
    """A framework whose attempts may be tasks of one loop."""

    async def run_shared(self, context: Context) -> Any:
        """As `run`, on the loop that it shares with others: it is cancelled to stop it, and does not block."""

    def stale(self) -> str | None:
        """Why this process shall take no more attempts: code that it has loaded is another one on the disk now."""
