"""The user's code: `module:attr` and `./file.py:attr`, found, loaded and watched for changes."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import re
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from segue.worker import faults
from segue.worker.adapter import Failure

_REFERENCE: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_FILE_REFERENCE: Final = re.compile(r"(.+\.py):([A-Za-z_][\w.]*)")
_VARIABLE: Final = re.compile(r"(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*)")
# Two attempts may ask for the same file at once, and a module is loaded once.
_loading = threading.RLock()
_times: dict[str, int] = {}
_found: dict[tuple[str, str], Any] = {}
_LOOK_SECONDS: Final = 0.5
_looked_at = [float("-inf")]


def is_reference(text: str) -> bool:
    """Is it `module:attr` or `./file.py:attr`?"""
    return _REFERENCE.fullmatch(text) is not None or _FILE_REFERENCE.fullmatch(text) is not None


def enter(folders: Iterable[str | None]) -> None:
    """Makes what lies in these folders, and in their `src`, importable; the first ones win."""
    wanted = [path for folder in folders if folder for path in (os.path.join(folder, "src"), folder)]
    for path in reversed(wanted):
        if os.path.isdir(path) and path not in sys.path:
            sys.path.insert(0, path)


def loaded(reference: object, base: str) -> Any:
    """What `load` has given before, or None. Nothing is asked twice: where a file changes, the process is replaced."""
    return _found.get((reference, base)) if isinstance(reference, str) else None


def load(reference: str, base: str) -> Any:
    """What the reference names; a file's path is relative to `base`. Raises `Failure` of kind `load`. May take long."""
    file = _FILE_REFERENCE.fullmatch(reference)
    with _loading:
        try:
            module = _file(Path(base, file[1])) if file else importlib.import_module(reference.partition(":")[0])
        except Failure:
            raise
        except (Exception, SystemExit) as error:
            raise _not_loaded(reference, base, error) from error
        finally:
            _remember()
    found: Any = module
    for name in reference.rpartition(":")[2].split("."):
        if not hasattr(found, name):
            raise Failure("load", f"{reference.rpartition(':')[0]} has no {name!r}")
        found = getattr(found, name)
    _found[reference, base] = found
    return found


def _not_loaded(reference: str, base: str, error: BaseException) -> Failure:
    hint = ""
    if isinstance(error, ModuleNotFoundError):
        hint = f" (looked in {base}, {os.path.join(base, 'src')} and the environment of {sys.prefix})"
    return Failure("load", f"{reference} cannot be loaded: {faults.type_name(error)}: {faults.text(error)}{hint}")


def _file(path: Path) -> ModuleType:
    path = path.resolve()
    if not path.is_file():
        raise Failure("load", f"there is no file {path}")
    if (path.parent / "__init__.py").is_file():
        return importlib.import_module(_name_in_package(path))
    # A name of its own: `agent.py` of two folders are two modules, and neither hides an installed one.
    name = f"segue_file_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}_{path.stem}"
    known = sys.modules.get(name)
    if known is not None:
        return known
    enter([str(path.parent)])
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None, "the file ends in .py"
    assert spec.loader is not None, "files have loaders"
    module = importlib.util.module_from_spec(spec)
    # Before it is executed: data classes and annotations look their module up.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _name_in_package(path: Path) -> str:
    """The dotted name of a file of a package, whose folder becomes importable: else its relative imports would fail."""
    parts = [] if path.stem == "__init__" else [path.stem]
    folder = path.parent
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    enter([str(folder)])
    return ".".join(parts)


def load_env(path: Path) -> bool:
    """Takes the variables of a `.env` file that are not set yet. Was there one?"""
    try:
        text = path.read_text("utf-8")
    except OSError:
        return False
    for line in text.splitlines():
        variable = _VARIABLE.fullmatch(line.strip())
        if variable is not None:
            os.environ.setdefault(variable[1], _value(variable[2]))
    return True


def _value(text: str) -> str:
    quote = text[:1]
    if quote in ("'", '"') and quote in text[1:]:
        return text[1 : text.index(quote, 1)]
    return text.partition(" #")[0].strip()


# Changes.


def _remember() -> None:
    """Notes when the files of what is loaded and not installed were written."""
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and file not in _times and _is_users(file):
            _times[file] = _time(file)


def _is_users(file: str) -> bool:
    return file.endswith(".py") and not file.startswith(_FOREIGN) and "site-packages" not in file


_FOREIGN: Final = (os.path.dirname(os.__file__), sys.prefix, sys.base_prefix, str(Path(__file__).parents[2]))


def _time(file: str) -> int:
    try:
        return os.stat(file).st_mtime_ns
    except OSError:
        return 0


def stale() -> str | None:
    """Why this process is of no use any more: a file of the user's is another one now than when it was loaded."""
    if time.monotonic() - _looked_at[0] < _LOOK_SECONDS:
        return None
    _looked_at[0] = time.monotonic()
    changed = next((file for file, written in list(_times.items()) if _time(file) != written), None)
    return None if changed is None else f"{changed} has changed since it was loaded"
