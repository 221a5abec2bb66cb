"""One attempt: from its inputs, over a crew, to its output."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from segue.adapters.crewai import agents, errors, framework, models, project, rehearsal, retries, targets
from segue.adapters.crewai.events import Forwarder
from segue.adapters.crewai.framework import lookup
from segue.worker.adapter import Context, Failure, Loaded, Start, Stopped

_HINTS: Final = {"inner_retries": tuple(retries.MODES), "tool_failures": ("warn", "fail")}


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
        start = context.start
        framework.quiet()
        _tell_environment(start)
        with _storage():
            forwarder = self._prepare(context)
            with models.override(None if start.rehearsal else models.hinted(start.hints)):
                try:
                    return _with_stop(context, lambda: self._kick_off(context, forwarder))
                finally:
                    forwarder.settle()

    def _prepare(self, context: Context) -> Forwarder:
        """Everything that must be in place before the first line of the user's code."""
        start = context.start
        model = models.hinted(start.hints)
        missing = retries.switch_off(_hint(start, "inner_retries"))
        if missing:
            context.log("warning", f"crewai's own retries could not be switched off: {', '.join(missing)}")
        if start.rehearsal:
            rehearsal.begin(start.provider, model)
        else:
            models.use_provider(start.provider)
            models.accept_unknown_names()
        forwarder = Forwarder(context)
        forwarder.attach()
        _refuse_model_calls_when_stopping(context)
        context.learn_secrets()
        return forwarder

    def _kick_off(self, context: Context, forwarder: Forwarder) -> Any:
        start = context.start
        if start.handler == "crewai.agent":
            if start.base_dir is not None:
                project.load_env(Path(start.base_dir))
                context.learn_secrets()
            return _final(self._run(start, forwarder, agents.build(start), None))
        if start.handler == "crewai.crew":
            named = start.inputs.get("crew")
            target = targets.resolve(named, start.base_dir)
            context.learn_secrets()
            given = {name: value for name, value in start.inputs.items() if name != "crew"}
            inputs = {**target.defaults, **given}
            result = self._run(start, forwarder, target.crew, inputs or None)
            return {"output": _final(result), "tasks": [_task(each) for each in result.tasks_output]}
        raise Failure("invalid_input", f"no handler {start.handler!r} here")

    def _run(self, start: Start, forwarder: Forwarder, crew: Any, inputs: dict[str, Any] | None) -> Any:
        """Kicks the crew off and gives its `CrewOutput`."""
        strict = _hint(start, "tool_failures") == "fail"
        if strict and hasattr(crew, "tool_failure_policy"):
            crew.tool_failure_policy = "raise"
        # A crew that streams gives a generator instead of an answer.
        if getattr(crew, "stream", False):
            crew.stream = False
        output = crew.kickoff(inputs=inputs)
        if strict and forwarder.tool_failures:
            # For versions without the policy.
            raise Failure("user", forwarder.tool_failures[0])
        return output


def _final(output: Any) -> Any:
    """An object if it is structured, else the text."""
    if getattr(output, "pydantic", None) is not None:
        return output.pydantic.model_dump(mode="json")
    if getattr(output, "json_dict", None) is not None:
        return output.json_dict
    return output.raw


def _task(output: Any) -> dict[str, Any]:
    return {"name": output.name or output.description, "agent": output.agent.strip(), "output": _final(output)}


def _with_stop(context: Context, work: Callable[[], Any]) -> Any:
    """Runs `work`; once the attempt is to stop, whatever comes out of it is that it stopped."""
    try:
        return work()
    except BaseException as error:
        if context.stopping is not None:
            raise Stopped from error
        raise


def _refuse_model_calls_when_stopping(context: Context) -> None:
    """A hook before every model call: the one place that all retry layers of CrewAI let an exception pass."""
    aborted = lookup("crewai.hooks.dispatch", "HookAborted")
    points = lookup("crewai.hooks.dispatch", "InterceptionPoint")
    register = lookup("crewai.hooks.dispatch", "register")
    if aborted is None or points is None or register is None:
        context.log("warning", "this crewai has no model hooks; a cancel waits for the grace period")
        return

    def before_model_call(_call: Any) -> None:
        if context.stopping is not None:
            raise aborted(reason=f"the attempt was stopped: {context.stopping}", source="segue")

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
