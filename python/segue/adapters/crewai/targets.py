"""`crewai.crew`: from what an input names to a crew that can be kicked off."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from segue.adapters.crewai import project
from segue.adapters.crewai.framework import lookup
from segue.worker import faults
from segue.worker.adapter import Failure

REFERENCE: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_JSON: Final = (".json", ".jsonc")


@dataclass
class Target:
    """A crew, the inputs it brings along, and the folder it runs in."""

    crew: Any
    root: Path
    defaults: dict[str, Any] = field(default_factory=dict)


def resolve(named: Any, base_dir: str | None) -> Target:
    """Builds the crew that `inputs.crew` names. Raises `Failure` of kind `invalid_input` or `load`."""
    base = Path(base_dir or os.getcwd())
    if isinstance(named, dict):
        return _definition(named, base)
    if not isinstance(named, str) or not named.strip():
        forms = '"module:attr", a project folder, a JSON crew, or {agents, tasks}'
        raise Failure("invalid_input", f"inputs.crew: {forms} expected")
    path = base / named
    if path.is_dir():
        return _folder(path.resolve())
    if path.suffix in _JSON:
        return _json_crew(path.resolve())
    if not REFERENCE.fullmatch(named):
        raise Failure("load", f'inputs.crew: there is no folder {named!r} in {base}, and it is no "module:attr"')
    root = project.root_of(base)
    enter(root, base)
    return Target(from_object(imported(named, root)), root)


_is_settled = False


def settle() -> None:
    """The working folder stays what it is now, whatever project is entered (`hints.crewai.workdir`)."""
    global _is_settled
    _is_settled = True


def enter(root: Path, base: Path | None = None) -> None:
    """Makes the project importable, its `.env` known and, unless it is settled, its folder the working one."""
    folders = [root / "src", root, *([base / "src", base] if base else [])]
    for folder in reversed(folders):
        text = str(folder)
        if folder.is_dir() and text not in sys.path:
            sys.path.insert(0, text)
    if not _is_settled:
        os.chdir(root)
    project.load_env(root)


def from_object(found: Any) -> Any:
    """The crew that an object is, has, or makes."""
    crew_class = lookup("crewai", "Crew")
    flow_class = lookup("crewai.flow.flow", "Flow")
    for _ in range(4):
        if isinstance(found, crew_class):
            return found
        if isinstance(found, flow_class) or (inspect.isclass(found) and issubclass(found, flow_class)):
            raise Failure("load", "inputs.crew is a flow; its handler is crewai.flow, with the input flow")
        if inspect.isclass(found):
            found = found()
        elif callable(getattr(found, "crew", None)):
            found = found.crew()
        elif callable(found):
            found = found()
        else:
            break
    raise Failure(
        "load",
        f"inputs.crew gives a {type(found).__name__}, not a crew, a @CrewBase class or a function that makes one",
    )


def imported(reference: str, root: Path) -> Any:
    """What a `module:attr` names."""
    module_name, _, attribute = reference.partition(":")
    with importing(reference, root):
        found: Any = importlib.import_module(module_name)
    for name in attribute.split("."):
        if not hasattr(found, name):
            raise Failure("load", f"{module_name} has no {attribute!r}")
        found = getattr(found, name)
    return found


@contextlib.contextmanager
def importing(what: str, root: Path) -> Iterator[None]:
    """Whatever a user's module raises while it is imported, it could not be loaded."""
    try:
        yield
    except Failure:
        raise
    except Exception as error:
        missing = isinstance(error, ModuleNotFoundError)
        hint = f" (looked in {root}, {root / 'src'} and the environment of {sys.prefix})" if missing else ""
        raise Failure("load", f"{what} cannot be loaded: {type(error).__name__}: {faults.text(error)}{hint}") from error


def _folder(root: Path) -> Target:
    enter(root)
    found = project.find(root)
    if found.definition is not None:
        return _json_crew(found.definition, root)
    if found.agents is not None and found.tasks is not None:
        return _pair(found.agents, found.tasks, {}, root)
    assert found.module is not None, "a project is one of three"
    with importing(found.module, root):
        module = importlib.import_module(found.module)
    return Target(from_object(_crew_of_module(module, root)), root)


def _crew_of_module(module: Any, root: Path) -> Any:
    """The one `@CrewBase` class of a `crew.py`, else its `crew`."""
    classes = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and getattr(value, "is_crew_class", False) and value.__module__ == module.__name__
    ]
    if len(classes) > 1:
        names = ", ".join(sorted(each.__name__ for each in classes))
        raise Failure("load", f'{module.__name__} has several crews ({names}); say which: "{module.__name__}:NAME"')
    found = classes[0] if classes else getattr(module, "crew", None)
    if found is None:
        raise Failure("load", f"{module.__file__} has no @CrewBase class and nothing called crew (project {root})")
    return found


def _json_crew(path: Path, root: Path | None = None) -> Target:
    if not path.is_file():
        raise Failure("load", f"there is no crew definition {path}")
    root = root or project.root_of(path.parent)
    enter(root, path.parent)
    load_crew = _loader("load_crew")
    with importing(str(path), root):
        crew, defaults = load_crew(path)
    return Target(crew, root, dict(defaults or {}))


def _definition(named: dict[str, Any], base: Path) -> Target:
    """A YAML pair (two paths), or agents and tasks in place. What else the object has is the crew's."""
    agents, tasks = named.get("agents"), named.get("tasks")
    if agents is None or tasks is None:
        raise Failure("invalid_input", "inputs.crew: an object needs agents and tasks")
    rest = {name: value for name, value in named.items() if name not in ("agents", "tasks")}
    if isinstance(agents, str) and isinstance(tasks, str):
        root = project.root_of((base / agents).resolve().parent)
        enter(root, base)
        return _pair(base / agents, base / tasks, rest, root)
    root = project.root_of(base)
    enter(root, base)
    return _build(agents, tasks, rest, "inputs.crew", root)


def _pair(agents: Path, tasks: Path, rest: dict[str, Any], root: Path) -> Target:
    return _build(project.read_yaml(agents), project.read_yaml(tasks), rest, str(tasks), root)


def _build(agents: Any, tasks: Any, rest: dict[str, Any], source: str, root: Path) -> Target:
    if isinstance(tasks, dict):
        for name, task in tasks.items():
            if not isinstance(task, dict):
                raise Failure("invalid_input", f"{source}: task {name!r} is no object")
        tasks = [{"name": name, **task} for name, task in tasks.items()]
    load = _loader("load_crew_from_definition")
    try:
        crew, defaults = load({**rest, "agents": agents, "tasks": tasks}, source=source, project_root=root)
    except Exception as error:
        raise Failure("load", f"{source}: {type(error).__name__}: {faults.text(error)}") from error
    return Target(crew, root, dict(defaults or {}))


def _loader(name: str) -> Any:
    found = lookup("crewai.project.crew_loader", name)
    if found is None:
        raise Failure("load", f"this crewai has no {name}; crews from files and in place need a newer one")
    return found
