"""The chain from a published number to pixels: every file on the way, what made it, and how to make it again."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import msgspec

from harness.cells import FIRST_DRAW, Group, InputId
from harness.errors import HarnessError, unknown_name
from harness.provenance.runs import Run
from harness.records import load_json
from harness.stages.inputs import InputRecord
from harness.stages.restored import RECORD, RestoredRecord
from harness.stages.rows import ImageRow, MeasuredRecord, read_rows
from harness.tables.diff import CellResult, diff_table, measured_text
from harness.tables.measurements import Measurement, Measurements
from harness.workspace import Workspace


class Link(msgspec.Struct, frozen=True):
    """One link of the chain.

    Attributes
    ----------
    title : str
        What it is: ``number``, ``rows``, ``measured by``, ``restored images`` …
    facts : dict
        What is known of it, as text by name, in the order in which it is told.
    """

    title: str
    facts: dict[str, str]


def find_cell(workspace: Workspace, table: str, row: str, column: str) -> CellResult:
    """Find a cell of a table.

    Parameters
    ----------
    workspace : Workspace
        Where.
    table, row : str
        The table's name and the row's printed name.
    column : str
        ``dataset/level/metric`` as `harness diff` names it; the level may be left out where there is only one.

    Raises
    ------
    HarnessError
        There is no such table, row or column; the nearest names are in the message.
    """
    found = workspace.table(table)
    results = diff_table(found, workspace.methods(), Measurements(workspace.work))
    of_row = [result for result in results if result.request.row == row]
    if not of_row:
        lower = [result for result in results if result.request.row.lower() == row.lower()]
        if not lower:
            raise unknown_name(f"row of {table}", row, dict.fromkeys(result.request.row for result in results))
        of_row = lower
    wanted = [result for result in of_row if column in _names(result)]
    if not wanted:
        raise unknown_name(f"column of {table}", column, dict.fromkeys(_names(result)[0] for result in of_row))
    if len({result.request.key for result in wanted}) > 1:
        names = ", ".join(dict.fromkeys(result.request.key for result in wanted))
        raise HarnessError(f"column '{column}' of {table} could be {names}; name one of them")
    return wanted[0]


def _names(result: CellResult) -> tuple[str, ...]:
    request = result.request
    return (request.key, f"{request.dataset}/{request.metric}", f"{request.dataset}/{request.level}")


def explain(workspace: Workspace, result: CellResult) -> list[Link]:
    """Make the chain of a cell, from the printed number to the images it was measured on, and how to re-run it.

    Parameters
    ----------
    workspace : Workspace
        Where the results lie.
    result : CellResult
        The cell.
    """
    request, group = result.request, result.request.group
    links = [_number(workspace, result)]
    if group is None:
        return links
    place = group.place
    rows_file = workspace.work / "rows" / place.with_name(place.name + ".csv")
    if not rows_file.is_file():
        return [*links, Link("rows", {"file": str(rows_file), "state": "not measured here yet"}), _again(result, group)]
    record, rows = read_rows(rows_file)
    mine = [
        row
        for row in rows
        if (row.level, row.draw) == (request.level, FIRST_DRAW)
        and row.protocol == record.protocols.get(request.protocol)
    ]
    links.append(_rows(rows_file, record, request.protocol, mine))
    links.append(_run("measured by", workspace.work / "timing" / place.with_name(place.name + ".rows.json")))
    folder = workspace.work / "restored" / place
    restored = load_json(folder / RECORD, RestoredRecord) if (folder / RECORD).is_file() else None
    links.append(_restored(folder, restored, request.level))
    timing = workspace.work / "timing" / place.with_name(place.name + ".json")
    links.append(_run("restored by", timing, f"{request.level}/draw{FIRST_DRAW}/"))
    links.append(_code(workspace, record, timing))
    links.append(_weights(result))
    links.append(_inputs(workspace, group, mine))
    links.append(_dataset(workspace, group, mine))
    links.append(_again(result, group))
    return [link for link in links if link.facts]


def _number(workspace: Workspace, result: CellResult) -> Link:
    from harness.protocols import protocol

    request = result.request
    printed = request.printed.text if request.printed is not None else "none"
    measured = measured_text(result) if isinstance(result.measured, Measurement) else "not run"
    facts = {
        "cell": f"{request.table}, row {request.row}, {request.key}",
        "paper": workspace.table(request.table).paper,
        "published": printed,
        "measured": measured,
        "verdict": result.verdict + (f" ({result.judgement.reason})" if result.judgement.reason else ""),
    }
    if isinstance(result.measured, Measurement):
        facts["mean of"] = f"{result.measured.images} images: {result.measured.value!r}"
    if request.protocol:
        facts["protocol"] = f"{request.protocol}, version {protocol(request.protocol).version}"
    return Link("number", facts)


def _rows(file: Path, record: MeasuredRecord, protocol: str, rows: list[ImageRow]) -> Link:
    values = [row.value for row in rows]
    facts = {"file": str(file), "protocol version": record.protocols.get(protocol, "not measured")}
    if values:
        worst, best = min(rows, key=lambda row: row.value), max(rows, key=lambda row: row.value)
        facts["values"] = f"{len(values)}, median {statistics.median(values):.5g}"
        facts["lowest, highest"] = f"{worst.image} {worst.value:.5g}, {best.image} {best.value:.5g}"
    return Link("rows", facts)


def _run(title: str, file: Path, prefix: str = "") -> Link:
    if not file.is_file():
        return Link(title, {"file": str(file), "state": "not recorded"})
    run = load_json(file, Run)
    dirty = {True: ", with changed sources", False: ", no changed sources", None: ""}[run.dirty]
    seconds = [value for name, value in run.seconds.items() if name.startswith(prefix) and value > 0]
    facts = {
        "file": str(file),
        "revision": (run.revision + dirty) if run.revision else "no git checkout",
        "finished": run.finished,
        "hardware": f"{run.device if run.device != 'cpu' else run.processor}, {run.cores} cores, "
        f"{run.memory / 2**30:.0f} GiB, {run.machine}",
        "libraries": ", ".join(f"{name} {version}" for name, version in run.libraries.items()),
        "precision": ", ".join(f"{name} {value}" for name, value in run.precision.items()),
        "seed": run.seed,
        "wall time": f"{run.wall_seconds:.1f} s" + (f"; {sum(seconds):.1f} s in this level" if seconds else ""),
        "peak memory": f"{run.peak_memory / 2**20:.0f} MiB"
        + (f", GPU {run.gpu_memory / 2**20:.0f} MiB" if run.gpu_memory else ""),
        "out of memory": "; ".join(f"{name}: {text}" for name, text in run.retries.items()),
        "command": " ".join(run.command),
    }
    for confirmation in run.confirmed:
        facts[f"also made by code {confirmation.code[:12]}"] = (
            f"{confirmation.images} of {confirmation.of} images restored again, equal"
        )
    facts["python"] = run.python
    return Link(title, {name: text for name, text in facts.items() if text})


def _restored(folder: Path, record: RestoredRecord | None, level: int) -> Link:
    if record is None:
        return Link(
            "restored images", {"folder": str(folder), "state": "not here (the rows are enough for the number)"}
        )
    images = {name: digest for name, digest in record.images.items() if name.startswith(f"{level}/draw{FIRST_DRAW}/")}
    facts = {
        "folder": f"{folder}/{level}/draw{FIRST_DRAW}",
        "images": str(len(images)),
        "method": f"{record.group.method}, policy {record.group.policy}, saved by '{record.group.saving}'",
        "origin": record.origin,
    }
    if images:
        name = min(images)
        facts["first"] = f"{name.rpartition('/')[2]}, SHA-256 of its pixels {images[name]}"
    return Link("restored images", facts)


def _code(workspace: Workspace, record: MeasuredRecord, timing: Path) -> Link:
    """Compare the code that made the images with the code that is here."""
    from harness.pipeline.code import fingerprint, method_code

    method = workspace.methods().get(record.group.method)
    facts = {"fingerprint then": record.code}
    if method is None:
        return Link("code", facts | {"state": f"method '{record.group.method}' is not here"})
    now = fingerprint(method_code(method))
    confirmed = load_json(timing, Run).confirmed if timing.is_file() else ()
    if now == record.code:
        facts["now"] = "the same"
    elif any(confirmation.code == now for confirmation in confirmed):
        facts["now"] = f"{now}; it was found to make the same pixels on a sample"
    else:
        facts["now"] = f"{now}; another, harness repro restores again"
    facts["files"] = f"{len(method_code(method))}, listed in work/code/method-{method.name}.json"
    return Link("code", facts)


def _weights(result: CellResult) -> Link:
    facts = {name: f"SHA-256 {digest}" for name, digest in result.weights.items()}
    if not facts:
        return Link("weights", {"none": "the method has none, or they lie in its own folder"})
    for name in {name.split("/")[0] for name in facts}:
        try:
            from harness.weights.registry import weight_set

            known = weight_set(name)
        except HarnessError:
            continue
        facts[f"{name}: licence"] = known.licence
        facts[f"{name}: from"] = known.homepage
    return Link("weights", facts)


def _inputs(workspace: Workspace, group: Group, rows: list[ImageRow]) -> Link:
    from harness.degradations import degradation

    made = degradation(group.degradation)
    file = workspace.work / "inputs" / group.task / group.dataset / f"{group.degradation}.json"
    facts = {"recipe": f"{made.name}, version {made.version}", "file": str(file)}
    if made.random:
        facts["seed"] = "one generator for each image, from dataset, image, level and draw (draw 0 counts)"
    if file.is_file() and rows:
        record = load_json(file, InputRecord)
        first = min(rows, key=lambda row: row.image)
        name = InputId(first.level, first.draw, first.image).file
        if name in record.inputs:
            facts["first"] = f"{first.image}, SHA-256 of its samples {record.inputs[name]}"
    return Link("inputs", facts)


def _dataset(workspace: Workspace, group: Group, rows: list[ImageRow]) -> Link:
    from harness.datasets import dataset
    from harness.datasets.manifest import read_manifest
    from harness.datasets.places import manifest_path

    known = dataset(group.dataset)
    path = manifest_path(workspace.data, known.name)
    facts = {"dataset": f"{known.title}, {known.count} images", "licence": known.licence, "from": known.homepage}
    if path.is_file():
        manifest = read_manifest(path)
        facts["manifest"] = f"{path}, {manifest.status}"
        image = min((row.image for row in rows), default="")
        for file in manifest.files:
            if file.image == image:
                facts[file.role] = (
                    f"{file.name}, {file.bytes} bytes, SHA-256 {file.sha256}, pixels {file.pixels_sha256}"
                )
    return Link("images", {name: text for name, text in facts.items() if text})


def _again(result: CellResult, group: Group) -> Link:
    from harness.pipeline.stages import measure_target

    request = result.request
    restore = measure_target(group).replace(":measure-", ":restore-")
    only = f'harness repro {request.table} --row "{request.row}" --dataset {request.dataset}'
    return Link(
        "again",
        {
            "bring up to date": only,
            "make all of it anew": f"{only} --force",
            "this stage with plain DVC": f"dvc repro --single-item --force {restore}",
            "image by image": f"harness rows --task {group.task} --dataset {group.dataset} --method {group.method}",
        },
    )


def chain_text(links: list[Link]) -> str:
    """Write a chain for a terminal."""
    lines: list[str] = []
    for link in links:
        lines.append(link.title)
        width = max(len(name) for name in link.facts)
        lines += [f"  {name.ljust(width)}  {text}" for name, text in link.facts.items()]
    return "\n".join(lines)


def chain_record(links: list[Link]) -> list[dict[str, Any]]:
    """Write a chain as plain values."""
    return [{"title": link.title, "facts": link.facts} for link in links]
