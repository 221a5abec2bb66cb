"""What user code gives, as JSON: everything that has an obvious form; an error that names the place for the rest."""

from __future__ import annotations

import base64
import collections.abc
import dataclasses
import datetime
import decimal
import enum
import math
import pathlib
import uuid
from typing import Any, Final

from segue.worker.adapter import Failure

_DEPTH_MAX: Final = 90


def to_json(value: Any) -> Any:
    """The value in its JSON form. Raises `Failure` of kind `output`, which is for good: the code has to change.

    Models of pydantic (LangChain's messages among them) and data classes are objects, sets and tuples lists, dates ISO
    texts, bytes UTF-8 text or else base64; keys of objects are texts.
    """
    return _convert(value, "", 0)


def _convert(value: Any, place: str, depth: int) -> Any:
    if depth > _DEPTH_MAX:
        raise _failure(place, f"is nested deeper than {_DEPTH_MAX} levels")
    if isinstance(value, enum.Enum):
        return _convert(value.value, place, depth + 1)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _failure(place, f"is {value}, which JSON cannot say")
        return float(value)
    model = _of_model(value, place)
    if model is not _NOTHING:
        return _convert(model, place, depth + 1)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return _convert(fields, place, depth + 1)
    if isinstance(value, collections.abc.Mapping):
        return {_key(key, place): _convert(inner, f"{place}/{key}", depth + 1) for key, inner in value.items()}
    if isinstance(value, (list, tuple, collections.deque)):
        return [_convert(inner, f"{place}/{index}", depth + 1) for index, inner in enumerate(value)]
    if isinstance(value, (set, frozenset)):
        return [_convert(inner, f"{place}/{index}", depth + 1) for index, inner in enumerate(sorted(value, key=repr))]
    return _scalar(value, place)


_NOTHING: Final = object()


def _key(key: Any, place: str) -> str:
    if isinstance(key, enum.Enum):
        key = key.value
    if isinstance(key, bool) or key is None:
        return {True: "true", False: "false", None: "null"}[key]
    if isinstance(key, (str, int, uuid.UUID, datetime.date)):
        return str(key)
    raise _failure(place, f"has a key of type {_name(key)}")


def _of_model(value: Any, place: str) -> Any:
    """What a model of pydantic says of itself."""
    dump = getattr(type(value), "model_dump", None)
    if dump is None:
        return _NOTHING
    try:
        return dump(value, mode="json")
    except Exception as error:
        raise _failure(place, f"of type {_name(value)} has no JSON form: {error}") from error


def _scalar(value: Any, place: str) -> Any:
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, (uuid.UUID, decimal.Decimal, pathlib.PurePath)):
        return str(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        data = bytes(value)
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            return base64.b64encode(data).decode("ascii")
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return _convert(value.tolist(), place, _DEPTH_MAX // 2)
    raise _failure(place, f"is of type {_name(value)}, which has no JSON form")


def _name(value: Any) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _failure(place: str, what: str) -> Failure:
    where = f"the output at {place}" if place else "the output"
    return Failure("output", f"{where} {what}")
