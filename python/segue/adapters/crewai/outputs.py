"""What crews, agents and flows give, as JSON."""

from __future__ import annotations

import json
from typing import Any

from segue.adapters.crewai.framework import lookup
from segue.worker.adapter import Context, Failure


def final(output: Any) -> Any:
    """Of a `CrewOutput` or `TaskOutput`: an object if it is structured, else the text."""
    if getattr(output, "pydantic", None) is not None:
        return output.pydantic.model_dump(mode="json")
    if getattr(output, "json_dict", None) is not None:
        return output.json_dict
    return output.raw


def of_crew(crew: Any, output: Any) -> dict[str, Any]:
    """Of `crewai.crew`: the result, and that of every task."""
    tasks = [_task(each) for each in output.tasks_output]
    answered = [getattr(task, "response_model", None) is not None for task in getattr(crew, "tasks", [])]
    # The provider's own structured answers stay texts in CrewAI.
    for task, structured in zip(tasks, answered, strict=False):
        if structured and isinstance(task["output"], str):
            task["output"] = _parsed(task["output"])
    whole = final(output)
    if tasks and isinstance(whole, str) and output.raw == output.tasks_output[-1].raw:
        whole = tasks[-1]["output"]
    return {"output": whole, "tasks": tasks}


def _task(output: Any) -> dict[str, Any]:
    return {"name": output.name or output.description, "agent": output.agent.strip(), "output": final(output)}


def _parsed(said: str) -> Any:
    try:
        return json.loads(said)
    except ValueError:
        return said


def of_flow(context: Context, flow: Any, result: Any) -> dict[str, Any]:
    """Of `crewai.flow`: what its last method returned, and its state as far as that is JSON."""
    state = _object(flow.state)
    kept: dict[str, Any] = {}
    for name, value in state.items():
        try:
            kept[name] = plain(value)
        except Failure:
            context.warn(f"the flow's state.{name} is a {type(value).__name__}, which has no JSON form: it is left out")
    return {"output": plain(result), "state": kept}


def state_of(flow: Any) -> dict[str, Any]:
    """All of a flow's state. Raises `Failure` if it has no JSON form: it could not be given back."""
    try:
        state: dict[str, Any] = plain(_object(flow.state))
    except Failure as failure:
        said = f"the flow's state cannot be kept while a person is asked: {failure.message}"
        raise Failure("output", said) from failure
    return state


def _object(state: Any) -> dict[str, Any]:
    if isinstance(state, dict):
        return dict(state)
    return {name: getattr(state, name) for name in [*type(state).model_fields, *(state.model_extra or ())]}


def plain(value: Any) -> Any:
    """Any value as JSON: models, dataclasses, dates and the like have a form; a crew's result is its output."""
    if all(hasattr(value, name) for name in ("raw", "pydantic")):
        return final(value)
    to_json: Any = lookup("pydantic_core", "to_jsonable_python")
    try:
        return to_json(value)
    except ValueError as error:
        raise Failure("output", f"the output has no JSON form: {error}") from error


def of_answer(answer: Any) -> Any:
    """Of an agent's answer within a task."""
    return answer.output if isinstance(answer.output, str) else answer.output.model_dump(mode="json")


def text(value: Any) -> str:
    """A value as an agent would have written it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
