"""Which file of a folder is which image: patterns of names, lists of names, and what to say when they do not fit."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import msgspec

from harness.datasets.folders import IMAGE_SUFFIXES
from harness.datasets.manifest import Role
from harness.datasets.registry import Dataset, Layout
from harness.errors import HarnessError

_ROLES: dict[str, tuple[Role, ...]] = {"images": ("target",), "inputs": ("input",), "pairs": ("target", "input")}
_PLACEHOLDER = re.compile(r"\{([a-z]+)\}")

# How far below a folder its layout may begin: archives unpack into folders of their own, such as GOPRO_Large/test.
_DEEPEST_ROOT = 3
_MOST_ROOTS = 60

# A list of files is a few hundred kilobytes; anything beyond this is another file.
_LONGEST_LIST = 16_000_000

Found = dict[tuple[str, Role], str]


class Arrangement(msgspec.Struct, frozen=True):
    """A folder's files under the layout that fits best.

    Attributes
    ----------
    found : dict
        Relative file name by (image, role).
    layout : Layout
        The layout.
    root : str
        The subfolder in which it begins, with a slash at the end; empty for the folder itself.
    alone : tuple of str
        Files that the layout knows and that have no partner.
    rival : str
        Another subfolder in which as many images were found; empty where there is none.
    """

    found: Found
    layout: Layout
    root: str = ""
    alone: tuple[str, ...] = ()
    rival: str = ""

    @property
    def images(self) -> int:
        """Number of images; a pair counts once."""
        return len({image for image, _ in self.found})


def apply_layout(record: Dataset, layout: Layout, names: Iterable[str]) -> Found:
    """Find out which file is which image.

    A pair is found by the placeholders that both patterns share. Its image is named by ``{id}``, else by the
    placeholders of the ground truth, or by those of the input where it has all of these and more (several inputs of
    one ground truth, as ``rainy/{scene}_{rain}`` of ``clean/{scene}``).

    Parameters
    ----------
    record : Dataset
        Its kind says which roles there are.
    layout : Layout
        Patterns.
    names : iterable of str
        Relative file names.

    Returns
    -------
    dict
        Relative file name by (image, role); of pairs only the images that have both.
    """
    return _apply(record, layout, list(names))[0]


def _apply(record: Dataset, layout: Layout, names: list[str]) -> tuple[Found, tuple[str, ...]]:
    """Apply a layout; also tell which files have no partner."""
    roles = _ROLES[record.kind]
    matched = {role: _match_names(getattr(layout, role), names) for role in roles if getattr(layout, role)}
    if len(matched) != len(roles):
        return {}, ()
    if len(roles) == 1:
        (role,) = roles
        keys = _keys(getattr(layout, role))
        single: Found = {}
        for name, values in matched[role]:
            single.setdefault((_join(values, keys), role), name)
        return single, ()
    target_keys, input_keys = _keys(layout.target), _keys(layout.input)
    shared = ["id"] if "id" in target_keys else [key for key in target_keys if key in input_keys]
    naming = input_keys if "id" not in target_keys and set(input_keys) > set(target_keys) else target_keys
    targets: dict[str, str] = {}
    for name, values in matched["target"]:
        targets.setdefault(_join(values, shared), name)
    found: Found = {}
    used: set[str] = set()
    alone: list[str] = []
    for name, values in matched["input"]:
        target = targets.get(_join(values, shared)) if all(key in values for key in shared) else None
        image = _join(values, naming if target is not None and set(naming) <= set(values) else shared)
        if target is None:
            alone.append(name)
        elif (image, "input") not in found:
            found[image, "target"], found[image, "input"] = target, name
            used.add(target)
    return found, tuple([*alone, *(name for name in targets.values() if name not in used)])


def _keys(pattern: str) -> list[str]:
    keys = _PLACEHOLDER.findall(pattern)
    return ["id"] if "id" in keys else keys


def _join(values: dict[str, str], keys: list[str]) -> str:
    return "-".join(values[key] for key in keys)


def _compile(pattern: str) -> re.Pattern[str]:
    """Turn a layout's pattern into a regular expression over relative names."""
    suffix = ""
    if pattern.endswith(".*"):
        pattern, suffix = pattern[:-2], "(?:" + "|".join(re.escape(known) for known in IMAGE_SUFFIXES) + ")"
    pieces = _PLACEHOLDER.split(pattern)
    seen: set[str] = set()
    text = ""
    for index, piece in enumerate(pieces):
        if index % 2 == 0:
            text += re.escape(piece)
        else:
            text += f"(?P={piece})" if piece in seen else f"(?P<{piece}>[^/]+)"
            seen.add(piece)
    return re.compile(text + f"(?i:{suffix})" if suffix else text)


def _match_names(pattern: str, names: Iterable[str]) -> list[tuple[str, dict[str, str]]]:
    """List the names that fit a pattern, with the values of its placeholders."""
    compiled = _compile(pattern)
    return [(name, hit.groupdict()) for name in names if (hit := compiled.fullmatch(name))]


def arrange(record: Dataset, folder: Path, names: list[str]) -> Arrangement:
    """Arrange a folder's files under the layout and the subfolder that give the most images.

    Parameters
    ----------
    record : Dataset
        What is wanted.
    folder : path
        The folder; looked into for lists of names (`Layout.listed`).
    names : list of str
        Relative names of its image files.
    """
    best = Arrangement({}, record.folder_layouts[0])
    for root in ["", *_roots(names)]:
        if best.images == record.count and not best.root:
            break
        below = [name[len(root) :] for name in names if name.startswith(root)]
        for layout in record.folder_layouts:
            kept = below
            if layout.listed:
                listed = _listed(folder, layout.listed)
                kept = [name for name in below if name in listed] if listed is not None else below
            found, alone = _apply(record, layout, kept)
            whole = {which: root + name for which, name in found.items()}
            made = Arrangement(whole, layout, root, tuple(root + name for name in alone))
            if _score(made, record.count) > _score(best, record.count):
                best = made
            elif made.images and _score(made, record.count) == _score(best, record.count) and made.root != best.root:
                best = msgspec.structs.replace(best, rival=made.root)
    return best


def _score(arrangement: Arrangement, count: int) -> tuple[bool, int, int]:
    # Where no pair is whole, the layout that knows most of the files says best what is missing.
    halves = 0 if arrangement.images else len(arrangement.alone)
    return arrangement.images == count, arrangement.images, halves


def _roots(names: list[str]) -> list[str]:
    """List the subfolders that may be a layout's beginning, the uppermost first."""
    roots: dict[str, None] = {}
    for name in names:
        parts = PurePosixPath(name).parts[:-1]
        for depth in range(1, min(len(parts), _DEEPEST_ROOT) + 1):
            roots.setdefault("/".join(parts[:depth]) + "/")
    ordered = sorted(roots, key=lambda root: (root.count("/"), root))
    return ordered[:_MOST_ROOTS]


def _listed(folder: Path, name: str) -> frozenset[str] | None:
    """Read the file names that a list in a folder (or one or two levels below) holds; None where there is no list."""
    candidates = [folder / name, *sorted(folder.glob(f"*/{name}")), *sorted(folder.glob(f"*/*/{name}"))]
    path = next((candidate for candidate in candidates if candidate.is_file()), None)
    if path is None:
        return None
    try:
        if path.stat().st_size > _LONGEST_LIST:
            raise HarnessError(f"{path}: is too long for a list of file names; replace it by the authors' list")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise HarnessError(f"{path}: cannot be read as a list of file names ({error})") from None
    words = (word.removeprefix("./").lstrip("/") for word in text.split())
    return frozenset(word for word in words if word.lower().endswith(IMAGE_SUFFIXES))


def fits_in_part(record: Dataset, names: list[str]) -> bool:
    """Tell whether files fit one side of a layout, in whatever subfolder it begins."""
    for root in ["", *_roots(names)]:
        below = [name[len(root) :] for name in names if name.startswith(root)]
        for layout in record.folder_layouts:
            if any(_match_names(pattern, below) for pattern in (layout.input, layout.target) if "/" in pattern):
                return True
    return False


def layout_text(record: Dataset) -> list[str]:
    """Write the layouts a folder may have, for readers, such as ``input/{id}.* and target/{id}.*``."""
    texts = []
    for layout in record.folder_layouts:
        text = " and ".join(pattern for pattern in (layout.input, layout.target) if pattern)
        texts.append(f"{text} with {layout.listed}" if layout.listed else text)
    return texts


def explain(record: Dataset, arrangement: Arrangement, names: list[str], folder: Path) -> str:
    """Say what was found in a folder that does not hold the set, in words that lead to what is missing.

    Parameters
    ----------
    record : Dataset
        What was expected.
    arrangement : Arrangement
        What fits best.
    names : list of str
        Relative names of the folder's image files.
    folder : path
        The folder, for lists of names.
    """
    if not names:
        return "found no image files"
    groups = Counter(_group(name) for name in names)
    shown = ", ".join(f"{count} in {group}" for group, count in groups.most_common(4))
    more = f" and {len(groups) - 4} more folders" if len(groups) > 4 else ""
    said = [f"found {len(names)} image files: {shown}{more}"]
    if not arrangement.found and not arrangement.alone:
        said.append(f"none of them fits the names that are expected, for example {names[0]}")
    if arrangement.alone:
        rest = f" and {len(arrangement.alone) - 1} more" if len(arrangement.alone) > 1 else ""
        said.append(f"without a partner: {arrangement.alone[0]}{rest}")
    if arrangement.rival:
        said.append(f"both {arrangement.root} and {arrangement.rival} look like it: name one of them")
    listed = arrangement.layout.listed
    if listed and arrangement.images > record.count and _listed(folder, listed) is None:
        said.append(f"{listed}, which names the pairs of the set, is not in the folder")
    return "; ".join(said)


def _group(name: str) -> str:
    parts = PurePosixPath(name).parts[:-1]
    return "/".join(parts[:2]) + "/" if parts else "the folder itself"
