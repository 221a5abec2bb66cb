"""`crewai.agent`: one agent, one task: an agent that the node describes, or one of the user's code."""

from __future__ import annotations

import inspect
import json
import os
from pathlib import Path
from typing import Any, Final

from segue.adapters.crewai import project, targets
from segue.adapters.crewai.framework import lookup
from segue.worker.adapter import Failure, Start

_WHO: Final = ("role", "goal", "backstory")
_INPUTS: Final = ("prompt", *_WHO, "expected_output", "agent")
_ROLE: Final = "Assistant"
_GOAL: Final = "Do exactly what the task asks, completely and correctly."
_BACKSTORY: Final = "You work carefully and answer with the result only."
_EXPECTED_OUTPUT: Final = "The result that the task asks for, and nothing else."


def build(start: Start) -> Any:
    """A crew of that one agent. Raises `Failure` for inputs it does not have."""
    inputs = _texts(start.inputs)
    human_input = start.inputs.get("human_input", False)
    if not isinstance(human_input, bool):
        raise Failure("invalid_input", "inputs.human_input: true or false expected")
    crewai = lookup("crewai")
    agent = _agent(start, inputs)
    task = crewai.Task(
        name=str(start.target.get("name") or start.task_id),
        description=instruction(inputs.get("prompt"), start.target),
        expected_output=inputs.get("expected_output", _EXPECTED_OUTPUT),
        agent=agent,
        human_input=human_input,
        **_response_format(start.inputs.get("response_schema")),
    )
    return crewai.Crew(name=start.task_id, agents=[agent], tasks=[task])


def _agent(start: Start, inputs: dict[str, str]) -> Any:
    base = Path(start.base_dir or os.getcwd())
    root = project.root_of(base)
    if start.inputs.get("agent") or start.inputs.get("tools"):
        targets.enter(root, base)
    tools = _tools(start.inputs.get("tools"), root)
    reference = inputs.get("agent")
    if reference is None:
        return lookup("crewai").Agent(
            role=inputs.get("role", _ROLE),
            goal=inputs.get("goal", _GOAL),
            backstory=inputs.get("backstory", _BACKSTORY),
            allow_delegation=False,
            tools=tools,
        )
    also = [name for name in _WHO if name in inputs]
    if also:
        raise Failure("invalid_input", f"inputs.{also[0]}: the agent {reference} says itself who it is")
    agent = _one_of("agent", "Agent", reference, root)
    if tools:
        agent.tools = [*(agent.tools or []), *tools]
    return agent


def _one_of(name: str, kind: str, reference: str, root: Path) -> Any:
    if not targets.REFERENCE.fullmatch(reference):
        raise Failure("invalid_input", f'inputs.{name}: "module:attr" expected, not {reference!r}')
    found = targets.imported(reference, root)
    expected = lookup("crewai.tools", kind) or lookup("crewai", kind)
    if isinstance(found, expected):
        return found
    if kind == "BaseTool" and inspect.isfunction(found):
        # A plain function, as CrewAI's own decorator would take it.
        return lookup("crewai.tools", "tool")(found)
    with targets.importing(reference, root):
        made = found() if callable(found) else found
    if not isinstance(made, expected):
        raise Failure("load", f"inputs.{name}: {reference} gives a {type(made).__name__}, not a {kind}")
    return made


def _tools(references: Any, root: Path) -> list[Any]:
    if references is None:
        return []
    if not isinstance(references, list) or not all(isinstance(each, str) for each in references):
        raise Failure("invalid_input", 'inputs.tools: a list of "module:attr" expected')
    return [_one_of("tools", "BaseTool", each, root) for each in references]


def _texts(inputs: dict[str, Any]) -> dict[str, str]:
    known = {*_INPUTS, "response_schema", "tools", "human_input"}
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
