"""The chain from a published number to pixels: every file on the way, what made it, and how to make it again."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from harness.assets.inputs import InputRecord
from harness.errors import HarnessError, unknown_name
from harness.records.cells import FIRST_DRAW, Group, InputId
from harness.records.loading import load_json
from harness.records.restored import RECORD, RestoredRecord
from harness.records.rows import ImageRow, MeasuredRecord, read_rows
from harness.records.runs import Confirmation, RunRecord, read_run, run_file
from harness.records.training_runs import TrainedRecord
from harness.run.graph import stage_graph, stage_of
from harness.run.pipeline import pipeline_stages
from harness.tables.collected import results_of
from harness.tables.diff import CellResult, measured_text
from harness.tables.lasting import lasting_text, read_digits
from harness.tables.measurements import Measurement, NotRun
from harness.tables.requests import COUNTED, IMAGE_METRICS
from harness.tables.workspace import Workspace


class Link(msgspec.Struct, frozen=True):
    """One link of the chain.

    `title`: What it is: ``number``, ``rows``, ``measured by``, ``restored images`` …
    `facts`: What is known of it, as text by name, in the order in which it is told.
    """

    title: str
    facts: dict[str, str]


def find_cell(workspace: Workspace, table: str, row: str, column: str) -> CellResult:
    """Find a cell of a table.

    `table`, `row`: The table's name and the row's printed name.
    `column`: ``dataset/level/metric`` as `harness diff` names it; the level may be left out where there is only one.
    Raises HarnessError: There is no such table, row or column; the nearest names are in the message.
    """
    found = workspace.table(table)
    results = results_of(workspace, found)
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
    """Make the chain of a cell, from the printed number to the images it was measured on, and how to re-run it."""
    request, group = result.request, result.request.group
    links = [_number(workspace, result)]
    if group is None:
        return [link for link in [*links, *_without_images(workspace, result)] if link.facts]
    place = group.place
    rows_file = workspace.work / "rows" / place.with_name(place.name + ".csv")
    if not rows_file.is_file():
        unmeasured = Link("rows", {"file": str(rows_file), "state": "not measured here yet"})
        return [*links, unmeasured, _again(workspace, result, group)]
    record, rows = read_rows(rows_file)
    mine = [
        row
        for row in rows
        if (row.level, row.draw) == (request.level, FIRST_DRAW)
        and row.protocol == record.protocols.get(request.protocol)
    ]
    links.append(_rows(rows_file, record, request.protocol, mine))
    links.append(_run("measured by", workspace.work, group, "measure"))
    folder = workspace.work / "restored" / place
    restored = load_json(folder / RECORD, RestoredRecord) if (folder / RECORD).is_file() else None
    links.append(_restored(folder, restored, request.level))
    links.append(_run("restored by", workspace.work, group, "restore", request.level))
    links.append(_code(workspace, record))
    links.append(_weights(workspace, result, record))
    links.append(_training(workspace, result))
    links.append(_inputs(workspace, group, mine))
    links.append(_dataset(workspace, group, mine))
    links.append(_again(workspace, result, group))
    return [link for link in links if link.facts]


def _number(workspace: Workspace, result: CellResult) -> Link:
    from harness.protocols import protocol

    request = result.request
    measured = measured_text(result) if isinstance(result.measured, Measurement) else "not run"
    facts = {
        "cell": f"{request.table}, row {request.row}, {request.key}",
        **({"paper": paper} if (paper := workspace.table(request.table).paper) else {}),
        **({"published": request.printed.text} if request.printed is not None else {}),
        "measured": measured,
        "verdict": result.verdict + (f" ({result.judgement.reason})" if result.judgement.reason else ""),
    }
    if isinstance(result.measured, Measurement) and request.metric in IMAGE_METRICS:
        unit = "images" if request.dataset else "data sets"
        facts["mean of"] = f"{result.measured.images} {unit}: {result.measured.value!r}"
        if result.measured.seeds:
            values = ", ".join(f"{value!r} (seed {seed})" for seed, value in result.measured.seeds)
            facts["mean of"] = f"{len(result.measured.seeds)} seeds, each over {facts['mean of']}; {values}"
            facts["below"] = f"the chain of seed {result.measured.seeds[0][0]}"
    if result.recorded:
        facts["recorded"] = f"in results/{request.table}.json, {result.recorded}; not measured here"
    for cell in read_digits(workspace.root).cells:
        if (cell.table, cell.row, cell.key) == (request.table, request.row, request.key):
            facts[f"digits, torch {cell.versions.get('torch', '?')}"] = lasting_text(cell)
    if request.protocol:
        facts["protocol"] = f"{request.protocol}, version {protocol(request.protocol).version}"
    return Link("number", facts)


def _without_images(workspace: Workspace, result: CellResult) -> list[Link]:
    """Explain a cell that is no mean over images: a count, a mean of other cells, or nothing that could be run."""
    request = result.request
    if request.averages:
        return _average_of(workspace, result)
    if request.metric == COUNTED and not request.reason:
        return _counted(workspace, result)
    if isinstance(result.measured, Measurement):
        return []
    again = {"see all of them": f"harness diff {request.table} --row {quoted(request.row)} --all"}
    method = workspace.methods().get(request.method)
    if request.metric == "seconds" and method is not None:
        again["measure it here"] = f"harness describe {method.name} --task {request.task}"
    elif method is not None and method.origin == "trained":
        level = f" --level {request.level}" if request.level else ""
        again["train it"] = f"harness train {method.name} --task {request.task}{level} --budget smoke"
        again["then"] = f"harness repro {request.table} --row {quoted(request.row)} --dataset {request.dataset}"
    elif method is None and request.dataset:
        again["with code of your own"] = f"harness new method my-net --task {request.task}"
        again["then"] = (
            f"harness new table mine --task {request.task} --dataset {request.dataset}"
            f"{f' --level {request.level}' if request.level else ''} --method my-net"
            f" --published {quoted(f'{request.table}:{request.row}')}"
        )
    return [Link("to have it", again)]


def _average_of(workspace: Workspace, result: CellResult) -> list[Link]:
    """List the cells of the row that a printed mean is the mean of."""
    request = result.request
    cells = [
        other
        for other in results_of(workspace, workspace.table(request.table))
        if (other.request.part, other.request.line, other.request.metric)
        == (request.part, request.line, request.metric)
        and other.request.dataset
    ]
    return [
        Link(
            "mean of the cells",
            {cell.request.key: measured_text(cell) or f"not run: {_reason(cell)}" for cell in cells},
        ),
        Link(
            "again",
            {
                "bring up to date": f"harness repro {request.table} --row {quoted(request.row)}",
                "each of them": f"harness why {request.table} {quoted(request.row)} {cells[0].request.key}"
                if cells
                else "",
            },
        ),
    ]


def _reason(result: CellResult) -> str:
    return result.measured.reason if isinstance(result.measured, NotRun) else result.judgement.reason


def _counted(workspace: Workspace, result: CellResult) -> list[Link]:
    """Explain a number of parameters: what was counted, by which code, and how to count again."""
    from harness.methods.fingerprints import PACKAGE, fingerprint, stage_code
    from harness.records.cost import cost_file, read_cost

    request = result.request
    method = workspace.methods()[request.method]
    file = cost_file(workspace.work, method.name)
    record = read_cost(workspace.work, method.name)
    counted = {"file": str(file)}
    if record is None:
        counted["state"] = "not counted here yet"
    else:
        cost = record.of(request.task)
        counted["parameters"] = f"{cost.parameters:,}"
        counted["multiply-adds"] = f"{cost.multiply_adds:,} for one input of {cost.side}x{cost.side} pixels"
        counted["network"] = f"method '{method.name}', {cost.task}" + (f", level {cost.level}" if cost.level else "")
        counted["how"] = "counted on a network without weights; nothing was run"
    files = stage_code({method.name: method})[f"cost-{method.name}"]
    source = method.source_file
    code = {
        "fingerprint now": fingerprint(files),
        "files": f"{len(files)}, listed in work/code/cost-{method.name}.json",
    }
    if source is not None:
        inside = source.is_relative_to(PACKAGE)
        code["method"] = f"harness/{source.relative_to(PACKAGE).as_posix()}" if inside else str(source)
    again = {
        "bring up to date": f"harness repro {request.table}",
        "count anew": f"harness stage cost {method.name}",
        **_single_stage(workspace, "cost", method.name),
        "what the network is and costs": f"harness describe {method.name} --task {request.task}",
    }
    return [Link("counted", counted), Link("code", code), Link("again", again)]


def _single_stage(workspace: Workspace, verb: str, about: Group | str) -> dict[str, str]:
    """Name the stage for DVC, in a workspace that has pipelines."""
    try:
        address = stage_of(stage_graph(pipeline_stages(workspace)), verb, about)
    except HarnessError:
        return {}
    return {"this stage with plain DVC": f"dvc repro --single-item --force {address}"}


def quoted(name: str) -> str:
    """Quote a row's name for a shell; in double quotes where that is enough, as people write it."""
    return shlex.quote(name) if any(sign in name for sign in '"$`\\!') else f'"{name}"'


def _rows(file: Path, record: MeasuredRecord, protocol: str, rows: list[ImageRow]) -> Link:
    values = [row.value for row in rows]
    facts = {"file": str(file), "protocol version": record.protocols.get(protocol, "not measured")}
    if values:
        worst, best = min(rows, key=lambda row: row.value), max(rows, key=lambda row: row.value)
        facts["values"] = f"{len(values)}, median {statistics.median(values):.5g}"
        facts["lowest, highest"] = f"{worst.image} {worst.value:.5g}, {best.image} {best.value:.5g}"
    return Link("rows", facts)


def _run(title: str, work: Path, group: Group, verb: str, level: int | None = None) -> Link:
    file, run = run_file(work, group, verb), read_run(work, group, verb)
    if run is None:
        other = "; what the file tells is of another run" if file.is_file() else ""
        return Link(title, {"file": str(file), "state": f"not recorded{other}"})
    prefix = "" if level is None else f"{level}/draw{FIRST_DRAW}/"
    run = run if level is None else run.of_level(level)
    seconds = [value for name, value in run.seconds.items() if name.startswith(prefix) and value > 0]
    facts = {
        "file": str(file),
        "revision": revision_words(run.revision, run.dirty) or "not known (no git checkout, or an earlier version)",
        "finished": run.finished,
        "hardware": ", ".join(part for part in _hardware(run) if part),
        "libraries": ", ".join(f"{name} {version}" for name, version in run.libraries.items()),
        "precision": ", ".join(f"{name} {value}" for name, value in run.precision.items()),
        "seed": run.seed,
        "wall time": "; ".join(
            [
                *([f"{run.wall_seconds:.1f} s"] if run.wall_seconds else []),
                *([f"{sum(seconds):.1f} s in this level"] if seconds else []),
            ]
        ),
        "peak memory": f"{run.peak_memory / 2**20:.0f} MiB"
        + (f", GPU {run.gpu_memory / 2**20:.0f} MiB" if run.gpu_memory else ""),
        "out of memory": "; ".join(f"{name}: {text}" for name, text in run.retries.items()),
        "command": " ".join(run.command),
    }
    facts |= dict(confirmation_words(run.confirmed))
    facts["python"] = run.python
    return Link(title, {name: text for name, text in facts.items() if text})


def revision_words(revision: str, dirty: bool | None) -> str:
    """Say which sources ran: the revision, and whether they differed from it; empty where it is not known."""
    changed = {True: ", with changed sources", False: ", no changed sources", None: ""}[dirty]
    return revision + changed if revision else ""


def confirmation_words(confirmed: Iterable[Confirmation]) -> list[tuple[str, str]]:
    """Say which later code was found to make the same pixels, as pairs of a label and a text."""
    return [
        (f"also made by code {c.code[:12]}", f"{c.images} of {c.of} images restored again, equal")
        for c in confirmed
        # A level that was not run has no images to restore again: nothing was found out about it.
        if c.images
    ]


def _hardware(run: RunRecord) -> tuple[str, ...]:
    """Parts of a machine's description; records of earlier versions lack some."""
    return (
        run.device if run.device != "cpu" else run.processor,
        f"{run.cores} cores" if run.cores else "",
        f"{run.memory / 2**30:.0f} GiB" if run.memory else "",
        run.machine,
    )


def _restored(folder: Path, record: RestoredRecord | None, level: int) -> Link:
    if record is None:
        return Link(
            "restored images", {"folder": str(folder), "state": "not here (the rows are enough for the number)"}
        )
    images = {name: digest for name, digest in record.images.items() if name.startswith(f"{level}/draw{FIRST_DRAW}/")}
    models = record.levels[level].weights if level in record.levels else {}
    facts = {
        "folder": f"{folder}/{level}/draw{FIRST_DRAW}",
        "images": str(len(images)),
        "method": f"{record.group.method}, policy {record.group.policy}, saved by '{record.group.saving}'",
        "origin": ": ".join(filter(None, (_origin(record, level), ", ".join(models)))),
    }
    if images:
        name = min(images)
        facts["first"] = f"{name.rpartition('/')[2]}, SHA-256 of its pixels {images[name]}"
    return Link("restored images", facts)


def _origin(record: RestoredRecord, level: int) -> str:
    """Say where the weights come from; a method may load a file of the user's without saying whose it is."""
    own = level in record.levels and record.levels[level].own_files
    return "a file of your own" if own and record.origin == "none" else record.origin


def _code(workspace: Workspace, record: MeasuredRecord) -> Link:
    """Compare the code that made the images with the code that is here."""
    from harness.methods.fingerprints import fingerprint, method_code

    method = workspace.methods().get(record.group.method)
    facts = {"fingerprint then": record.code}
    if method is None:
        return Link("code", facts | {"state": f"method '{record.group.method}' is not here"})
    now = fingerprint(method_code(method))
    run = read_run(workspace.work, record.group)
    confirmed = run.confirmed if run is not None else ()
    if now == record.code:
        facts["now"] = "the same"
    elif any(confirmation.code == now for confirmation in confirmed):
        facts["now"] = f"{now}; it was found to make the same pixels on a sample"
    else:
        facts["now"] = f"{now}; another, harness repro restores again"
    facts["files"] = f"{len(method_code(method))}, listed in work/code/method-{method.name}.json"
    return Link("code", facts)


def _weights(workspace: Workspace, result: CellResult, record: MeasuredRecord) -> Link:
    facts = {name: f"SHA-256 {digest}" for name, digest in result.weights.items()}
    facts |= {name: f"{file}; a file of your own" for name, file in result.own_files.items()}
    if not facts:
        return Link("weights", _no_weights(workspace, result, record))
    for name in {name.split("/")[0] for name in facts}:
        try:
            from harness.assets.weights.registry import weight_set

            known = weight_set(name)
        except HarnessError:
            continue
        facts |= {
            f"{name}/{file.name}": f"for {file.makes}, {facts[f'{name}/{file.name}']}"
            for file in known.files
            if f"{name}/{file.name}" in facts
        }
        facts[f"{name}: licence"] = known.licence
        facts[f"{name}: from"] = known.homepage
    return Link("weights", facts)


def _no_weights(workspace: Workspace, result: CellResult, record: MeasuredRecord) -> dict[str, str]:
    """Say why no weights were loaded."""
    from harness.assets.datasets.registry import dataset

    method = workspace.methods().get(record.group.method)
    if method is None:
        return {}
    if method.released:
        known = [dataset(name) for name in method.released]
        homes = ", ".join(dict.fromkeys(found.homepage for found in known if found.homepage))
        return {
            "none": "nothing was run: these are the images that the authors restored and released",
            "released images": ", ".join(found.name for found in known) + (f", from {homes}" if homes else ""),
        }
    if method.weights and not isinstance(result.measured, Measurement):
        return {"none": f"nothing was restored, so none were loaded; the method takes {', '.join(method.weights)}"}
    if method.depends:
        files = ", ".join(path.as_posix() for path in method.depends)
        return {"none": f"not from the registry; the method depends on {files}"}
    return {"none": "the method has none"}


def _training(workspace: Workspace, result: CellResult) -> Link:
    """Describe how weights that were trained here came to be."""
    from harness.records.training_runs import percent, trained_folder

    trained = result.trained
    if trained is None:
        return Link("trained by", {})
    run = trained.run
    share = percent(trained.iterations, trained.recipe_iterations)
    facts = {
        "folder": f"{trained_folder(workspace.root, run)} (weights, recipe.json, log.csv, training.json)",
        "recipe": trained.recipe + (f", of {trained.paper}" if trained.paper else ", this project's own"),
        "length": f"{trained.iterations:,} of {trained.recipe_iterations:,} iterations ({share}), "
        f"asked for: {trained.budget}",
        "data": trained.data + ("" if trained.data == trained.recipe_data else f" instead of {trained.recipe_data}"),
        "seed": str(trained.seed),
        "took": f"{trained.seconds:.0f} s on {trained.machine or trained.device}, {trained.threads} threads, "
        f"{trained.processes} processes",
        "libraries": ", ".join(f"{name} {version}" for name, version in trained.libraries.items()),
        "code": ", then ".join(trained.code),
        "train it again": train_command(trained),
    }
    return Link("trained by", {name: text for name, text in facts.items() if text})


def train_command(trained: TrainedRecord) -> str:
    """Write the command that makes a training run again, with what was recorded of it."""
    run, options = trained.run, trained.options
    words = ["harness train", run.method, "--task", run.task]
    words += ["--level", str(run.level)] if run.level else []
    words += ["--iterations", str(trained.iterations)]
    words += ["--data", trained.data] if trained.data != trained.recipe_data else []
    words += ["--seed", str(options.seed)] if options.seed else []
    usual = msgspec.structs.asdict(type(options)())
    for name, value in msgspec.structs.asdict(options).items():
        if name != "seed" and value != usual[name]:
            words += ["--set", f"{name}={str(value).lower() if isinstance(value, bool) else value}"]
    return " ".join(words)


def _inputs(workspace: Workspace, group: Group, rows: list[ImageRow]) -> Link:
    from harness.degradations import degradation

    degrader = degradation(group.degradation)
    file = workspace.work / "inputs" / group.task / group.dataset / f"{group.degradation}.json"
    facts = {"recipe": f"{degrader.name}, version {degrader.version}", "file": str(file)}
    if degrader.random:
        facts["seed"] = "one generator for each image, from dataset, image, level and draw (draw 0 counts)"
    if file.is_file() and rows:
        record = load_json(file, InputRecord)
        first = min(rows, key=lambda row: row.image)
        name = InputId(first.level, first.draw, first.image).file
        if name in record.inputs:
            facts["first"] = f"{first.image}, SHA-256 of its samples {record.inputs[name]}"
    return Link("inputs", facts)


def _dataset(workspace: Workspace, group: Group, rows: list[ImageRow]) -> Link:
    from harness.assets.datasets import dataset
    from harness.assets.manifest import DatasetManifest
    from harness.assets.places import AssetPaths

    known = dataset(group.dataset)
    path = AssetPaths(workspace.data, "datasets", known.name).manifest
    facts = {"dataset": known.title, "licence": known.licence, "from": known.homepage}
    if path.is_file():
        manifest = DatasetManifest.read(path)
        facts["dataset"] += f", {manifest.images or known.count} images"
        facts["manifest"] = f"{path}, {manifest.status}"
        image = min((row.image for row in rows), default="")
        for file in manifest.files:
            if file.image == image:
                facts[file.role] = (
                    f"{file.name}, {file.bytes} bytes, SHA-256 {file.sha256}, pixels {file.pixels_sha256}"
                )
    return Link("images", {name: text for name, text in facts.items() if text})


def _again(workspace: Workspace, result: CellResult, group: Group) -> Link:
    request = result.request
    only = f"harness repro {request.table} --row {quoted(request.row)} --dataset {request.dataset}"
    facts = {
        "bring up to date": only,
        "make all of it anew": f"{only} --force",
        **_single_stage(workspace, "restore", group),
        "image by image": f"harness export rows --task {group.task} --dataset {group.dataset} --method {group.method}",
    }
    return Link("again", facts)


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
