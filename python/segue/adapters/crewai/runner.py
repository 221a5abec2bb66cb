"""One attempt: from its inputs, over a crew or a flow, to its output."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from segue.adapters.crewai import (
    agents,
    calls,
    errors,
    flows,
    framework,
    human,
    models,
    outputs,
    project,
    rehearsal,
    retries,
    shortcomings,
    targets,
)
from segue.adapters.crewai.events import Forwarder
from segue.adapters.crewai.framework import lookup
from segue.worker.adapter import Context, Failure, Loaded, Start, Stopped

_HINTS: Final = {"inner_retries": tuple(retries.MODES), "tool_failures": ("warn", "fail"), "human": human.MODES}


class CrewAi:
    """Implements `segue.worker.adapter.Adapter`."""

    name = "crewai"

    def load(self) -> Loaded:
        """Imports CrewAI."""
        return framework.load()

    def classify(self, error: BaseException) -> Failure:
        """What an exception means."""
        return errors.classify(error)

    def run(self, context: Context) -> Any:
        """Carries out an attempt."""
        framework.quiet()
        _tell_environment(context.start)
        with _storage():
            return _Run(context).run()


class _Run:
    """An attempt, and what listens to it."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._start = context.start
        self._forwarder = Forwarder(context)
        self._people = human.People(context, self._forwarder, _hint(context.start, "human"))

    def run(self) -> Any:
        start = self._start
        self._prepare()
        with models.override(models.hinted(start.hints), models.hinted_by_role(start.hints), start.rehearsal):
            try:
                output = _with_stop(self._context, self._people, self._kick_off)
            finally:
                self._forwarder.settle()
        if self._people.refused is not None:
            raise self._people.refused
        if _hint(start, "tool_failures") == "fail" and self._forwarder.tool_failures:
            # For versions without the policy, and for flows.
            raise Failure("user", self._forwarder.tool_failures[0])
        self._people.report_unused()
        return output

    def _prepare(self) -> None:
        """Everything that must be in place before the first line of the user's code."""
        start, context = self._start, self._context
        missing = retries.switch_off(_hint(start, "inner_retries"))
        if missing:
            context.log("warning", f"crewai's own retries could not be switched off: {', '.join(missing)}")
        if start.rehearsal:
            rehearsal.begin(start.provider, models.hinted(start.hints))
        else:
            models.use_provider(start.provider)
            models.accept_unknown_names()
        calls.shape(calls.hinted_timeout(start.hints), start.stream)
        self._forwarder.attach()
        self._people.attach()
        shortcomings.report(context)
        flows.spare_memory()
        if start.hints.get("workdir"):
            targets.settle()
        _refuse_model_calls_when_stopping(context, self._people)
        context.learn_secrets()

    def _kick_off(self) -> Any:
        start = self._start
        if start.handler == "crewai.agent":
            if start.base_dir is not None:
                project.load_env(Path(start.base_dir))
                self._context.learn_secrets()
            crew = agents.build(start)
            return outputs.of_crew(crew, self._run(crew, None))["output"]
        if start.handler == "crewai.crew":
            target = targets.resolve(start.inputs.get("crew"), start.base_dir)
            self._context.learn_secrets()
            inputs = {**target.defaults, **self._inputs_without("crew")}
            if not inputs:
                shortcomings.report_unfilled(self._context, target.crew)
            return outputs.of_crew(target.crew, self._run(target.crew, inputs or None))
        if start.handler == "crewai.flow":
            flow = flows.resolve(start.inputs.get("flow"), start.base_dir)
            self._context.learn_secrets()
            return flows.run(self._context, flow, self._inputs_without("flow"), self._people)
        raise Failure("invalid_input", f"no handler {start.handler!r} here")

    def _inputs_without(self, name: str) -> dict[str, Any]:
        return {key: value for key, value in self._start.inputs.items() if key != name}

    def _run(self, crew: Any, inputs: dict[str, Any] | None) -> Any:
        """Kicks the crew off and gives its `CrewOutput`."""
        if _hint(self._start, "tool_failures") == "fail" and hasattr(crew, "tool_failure_policy"):
            crew.tool_failure_policy = "raise"
        # A crew that streams gives a generator instead of an answer.
        if getattr(crew, "stream", False):
            crew.stream = False
        return crew.kickoff(inputs=inputs)


def _with_stop(context: Context, people: human.People, work: Callable[[], Any]) -> Any:
    """Runs `work`; once the attempt is to stop, or ends by asking, whatever comes out of it is nobody's business."""
    try:
        return work()
    except BaseException as error:
        if context.stopping is not None:
            raise Stopped from error
        raise
    finally:
        if people.asking not in (None, threading.current_thread()):
            human.wait_for_the_end()


def _refuse_model_calls_when_stopping(context: Context, people: human.People) -> None:
    """A hook before every model call: the one place that all retry layers of CrewAI let an exception pass."""
    aborted = lookup("crewai.hooks.dispatch", "HookAborted")
    points = lookup("crewai.hooks.dispatch", "InterceptionPoint")
    register = lookup("crewai.hooks.dispatch", "register")
    if aborted is None or points is None or register is None:
        context.log("warning", "this crewai has no model hooks; a cancel waits for the grace period")
        return

    def before_model_call(_call: Any) -> None:
        why = context.stopping or (people.asking and "it asks a person")
        if why:
            raise aborted(reason=f"the attempt was stopped: {why}", source="segue")

    register(points.PRE_MODEL_CALL, before_model_call)


def _hint(start: Start, name: str) -> str:
    allowed = _HINTS[name]
    value = start.hints.get(name, allowed[0])
    # YAML 1.1 writers mean "off" when their tools made it false.
    value = "off" if value is False else value
    if value not in allowed:
        raise Failure("invalid_input", f"hints.crewai.{name}: one of {', '.join(allowed)} expected, not {value!r}")
    return str(value)


def _tell_environment(start: Start) -> None:
    os.environ.update(
        SEGUE_RUN_ID=start.run_id,
        SEGUE_WORKFLOW_ID=start.workflow_id,
        SEGUE_TASK_ID=start.task_id,
        SEGUE_ATTEMPT_NUMBER=str(start.attempt),
        SEGUE_IDEMPOTENCY_KEY=start.idempotency_key,
    )


@contextlib.contextmanager
def _storage() -> Iterator[None]:
    """A storage folder of this attempt's own: a shared one is locked, polled and wiped by every kickoff."""
    if os.environ.get(framework.STORAGE):
        framework.use_storage()
        yield
        return
    folder = tempfile.mkdtemp(prefix="segue-crewai-")
    os.environ[framework.STORAGE] = folder
    try:
        framework.use_storage()
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)
