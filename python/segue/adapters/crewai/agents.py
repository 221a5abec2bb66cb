"""`crewai.agent`: one agent, one task, no code of the user's."""

from __future__ import annotations

import json
from typing import Any, Final

from segue.adapters.crewai.framework import lookup
from segue.worker.adapter import Failure, Start

_INPUTS: Final = ("prompt", "role", "goal", "backstory", "expected_output")
_ROLE: Final = "Assistant"
_GOAL: Final = "Do exactly what the task asks, completely and correctly."
_BACKSTORY: Final = "You work carefully and answer with the result only."
_EXPECTED_OUTPUT: Final = "The result that the task asks for, and nothing else."


def build(start: Start) -> Any:
    """A crew of that one agent. Raises `Failure` for inputs it does not have."""
    inputs = _texts(start.inputs)
    crewai = lookup("crewai")
    agent = crewai.Agent(
        role=inputs.get("role", _ROLE),
        goal=inputs.get("goal", _GOAL),
        backstory=inputs.get("backstory", _BACKSTORY),
        allow_delegation=False,
    )
    task = crewai.Task(
        name=str(start.target.get("name") or start.task_id),
        description=instruction(inputs.get("prompt"), start.target),
        expected_output=inputs.get("expected_output", _EXPECTED_OUTPUT),
        agent=agent,
        **_response_format(start.inputs.get("response_schema")),
    )
    return crewai.Crew(name=start.task_id, agents=[agent], tasks=[task])


def _texts(inputs: dict[str, Any]) -> dict[str, str]:
    known = {*_INPUTS, "response_schema"}
    unknown = sorted(set(inputs) - known)
    if unknown:
        raise Failure("invalid_input", f"crewai.agent has no input {unknown[0]!r}; it takes {', '.join(sorted(known))}")
    texts = {name: inputs[name] for name in _INPUTS if inputs.get(name) is not None}
    for name, value in texts.items():
        if not isinstance(value, str) or not value.strip():
            raise Failure("invalid_input", f"inputs.{name}: a text expected")
    return texts


def instruction(prompt: str | None, target: dict[str, Any]) -> str:
    """What the agent is told: the prompt, or the node's description or name with what came before as material."""
    if prompt is not None:
        return prompt
    what = target.get("description") or target.get("name")
    if not what:
        raise Failure("invalid_input", "inputs.prompt is missing, and the node has no name to take its place")
    parts = [str(what)]
    for each in target.get("material") or []:
        output = each.get("output")
        text = output if isinstance(output, str) else json.dumps(output, ensure_ascii=False, indent=2)
        parts.append(f"Material from {each.get('node')}:\n{text}")
    return "\n\n".join(parts)


def _response_format(schema: Any) -> dict[str, Any]:
    if schema is None:
        return {}
    create_model = lookup("crewai.utilities.pydantic_schema_utils", "create_model_from_schema")
    if create_model is None:
        raise Failure("load", "this crewai cannot make a model from inputs.response_schema")
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise Failure("invalid_input", "inputs.response_schema: a JSON Schema of type object expected")
    try:
        return {"output_json": create_model(schema, model_name=str(schema.get("title") or "Response"))}
    except Exception as error:
        raise Failure("invalid_input", f"inputs.response_schema: {error}") from error
