"""What changed between two runs: by how much, and whether more than the choice of test images explains.

A run is a git revision or a folder. Cells are compared by the rendered results (results/*.json); where the per-image
rows of both runs are at hand, the difference of the means gets a bootstrap interval over images, paired image by image.
"""

from __future__ import annotations

import csv
import io
import json
import math
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from harness.errors import HarnessError
from harness.files import json_numbers, write_text
from harness.records.cells import FIRST_DRAW
from harness.records.rows import FIELDS
from harness.tables.workspace import Workspace

RESAMPLES = 10_000
CONFIDENCE = 0.95
SEED = 0

# Fewer images than this make percentile intervals too narrow to lean on; they are shown with a remark.
FEW_IMAGES = 10

# Drawing all resamples at once would take gigabytes for a set of thousands of images.
_CHUNK = 500


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


class ComparedRun(msgspec.Struct, frozen=True):
    """A run: its name as given, its measured numbers, its verdicts, and what could not be read."""

    name: str
    samples: dict[Key, Sample]
    verdicts: dict[CellKey, Verdict]
    notes: tuple[str, ...]


class Interval(msgspec.Struct, frozen=True):
    """A bootstrap interval of a mean difference.

    Attributes
    ----------
    images : int
        Images that both runs have.
    low, high : float
        Bounds of the interval.
    resamples : int
        Resamples drawn.
    confidence : float
        Such as 0.95.
    """

    images: int
    low: float
    high: float
    resamples: int
    confidence: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the difference is more than the choice of images explains, at the interval's confidence."""
        return self.low > 0 or self.high < 0


class Change(msgspec.Struct, frozen=True):
    """A measured number that differs.

    Attributes
    ----------
    key : Key
        What.
    before, after, delta : float
        Means of both runs, and after - before.
    changed_images : int
        Images whose value differs.
    interval : Interval or None
        None where it cannot be had.
    remark : str
        Why not, or what to keep in mind.
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

    Attributes
    ----------
    before, after : str
        Names of the runs.
    changes : list of Change
        Measured numbers that differ, the largest differences (PSNR before SSIM) first.
    unchanged : int
        Measured numbers that both runs have, equal to the last bit.
    gone, new : list of Key
        Measured in one run only.
    verdicts : list of VerdictChange
        Cells with another verdict.
    notes : list of str
        What could not be read.
    """

    before: str
    after: str
    changes: list[Change]
    unchanged: int
    gone: list[Key]
    new: list[Key]
    verdicts: list[VerdictChange]
    notes: list[str]


def paired_bootstrap(
    before: Sequence[float],
    after: Sequence[float],
    *,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    seed: int = SEED,
) -> Interval:
    """Percentile bootstrap interval of the mean of ``after - before`` over images.

    Images are drawn with replacement, and each brings its own pair of values (Efron and Tibshirani, An Introduction to
    the Bootstrap, 1993, chapter 13): how hard an image is cancels, the choice of images remains.

    Parameters
    ----------
    before, after : sequence of float
        Values of the same images in the same order; at least two, finite.
    resamples, confidence, seed
        Number of resamples, the interval's confidence, seed of the draws.
    """
    difference = np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)
    if difference.ndim != 1 or difference.size < 2 or not np.isfinite(difference).all():
        raise HarnessError("a paired bootstrap needs two finite values or more in both runs")
    rng = np.random.default_rng(seed)
    even = np.full(difference.size, 1 / difference.size)
    means = np.concatenate(
        [
            rng.multinomial(difference.size, even, size=min(_CHUNK, resamples - start)) @ difference / difference.size
            for start in range(0, resamples, _CHUNK)
        ]
    )
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(difference.size, float(low), float(high), resamples, confidence)


def compare_runs(workspace: Workspace, before: str, after: str, tables: Iterable[str] = ()) -> Changes:
    """Compare two runs.

    Parameters
    ----------
    workspace : Workspace
        Its git repository is asked for revisions; folders may lie anywhere.
    before, after : str
        A git revision, or a folder: a workspace (with work/ or results/), or a folder of results.
    tables : iterable of str
        Only verdicts of these tables, and only numbers that they hold; all where none is named.

    Raises
    ------
    HarnessError
        A name is neither a folder nor a revision, or a run holds no results.
    """
    first, second = (read_run(workspace, name, frozenset(tables)) for name in (before, after))
    return changes_between(first, second)


def changes_between(first: ComparedRun, second: ComparedRun) -> Changes:
    """Compare two runs that were read."""
    common = sorted(first.samples.keys() & second.samples.keys())
    changes = []
    unchanged = 0
    for key in common:
        change = _change(key, first.samples[key], second.samples[key])
        if change is None:
            unchanged += 1
        else:
            changes.append(change)
    places = sorted(first.verdicts.keys() | second.verdicts.keys())
    verdicts = []
    for place in places:
        old, new = first.verdicts.get(place), second.verdicts.get(place)
        if (old.verdict if old else "") != (new.verdict if new else ""):
            verdicts.append(VerdictChange(place, old, new))
    return Changes(
        first.name,
        second.name,
        sorted(changes, key=lambda c: (not c.key.protocol.startswith("psnr"), -abs(c.delta), c.key)),
        unchanged,
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
    interval, remark = None, ""
    if not first.images or not second.images:
        remark = "the per-image values of both runs are needed for an interval, and those of one are not here"
    elif len(both) < 2:
        remark = f"{len(both)} common image(s): no interval"
    else:
        pairs = [(first.images[image], second.images[image]) for image in both]
        finite = [(a, b) for a, b in pairs if math.isfinite(a) and math.isfinite(b)]
        if len(finite) < 2:
            remark = "values are infinite"
        else:
            interval = paired_bootstrap([a for a, _ in finite], [b for _, b in finite])
            remark = f"only {len(finite)} images: the interval is too narrow" if len(finite) < FEW_IMAGES else ""
        if unpaired:
            remark = "; ".join(filter(None, [remark, f"{unpaired} images are in one run only"]))
    delta = second.mean - first.mean if first.mean != second.mean else 0.0  # infinite in both runs
    return Change(key, first.mean, second.mean, delta, differing, interval, remark)


# Reading runs --------------------------------------------------------------------------------------------------------


def read_run(workspace: Workspace, name: str, tables: frozenset[str] = frozenset()) -> ComparedRun:
    """Read a run by its name; see `compare_runs`."""
    folder = Path(name)
    run = _folder_run(name, folder, tables) if folder.is_dir() else _revision_run(workspace, name, tables)
    if not run.samples and not run.verdicts:
        what = f" of {', '.join(sorted(tables))}" if tables else ""
        raise HarnessError(f"'{name}' holds no results{what}: neither measured rows nor results/*.json")
    return run


def _folder_run(name: str, folder: Path, tables: frozenset[str]) -> ComparedRun:
    rows = folder / "work" / "rows" if (folder / "work" / "rows").is_dir() else folder / "rows"
    results = folder / "results" if (folder / "results").is_dir() else folder
    files = {path.relative_to(rows).as_posix(): path for path in sorted(rows.rglob("*.csv"))} if rows.is_dir() else {}

    def read(path: str) -> bytes | None:
        file = files.get(path) or rows / path
        return file.read_bytes() if file.is_file() else None

    texts = {path.stem: path.read_bytes() for path in sorted(results.glob("*.json"))}
    return _run(name, list(files), read, texts, tables)


def _revision_run(workspace: Workspace, name: str, tables: frozenset[str]) -> ComparedRun:
    found = _git(workspace, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    if found is None:
        raise HarnessError(f"'{name}' is neither a folder nor a git revision of this project")
    commit = found.decode().strip()
    # Paths of the tree are relative to this folder, whatever folder of the repository it is.
    listed = _git(workspace, "ls-tree", "-r", "--name-only", "-z", commit, "results/") or b""
    names = [path for path in listed.decode().split("\0") if path.endswith(".json") and path.count("/") == 1]
    texts = {}
    for path in names:
        content = _git(workspace, "show", f"{commit}:./{path}")
        if content is not None:
            texts[path.removeprefix("results/").removesuffix(".json")] = content
    paths, read, note = _revision_rows(workspace, commit)
    run = _run(name, paths, read, texts, tables)
    return msgspec.structs.replace(run, notes=(*run.notes, note)) if note else run


def _revision_rows(workspace: Workspace, commit: str) -> tuple[list[str], Callable[[str], bytes | None], str]:
    """Find the rows that DVC recorded at a revision, as far as its cache or a remote has them."""
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException
    from dvc.scm import SCMError

    try:
        system = DVCFileSystem(str(workspace.root), rev=commit)
        paths = [path for path in system.find("work/rows") if path.endswith(".csv")]
    except (DvcException, SCMError, OSError, ValueError) as error:
        return [], lambda path: None, f"{commit[:10]}: DVC knows no rows ({error}); only rendered numbers are compared"
    start = "work/rows/"

    def read(path: str) -> bytes | None:
        try:
            content: bytes = system.read_bytes(start + path)
        except (DvcException, OSError):
            return None
        return content

    return [path.removeprefix(start) for path in paths], read, ""


def _git(workspace: Workspace, *arguments: str) -> bytes | None:
    try:
        found = subprocess.run(["git", *arguments], cwd=workspace.root, capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        raise HarnessError(f"git could not be run ({error}); compare folders instead of revisions") from None
    return found.stdout if found.returncode == 0 else None


def _run(
    name: str,
    paths: list[str],
    read: Callable[[str], bytes | None],
    texts: Mapping[str, bytes],
    tables: frozenset[str],
) -> ComparedRun:
    samples: dict[Key, Sample] = {}
    missing = 0
    for path in paths:
        record, values = read(path.removesuffix(".csv") + ".json"), read(path)
        if record is None or values is None:
            missing += 1
            continue
        samples |= _samples(f"{name}: {path}", record, values)
    notes = []
    if missing:
        notes.append(f"{name}: {missing} of {len(paths)} files of rows are not in the cache (dvc pull fetches them)")
    verdicts: dict[CellKey, Verdict] = {}
    printed: dict[Key, Sample] = {}
    for table, text in texts.items():
        if not tables or table in tables:
            _read_results(f"{name}: results/{table}.json", text, verdicts, printed)
    if tables:
        samples = {key: sample for key, sample in samples.items() if key in printed}
    for key, sample in printed.items():
        samples.setdefault(key, sample)
    return ComparedRun(name, samples, verdicts, tuple(notes))


def _samples(where: str, record: bytes, values: bytes) -> dict[Key, Sample]:
    """Read a group's rows: the values of noise draw 0 by level and protocol."""
    try:
        about = json.loads(record)
        group = about["group"]
        names = {version: protocol for protocol, version in about["protocols"].items()}
        found: dict[Key, dict[str, float]] = defaultdict(dict)
        lines = csv.reader(io.StringIO(values.decode()))
        if tuple(next(lines, ())) != FIELDS:
            raise ValueError("the heading is not " + ",".join(FIELDS))
        for level, draw, image, version, value in lines:
            if int(draw) == FIRST_DRAW:
                key = Key(
                    group["dataset"],
                    int(level),
                    group["method"],
                    group["policy"],
                    group["degradation"],
                    group.get("saving", "round"),
                    names.get(version, version),
                )
                found[key][image] = float(value)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise HarnessError(f"{where}: no rows of this program ({type(error).__name__}: {error})") from None
    return {key: Sample(math.fsum(of.values()) / len(of), of) for key, of in found.items()}


def _number(written: Any) -> float | None:
    """Read a number of results/<table>.json, where infinity is a word (`harness.files.json_numbers`)."""
    return None if written is None else float(written)


def _read_results(where: str, text: bytes, verdicts: dict[CellKey, Verdict], printed: dict[Key, Sample]) -> None:
    try:
        cells = json.loads(text)
        if not isinstance(cells, list) or not all(isinstance(cell, dict) and "verdict" in cell for cell in cells):
            return  # Some other JSON file in the folder.
        seen: dict[tuple[Any, ...], int] = defaultdict(int)
        for cell in cells:
            same = (cell["table"], cell["row"], cell["dataset"], cell["level"] or 0, cell["metric"])
            verdicts[CellKey(*same, seen[same])] = Verdict(cell["verdict"], _number(cell["measured"]), cell["reason"])
            seen[same] += 1
            if cell["measured"] is None or not cell["protocol"]:
                continue
            key = Key(
                cell["dataset"],
                cell["level"] or 0,
                cell["method"],
                cell["policy"],
                cell["degradation"],
                cell.get("saving", "round"),
                cell["protocol"],
            )
            if key.dataset:
                printed[key] = Sample(float(cell["measured"]), {})
    except (ValueError, KeyError, TypeError) as error:
        raise HarnessError(f"{where}: not a table's results ({type(error).__name__}: {error})") from None


# Showing -------------------------------------------------------------------------------------------------------------

HEADS = ("dataset", "level", "method", "protocol", "before", "after", "difference", "interval", "images", "remark")


def change_lines(changes: Changes) -> list[tuple[str, ...]]:
    """Write each change as texts under `HEADS`; what shares every shown name also says policy and saving."""
    return [
        (
            change.key.dataset,
            str(change.key.level or ""),
            _method_text(change.key, changes),
            change.key.protocol,
            f"{change.before:.5f}",
            f"{change.after:.5f}",
            f"{change.delta:+.5f}",
            interval_text(change.interval),
            f"{change.changed_images} of {change.interval.images} changed" if change.interval else "",
            change.remark,
        )
        for change in changes.changes
    ]


def _method_text(key: Key, changes: Changes) -> str:
    same = [
        c.key
        for c in changes.changes
        if (c.key.dataset, c.key.level, c.key.method, c.key.protocol)
        == (key.dataset, key.level, key.method, key.protocol)
    ]
    if len(same) < 2:
        return key.method
    return f"{key.method} ({key.policy}, {key.saving}, {key.degradation})"


def interval_text(interval: Interval | None) -> str:
    """Write an interval and what it says, such as ``[+0.010, +0.031], more than chance``."""
    if interval is None:
        return ""
    said = "more than the choice of images" if interval.excludes_zero else "could be the choice of images"
    return f"[{interval.low:+.5f}, {interval.high:+.5f}] {said}"


def method_note(changes: Changes) -> str:
    """Say how the intervals were made, with every number a reader needs to judge them."""
    count = sum(change.interval is not None for change in changes.changes)
    if not count:
        return "No interval could be made."
    expected = count * (1 - CONFIDENCE)
    return (
        f"{count} intervals: {CONFIDENCE:.0%} percentile bootstrap of the mean difference, paired over images, "
        f"{RESAMPLES:,} resamples, seed {SEED}. Of {count} intervals about {expected:.1f} would exclude 0 if nothing "
        "had changed but the images."
    )


def headline(changes: Changes) -> str:
    """Say in one line what changed."""
    more = sum(c.interval is not None and c.interval.excludes_zero for c in changes.changes)
    parts = [f"{len(changes.changes)} numbers differ ({more} by more than the choice of images)"]
    parts += [f"{changes.unchanged} are equal", f"{len(changes.new)} are new", f"{len(changes.gone)} are gone"]
    parts += [f"{len(changes.verdicts)} verdicts changed"]
    return f"{changes.before} → {changes.after}: " + ", ".join(parts)


def verdict_lines(changes: Changes) -> list[tuple[str, ...]]:
    """Write each changed verdict as texts: table, row, dataset, level, metric, before, after, reason."""
    return [
        (
            change.place.table,
            change.place.row,
            change.place.dataset,
            str(change.place.level or ""),
            change.place.metric,
            change.before.verdict if change.before else "–",
            change.after.verdict if change.after else "–",
            (change.after or change.before or Verdict("", None, "")).reason,
        )
        for change in changes.verdicts
    ]


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
