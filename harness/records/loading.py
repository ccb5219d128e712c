"""Reading YAML and JSON records into frozen structs, with errors a person can act on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from harness.errors import HarnessError, unknown_name

T = TypeVar("T")

_UNKNOWN_FIELD = re.compile(r"unknown field `(?P<field>[^`]+)`(?: - at `(?P<path>[^`]+)`)?")


def load_yaml(path: str | Path, kind: type[T]) -> T:
    """Read a YAML file into a struct type.

    Parameters
    ----------
    path : path
        The file. Only plain YAML is read: no tags, no Python objects.
    kind : type
        A msgspec struct type, or any type msgspec converts to.

    Returns
    -------
    kind
        The record.

    Raises
    ------
    HarnessError
        The file is missing, is not YAML, misses a key, or has a key nobody knows (the nearest known one is named).
    """
    return convert(read_yaml(path), kind, str(path))


def read_yaml(path: str | Path) -> Any:
    """Parse a YAML file into plain Python values; errors name the file and the line."""
    import yaml

    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise HarnessError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise HarnessError(f"{path}: not a text file in UTF-8 ({error.reason} at byte {error.start})") from None
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.load(text, Loader=loader)
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where is not None else ""
        raise HarnessError(f"{path}{line}: not valid YAML ({getattr(error, 'problem', error)})") from None


def load_json(path: str | Path, kind: type[T]) -> T:
    """Read a JSON file into a struct type; the errors are those of `load_yaml`."""
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise HarnessError(f"{path}: no such file") from None
    try:
        plain = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise HarnessError(f"{path}: not valid JSON ({error}); delete it and run again") from None
    return convert(plain, kind, str(path), str_keys=True)


def convert(plain: Any, kind: type[T], where: str, *, str_keys: bool = False) -> T:
    """Turn plain values into a struct type; `where` begins every error message, `str_keys` is for JSON."""
    try:
        return msgspec.convert(plain, kind, strict=True, str_keys=str_keys)
    except msgspec.ValidationError as error:
        found = _UNKNOWN_FIELD.search(str(error))
        if found:
            near = unknown_name("key", found["field"], _field_names(kind))
            at = f" (at {found['path']})" if found["path"] else ""
            raise HarnessError(f"{where}{at}: {near}") from None
        raise HarnessError(f"{where}: {error}") from None


def _field_names(kind: Any, seen: set[Any] | None = None) -> set[str]:
    """Collect the field names of a struct type and of every struct type inside it."""
    from typing import get_args

    seen = set() if seen is None else seen
    if kind in seen:
        return set()
    seen.add(kind)
    names: set[str] = set()
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        for field in msgspec.structs.fields(kind):
            names.add(field.encode_name)
            names |= _field_names(field.type, seen)
    for argument in get_args(kind):
        if not isinstance(argument, (str, int)):
            names |= _field_names(argument, seen)
    return names
