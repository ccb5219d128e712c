"""Which file of a folder is which image: patterns of names, lists of names, and what to say when they do not fit."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

import msgspec

from harness.assets.datasets.folders import DEEPEST, IMAGE_SUFFIXES, files_near, find_below, printable
from harness.assets.datasets.registry import Dataset, Layout, dataset_names
from harness.assets.manifest import Role
from harness.errors import HarnessError

_ROLES: dict[str, tuple[Role, ...]] = {"images": ("target",), "inputs": ("input",), "pairs": ("target", "input")}
_PLACEHOLDER = re.compile(r"\{([a-z]+)\}")

_MOST_ROOTS = 60

# How far above a folder its layout may begin: who names GOPRO_Large/test means GOPRO_Large.
_HIGHEST_ROOT = 2

# A list of files is a few hundred kilobytes; anything beyond this is another file.
_LONGEST_LIST = 16_000_000

# Folders that pairs are usually kept in, degraded first.
_USUAL_FOLDERS = (
    ("input", "target"),
    ("input", "groundtruth"),
    ("input", "gt"),
    ("low", "high"),
    ("inputcrop", "cleancrop"),
    ("blur", "sharp"),
    ("blur", "gt"),
    ("blurry", "sharp"),
    ("noisy", "clean"),
    ("noisy", "gt"),
    ("rainy", "clean"),
    ("rain", "norain"),
    ("lq", "gt"),
    ("LQ", "GT"),
    ("lq", "hq"),
    ("LR", "HR"),
    ("degraded", "clean"),
)

USUAL_PAIRS = tuple(
    Layout(target=f"{clean}/{{id}}.*", input=f"{degraded}/{{id}}.*") for degraded, clean in _USUAL_FOLDERS
)
"""Layouts of pairs under the usual names of folders."""

# Words at the beginning or end of a file name that say which half of a pair it is: rain-1.png and norain-1.png.
_HALVES = "rain|rainy|norain|noisy|noise|clean|blur|blurry|blurred|sharp|input|target|gt|real|mean|lq|hq|degraded"
_HALF = re.compile(rf"^(?:{_HALVES})[-_ ]+|[-_ ]+(?:{_HALVES})$")

_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".rar", ".7z")

# Words of a set's name that tell its parts apart, not the set.
_PARTS = ("train", "test", "valid", "validation")

Found = dict[tuple[str, Role], str]
Matches = dict[Role, list[tuple[str, dict[str, str]]]]


class Arrangement(msgspec.Struct, frozen=True):
    """A folder's files under the layout that fits best.

    `found`: Relative file name by (image, role).
    `root`: The subfolder in which it begins, with a slash at the end; empty for the folder itself.
    `alone`: Files that the layout knows and that have no partner.
    `doubled`: Pairs of files that would both be one image, such as ``input/1.jpg`` and ``input/1.png``.
    `rival`: Another subfolder in which as many images were found; empty where there is none.
    """

    found: Found
    layout: Layout
    root: str = ""
    alone: tuple[str, ...] = ()
    doubled: tuple[tuple[str, str], ...] = ()
    rival: str = ""

    @property
    def images(self) -> int:
        """Number of images; a pair counts once."""
        return len({image for image, _ in self.found})

    def holds(self, *counts: int) -> bool:
        """Return whether one of these numbers of images was found, and each in one place and one file."""
        return self.images in counts and not self.rival and not self.doubled


def apply_layout(record: Dataset, layout: Layout, names: Iterable[str]) -> Found:
    """Find out which file is which image.

    A pair is found by the placeholders that both patterns share. Its image is named by ``{id}``, else by the
    placeholders of the ground truth, or by those of the input where it has all of these and more (several inputs of
    one ground truth, as ``rainy/{scene}_{rain}`` of ``clean/{scene}``). Where no two names agree, ``IM_1`` also is
    ``im_1``, and ``rain-1`` the partner of ``norain-1``.

    `record`: Its kind says which roles there are.
    `names`: Relative file names.
    Returns: Relative file name by (image, role); of pairs only the images that have both.
    """
    return _apply(record, layout, list(names)).found


def _apply(record: Dataset, layout: Layout, names: list[str]) -> Arrangement:
    """Apply a layout; also tell which files have no partner, and which are one image twice."""
    roles = _ROLES[record.kind]
    matched: Matches = {role: _match_names(getattr(layout, role), names) for role in roles if getattr(layout, role)}
    if len(matched) != len(roles):
        return Arrangement({}, layout)
    if len(roles) == 1:
        found: Found = {}
        doubled: list[tuple[str, str]] = []
        (role,) = roles
        keys = _keys(getattr(layout, role))
        for name, values in matched[role]:
            first = found.setdefault((_join(values, keys), role), name)
            if first != name:
                doubled.append((first, name))
        return Arrangement(found, layout, doubled=tuple(doubled))
    exact = _pair(layout, matched, _composed)
    # IMG_1 is the partner of img_1, unless there is an IMG_1 as well.
    folded = _pair(layout, matched, lambda name: _composed(name).casefold())
    if len(folded.found) > len(exact.found) and not folded.doubled:
        return folded
    if exact.found:
        return exact
    # What spellings of an image's name share: 1 for norain-1 and 1_GT.
    loose = _pair(layout, matched, lambda name: _HALF.sub("", _composed(name).casefold()) or name)
    return loose if loose.found else exact


def _composed(name: str) -> str:
    """Write accents in one way: archives packed by macOS take letters and accents apart."""
    return unicodedata.normalize("NFC", name)


def _pair(layout: Layout, matched: Matches, spelled: Callable[[str], str]) -> Arrangement:
    """Find the pairs among names that fit the two patterns of a layout."""
    found: Found = {}
    doubled: list[tuple[str, str]] = []
    target_keys, input_keys = _keys(layout.target), _keys(layout.input)
    shared = ["id"] if "id" in target_keys else [key for key in target_keys if key in input_keys]
    naming = input_keys if "id" not in target_keys and set(input_keys) > set(target_keys) else target_keys
    targets: dict[str, str] = {}
    twice: list[tuple[str, str]] = []
    for name, values in matched["target"]:
        first = targets.setdefault(spelled(_join(values, shared)), name)
        if first != name:
            twice.append((first, name))
    used: set[str] = set()
    alone: list[str] = []
    for name, values in matched["input"]:
        target = targets.get(spelled(_join(values, shared))) if all(key in values for key in shared) else None
        image = spelled(_join(values, naming if target is not None and set(naming) <= set(values) else shared))
        if target is None:
            alone.append(name)
        elif (image, "input") in found:
            doubled.append((found[image, "input"], name))
        else:
            found[image, "target"], found[image, "input"] = target, name
            used.add(target)
    doubled += [(first, second) for first, second in twice if first in used]
    # Under patterns such as {id}_noisy.* and {id}.* an input looks like one more ground truth.
    taken = set(found.values())
    rest = [name for name in (*alone, *targets.values()) if name not in taken]
    return Arrangement(found, layout, alone=tuple(dict.fromkeys(rest)), doubled=tuple(doubled))


def _keys(pattern: str) -> list[str]:
    keys = _PLACEHOLDER.findall(pattern)
    return ["id"] if "id" in keys else keys


def _join(values: dict[str, str], keys: list[str]) -> str:
    return "-".join(values[key] for key in keys)


def _compile(pattern: str) -> re.Pattern[str]:
    """Turn a layout's pattern into a regular expression over relative names; ``gt`` also stands for ``GT``."""
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
    return re.compile(text + suffix, re.IGNORECASE)


def _match_names(pattern: str, names: Iterable[str]) -> list[tuple[str, dict[str, str]]]:
    """List the names that fit a pattern, with the values of its placeholders."""
    compiled = _compile(pattern)
    return [(name, hit.groupdict()) for name in names if (hit := compiled.fullmatch(name))]


def arrange(record: Dataset, folder: Path, names: list[str]) -> Arrangement:
    """Arrange a folder's files under the layout and the place that give the most images.

    The layout may begin in the folder, in a subfolder, or up to two folders above (of which only this folder is
    looked at). Subfolders that are named like the set come first; those that are named like another one are left out.
    Pairs in folders of other usual names (`USUAL_PAIRS`) are taken if they are exactly as many as the set has.

    `folder`: The folder; looked into for lists of names (`Layout.listed`).
    """
    best = _arranged(record, folder, names)
    if not best.images and record.kind == "pairs":
        packed = _arranged(msgspec.structs.replace(record, layouts=USUAL_PAIRS), folder, names)
        best = packed if packed.holds(*record.counts) else best
    return best


def _arranged(record: Dataset, folder: Path, names: list[str]) -> Arrangement:
    named, plain, _ = _sorted_roots(record, _roots(names))
    best = Arrangement({}, record.folder_layouts[0])
    for places in ([("", "")], [(root, "") for root in named], [(root, "") for root in plain], _above(folder)):
        for root, above in places:
            best = _better(best, record, folder, names, root, above)
        if best.images in record.counts or (best.images and best.root in named):
            break
    return best


def _better(best: Arrangement, record: Dataset, folder: Path, names: list[str], root: str, above: str) -> Arrangement:
    """Try one more place; give the best arrangement so far."""
    below = [above + name for name in _below(names, root)]
    start = folder.resolve().parents[above.count("/") - 1] if above else folder
    for layout in record.folder_layouts:
        kept = below
        if layout.listed:
            listed = _listed(start, layout)
            kept = [name for name in below if _tail(name, layout) in listed] if listed is not None else below
        placed = _placed(_apply(record, layout, kept), root, above)
        score, best_score = _score(placed, record.counts), _score(best, record.counts)
        # A/{id} and {id} in A are the same files, seen from two places.
        others = placed.root != best.root and set(placed.found.values()) != set(best.found.values())
        if score > best_score:
            best = placed
        elif placed.images and score == best_score and others:
            best = msgspec.structs.replace(best, rival=placed.root)
    return best


def _placed(arrangement: Arrangement, root: str, above: str) -> Arrangement:
    """Name files relative to the folder again: with the subfolder in front, without the folders above."""

    def named(name: str) -> str:
        return root + name[len(above) :]

    return msgspec.structs.replace(
        arrangement,
        found={key: named(name) for key, name in arrangement.found.items()},
        root=root,
        alone=tuple(map(named, arrangement.alone)),
        doubled=tuple((named(first), named(second)) for first, second in arrangement.doubled),
    )


def _above(folder: Path) -> list[tuple[str, str]]:
    parts = folder.resolve().parts[1:]
    return [("", "/".join(parts[-depth:]) + "/") for depth in range(1, min(len(parts), _HIGHEST_ROOT) + 1)]


def _sorted_roots(record: Dataset, roots: list[str]) -> tuple[list[str], list[str], list[str]]:
    """Sort subfolders: named like the set, named like no set, named like another one.

    Rain100H and Test100 lie side by side with as many pairs each: what is counted must not decide which is which.
    """
    own = {_plain(name) for name in (record.name, record.title, *record.aliases)}
    others = {_plain(name) for name in dataset_names()} - own
    parts = {root: {_plain(part) for part in root.split("/") if part} for root in roots}
    named = [root for root in roots if parts[root] & own]
    foreign = [root for root in roots if root not in named and parts[root] & others]
    return named, [root for root in roots if root not in (*named, *foreign)], foreign


def _plain(name: str) -> str:
    """Reduce a name to what its spellings share: gopro for gopro-test, GoPro and GOPRO."""
    words = re.split(r"[^a-z0-9]+", name.lower())
    return "".join(word for word in words if word not in _PARTS)


def _score(arrangement: Arrangement, counts: tuple[int, ...]) -> tuple[bool, int, int]:
    # Where no pair is whole, the layout that knows most of the files says best what is missing.
    halves = 0 if arrangement.images else len(arrangement.alone)
    return arrangement.images in counts, arrangement.images, halves


def _below(names: list[str], root: str) -> list[str]:
    return [name[len(root) :] for name in names if name.startswith(root)]


def _roots(names: list[str]) -> list[str]:
    """List the subfolders that may be a layout's beginning, the uppermost first."""
    roots: dict[str, None] = {}
    for name in names:
        parts = PurePosixPath(name).parts[:-1]
        for depth in range(1, min(len(parts), DEEPEST) + 1):
            roots.setdefault("/".join(parts[:depth]) + "/")
    ordered = sorted(roots, key=lambda root: (root.count("/"), root))
    return ordered[:_MOST_ROOTS]


def _listed(folder: Path, layout: Layout) -> frozenset[str] | None:
    """Read which files the list in a folder (or up to three levels below) names; None where there is no list.

    Words are separated by white space or commas. Only the ends of paths count (`_tail`): lists are written for other
    folders, and for Windows.
    """
    path = find_below(folder, layout.listed)
    if path is None:
        return None
    try:
        if path.stat().st_size > _LONGEST_LIST:
            raise HarnessError(f"{path}: is too long for a list of file names; replace it by the authors' list")
        data = path.read_bytes()
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except (OSError, UnicodeError) as error:
        raise HarnessError(
            f"{path}: cannot be read as a list of file names ({error}); replace it by the authors' list"
        ) from None
    words = re.split(r"[\s,;\"']+", text.replace("\\", "/"))
    return frozenset(_tail(word, layout) for word in words if word.lower().endswith(IMAGE_SUFFIXES))


def _tail(name: str, layout: Layout) -> str:
    """Give the end of a path by which a list names a file: without the set's own folder and the suffix."""
    parts = PurePosixPath(name).with_suffix("").parts
    return "/".join(parts[-max(layout.target.count("/"), 1) :]).casefold()


def alike_but_for_case(images: Iterable[str]) -> tuple[str, str] | None:
    """Find two images whose names differ by case only: many systems take their files for one."""
    first: dict[str, str] = {}
    for image in images:
        other = first.setdefault(_composed(image).casefold(), image)
        if other != image:
            return other, image
    return None


def fits_in_part(record: Dataset, names: list[str]) -> bool:
    """Return whether files fit one side of a layout, in whatever subfolder it begins."""
    for root in ["", *_roots(names)]:
        below = _below(names, root)
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

    `names`: Relative names of the folder's image files.
    """
    if not names:
        return printable(f"found no image files{_other_files(folder)}")
    groups = Counter(_group(name) for name in names)
    shown = ", ".join(f"{count} in {group}" for group, count in groups.most_common(4))
    more = f" and {len(groups) - 4} more folders" if len(groups) > 4 else ""
    said = [f"found {len(names)} image files: {shown}{more}"]

    def fits(root: str) -> bool:
        return any(_apply(record, layout, _below(names, root)).found for layout in record.folder_layouts)

    foreign = [] if arrangement.found else [*filter(fits, _sorted_roots(record, _roots(names))[2])]
    if foreign:
        said.append(f"{foreign[0]} has such files, but the name of another set: name that folder if it is this one")
    elif not arrangement.found and not arrangement.alone:
        said.append(f"none of them fits the names that are expected, for example {names[0]}")
        parents = {parent for name in names for parent in PurePosixPath(name).parents}
        roots = {f"{parent}/" for parent in parents if len(parent.parts) > DEEPEST}
        nearest = sorted(roots, key=lambda root: (root.count("/"), root))[:_MOST_ROOTS]
        deep = next(filter(fits, nearest), "")
        if deep:
            said.append(f"but {deep} looks like it: name that folder")
    if arrangement.alone:
        rest = f" and {len(arrangement.alone) - 1} more" if len(arrangement.alone) > 1 else ""
        said.append(f"without a partner: {arrangement.alone[0]}{rest}")
    if arrangement.doubled:
        first, second = arrangement.doubled[0]
        rest = f", and {len(arrangement.doubled) - 1} more" if len(arrangement.doubled) > 1 else ""
        said.append(f"{first} and {second} would be one image{rest}: take one of them away")
    if arrangement.rival:
        said.append(f"both {arrangement.root} and {arrangement.rival} look like it: name one of them")
    for layout in record.folder_layouts:
        if layout.listed:
            said += _about_list(record, arrangement, layout, names, folder)
    return printable("; ".join(said))


def _about_list(record: Dataset, arrangement: Arrangement, layout: Layout, names: list[str], folder: Path) -> list[str]:
    """Say what is wrong with the list that names a set's pairs: it is not there, or it names other files."""
    listed = _listed(folder, layout)
    if listed is None:
        extra = arrangement.layout == layout and arrangement.images > record.count
        return [f"{layout.listed}, which names the pairs of the set, is not in the folder"] if extra else []
    here = {_tail(name, layout) for name in names}
    if listed <= here and len(listed) == 2 * record.count:
        return []
    return [
        f"{layout.listed} names {len(listed)} files (of {2 * record.count}), {len(listed & here)} of them are there"
    ]


def _other_files(folder: Path) -> str:
    """Name what a folder without images holds instead: an archive to unpack, or a few other files."""
    found = files_near(folder)
    archives = [name for name in found if name.lower().endswith(_ARCHIVES)]
    if archives:
        return f"; {archives[0]} is an archive: unpack it"
    return f"; found {', '.join(found[:3])}{f' and {len(found) - 3} more' if found[3:] else ''}" if found else ""


def _group(name: str) -> str:
    parts = PurePosixPath(name).parts[:-1]
    return "/".join(parts[:2]) + "/" if parts else "the folder itself"
