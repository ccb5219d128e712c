"""Pages of cells: what a method made of a dataset at a level, image by image, and what made it."""

from __future__ import annotations

import shlex
from collections import Counter

import msgspec

from harness.protocols.definitions import protocol
from harness.records.tasks import TASKS
from harness.report import plots
from harness.report.facts import pixel_hashes
from harness.report.pictures import in_threads
from harness.report.site.contents import Contents, cell_record, making_facts, scene_title, was_measured
from harness.report.site.pages import CellId, Pages, cell_page, scene_page
from harness.report.site.scenes import ShownScenes
from harness.report.views import Extreme, make_extremes

Extremes = dict[CellId, list[tuple[Extreme, str, str]]]
"""Worst and best images by cell, with the paths below the site of their two pictures: restored, and ground truth.

Cells without them are not in it.
"""


def write_extremes(pages: Pages, contents: Contents) -> Extremes:
    """Write the pictures of the worst and the best image of every cell whose images are here."""

    def make(cell: CellId) -> list[Extreme]:
        name = _psnr_protocol(contents, cell)
        values = contents.measurements.images(*cell, name) if name else {}
        return make_extremes(contents.workspace, *cell, values, name)

    return {
        cell: [
            (
                msgspec.structs.replace(extreme, restored=b"", truth=b""),
                pages.write_picture(extreme.restored),
                pages.write_picture(extreme.truth),
            )
            for extreme in extremes
        ]
        for cell, extremes in in_threads(make, contents.asked)
        if extremes
    }


def fewer_extremes(pages: Pages, extremes: Extremes, excess: int) -> Extremes:
    """Take back pictures of the last cells until so many bytes are free, or none is left; return those that stay."""
    used = Counter(path for items in extremes.values() for _, *paths in items for path in paths)
    kept = dict(extremes)
    for cell in reversed(extremes):
        if excess <= 0:
            break
        for path in (path for _, *paths in kept.pop(cell) for path in paths):
            used[path] -= 1
            if not used[path]:
                excess -= pages.size(path)
                pages.remove([path])
    return kept


def _psnr_protocol(contents: Contents, cell: CellId) -> str:
    """Protocol of the cell's first PSNR in a table; empty where none asks for one."""
    return next((result.request.protocol for _, result in contents.asked[cell] if result.request.metric == "psnr"), "")


def write_cell(
    pages: Pages, contents: Contents, scenes: ShownScenes, cell: CellId, extremes: list[tuple[Extreme, str, str]]
) -> None:
    """Write the page of a cell."""
    group, level = cell
    scene = (group.task, group.dataset, level)
    asked = contents.asked[cell]
    first_result = asked[0][1]
    record = contents.measurements.record(group)
    values = {
        name: found
        for name in (sorted(record.protocols) if record else [])
        if (found := contents.measurements.images(group, level, name))
    }
    first = _psnr_protocol(contents, cell) or next(iter(values), "")
    hashes = pixel_hashes(contents.workspace, group, level)
    method = contents.methods.get(group.method)
    metric = protocol(first).metric if first else ""
    request = first_result.request
    measured = was_measured(contents, cell)
    # Rows of weights that were trained further since count for no table, but the page shows them, and what made them.
    ran = measured or bool(values)
    pages.write(
        cell_page(cell),
        "cell.html.j2",
        group=group,
        level=level,
        title=f"{method.title if method else group.method} on {scene_title(scene)}",
        task=TASKS[group.task].title if group.task in TASKS else group.task,
        method=method,
        published=[cell_record(item, result) for item, result in asked],
        facts=making_facts(contents, cell, first_result, ran=ran),
        protocols=[(name, protocol(name).version) for name in values],
        first=first,
        images=[
            {
                "name": image,
                "values": [values[name].get(image) for name in values],
                "sha256": hashes.get(image, ""),
                "page": scenes.page(scene, image),
            }
            for image in values.get(first, {})
        ],
        means=[sum(found.values()) / len(found) for found in values.values()],
        histogram=plots.distribution(
            [float(value) for value in values.get(first, {}).values()], "dB" if metric == "psnr" else metric
        ),
        extremes=extremes,
        ran=ran,
        not_run="" if measured else first_result.judgement.reason,
        tables=list(dict.fromkeys(item.table.name for item, _ in asked)),
        chain=shlex.join(["harness", "why", request.table, request.row, request.key]),
        scene=scene in scenes.images,
        scene_page=scene_page(scene),
    )
