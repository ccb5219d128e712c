"""Pages that belong to no table: the index, attention maps, training curves."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Sequence

from harness.report import plots
from harness.report.coverage import coverage_rows, coverage_text, headline, headline_text, shares
from harness.report.grid import meanings, prints_numbers, recorded_text
from harness.report.site.contents import Contents, cell_record
from harness.report.site.pages import PAPERS, Pages
from harness.report.site.scenes import ShownScenes
from harness.tables.collected import TableResults
from harness.tables.counting import WITH_MEASURED, count_tables, counts_of, coverage, of_papers, own_paper
from harness.tables.published import published_tables
from harness.tables.verdicts import VERDICTS

# Scenes that the index leads to; the rest is on their own list.
_SCENES_ON_INDEX = 6


def write_index(pages: Pages, contents: Contents, scenes: ShownScenes, notes: Sequence[str]) -> None:
    """Write the first page: how much of every paper and table is reproduced, and what is off."""
    # A user may transcribe another table of a paper that the project reproduces; it counts by itself.
    papers: dict[tuple[str, bool], list[TableResults]] = defaultdict(list)
    known = published_tables()
    for item in contents.tables:
        papers[item.table.paper, item.table.name in known].append(item)
    groups = [
        {
            "paper": paper,
            "title": PAPERS.get(paper, paper) if ours else f"{paper}, added here" if paper else "",
            "ours": ours,
            "lines": [{"table": item.table, "counts": counts_of(item)} for item in items],
            "counts": count_tables(items),
        }
        for (paper, ours), items in papers.items()
    ]
    papers_tables = of_papers(contents.tables)
    whole = coverage(papers_tables, contents.methods)
    lines = [line["counts"] for group in groups for line in group["lines"]]  # type: ignore[attr-defined]
    # Without a published number only the words of own rows are needed.
    shown = [
        verdict
        for verdict in WITH_MEASURED
        if any(counts.get(verdict) for counts in lines) or (whole.all.numbers and verdict in VERDICTS)
    ]
    pages.write(
        "index.html",
        "index.html.j2",
        groups=[group for group in groups if group["ours"]],
        own=[group for group in groups if not group["ours"]],
        headline=headline(whole),
        headline_text=headline_text(whole),
        shares=shares(whole.by_reach),
        networks=[
            {
                "title": paper,
                "shares": shares(by_reach),
                "tables": [item.table.name for item in papers_tables if paper in map(own_paper, item.results)],
            }
            for paper, by_reach in whole.own_by_reach.items()
        ],
        coverage=coverage_rows(whole),
        coverage_text=coverage_text(whole),
        counts=whole.all,
        shown=shown,
        said=meanings(published=any(prints_numbers(item.results) for item in contents.tables)),
        histogram=plots.delta_histogram(papers_tables),
        off=[
            cell_record(item, result)
            for item in contents.tables
            for result in item.results
            if result.verdict == "off" and result.request.printed is not None
        ],
        scenes=scenes.links()[:_SCENES_ON_INDEX],
        recorded=recorded_text([result for item in contents.tables for result in item.results]),
        notes=list(dict.fromkeys(notes)),
    )


def write_attention(pages: Pages, contents: Contents) -> None:
    """Write the pages of attention maps, if there are any, with their pictures."""
    for page in contents.attention:
        folder = pages.folder / "attention" / page.name
        folder.mkdir(parents=True)
        for file in page.files:
            shutil.copyfile(page.folder / file, folder / file)
        pages.write(f"attention/{page.name}.html", "attention.html.j2", page=page)
    if contents.attention:
        pages.write("attention/index.html", "attentions.html.j2", pages=contents.attention)


def write_training(pages: Pages, contents: Contents) -> None:
    """Write the page of training curves, if there are any."""
    runs = [
        (
            run,
            [
                plots.chart(
                    [plots.Values(curve.name, [(x, y, "") for x, y in curve.points], number)],
                    name=f"training-{run.name}-{number}",
                    title=f"{run.name}: {curve.name}",
                    x_title="iteration",
                    y_title=curve.name,
                )
                for number, curve in enumerate(run.curves)
            ],
        )
        for run in contents.training
    ]
    if runs:
        pages.write("training.html", "training.html.j2", runs=runs)
