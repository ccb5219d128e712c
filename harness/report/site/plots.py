"""The page of plots over all tables: differences, quality against parameters and time, images one by one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.records.cost import read_cost
from harness.records.tasks import TASKS
from harness.report import plots
from harness.report.facts import seconds_of
from harness.report.scenes import UNCHANGED, Scene, SceneId
from harness.report.site.contents import Contents, scene_title
from harness.report.site.pages import PAPERS, Pages
from harness.run.cost import count_parameters
from harness.tables.collected import TableResults
from harness.tables.counting import of_papers
from harness.tables.diff import CellResult
from harness.tables.measurements import Measurement
from harness.tables.requests import COUNTED


def write_plots(pages: Pages, contents: Contents, scenes: Sequence[Scene]) -> None:
    """Write the page of plots over all tables."""
    compared = of_papers(contents.tables)
    by_paper: dict[str, list[TableResults]] = {}
    for item in compared:
        by_paper.setdefault(item.table.paper, []).append(item)
    of_papers_alone = (
        plots.delta_histogram(items, f"deltas-{paper}", f"{PAPERS.get(paper, paper)}: measured − published")
        for paper, items in by_paper.items()
        if len(by_paper) > 1
    )
    fullest = _fullest(scenes)
    pages.write(
        "plots.html",
        "plots.html.j2",
        histograms=list(filter(None, [plots.delta_histogram(compared), *of_papers_alone])),
        costs=[chart for item in contents.tables for chart in plots.cost_charts(item.table, item.results)],
        parameters=_parameter_charts(contents),
        times=_time_charts(contents, scenes),
        strips=[
            plots.strips(
                [(member.title, list(scene.values[member.group].values())) for member in scene.members],
                name="images-" + "-".join(map(str, scene.id)),
                title=f"{TASKS[scene.task].title}, {scene_title(scene.id)}: PSNR of each image",
                about=f"{len(scene.images)} images, each a point; the hollow mark is the mean."
                + ("" if len({m.protocol for m in scene.members}) == 1 else " Each row under its own protocol."),
                x_title="PSNR (dB)",
                y_title="",
            )
            for scene in fullest
        ],
        tables=[item.table for item in contents.tables if plots.level_charts(item.table, item.results)],
    )


def _fullest(scenes: Iterable[Scene]) -> list[Scene]:
    """Choose of each task and dataset the level with most methods, where several methods have several images."""
    found: dict[tuple[str, str], Scene] = {}
    for scene in scenes:
        best = found.get(scene.id[:2])
        if (
            len(scene.members) > 1
            and len(scene.images) > 1
            and (best is None or len(scene.members) > len(best.members))
        ):
            found[scene.id[:2]] = scene
    return list(found.values())


def _parameter_charts(contents: Contents) -> list[plots.Chart]:
    """PSNR against parameters, for each task and dataset: at the level of the table that gives most points.

    Parameters are those that the tables or the cost stage counted; of networks that restored something, also counted
    now. Nothing printed stands for a count.
    """
    counted = {
        (result.request.method, result.request.task): result.measured.value
        for item in contents.tables
        for result in item.results
        if result.request.metric == COUNTED and isinstance(result.measured, Measurement)
    }
    fields: dict[tuple[str, str], dict[tuple[str, int], dict[str, CellResult]]] = {}
    for item in contents.tables:
        for result in item.results:
            asked = result.request
            shows = isinstance(result.measured, Measurement) or asked.printed is not None
            if asked.metric == "psnr" and asked.dataset and shows and item.table.kind == "benchmark":
                of_table = fields.setdefault((asked.task, asked.dataset), {})
                of_table.setdefault((item.table.name, asked.level), {}).setdefault(asked.method, result)
    charts = []
    for of_table in fields.values():
        drawn = {
            place: [(x, cell) for cell in cells.values() if (x := _parameters(contents, counted, cell))]
            for place, cells in of_table.items()
        }
        place = max(drawn, key=lambda of: (len(drawn[of]), sum(map(_is_measured, (cell for _, cell in drawn[of])))))
        if len(drawn[place]) > 1:
            charts.append(_parameter_chart(place, drawn[place]))
    return charts


def _is_measured(cell: CellResult) -> bool:
    return isinstance(cell.measured, Measurement)


def _parameter_chart(place: tuple[str, int], cells: Sequence[tuple[float, CellResult]]) -> plots.Chart:
    measured = [
        (x, cell.measured.value, cell.request.row) for x, cell in cells if isinstance(cell.measured, Measurement)
    ]
    published = [
        (x, float(cell.request.printed.value), cell.request.row)
        for x, cell in cells
        if cell.request.printed is not None and not _is_measured(cell)
    ]
    name, level = place
    asked = cells[0][1].request
    made = plots.chart(
        [
            plots.Values("PSNR measured", measured, 1, line=False),
            plots.Values("PSNR as published", published, 0, hollow=True, line=False),
        ],
        name=f"parameters-{asked.task}-{asked.dataset}",
        title=f"{TASKS[asked.task].title}, {scene_title((asked.task, asked.dataset, level))}: PSNR against parameters",
        about=f"The rows of {name} whose networks were counted here: {len(measured)} with a measured PSNR, "
        f"{len(published)} with the published one.",
        x_title="parameters, counted on the network",
        y_title="PSNR (dB)",
        log_x=True,
    )
    assert made is not None
    return made


def _parameters(contents: Contents, counted: dict[tuple[str, str], float], cell: CellResult) -> float | None:
    """Parameters of a row's network; None where they were not counted and nothing was restored with it."""
    asked = cell.request
    key = asked.method, asked.task
    if key not in counted:
        record = read_cost(contents.workspace.work, asked.method)
        known = [cost.parameters for cost in record.costs if cost.task == asked.task] if record else []
        method = contents.methods.get(asked.method)
        if not known and _is_measured(cell) and method is not None and method.network is not None:
            known = [count_parameters(method, asked.task)]
        if not known:
            return None
        counted[key] = known[0]
    return counted[key]


def _time_charts(contents: Contents, scenes: Sequence[Scene]) -> list[plots.Chart]:
    """PSNR against the measured time of an image, for scenes with several methods that restore something."""
    points: dict[SceneId, list[tuple[float, float, str]]] = {}
    for scene in scenes:
        of_scene = points.setdefault(scene.id, [])
        for member in scene.members:
            took = seconds_of(contents.workspace, member.group, scene.level)
            values = scene.values[member.group].values()
            if took and member.group.method not in UNCHANGED:
                of_scene.append((sum(took) / len(took), sum(values) / len(values), member.title))
    # Times hardly depend on the level: of each dataset the level with most methods stands for all.
    fullest: dict[tuple[str, str], SceneId] = {}
    for key, of_scene in points.items():
        best = fullest.get(key[:2])
        if len(of_scene) > 1 and (best is None or len(of_scene) > len(points[best])):
            fullest[key[:2]] = key
    charts = (
        plots.chart(
            [plots.Values("measured here", points[key], 1, line=False)],
            name="time-" + "-".join(map(str, key)),
            title=f"{TASKS[key[0]].title}, {scene_title(key)}: PSNR against measured time",
            x_title="seconds an image (wall time of the run that made it)",
            y_title="PSNR (dB)",
            log_x=True,
        )
        for key in fullest.values()
    )
    return list(filter(None, charts))
