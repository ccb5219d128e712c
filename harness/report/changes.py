"""What changed between two runs: by how much, and whether more than the choice of test images explains.

A run is a git revision or a folder. Cells are compared by the rendered results (results/*.json); where the per-image
rows of both runs are at hand, the difference of the means gets a bootstrap interval over images, paired image by image.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from harness.errors import HarnessError
from harness.files import json_numbers, write_text
from harness.records.cells import FIRST_DRAW
from harness.records.rows import FIELDS
from harness.records.runs import git
from harness.tables.paired import CONFIDENCE, FEW_IMAGES, RESAMPLES, SEED, Interval, paired_bootstrap
from harness.tables.workspace import Workspace


class Key(msgspec.Struct, frozen=True, order=True):
    """What was measured: a method's images of a dataset at a level, under a protocol."""

    dataset: str
    level: int
    method: str
    policy: str
    degradation: str
    saving: str
    protocol: str


class Sample(msgspec.Struct, frozen=True):
    """The number of a key in one run: the mean, and the values by image where they are at hand."""

    mean: float
    images: dict[str, float]


class CellKey(msgspec.Struct, frozen=True, order=True):
    """A cell of a table; `number` tells cells apart that share everything else."""

    table: str
    row: str
    dataset: str
    level: int
    metric: str
    number: int


class Verdict(msgspec.Struct, frozen=True):
    """A cell's verdict and measured value in one run."""

    verdict: str
    measured: float | None
    reason: str


class _Run(msgspec.Struct):
    """A run: its measured numbers, its verdicts, and what could not be read."""

    samples: dict[Key, Sample] = {}
    verdicts: dict[CellKey, Verdict] = {}
    notes: list[str] = []


class Change(msgspec.Struct, frozen=True):
    """A measured number that differs: means of both runs, after - before, and how many images differ.

    The remark says why there is no interval, or what to keep in mind.
    """

    key: Key
    before: float
    after: float
    delta: float
    changed_images: int
    interval: Interval | None
    remark: str


class VerdictChange(msgspec.Struct, frozen=True):
    """A cell of a table whose verdict differs; None stands for a cell that a run does not have."""

    place: CellKey
    before: Verdict | None
    after: Verdict | None


class Changes(msgspec.Struct, frozen=True):
    """What changed from one run to another.

    `before`, `after`: Names of the runs.
    `changes`: Measured numbers that differ, the largest differences (PSNR before SSIM) first.
    `unchanged`: Measured numbers that both runs have, equal to the last bit.
    `gone`, `new`: Measured in one run only.
    `verdicts`, `notes`: Cells with another verdict, and what could not be read.
    """

    before: str
    after: str
    changes: list[Change]
    unchanged: int
    gone: list[Key]
    new: list[Key]
    verdicts: list[VerdictChange]
    notes: list[str]


def compare_runs(workspace: Workspace, before: str, after: str, tables: Iterable[str] = ()) -> Changes:
    """Compare two runs.

    `workspace`: Its git repository is asked for revisions; folders may lie anywhere.
    `before`, `after`: A git revision, or a folder: a workspace (with work/ or results/), or a folder of results.
    `tables`: Only verdicts of these tables, and only numbers that they hold; all where none is named.
    Raises HarnessError: A name is neither a folder nor a revision, or a run holds no results.
    """
    first, second = (_read_run(workspace, name, frozenset(tables)) for name in (before, after))
    common = sorted(first.samples.keys() & second.samples.keys())
    changes = list(filter(None, (_change(key, first.samples[key], second.samples[key]) for key in common)))
    verdicts = []
    for place in sorted(first.verdicts.keys() | second.verdicts.keys()):
        old, new = first.verdicts.get(place), second.verdicts.get(place)
        if (old and old.verdict) != (new and new.verdict):
            verdicts.append(VerdictChange(place, old, new))
    return Changes(
        before,
        after,
        sorted(changes, key=lambda c: (not c.key.protocol.startswith("psnr"), -abs(c.delta), c.key)),
        len(common) - len(changes),
        sorted(first.samples.keys() - second.samples.keys()),
        sorted(second.samples.keys() - first.samples.keys()),
        verdicts,
        list(dict.fromkeys((*first.notes, *second.notes))),
    )


def _change(key: Key, first: Sample, second: Sample) -> Change | None:
    both = [image for image in first.images if image in second.images]
    differing = sum(first.images[image] != second.images[image] for image in both)
    unpaired = len(first.images) + len(second.images) - 2 * len(both)
    if first.mean == second.mean and not differing and not (both and unpaired):
        return None
    pairs = [(first.images[image], second.images[image]) for image in both]
    finite = [pair for pair in pairs if all(map(math.isfinite, pair))]
    interval, remark = None, ""
    if not first.images or not second.images:
        remark = "the per-image values of both runs are needed for an interval, and those of one are not here"
    elif len(both) < 2:
        remark = f"{len(both)} common image(s): no interval"
    elif len(finite) < 2:
        remark = "values are infinite"
    else:
        interval = paired_bootstrap(*zip(*finite, strict=True))
        remark = f"only {len(finite)} images: they say little of others" if len(finite) < FEW_IMAGES else ""
    if len(both) > 1 and unpaired:
        remark = "; ".join(filter(None, [remark, f"{unpaired} images are in one run only"]))
    delta = second.mean - first.mean if first.mean != second.mean else 0.0  # infinite in both runs
    return Change(key, first.mean, second.mean, delta, differing, interval, remark)


# Reading runs --------------------------------------------------------------------------------------------------------

_Rows = Iterator[tuple[str, bytes | None, bytes | None]]
"""Files of rows: path, record, values; None where one cannot be obtained."""


def _read_run(workspace: Workspace, name: str, tables: frozenset[str]) -> _Run:
    """Read a run by its name; see `compare_runs`."""
    run = _Run()
    rows, results = _in_folder(Path(name)) if Path(name).is_dir() else _in_revision(workspace, name, run.notes)
    files = list(rows)
    for path, record, values in files:
        if record is not None and values is not None:
            run.samples |= _samples(f"{name}: {path}", record, values)
    if missing := sum(None in file for file in files):
        run.notes.append(
            f"{name}: {missing} of {len(files)} files of rows are not in the cache (dvc pull fetches them)"
        )
    printed: dict[Key, Sample] = {}
    for table, text in results.items():
        if not tables or table in tables:
            _read_results(f"{name}: results/{table}.json", text, run.verdicts, printed)
    if tables:
        run.samples = {key: sample for key, sample in run.samples.items() if key in printed}
    run.samples = printed | run.samples
    if not run.samples and not run.verdicts:
        what = f" of {', '.join(sorted(tables))}" if tables else ""
        raise HarnessError(f"'{name}' holds no results{what}: neither measured rows nor results/*.json")
    return run


def _in_folder(folder: Path) -> tuple[_Rows, dict[str, bytes]]:
    rows = folder / "work" / "rows" if (folder / "work" / "rows").is_dir() else folder / "rows"
    results = folder / "results" if (folder / "results").is_dir() else folder
    files = ((path, path.with_suffix(".json")) for path in sorted(rows.rglob("*.csv")) if path.is_file())
    return (
        (path.relative_to(rows).as_posix(), about.read_bytes() if about.is_file() else None, path.read_bytes())
        for path, about in files
    ), {path.stem: path.read_bytes() for path in sorted(results.glob("*.json")) if path.is_file()}


def _in_revision(workspace: Workspace, name: str, notes: list[str]) -> tuple[_Rows, dict[str, bytes]]:
    """Find results in git, and the rows that DVC recorded, as far as its cache or a remote has them."""
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException
    from dvc.scm import SCMError

    root = workspace.root
    found = git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    if found is None:
        raise HarnessError(f"'{name}' is neither a folder nor a git revision of this project")
    commit = found.strip()
    # Paths of the tree are relative to this folder, whatever folder of the repository it is.
    listed = (git(root, "ls-tree", "--name-only", "-z", commit, "results/") or "").split("\0")
    texts = {Path(path).stem: git(root, "show", f"{commit}:./{path}") for path in listed if path.endswith(".json")}
    results = {table: text.encode() for table, text in texts.items() if text is not None}
    try:
        system = DVCFileSystem(str(root), rev=commit)
        # Of a stage that was not run then DVC knows the file's name and no hash.
        known = system.find("work/rows", detail=True).items()
        paths = [path for path, about in known if path.endswith(".csv") and (about.get("dvc_info") or {}).get("md5")]
    except (DvcException, SCMError, OSError, ValueError) as error:
        notes.append(f"{commit[:10]}: DVC knows no rows ({error}); only rendered numbers are compared")
        return iter(()), results

    def read(path: str) -> bytes | None:
        try:
            content: bytes = system.read_bytes(path)
        except (DvcException, OSError):
            return None
        return content

    return ((path, read(path.removesuffix(".csv") + ".json"), read(path)) for path in paths), results


def _samples(where: str, record: bytes, values: bytes) -> dict[Key, Sample]:
    """Read a group's rows: the values of noise draw 0 by level and protocol."""
    try:
        about = json.loads(record)
        group = {"saving": "round"} | about["group"]
        names = {version: protocol for protocol, version in about["protocols"].items()}
        found: dict[Key, dict[str, float]] = defaultdict(dict)
        lines = csv.reader(io.StringIO(values.decode()))
        if tuple(next(lines, ())) != FIELDS:
            raise ValueError("the heading is not " + ",".join(FIELDS))
        for level, draw, image, version, value in lines:
            if int(draw) == FIRST_DRAW:
                found[_key(group, int(level), names.get(version, version))][image] = float(value)
        return {key: Sample(math.fsum(images.values()) / len(images), images) for key, images in found.items()}
    except (ValueError, ArithmeticError, KeyError, TypeError, AttributeError, RecursionError, csv.Error) as error:
        raise HarnessError(f"{where}: no rows of this program ({type(error).__name__}: {error})") from None


def _read_results(where: str, text: bytes, verdicts: dict[CellKey, Verdict], printed: dict[Key, Sample]) -> None:
    try:
        cells = json.loads(text)
        if not isinstance(cells, list) or not all(isinstance(cell, dict) and "verdict" in cell for cell in cells):
            return  # Some other JSON file in the folder.
        seen: Counter[tuple[Any, ...]] = Counter()
        for cell in cells:
            same = (cell["table"], cell["row"], cell["dataset"], cell["level"] or 0, cell["metric"])
            # Infinity is a word there (`harness.files.json_numbers`).
            measured = None if cell["measured"] is None else float(cell["measured"])
            verdicts[CellKey(*same, seen[same])] = Verdict(cell["verdict"], measured, cell["reason"])
            seen[same] += 1
            if measured is not None and cell["protocol"] and cell["dataset"]:
                printed[_key({"saving": "round"} | cell, cell["level"] or 0, cell["protocol"])] = Sample(measured, {})
    except (ValueError, ArithmeticError, KeyError, TypeError, RecursionError) as error:
        raise HarnessError(f"{where}: not a table's results ({type(error).__name__}: {error})") from None


def _key(made: Mapping[str, Any], level: int, protocol: str) -> Key:
    return Key(made["dataset"], level, made["method"], made["policy"], made["degradation"], made["saving"], protocol)


# Showing -------------------------------------------------------------------------------------------------------------

HEADS = ("dataset", "level", "method", "protocol", "before", "after", "difference", "interval", "images", "remark")


def change_lines(changes: Changes) -> list[tuple[str, ...]]:
    """Write each change as texts under `HEADS`; what shares every shown name also says policy and saving."""

    def shown(key: Key) -> tuple[str, ...]:
        return key.dataset, str(key.level or ""), key.method, key.protocol

    alike = Counter(shown(change.key) for change in changes.changes)
    lines: list[tuple[str, ...]] = []
    for change in changes.changes:
        key, interval = change.key, change.interval
        dataset, level, method, protocol = shown(key)
        if alike[shown(key)] > 1:
            method = f"{method} ({key.policy}, {key.saving}, {key.degradation})"
        said = images = ""
        if interval:
            meaning = "more than" if interval.excludes_zero else "could be"
            said = f"[{interval.low:+.5f}, {interval.high:+.5f}] {meaning} the choice of images"
            images = f"{change.changed_images} of {interval.images} changed"
        numbers = f"{change.before:.5f}", f"{change.after:.5f}", f"{change.delta:+.5f}"
        lines.append((dataset, level, method, protocol, *numbers, said, images, change.remark))
    return lines


def method_note(changes: Changes) -> str:
    """Say how the intervals were made, with every number a reader needs to judge them."""
    count = sum(change.interval is not None for change in changes.changes)
    if not count:
        return "No interval could be made."
    expected = count * (1 - CONFIDENCE)
    return (
        f"{count} intervals: {CONFIDENCE:.0%} percentile bootstrap of the mean difference, paired over images, widened "
        f"for few of them, {RESAMPLES:,} resamples, seed {SEED}. Of {count} intervals about {expected:.1f} would "
        "exclude 0 if nothing had changed but the images."
    )


def headline(changes: Changes) -> str:
    """Say in one line what changed."""
    more = sum(c.interval is not None and c.interval.excludes_zero for c in changes.changes)
    parts = [f"{len(changes.changes)} numbers differ ({more} by more than the choice of images)"]
    parts += [f"{changes.unchanged} are equal", f"{len(changes.new)} are new", f"{len(changes.gone)} are gone"]
    parts += [f"{len(changes.verdicts)} verdicts changed"]
    return f"{changes.before} → {changes.after}: " + ", ".join(parts)


def verdict_lines(changes: Changes) -> list[tuple[str, ...]]:
    """Write each changed verdict as texts under `VERDICT_HEADS`."""
    lines: list[tuple[str, ...]] = []
    for change in changes.verdicts:
        table, row, dataset, level, metric, _ = msgspec.structs.astuple(change.place)
        before, after = (side.verdict if side else "–" for side in (change.before, change.after))
        reason = next(side.reason for side in (change.after, change.before) if side)
        lines.append((table, row, dataset, str(level or ""), metric, before, after, reason))
    return lines


VERDICT_HEADS = ("table", "row", "dataset", "level", "metric", "before", "after", "reason now")


def changes_text(changes: Changes, style: str = "simple") -> str:
    """Write changes as text tables; `style` is one of tabulate's (``github`` for Markdown)."""
    from tabulate import tabulate

    github = style == "github"
    blocks = [f"**{headline(changes)}**" if github else headline(changes)]
    for heads, lines in ((HEADS, change_lines(changes)), (VERDICT_HEADS, verdict_lines(changes))):
        if lines:
            plain = [[text.replace("|", "\\|") for text in line] for line in lines] if github else lines
            widths = None if github else [None] * (len(heads) - 1) + [50]
            blocks.append(tabulate(plain, heads, tablefmt=style, disable_numparse=True, maxcolwidths=widths))
    for name, keys in (("new", changes.new), ("gone", changes.gone)):
        if keys:
            groups = sorted({f"{key.method} on {key.dataset}" for key in keys})
            blocks.append(f"{name}: {len(keys)} numbers: {', '.join(groups)}")
    if changes.changes:
        blocks.append(method_note(changes))
    blocks += [f"note: {note}" for note in changes.notes]
    return "\n\n".join(blocks) + "\n"


def changes_json(changes: Changes) -> str:
    """Write changes as JSON with every digit."""
    plain = json_numbers(msgspec.to_builtins(changes))
    return msgspec.json.format(msgspec.json.encode(plain), indent=1).decode() + "\n"


def write_page(changes: Changes, path: Path) -> None:
    """Write changes as one HTML file that needs no other."""
    from importlib import resources

    from harness.report.site import environment

    style = (resources.files("harness.report") / "static" / "site.css").read_text(encoding="utf-8")
    text = (
        environment()
        .get_template("changes.html.j2")
        .render(
            changes=changes,
            headline=headline(changes),
            heads=HEADS,
            lines=change_lines(changes),
            verdict_heads=VERDICT_HEADS,
            verdict_lines=verdict_lines(changes),
            note=method_note(changes),
            style=style,
        )
    )
    write_text(path, text)
