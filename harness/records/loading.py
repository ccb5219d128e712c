"""Reading YAML and JSON records into frozen structs, with errors a person can act on."""

from __future__ import annotations

import functools
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from harness.errors import HarnessError, unknown_name
from harness.files import write_json

T = TypeVar("T")

# Far more than any record has: the largest table has 2,000 values, the largest JSON a few megabytes.
_MOST_BYTES = 1 << 27
_MOST_VALUES = 200_000
_DEEPEST = 50

_UNKNOWN_FIELD = re.compile(r"unknown field `(?P<field>[^`]+)`(?: - at `(?P<path>[^`]+)`)?")


def load_yaml(path: str | Path, kind: type[T]) -> T:
    """Read a YAML file into a struct type.

    `path`: The file. Only plain YAML is read: no tags, no Python objects.
    `kind`: A msgspec struct type, or any type msgspec converts to.
    Raises HarnessError: The file is missing, is not YAML, misses a key, or has a key nobody knows (the nearest known
        one is named).
    """
    return convert(read_yaml(path), kind, str(path))


def read_yaml(path: str | Path) -> Any:
    """Parse a YAML file into plain Python values; errors name the file and the line."""
    import yaml

    try:
        text = _read_file(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise HarnessError(f"{path}: not a text file in UTF-8 ({error.reason} at byte {error.start})") from None
    try:
        _refuse_swollen(yaml.parse(text, Loader=_loader()), path)
        loader = _loader()(text)
        try:
            root = loader.get_single_node()
            _refuse_doubled(root, path)
            return None if root is None else loader.construct_document(root)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where is not None else ""
        raise HarnessError(f"{path}{line}: not valid YAML ({getattr(error, 'problem', error)})") from None
    # PyYAML takes a word for a date or a number by its look, and then fails on it in many ways.
    except (ValueError, LookupError, AttributeError, TypeError) as error:
        raise HarnessError(f"{path}: a date or number in it is none ({error}); put quotes around text") from None


@functools.cache
def _loader() -> Any:
    """Make the loader: PyYAML's safe one, without numbers of base 60."""
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        # YAML 1.1 takes 100:48:16 for one number, 362,896. Nobody means that: it stays the text that was written.
        def construct_yaml_int(self, node: Any) -> Any:
            return node.value if ":" in node.value else super().construct_yaml_int(node)

        def construct_yaml_float(self, node: Any) -> Any:
            return node.value if ":" in node.value else super().construct_yaml_float(node)

    Loader.add_constructor("tag:yaml.org,2002:int", Loader.construct_yaml_int)
    Loader.add_constructor("tag:yaml.org,2002:float", Loader.construct_yaml_float)
    return Loader


def _refuse_doubled(node: Any, path: str | Path) -> None:
    """Refuse a key that a mapping has twice: YAML forbids it, PyYAML takes the last one's value and says nothing."""
    waiting, seen = [node], {id(None)}
    while waiting:
        node = waiting.pop()
        if id(node) in seen or not isinstance(node.value, list):
            continue
        seen.add(id(node))
        pairs = [entry for entry in node.value if isinstance(entry, tuple)]
        waiting += [value for _, value in pairs] or node.value
        keys: set[tuple[str, str]] = set()
        for key, _ in pairs:
            name = (key.tag, str(key.value))
            if name in keys:
                where = f"{path}, line {key.start_mark.line + 1}"
                raise HarnessError(f"{where}: the key '{key.value}' is there twice; keep one of them")
            keys.add(name)


def load_json(path: str | Path, kind: type[T]) -> T:
    """Read a JSON file into a struct type; the errors are those of `load_yaml`."""
    data = _read_file(path)
    try:
        plain = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise HarnessError(f"{path}: not valid JSON ({error}); delete it and run again") from None
    return convert(plain, kind, str(path), str_keys=True)


class _Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sha256: str
    kept: Any


def write_kept(path: str | Path, plain: Any) -> None:
    """Keep plain values for later runs in a JSON file of its own, with their checksum: no disk may change a digit."""
    write_json(path, _Kept(_plain_sha256(plain), plain))


def read_kept(path: str | Path, kind: type[T]) -> T | None:
    """Read what `write_kept` kept; None where nothing is there, or something else than was kept."""
    try:
        found = load_json(path, _Kept)
        if found.sha256 == _plain_sha256(found.kept):
            return convert(found.kept, kind, str(path), str_keys=True)
    except HarnessError:
        pass
    return None


def _plain_sha256(plain: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(plain, order="sorted")).hexdigest()


def _read_file(path: str | Path) -> bytes:
    path = Path(path)
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for without end
            raise HarnessError(f"{path}: is no file")
        with path.open("rb") as file:
            # As much as the file says it holds: a buffer is made as large as what is asked for.
            data = file.read(min(os.fstat(file.fileno()).st_size, _MOST_BYTES) + 1)
    except FileNotFoundError:
        raise HarnessError(f"{path}: no such file") from None
    except OSError as error:
        raise HarnessError(f"{path}: cannot be read ({error.strerror or error})") from None
    if len(data) > _MOST_BYTES:
        raise HarnessError(f"{path}: is larger than {_MOST_BYTES} bytes; it is no record")
    return data


def _refuse_swollen(events: Iterator[Any], path: str | Path) -> None:
    """Refuse what nests too deeply, or stands for too many values once every alias is written out."""
    sizes: dict[str, int] = {}  # values that an anchor stands for
    opened: list[tuple[str | None, int]] = []  # anchors of what is open, and the count where it began
    count = 0
    for event in events:
        kind = type(event).__name__
        if kind == "AliasEvent":
            if any(anchor == event.anchor for anchor, _ in opened):
                raise HarnessError(f"{path}, line {event.start_mark.line + 1}: '*{event.anchor}' is inside itself")
            count += sizes.get(event.anchor, 0)
        elif kind in ("SequenceStartEvent", "MappingStartEvent"):
            opened.append((event.anchor, count))
            count += 1
        elif kind in ("SequenceEndEvent", "MappingEndEvent"):
            anchor, before = opened.pop()
            if anchor:
                sizes[anchor] = count - before
        elif kind == "ScalarEvent":
            count += 1
            if event.anchor:
                sizes[event.anchor] = 1
        if len(opened) > _DEEPEST or count > _MOST_VALUES:
            what = f"nests deeper than {_DEEPEST}" if len(opened) > _DEEPEST else f"has over {_MOST_VALUES} values"
            raise HarnessError(f"{path}, line {event.start_mark.line + 1}: {what}; it is no record")


def convert(plain: Any, kind: type[T], where: str, *, str_keys: bool = False) -> T:
    """Turn plain values into a struct type; `where` begins every error message, `str_keys` is for JSON."""
    try:
        return msgspec.convert(plain, kind, strict=True, str_keys=str_keys)
    except msgspec.ValidationError as error:
        found = _UNKNOWN_FIELD.search(str(error))
        if found:
            near = unknown_name("key", found["field"], _field_names(kind))
            at = f" (at {found['path']})" if found["path"] else ""
            raise HarnessError(
                f"{yaml_place(where, *_keys(found['path'] or '$'), found['field'])}{at}: {near}"
            ) from None
        raise HarnessError(_in_words(str(error), where)) from None
    except (RecursionError, TypeError, ValueError) as error:
        raise HarnessError(f"{where}: cannot be understood ({error})") from None


_AT = re.compile(r" - at `(\$[^`]*)`$")
_KINDS = {"str": "text", "int": "whole number", "array": "list", "object": "block of keys", "bool": "true or false"}


def _in_words(message: str, where: str) -> str:
    """Say what msgspec found wrong: the file, the line, the key, and what belongs there."""
    found = _AT.search(message)
    path = found[1] if found else "$"
    said = message[: found.start()] if found else message
    keys = _keys(path)
    if missing := re.search(r"missing required field `([^`]+)`", said):
        said = f"the key '{missing[1]}' is missing"
    elif kinds := re.fullmatch(r"Expected `([a-z |]+)`, got `([a-z]+)`", said):
        wanted = " or ".join(_KINDS.get(kind, kind) for kind in kinds[1].split(" | "))
        said = (
            f"expected a {wanted}, found {'nothing' if kinds[2] == 'null' else 'a ' + _KINDS.get(kinds[2], kinds[2])}"
        )
        if kinds[1] == "str" and kinds[2] in ("int", "float"):
            said += "; put it in quotes, so that its digits stay as they are written"
    return f"{yaml_place(where, *keys)}{f' ({path[2:]})' if keys else ''}: {said}"


def _keys(path: str) -> tuple[str | int, ...]:
    """Cut msgspec's path (``$.parts[0].rows``) into keys; it ends where a key's name is not told (``[...]``)."""
    keys: list[str | int] = []
    for name, number in re.findall(r"\.([^.\[\]]+)|\[([^\]]*)\]", path):
        if not name and not number.isdigit():
            break
        keys.append(name or int(number))
    return tuple(keys)


def yaml_place(where: str, *keys: str | int) -> str:
    """Name a file and the line where a value stands in it; the file alone where that is no YAML file.

    `keys`: The way to the value; as far as it can be gone.
    """
    import yaml

    try:
        node = yaml.compose(_read_file(where).decode("utf-8-sig"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (HarnessError, OSError, ValueError, RecursionError, yaml.YAMLError):
        return where
    if node is None or not where.endswith((".yaml", ".yml")):
        return where
    mark = node.start_mark
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            pairs = [(name, value) for name, value in node.value if getattr(name, "value", None) == str(key)]
            if not pairs:
                break
            mark, node = pairs[-1][0].start_mark, pairs[-1][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
            node = node.value[key]
            mark = node.start_mark
        else:
            break
    return f"{where}, line {mark.line + 1}"


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
