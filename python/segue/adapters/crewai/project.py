"""What a folder with a CrewAI project looks like, and its `.env`."""

from __future__ import annotations

import importlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from segue.worker.adapter import Failure

_JSON_NAMES: Final = ("crew.jsonc", "crew.json")
_YAML_PLACES: Final = ("config", ".", "src/config")


@dataclass(frozen=True)
class Project:
    """One of: a JSON definition, a pair of YAML files, a module with a crew. Of a flow: a document or a module."""

    definition: Path | None = None
    agents: Path | None = None
    tasks: Path | None = None
    module: str | None = None


def root_of(folder: Path) -> Path:
    """The project that a folder is in: the nearest folder above with a `pyproject.toml`, else itself."""
    folder = folder.resolve()
    for each in (folder, *folder.parents):
        if (each / "pyproject.toml").is_file():
            return each
    return folder


def find(root: Path) -> Project:
    """What is to be run in a project folder: what its `[tool.crewai]` says, else by CrewAI's conventions."""
    settings = read_settings(root)
    if settings.get("type", "crew") != "crew":
        raise Failure(
            "load", f"{root} is a CrewAI {settings['type']}, not a crew; its handler is crewai.{settings['type']}"
        )
    definition = settings.get("definition")
    if definition:
        return _of_definition(root / definition)
    for name in _JSON_NAMES:
        if (root / name).is_file():
            return Project(definition=root / name)
    modules = sorted(root.glob("src/*/crew.py")) or sorted(root.glob("*/crew.py")) or sorted(root.glob("crew.py"))
    if len(modules) > 1:
        names = ", ".join(str(each.relative_to(root)) for each in modules)
        raise Failure("load", f'{root} has several crews ({names}); say which: "module:Class"')
    if modules:
        parts = modules[0].relative_to(root).with_suffix("").parts
        return Project(module=".".join(parts[1:] if parts[0] == "src" else parts))
    for place in _YAML_PLACES:
        agents, tasks = _yaml(root / place, "agents"), _yaml(root / place, "tasks")
        if agents and tasks:
            return Project(agents=agents, tasks=tasks)
    raise Failure(
        "load",
        f"{root} holds no CrewAI project: no crew.jsonc, no src/PACKAGE/crew.py, no agents.yaml beside a tasks.yaml",
    )


def find_flow(root: Path) -> Project:
    """The flow of a project folder: the document that its `[tool.crewai]` names, else `src/PACKAGE/main.py`."""
    settings = read_settings(root)
    if settings.get("type", "flow") != "flow":
        raise Failure(
            "load", f"{root} is a CrewAI {settings['type']}, not a flow; its handler is crewai.{settings['type']}"
        )
    definition = settings.get("definition")
    if definition:
        path = root / definition
        if not path.is_file():
            raise Failure("load", f"[tool.crewai] names {path}, which does not exist")
        return Project(definition=path)
    modules = sorted(root.glob("src/*/main.py")) or sorted(root.glob("*/main.py")) or sorted(root.glob("main.py"))
    if len(modules) == 1:
        parts = modules[0].relative_to(root).with_suffix("").parts
        return Project(module=".".join(parts[1:] if parts[0] == "src" else parts))
    what = "several main.py" if modules else "no src/PACKAGE/main.py and no definition in [tool.crewai]"
    raise Failure("load", f'{root} holds {what}; say which flow: "module:Class", or the path of its document')


def _of_definition(path: Path) -> Project:
    if not path.is_file():
        raise Failure("load", f"[tool.crewai] names {path}, which does not exist")
    if path.suffix in (".json", ".jsonc"):
        return Project(definition=path)
    raise Failure("load", f"[tool.crewai] names {path.name}: only JSON crews are read from a definition")


def _yaml(folder: Path, name: str) -> Path | None:
    return next((path for suffix in (".yaml", ".yml") if (path := folder / f"{name}{suffix}").is_file()), None)


def read_settings(root: Path) -> dict[str, Any]:
    """`[tool.crewai]` of the project's `pyproject.toml`; empty if there is none."""
    path = root / "pyproject.toml"
    if not path.is_file():
        return {}
    try:
        toml: Any = importlib.import_module("tomllib")
    except ModuleNotFoundError:
        # Python 3.10; CrewAI itself brings this one along there.
        toml = importlib.import_module("tomli")
    try:
        settings = toml.loads(path.read_text("utf-8")).get("tool", {}).get("crewai", {})
    except (OSError, ValueError) as error:
        raise Failure("load", f"{path}: {error}") from error
    return settings if isinstance(settings, dict) else {}


def read_yaml(path: Path) -> Any:
    """A YAML file. CrewAI brings the parser along."""
    yaml: Any = importlib.import_module("yaml")
    try:
        found = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise Failure("load", f"{path}: {error}") from error
    if not isinstance(found, dict) or not found:
        raise Failure("load", f"{path}: names with their settings expected")
    return found


_ENV_LINE: Final = re.compile(r"\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*?)\s*")


def load_env(root: Path) -> None:
    """The project's `.env`, overriding nothing. CrewAI's own search starts where crewai is installed."""
    path = root / ".env"
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, ValueError):
        return
    for line in lines:
        match = _ENV_LINE.fullmatch(line)
        if match:
            os.environ.setdefault(match[1], _env_value(match[2]))


def _env_value(text: str) -> str:
    for quote in ("'", '"'):
        end = text.find(quote, 1)
        if text.startswith(quote) and end > 0:
            return text[1:end].replace("\\n", "\n") if quote == '"' else text[1:end]
    return re.sub(r"\s+#.*$", "", text)
