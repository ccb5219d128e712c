"""Counts: each number once, copies apart, the same figures wherever they are shown."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from harness.assets.weights import loading
from harness.assets.weights.registry import weight_set
from harness.cli import harness
from harness.errors import CheckFailedError, NotAvailableError
from harness.methods import build_method, methods
from harness.report.coverage import counts_block, coverage_rows, coverage_text, papers_coverage, write_counts
from harness.report.grid import legend, summary
from harness.run.cost import count_cost
from harness.tables.collected import collect
from harness.tables.counting import Number, count, number_of
from harness.tables.measurements import Measurement
from harness.tables.published import published_tables
from harness.tables.reach import reaches
from harness.tables.requests import COUNTED, requests
from harness.tables.workspace import Workspace

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def project() -> Workspace:
    return Workspace(ROOT)


def test_a_number_that_several_tables_print_counts_once(project: Workspace) -> None:
    items = collect(project, ["panet-table3", "rnan-table5"])
    both, one = count(r for item in items for r in item.results), count(items[0].results)
    # RNAN's table is PANet's without one column of methods; every number of it is printed again.
    assert both.numbers == one.numbers == 108
    assert both.all_places == 108 + 92
    assert both.distinct["match"] == one.distinct["match"] < both.places["match"]


def test_copies_have_one_verdict(project: Workspace) -> None:
    """Or a number would hang on which of its copies is looked at."""
    found: dict[Number, set[str]] = {}
    for item in collect(project, published_tables()):
        for result in item.results:
            number = number_of(result)
            if number is not None and result.verdict != "not run":
                found.setdefault(number, set()).add(result.verdict)
    assert {number: verdicts for number, verdicts in found.items() if len(verdicts) > 1} == {}


def test_the_worst_verdict_of_copies_counts(project: Workspace) -> None:
    results = [r for r in collect(project, ["panet-table3"])[0].results if r.request.printed is not None]
    match = next(r for r in results if r.verdict == "match")
    off = msgspec.structs.replace(match, judgement=msgspec.structs.replace(match.judgement, verdict="off"))
    for order in ([match, off], [off, match]):
        counts = count(order)
        assert (counts.distinct["match"], counts.distinct["off"], counts.places["match"]) == (0, 1, 1)


def test_every_surface_prints_the_same_figures(
    project: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.report.site import build_site

    monkeypatch.chdir(ROOT)
    found = papers_coverage(project)
    match, numbers = found.all.distinct["match"], found.all.numbers
    places = (found.all.places["match"], found.all.all_places)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert counts_block(papers_coverage(project, here=False)) in readme
    run = CliRunner()
    assert f"{match} of {numbers:,} numbers reproduced" in run.invoke(harness, ["report", "badge"]).output
    assert (
        f"(with copies: {places[0]} of {places[1]:,} printed places)" in run.invoke(harness, ["report", "badge"]).output
    )
    listing = run.invoke(harness, ["tables"]).output
    assert coverage_text(found) in listing
    records = json.loads(run.invoke(harness, ["tables", "--format", "json"]).output)
    assert (sum(r["match"] for r in records), sum(r["numbers"] for r in records)) == places
    for record in records:
        not_run = sum(record[key] for key in ("public", "supplied", "training", "none"))
        assert record["measured"] + not_run == record["numbers"], record["table"]
    lines = run.invoke(harness, ["report", "--summary"]).output.splitlines()
    line = next(line for line in lines if line.startswith("the papers' numbers"))
    assert [line.split()[4], line.split()[-1]] == [str(match), str(numbers)]
    index = (build_site(project, tmp_path / "site", budget=0).folder / "index.html").read_text(encoding="utf-8")
    public = found.by_reach["public"]
    assert (
        f"<h1>{public.distinct['match']} of the {public.numbers} published numbers that can be had are reproduced"
        in index
    )
    # The bar names every printed number once, and the papers' own rows follow it.
    bar, *networks = re.findall(r'<div class="shares">(.*?)</div>', index, re.DOTALL)
    assert sum(int(n.replace(",", "")) for n in re.findall(r"<b>([\d,]+)</b>", bar)) == numbers
    assert f"<b>{match}</b> reproduced to the printed digit" in bar
    assert len(networks) == len(found.own_by_reach) == 4
    shown = [sum(int(n) for n in re.findall(r"<b>(\d+)</b>", text)) for text in networks]
    assert shown == [sum(counts.numbers for counts in of.values()) for of in found.own_by_reach.values()]
    assert sum(shown) == found.own.numbers
    # A table that no paper printed stands apart from theirs.
    papers, own = index.split('<h2 id="own">')
    assert "embedded.html" in own and "embedded.html" not in papers and "panet-table1.html" not in own
    assert coverage_text(found).replace("'", "&#39;") in index
    for _, distinct, all_places in coverage_rows(found):
        assert re.search(rf'<td class="n">{distinct:,}</td><td class="n">{all_places:,}</td>', index)


def test_counts_that_are_not_those_of_the_results_fail(tmp_path: Path) -> None:
    block = counts_block(papers_coverage(Workspace(ROOT), here=False))
    file = tmp_path / "README.md"
    file.write_text(f"before\n{block}\nafter\n")
    assert not write_counts(file, block, check=True)
    file.write_text(file.read_text().replace("reproduced", "nearly reproduced", 1))
    with pytest.raises(CheckFailedError, match="not those of the results"):
        write_counts(file, block, check=True)
    assert write_counts(file, block, check=False)
    assert file.read_text() == f"before\n{block}\nafter\n"


def test_what_a_number_takes_is_read_off_the_registries() -> None:
    known = methods()
    found = {}
    tables = ("panet-table1", "panet-table2", "panet-table3", "panet-table5", "rnan-table8", "kit-table1", "kit-table3")
    for name in tables:
        asked = requests(published_tables()[name], known)
        for request, reach in zip(asked, reaches(asked, known), strict=True):
            found[name, request.row, request.key] = reach
    assert found["panet-table3", "JPEG", "live1/10/psnr"] == "public"
    assert {found["panet-table3", "TNRD", f"{name}/psnr"] for name in ("live1/10", "live1/20", "classic5/30")} == {
        "public"
    }
    # The file named is in mirrors only; another public one holds the same numbers.
    assert found["panet-table1", "IRCNN", "kodak24/10/psnr"] == "public"
    assert found["panet-table2", "IRCNN", "kodak24/psnr"] == "public"
    assert found["panet-table3", "PANet", "live1/10/psnr"] == "supplied"
    assert found["panet-table3", "SA-DCT", "live1/10/psnr"] == "none"
    assert found["panet-table5", "LapSRN", "urban100/2/psnr"] == "public"
    assert found["panet-table5", "LapSRN", "manga109/2/psnr"] == "supplied"
    assert {reach for (name, *_), reach in found.items() if name == "rnan-table8"} >= {"training", "public"}
    assert found["kit-table1", "KiT", "dnd/psnr"] in ("none", "training")
    # The mean takes what the sets take.
    assert found["kit-table3", "PreNet", "psnr"] != "public"


def test_files_that_methods_load_are_those_they_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is told of a number without building anything is what building it asks for, for every cell of the papers."""
    asked: list[str] = []

    def note(name: str, file: str, *_: object) -> None:
        asked.append(f"{name}/{file}")
        raise NotAvailableError("noted")

    monkeypatch.setattr(loading, "load_weights", note)
    known = methods()
    seen: set[tuple[str, str, int, str]] = set()
    for table in published_tables().values():
        for request in requests(table, known):
            method = known.get(request.method)
            if method is None or method.origin != "released" or request.group is None or method.on != "tensor":
                continue
            if (cell := (method.name, request.task, request.level, request.dataset)) in seen:
                continue
            seen.add(cell)
            asked.clear()
            told = method.loads(*cell[1:])
            where, _, file = (told or "").partition("/")
            released = bool(file) and file in {entry.name for entry in weight_set(where).files}
            with pytest.raises(NotAvailableError):
                build_method(method, *cell[1:])
            assert asked[:1] == ([told] if released else []), cell
    assert len(seen) > 50


def test_recorded_counts_of_parameters_are_those_of_the_networks(project: Workspace) -> None:
    """A count names no weights: a network that changed since would keep its old number."""
    known = methods()
    for item in collect(project, published_tables(), here=False):
        for result in item.results:
            if result.request.metric == COUNTED and isinstance(result.measured, Measurement):
                found = count_cost(known[result.request.method]).of(result.request.task)
                assert found.parameters == result.measured.value, (item.table.name, result.request.row)


def test_the_readmes_picture_is_of_the_committed_results(project: Workspace) -> None:
    item = collect(project, ["panet-table3"], here=False)[0]
    picture = html.unescape((ROOT / "docs/images/panet-table3.svg").read_text(encoding="utf-8")).replace("\xa0", " ")
    assert summary(item.table, item.results) in picture
    for verdict, sign, _ in legend(item.results):
        assert f"{sign} {verdict}" in picture
