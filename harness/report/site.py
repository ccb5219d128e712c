"""The site: every table, cell and scene as static pages that work from disk, without a server or a network.

Pages are made from the templates in ``templates/site``; this module only gathers what they show.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from harness import __version__
from harness.cells import Group
from harness.datasets.reading import open_dataset
from harness.errors import HarnessError, NotAvailableError
from harness.files import write_text
from harness.pipeline.requests import IMAGE_METRICS
from harness.protocols.definitions import protocol
from harness.report import one_protocol as one_protocol_report
from harness.report import plots
from harness.report.attention import read_attention_pages
from harness.report.collected import TableResults, collect, place_of
from harness.report.facts import Fact, pixel_hashes, run_facts, seconds_of
from harness.report.grid import dataset_title, grids, reasons_not_run, remarks, spans, summary
from harness.report.render import csv_text, json_text, latex, markdown
from harness.report.scenes import (
    UNCHANGED,
    Extreme,
    Restored,
    Scene,
    View,
    find_scenes,
    make_extremes,
    make_view,
)
from harness.report.training_curves import TrainingRun, read_training_runs
from harness.tables import one_protocol
from harness.tables.diff import CellResult, as_record, count_verdicts, measured_text
from harness.tables.measurements import Measurement, Measurements
from harness.tables.ordering import orderings
from harness.tables.verdicts import VERDICTS
from harness.tasks import TASKS
from harness.workspace import Workspace

MARKER = "site.json"
"""A folder that holds this file was written here and may be replaced."""

PICTURE_BUDGET = 7_000_000
"""Bytes of pictures on pages of scenes, so that the whole site stays below 20 MB."""

WORKERS = max(2, os.cpu_count() or 1)

# From this share on a budget counts as used up: pages of the last scenes are small and would fit for long.
_FULL = 0.95

# Measured marks need a contest: with fewer measured cells "best" says nothing.
_FEWEST_FOR_MARKS = 3

_SMALLER_IS_BETTER = frozenset({"parameters", "seconds"})

_FORMS = (("md", "Markdown"), ("csv", "CSV"), ("tex", "LaTeX"), ("json", "JSON"))


class SiteSummary(msgspec.Struct, frozen=True):
    """What was written.

    Attributes
    ----------
    folder : path
        Where.
    pages, bytes : int
        Number of HTML pages and size of all files.
    scenes_shown, images_shown, images_left_out : int
        Scenes with pictures, images on pages, images for which the budget did not suffice.
    notes : tuple of str
        What could not be shown, and why.
    """

    folder: Path
    pages: int
    bytes: int
    scenes_shown: int
    images_shown: int
    images_left_out: int
    notes: tuple[str, ...]


CellId = tuple[Group, int]


def build_site(
    workspace: Workspace,
    target: Path,
    *,
    names: Sequence[str] = (),
    budget: int = PICTURE_BUDGET,
    all_images: bool = False,
    progress: Callable[[str], None] = lambda text: None,
) -> SiteSummary:
    """Write the site.

    Parameters
    ----------
    workspace : Workspace
        Where results lie; rows, images and ground truths may be missing, pages then say so.
    target : path
        Folder of the site; one that was written before is replaced as a whole.
    names : sequence of str
        Tables; every known one where none is named.
    budget : int
        Bytes of pictures on pages of scenes.
    all_images : bool
        Show every image of every scene whole, whatever it takes.
    progress : callable
        Called with a few words now and then.

    Raises
    ------
    HarnessError
        `target` holds something else, a file is damaged, or the disk is full.
    """
    _check_replaceable(target)
    building = target.with_name(f".{target.name}.{os.getpid()}.part")
    shutil.rmtree(building, ignore_errors=True)
    try:
        building.mkdir(parents=True)
        shown = _Site(workspace, building, names, progress).write(budget, all_images)
        if target.exists():
            shutil.rmtree(target)
        os.replace(building, target)
    except OSError as error:
        raise HarnessError(f"{target}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return msgspec.structs.replace(shown, folder=target)


def _check_replaceable(target: Path) -> None:
    if target.is_file() or (target.is_dir() and any(target.iterdir()) and not (target / MARKER).is_file()):
        raise HarnessError(f"{target}: holds something else than a site written by harness report; name another folder")


def environment() -> Any:
    """Templates of the pages: every text is escaped, and a missing name is an error."""
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.PackageLoader("harness.report", "templates/site"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        auto_reload=False,
    )
    made.filters["number"] = lambda value: f"{value:,}"
    made.filters["base64"] = _base64
    made.filters["slug"] = lambda text: re.sub("[^a-z0-9]+", "-", str(text).lower()).strip("-")
    made.tests["image_metric"] = lambda metric: metric in ("psnr", "ssim")
    return made


def _base64(data: bytes) -> str:
    import base64

    return base64.b64encode(data).decode()


def cell_page(cell: CellId) -> str:
    """Path of a cell's page below the site: a method on a dataset at a level."""
    group, level = cell
    return f"cells/{group.place}/{level}.html"


def table_page(name: str) -> str:
    """Path of a table's page below the site."""
    return f"tables/{name}.html"


def one_protocol_page(name: str) -> str:
    """Path of the page below the site that shows a table under one protocol."""
    return f"tables/one-protocol/{name}.html"


def scene_title(task: str, dataset: str, level: int) -> str:
    """Name a scene for readers, such as ``Kodak24, sigma 50``."""
    known = TASKS.get(task)
    label = known.level_label(level) if known and level else ""
    return dataset_title(dataset) + (f", {label}" if label else "")


def revision(folder: Path) -> str:
    """Git revision of a folder, with ``+`` where files differ from it; empty outside git."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=10", "--exclude=*"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return found.stdout.strip()


class _Site:
    def __init__(
        self, workspace: Workspace, folder: Path, names: Sequence[str], progress: Callable[[str], None]
    ) -> None:
        self._workspace = workspace
        self._folder = folder
        self._progress = progress
        self._environment = environment()
        self._collected = collect(workspace, names)
        self._methods = workspace.methods()
        self._measurements = Measurements(workspace.work)
        self._attention = read_attention_pages(workspace)
        self._training = read_training_runs(workspace)
        self._notes: list[str] = []
        self._pages = 0
        self._asked: dict[CellId, list[tuple[TableResults, CellResult]]] = defaultdict(list)
        for item in self._collected:
            for result in item.results:
                if result.request.group is not None:
                    self._asked[result.request.group, result.request.level].append((item, result))
        self._facts: dict[CellId, list[Fact]] = {cell: run_facts(workspace, cell[0], cell[1]) for cell in self._asked}
        self._revision = revision(workspace.root)
        self._scenes: list[Scene] = []
        self._views: dict[tuple[str, str, int], list[str]] = {}
        self._view_pages: dict[tuple[str, str, int, str], str] = {}
        self._left_out = 0

    def write(self, budget: int, all_images: bool) -> SiteSummary:
        self._copy_static()
        self._progress("scenes")
        self._write_scenes(budget, all_images)
        self._progress("cells")
        self._write_cells()
        self._progress("tables")
        for item in self._collected:
            self._write_table(item)
        self._write_plots()
        self._write_attention()
        self._write_training()
        self._write_index()
        files = [file for file in self._folder.rglob("*") if file.is_file()]
        shown = SiteSummary(
            self._folder,
            self._pages,
            sum(file.stat().st_size for file in files),
            len(self._views),
            sum(len(images) for images in self._views.values()),
            self._left_out,
            tuple(dict.fromkeys(self._notes)),
        )
        plain = {name: getattr(shown, name) for name in shown.__struct_fields__}
        plain.pop("folder")
        write_text(self._folder / MARKER, msgspec.json.format(msgspec.json.encode(plain), indent=1).decode() + "\n")
        return shown

    # Pages -----------------------------------------------------------------------------------------------------------

    def _page(self, path: str, template: str, **context: Any) -> None:
        root = "../" * path.count("/")
        text = self._environment.get_template(template).render(
            root=root,
            here=path,
            version=__version__,
            revision=self._revision,
            has_scenes=bool(self._scenes),
            has_attention=bool(self._attention),
            has_training=bool(self._training),
            verdicts=VERDICTS,
            **context,
        )
        write_text(self._folder / path, text)
        self._pages += 1

    def _copy_static(self) -> None:
        source = resources.files("harness.report") / "static"
        target = self._folder / "static"
        target.mkdir()
        for file in source.iterdir():
            if file.name.endswith((".css", ".js")):
                (target / file.name).write_bytes(file.read_bytes())

    def _write_index(self) -> None:
        lines = []
        for item in self._collected:
            compared = [result for result in item.results if result.request.printed is not None]
            lines.append(
                {
                    "table": item.table,
                    "counts": count_verdicts(compared),
                    "total": len(compared),
                    "recorded": len(item.recorded),
                    "summary": summary(item.table, item.results),
                }
            )
        papers: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for item, line in zip(self._collected, lines, strict=True):
            papers[item.table.paper].append(line)
        groups = [
            {
                "paper": paper,
                "title": _paper_title(paper),
                "lines": of_paper,
                "counts": {v: sum(line["counts"][v] for line in of_paper) for v in VERDICTS},
                "total": sum(line["total"] for line in of_paper),
            }
            for paper, of_paper in papers.items()
        ]
        printed = [group for group in groups if group["paper"]]
        off = [
            self._record(item, result)
            for item in self._collected
            for result in item.results
            if result.verdict == "off" and result.request.printed is not None
        ]
        self._page(
            "index.html",
            "index.html.j2",
            groups=printed,
            own=[group for group in groups if not group["paper"]],
            counts={v: sum(group["counts"][v] for group in printed) for v in VERDICTS},
            total=sum(group["total"] for group in printed),
            histogram=plots.delta_histogram(item for item in self._collected if item.table.paper),
            off=off,
            scenes=self._scene_links()[:6],
            recorded=sum(len(item.recorded) for item in self._collected),
            notes=list(dict.fromkeys(self._notes)),
        )

    def _write_table(self, item: TableResults) -> None:
        table, results = item.table, item.results
        by_place = {place_of(result.request): index for index, result in enumerate(results)}
        marks = measured_marks(results)
        records = [self._record(item, result) for result in results]
        for index, record in enumerate(records):
            record["id"] = index
            record["mark"] = marks.get(place_of(results[index].request), "")
        cells = {index: record for index, record in enumerate(records)}
        shown = []
        for grid in grids(table, results):
            rows = [
                {
                    "heads": row.heads,
                    "places": [
                        {"place": place, "record": cells.get(by_place.get(place.cell, -1))} for place in row.places
                    ],
                }
                for row in grid.rows
            ]
            shown.append(
                {
                    "title": grid.title,
                    "corner": grid.corner,
                    "heads": [*map(spans, grid.heads[:-1]), [(text, 1) for text in grid.heads[-1]]],
                    "rows": rows,
                }
            )
        forms = {
            "md": markdown(table, results),
            "csv": csv_text(results),
            "tex": latex(table, results),
            "json": json_text(results),
        }
        for suffix, text in forms.items():
            write_text(self._folder / "tables" / f"{table.name}.{suffix}", text)
        runs: dict[str, list[Fact]] = {}
        for result in results:
            if result.request.group is not None:
                cell = (result.request.group, result.request.level)
                runs.setdefault(cell_page(cell), self._run_facts(cell, result))
        one = self._write_one_protocol(item)
        compared = [result for result in results if result.request.printed is not None]
        evidence = {
            result.request.row: result.request.evidence
            for result in reversed(results)
            if result.request.evidence and result.verdict != "not run"
        }
        charts = plots.level_charts(table, results) + plots.cost_charts(table, results)
        self._page(
            table_page(table.name),
            "table.html.j2",
            table=table,
            grids=shown,
            records=records,
            details={
                "cells": {record["id"]: record["facts"] for record in records},
                "runs": runs,
                "pages": {record["id"]: record["page"] for record in records if record["page"]},
            },
            counts=count_verdicts(compared),
            total=len(compared),
            summary=summary(table, results),
            remarks=remarks(results),
            not_run=reasons_not_run(results),
            evidence=evidence,
            charts=charts,
            orderings=[ordering.text for ordering in orderings(table, results)],
            tex=forms["tex"],
            forms=_FORMS,
            recorded=len(item.recorded),
            has_marks=bool(marks),
            one_protocol=one,
        )

    def _write_one_protocol(self, item: TableResults) -> str:
        """Write a table whose rows have protocols of their own under the columns' one; return the page, if there is."""
        table = item.table
        own = [r for r in item.results if isinstance(r.measured, Measurement) and _is_apart(r)]
        if not own:
            return ""
        try:
            cells = one_protocol.one_protocol(self._workspace, table, one_protocol.COLUMN)
        except (HarnessError, OSError) as error:
            self._notes.append(f"{table.name} under one protocol: {error}")
            return ""
        page = one_protocol_page(table.name)
        forms = {
            "md": one_protocol_report.markdown(table, cells),
            "csv": one_protocol_report.csv_text(cells),
            "tex": one_protocol_report.latex(table, cells),
            "json": one_protocol_report.json_text(cells),
        }
        for suffix, text in forms.items():
            write_text((self._folder / page).with_suffix(f".{suffix}"), text)
        laid = one_protocol_report.one_protocol_grids(table, cells)
        self._page(
            page,
            "one_protocol.html.j2",
            table=table,
            table_page=table_page(table.name),
            grids=laid,
            heads=[[*map(spans, grid.heads[:-1]), [(text, 1) for text in grid.heads[-1]]] for grid in laid],
            protocols=one_protocol_report.protocol_words(cells),
            apart=_names_by_protocol(own),
            inputs=one_protocol.input_groups(cells),
            changes=one_protocol_report.rank_changes(cells),
            not_run=one_protocol_report.not_run_reasons(cells),
            forms=_FORMS,
        )
        return page

    def _record(self, item: TableResults, result: CellResult) -> dict[str, Any]:
        """Everything a page says about one cell of a table."""
        request = result.request
        record = as_record(result)
        cell = (request.group, request.level) if request.group else None
        known = TASKS.get(request.task)
        record |= {
            "text": measured_text(result),
            "dataset_title": dataset_title(request.dataset) if request.dataset else "",
            "level_label": known.level_label(request.level) if known and request.level else "",
            "part_title": item.table.parts[request.part].title,
            "page": cell_page(cell) if cell else "",
            "facts": self._cell_facts(item, result, record),
            "table_title": item.table.title,
            "recorded": place_of(request) in item.recorded,
        }
        return record

    def _cell_facts(self, item: TableResults, result: CellResult, record: dict[str, Any]) -> list[Fact]:
        request = result.request
        facts: list[Fact] = []
        if request.printed:
            facts.append(("published", f"{request.printed.text} ({item.table.name}, {request.row})"))
        if record["measured"] is not None:
            facts.append(("measured", repr(record["measured"])))
        if record["delta"] is not None:
            facts.append(("measured − published", f"{record['delta']:+.5g}"))
        facts.append(
            ("verdict", f"{result.verdict}: {result.judgement.reason}" if record["reason"] else result.verdict)
        )
        if request.protocol:
            facts.append(("protocol", f"{request.protocol} (version {protocol(request.protocol).version})"))
        if record["measured_under_column_protocol"] is not None:
            facts.append((f"under {request.column_protocol}", repr(record["measured_under_column_protocol"])))
        if record["noise"]:
            facts.append(("noise term", f"{record['noise']:.4f}"))
        if record["images"]:
            facts.append(("images", str(record["images"])))
        if place_of(request) in item.recorded:
            facts.append(("source", f"results/{item.table.name}.json; the rows behind it are not here"))
        return facts

    def _run_facts(self, cell: CellId, result: CellResult) -> list[Fact]:
        """What made a cell: the files of the run, or what was recorded with the number where they are missing."""
        group, _ = cell
        method = self._methods.get(group.method)
        facts: list[Fact] = [
            ("method", f"{method.title} ({group.method})" if method else group.method),
            ("policy", group.policy),
            ("degradation", group.degradation),
            ("saving", group.saving),
        ]
        if result.origin:
            facts.append(("origin of weights", result.origin))
        found = self._facts[cell]
        if found:
            facts += [fact for fact in found if fact[0] not in ("origin",)]
        else:
            facts += [(f"weights {name}", digest) for name, digest in sorted(result.weights.items())]
        return facts

    # Cells -----------------------------------------------------------------------------------------------------------

    def _write_cells(self) -> None:
        todo = list(self._asked)
        with ThreadPoolExecutor(max_workers=WORKERS) as pool:
            for cell, extremes in zip(todo, pool.map(self._extremes, todo), strict=True):
                self._write_cell(cell, extremes)

    def _psnr_protocol(self, cell: CellId) -> str:
        named = [result.request.protocol for _, result in self._asked[cell] if result.request.metric == "psnr"]
        return named[0] if named else ""

    def _extremes(self, cell: CellId) -> list[Extreme]:
        group, level = cell
        name = self._psnr_protocol(cell)
        if not name:
            return []
        values = self._measurements.images(group, level, name)
        return make_extremes(self._workspace, group, level, values, name)

    def _write_cell(self, cell: CellId, extremes: list[Extreme]) -> None:
        group, level = cell
        asked = self._asked[cell]
        record = self._measurements.record(group)
        protocols = sorted(record.protocols) if record else []
        values = {name: self._measurements.images(group, level, name) for name in protocols}
        values = {name: found for name, found in values.items() if found}
        first = self._psnr_protocol(cell) or next(iter(values), "")
        images = list(values.get(first, {}))
        hashes = pixel_hashes(self._workspace, group, level)
        method = self._methods.get(group.method)
        published = [self._record(item, result) for item, result in asked]
        whole = [float(value) for value in values.get(first, {}).values()]
        metric = protocol(first).metric if first else ""
        self._page(
            cell_page(cell),
            "cell.html.j2",
            group=group,
            level=level,
            title=f"{method.title if method else group.method} on {scene_title(group.task, group.dataset, level)}",
            task=TASKS[group.task].title if group.task in TASKS else group.task,
            method=method,
            published=published,
            facts=self._run_facts(cell, asked[0][1]),
            protocols=[(name, protocol(name).version) for name in values],
            first=first,
            images=[
                {
                    "name": image,
                    "values": [values[name].get(image) for name in values],
                    "sha256": hashes.get(image, ""),
                    "page": self._view_pages.get((group.task, group.dataset, level, image), ""),
                }
                for image in images
            ],
            means=[sum(found.values()) / len(found) for found in values.values()],
            histogram=plots.distribution(whole, "dB" if metric == "psnr" else metric),
            extremes=[self._extreme_files(extreme) for extreme in extremes],
            not_run=asked[0][1].judgement.reason if not isinstance(asked[0][1].measured, Measurement) else "",
            tables=list(dict.fromkeys(item.table.name for item, _ in asked)),
            chain=shlex.join(
                ["harness", "why", asked[0][1].request.table, asked[0][1].request.row, asked[0][1].request.key]
            ),
            scene=self._views.get((group.task, group.dataset, level)),
            scene_page=f"compare/{group.task}/{group.dataset}/{level}/index.html",
        )

    def _extreme_files(self, extreme: Extreme) -> dict[str, Any]:
        files = {}
        for kind, data in (("restored", extreme.restored), ("truth", extreme.truth)):
            path = self._folder / "pictures" / f"{hashlib.sha256(data).hexdigest()[:20]}.webp"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
            files[kind] = f"pictures/{path.name}"
        return {"extreme": extreme, **files}

    # Scenes ----------------------------------------------------------------------------------------------------------

    def _write_scenes(self, budget: int, all_images: bool) -> None:
        restored = [
            Restored(group, level, result.request.protocol)
            for (group, level), asked in self._asked.items()
            for _, result in asked
            if result.request.metric == "psnr" and isinstance(result.measured, Measurement)
        ]
        self._scenes = find_scenes(self._workspace, restored, self._methods)
        self._scenes = [scene for scene in self._scenes if self._has_truth(scene)]
        todo = list(_in_turn(self._scenes, whole_sets=all_images))
        if all_images:
            self._announce(todo)
            for _, _, view in self._make_views(todo, whole=True):
                self._write_view(view)
        else:
            # Pages name each other, so the choice is made first; the pictures of a budget fit into memory.
            chosen = []
            used = 0
            for scene, image, view in self._make_views(todo, whole=False):
                if used + view.bytes <= budget:
                    used += view.bytes
                    chosen.append((scene, image, view))
                elif used > _FULL * budget:
                    break
            self._left_out = len(todo) - len(chosen)
            self._announce((scene, image) for scene, image, _ in chosen)
            for _, _, view in chosen:
                self._write_view(view)
        self._scenes = [scene for scene in self._scenes if _scene_key(scene) in self._views]
        for scene in self._scenes:
            self._write_scene(scene)
        if self._views:
            self._page(
                "compare/index.html",
                "compare.html.j2",
                scenes=self._scene_links(),
                left_out=self._left_out,
                notes=list(dict.fromkeys(self._notes)),
            )

    def _has_truth(self, scene: Scene) -> bool:
        try:
            open_dataset(scene.dataset, self._workspace.data)
        except NotAvailableError as missing:
            self._notes.append(
                f"{scene_title(scene.task, scene.dataset, scene.level)}: no pictures, because the {missing}"
            )
            return False
        return True

    def _announce(self, chosen: Iterable[tuple[Scene, str]]) -> None:
        for scene, image in chosen:
            self._views.setdefault(_scene_key(scene), []).append(image)
            self._view_pages[(*_scene_key(scene), image)] = self._view_path(scene, image)

    def _make_views(self, todo: list[tuple[Scene, str]], *, whole: bool) -> Iterator[tuple[Scene, str, View]]:
        """Make views in order, a few ahead in threads (reading and coding pictures leave the interpreter free)."""
        with ThreadPoolExecutor(max_workers=WORKERS) as pool:
            for start in range(0, len(todo), WORKERS):
                chunk = todo[start : start + WORKERS]
                views = pool.map(lambda item: self._view(*item, whole=whole), chunk)
                for (scene, image), view in zip(chunk, views, strict=True):
                    if isinstance(view, str):
                        self._notes.append(view)
                    else:
                        yield scene, image, view

    def _view(self, scene: Scene, image: str, *, whole: bool) -> View | str:
        try:
            return make_view(self._workspace, scene, image, whole=whole)
        except NotAvailableError as missing:
            return f"{scene_title(*_scene_key(scene))}: no pictures of {image}, because {missing}"

    def _view_path(self, scene: Scene, image: str) -> str:
        plain = re.sub("[^A-Za-z0-9_-]+", "-", image).strip("-")
        if plain != image:
            plain = f"{plain}-{hashlib.sha256(image.encode()).hexdigest()[:8]}"
        return f"compare/{scene.task}/{scene.dataset}/{scene.level}/{plain}.html"

    def _write_view(self, view: View) -> None:
        scene = view.scene
        self._page(
            self._view_path(scene, view.image),
            "view.html.j2",
            view=view,
            scene=scene,
            title=f"{view.image}: {scene_title(scene.task, scene.dataset, scene.level)}",
            task=TASKS[scene.task].title,
            pages={index: cell_page((p.group, scene.level)) for index, p in enumerate(view.pictures) if p.group},
            meta={
                "origin": [view.top, view.left],
                "size": [view.region_height, view.region_width],
                "crops": [msgspec.to_builtins(crop) for crop in view.crops],
                "pictures": [
                    {
                        "title": picture.title,
                        "kind": picture.kind,
                        "reference": picture.reference,
                        "luma": msgspec.to_builtins(picture.luma),
                        "measure": picture.measure,
                    }
                    for picture in view.pictures
                ],
            },
            others=[
                (image, Path(self._view_path(scene, image)).name)
                for image in self._views[_scene_key(scene)]
                if image != view.image
            ],
            levels=[
                (
                    scene_title(*key),
                    self._view_pages.get((*key, view.image), f"compare/{key[0]}/{key[1]}/{key[2]}/index.html"),
                )
                for key in self._views
                if key[:2] == (scene.task, scene.dataset) and key[2] != scene.level
            ],
        )

    def _write_scene(self, scene: Scene) -> None:
        shown = self._views[_scene_key(scene)]
        best = {image: max(scene.values[m.group][image] for m in scene.members) for image in scene.images}
        self._page(
            f"compare/{scene.task}/{scene.dataset}/{scene.level}/index.html",
            "scene.html.j2",
            scene=scene,
            title=scene_title(scene.task, scene.dataset, scene.level),
            task=TASKS[scene.task].title,
            members=[(member, cell_page((member.group, scene.level))) for member in scene.members],
            best=best,
            lines=[
                {
                    "image": image,
                    "page": Path(self._view_path(scene, image)).name if image in shown else "",
                    "values": [scene.values[member.group][image] for member in scene.members],
                }
                for image in scene.images
            ],
        )

    def _scene_links(self) -> list[dict[str, Any]]:
        return [
            {
                "task": TASKS[scene.task].title,
                "title": scene_title(scene.task, scene.dataset, scene.level),
                "methods": [member.title for member in scene.members],
                "images": [
                    (image, self._view_path(scene, image))
                    for image in scene.images
                    if image in self._views[_scene_key(scene)]
                ],
                "page": f"compare/{scene.task}/{scene.dataset}/{scene.level}/index.html",
                "total": len(scene.images),
            }
            for scene in self._scenes
            if _scene_key(scene) in self._views
        ]

    # Plots -----------------------------------------------------------------------------------------------------------

    def _write_plots(self) -> None:
        costs = [chart for item in self._collected for chart in plots.cost_charts(item.table, item.results)]
        self._page(
            "plots.html",
            "plots.html.j2",
            histogram=plots.delta_histogram(item for item in self._collected if item.table.paper),
            costs=costs,
            times=self._time_charts(),
            tables=[item.table for item in self._collected if plots.level_charts(item.table, item.results)],
        )

    def _time_charts(self) -> list[plots.Chart]:
        """PSNR against the measured time of an image, for scenes with several methods that restore something."""
        points: dict[tuple[str, str, int], list[tuple[float, float, str]]] = {}
        for scene in self._scenes:
            of_scene = points.setdefault(_scene_key(scene), [])
            for member in scene.members:
                took = seconds_of(self._workspace, member.group, scene.level)
                values = scene.values[member.group].values()
                if took and member.group.method not in UNCHANGED:
                    of_scene.append((sum(took) / len(took), sum(values) / len(values), member.title))
        # Times hardly depend on the level: of each dataset the level with most methods stands for all.
        fullest: dict[tuple[str, str], tuple[str, str, int]] = {}
        for key, of_scene in points.items():
            best = fullest.get(key[:2])
            if len(of_scene) > 1 and (best is None or len(of_scene) > len(points[best])):
                fullest[key[:2]] = key
        charts = (
            plots.chart(
                "time-" + "-".join(map(str, key)),
                f"{scene_title(*key)}: PSNR against measured time",
                [plots.Values("measured here", tuple(points[key]), 1, line=False)],
                x_title="seconds an image (wall time of the run that made it)",
                y_title="PSNR (dB)",
                log_x=True,
            )
            for key in fullest.values()
        )
        return [chart for chart in charts if chart is not None]

    # Attention, training ---------------------------------------------------------------------------------------------

    def _write_attention(self) -> None:
        if not self._attention:
            return
        for page in self._attention:
            folder = self._folder / "attention" / page.name
            folder.mkdir(parents=True)
            for file in page.files:
                shutil.copyfile(page.folder / file, folder / file)
            self._page(f"attention/{page.name}.html", "attention.html.j2", page=page)
        self._page("attention/index.html", "attentions.html.j2", pages=self._attention)

    def _write_training(self) -> None:
        if self._training:
            charts = [(run, _training_charts(run)) for run in self._training]
            self._page("training.html", "training.html.j2", runs=charts)


def _training_charts(run: TrainingRun) -> list[plots.Chart]:
    found = []
    for number, curve in enumerate(run.curves):
        made = plots.chart(
            f"training-{run.name}-{number}",
            f"{run.name}: {curve.name}",
            [plots.Values(curve.name, tuple((x, y, "") for x, y in curve.points), number)],
            x_title="iteration",
            y_title=curve.name,
        )
        if made:
            found.append(made)
    return found


def _is_apart(result: CellResult) -> bool:
    """Whether a cell of an image metric is measured under another protocol than its column states."""
    request = result.request
    return request.metric in IMAGE_METRICS and request.protocol != request.column_protocol


def _names_by_protocol(results: Iterable[CellResult]) -> dict[str, list[str]]:
    """Rows by the protocol that is their own."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for result in results:
        found[result.request.protocol][result.request.row] = None
    return {name: list(rows) for name, rows in found.items()}


def _scene_key(scene: Scene) -> tuple[str, str, int]:
    return scene.task, scene.dataset, scene.level


def _in_turn(scenes: Sequence[Scene], *, whole_sets: bool) -> Iterator[tuple[Scene, str]]:
    """List images of scenes: the first of each, then the second of each that compares methods, and so on."""
    most = max((len(scene.images) for scene in scenes), default=0)
    for number in range(most):
        for scene in scenes:
            if number < len(scene.images) and (whole_sets or number == 0 or scene.restoring > 1):
                yield scene, scene.images[number]


def measured_marks(results: Iterable[CellResult]) -> dict[tuple[int, int, str], str]:
    """Mark the best and the second best measured value of each column.

    Only values measured under one protocol on one dataset at one level compete, and only where at least three do. Equal
    values share a mark.
    """
    contests: dict[tuple[Any, ...], list[CellResult]] = defaultdict(list)
    for result in results:
        request = result.request
        if isinstance(result.measured, Measurement):
            key = (request.part, request.dataset, request.level, request.metric, request.protocol)
            contests[key].append(result)
    marks: dict[tuple[int, int, str], str] = {}
    for (_, _, _, metric, _), members in contests.items():
        values = sorted(
            {r.measured.value for r in members if isinstance(r.measured, Measurement)},
            reverse=metric not in _SMALLER_IS_BETTER,
        )
        if len(members) < _FEWEST_FOR_MARKS or len(values) < 2:
            continue
        for result in members:
            if isinstance(result.measured, Measurement) and result.measured.value in values[:2]:
                marks[place_of(result.request)] = ("best", "second")[values.index(result.measured.value)]
    return marks


def _paper_title(name: str) -> str:
    return {"panet": "PANet", "rnan": "RNAN", "kit": "KiT", "csnln": "CSNLN"}.get(name, name or "Own tables")
