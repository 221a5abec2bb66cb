"""`crewai.flow`: from what an input names to a flow, and a run of it, from its start or from where it paused."""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import re
import sys
from pathlib import Path
from typing import Any, Final

from segue.adapters.crewai import outputs, project, targets
from segue.adapters.crewai.framework import lookup
from segue.adapters.crewai.human import People
from segue.worker import faults
from segue.worker.adapter import Context, Failure

_DOCUMENTS: Final = (".yaml", ".yml", ".json", ".jsonc")
_FORMS: Final = '"module:Class", a project folder, the path of a crewai.flow/v1 document, or the document itself'


def resolve(named: Any, base_dir: str | None) -> Any:
    """Builds the flow that `inputs.flow` names. Raises `Failure` of kind `invalid_input` or `load`."""
    base = Path(base_dir or os.getcwd())
    if isinstance(named, dict):
        root = project.root_of(base)
        targets.enter(root, base)
        return _document(None, named, "inputs.flow", root)
    if not isinstance(named, str) or not named.strip():
        raise Failure("invalid_input", f"inputs.flow: {_FORMS} expected")
    path = base / named
    if path.is_dir():
        return _folder(path.resolve())
    if path.suffix in _DOCUMENTS:
        path = path.resolve()
        if not path.is_file():
            raise Failure("load", f"there is no flow document {path}")
        root = project.root_of(path.parent)
        targets.enter(root, path.parent)
        return _document(path, None, str(path), root)
    if not targets.REFERENCE.fullmatch(named):
        raise Failure("load", f'inputs.flow: there is no folder {named!r} in {base}, and it is no "module:Class"')
    root = project.root_of(base)
    targets.enter(root, base)
    return _from_object(targets.imported(named, root), root)


def _folder(root: Path) -> Any:
    targets.enter(root)
    found = project.find_flow(root)
    if found.definition is not None:
        return _document(found.definition, None, str(found.definition), root)
    assert found.module is not None, "a flow's project is one of two"
    with targets.importing(found.module, root):
        module = importlib.import_module(found.module)
    flow_class = lookup("crewai.flow.flow", "Flow")
    classes = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, flow_class) and value.__module__ == module.__name__
    ]
    if len(classes) != 1:
        names = ", ".join(sorted(each.__name__ for each in classes)) or "none"
        raise Failure("load", f'{module.__name__} should have one flow, and has: {names}; say which: "module:Class"')
    return _from_object(classes[0], root)


def _from_object(found: Any, root: Path) -> Any:
    """The flow that an object is or makes."""
    flow_class = lookup("crewai.flow.flow", "Flow")
    for _ in range(3):
        if isinstance(found, flow_class):
            return found
        if not callable(found):
            break
        with targets.importing(getattr(found, "__qualname__", "inputs.flow"), root):
            found = found()
    raise Failure("load", f"inputs.flow gives a {type(found).__name__}, not a Flow class or a function that makes one")


def _document(path: Path | None, contents: dict[str, Any] | None, source: str, root: Path) -> Any:
    flow_class = lookup("crewai.flow.flow", "Flow")
    given: dict[str, Any] = {"contents": contents} if path is None else {"path": path}
    try:
        return flow_class.from_declaration(**given)
    except Exception as error:
        where = f" (in {root})" if path is None else ""
        raise Failure("load", f"{source}: {type(error).__name__}: {faults.text(error)}{where}") from error


def run(context: Context, flow: Any, inputs: dict[str, Any], people: People) -> dict[str, Any]:
    """Runs it to its end, or to a question, which ends the attempt."""
    people.watch(flow)
    # A flow that streams gives a generator instead of a result.
    if getattr(flow, "stream", False):
        flow.stream = False
    if people.checkpoint is None:
        result = flow.kickoff(inputs=inputs or None)
    else:
        result = _revived(flow, people.checkpoint).resume(people.checkpoint["answer"])
    if isinstance(result, lookup("crewai.flow.async_feedback.types", "HumanFeedbackPending")):
        # A provider of the user's own has told somebody. It is no exception: who does not look takes it for the result.
        people.pause(flow, result.context)
    return outputs.of_flow(context, flow, result)


def _revived(flow: Any, checkpoint: dict[str, Any]) -> Any:
    """The flow as it was when it paused. `from_pending` would make one of the bare class; this one is made already,
    in whichever way the project makes it, and keeps the persistence that it was given."""
    context_class = lookup("crewai.flow.async_feedback.types", "PendingFeedbackContext")
    pending = context_class.from_dict(checkpoint["pending"])
    asked_at = flow._definition.methods.get(pending.method_name)
    if asked_at is None:
        raise Failure("invalid_input", f"the flow has paused at {pending.method_name}, which it does not have any more")
    pending.llm = getattr(asked_at.human_feedback, "llm", None)
    store = _Pending(checkpoint["state"], pending)
    from_pending = type(flow).from_pending.__func__
    return from_pending(lambda **_: flow, pending.flow_id, store)


class _Pending:
    """As much of a persistence as `from_pending` needs."""

    def __init__(self, state: dict[str, Any], pending: Any) -> None:
        self._loaded = (state, pending)

    def load_pending_feedback(self, _flow_id: str) -> tuple[dict[str, Any], Any]:
        """What the token has kept."""
        return self._loaded


# The trap of the memory: every flow makes one, and with it imports a database: 1.7 s of CPU and 105 MB.

_OF_MEMORY: Final = re.compile(r"\b(memory|memories|remember|recall|extract_memories|learn)\b")
_METHODS: Final = ("recall", "remember", "extract_memories")


def spare_memory() -> None:
    """From now on a flow whose code does not speak of memory makes none before it is used."""
    flow_class = lookup("crewai.flow.flow", "Flow")
    original = getattr(flow_class, "_flow_post_init", None)
    if not callable(original) or not all(hasattr(flow_class, name) for name in _METHODS):
        return

    @functools.wraps(original)
    def post_init(self: Any, definition: Any = None) -> Any:
        if not getattr(self, "_skip_auto_memory", False) and _does_without_memory(type(self), definition):
            object.__setattr__(self, "_skip_auto_memory", True)
        return original(self, definition)

    flow_class._flow_post_init = post_init
    for name in _METHODS:
        setattr(flow_class, name, _with_memory(getattr(flow_class, name)))


def _does_without_memory(flow_class: Any, definition: Any) -> bool:
    if definition is not None and _OF_MEMORY.search(definition.model_dump_json(exclude_defaults=True)):
        return False
    for each in flow_class.__mro__:
        if each.__module__.startswith(("crewai.", "pydantic", "builtins", "typing", "abc")):
            continue
        try:
            code = inspect.getsource(sys.modules[each.__module__])
        except (OSError, TypeError, KeyError):
            return False
        if _OF_MEMORY.search(code):
            return False
    return True


def _with_memory(method: Any) -> Any:
    @functools.wraps(method)
    def call(self: Any, *arguments: Any, **options: Any) -> Any:
        memory = lookup("crewai.memory.unified_memory", "Memory")
        scope = lookup("crewai.memory.utils", "sanitize_scope_name")
        if self.memory is None and memory is not None and scope is not None:
            self.memory = memory(root_scope=f"/flow/{scope(self._definition.name)}")
        return method(self, *arguments, **options)

    return call
