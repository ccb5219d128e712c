"""The site's files: every number, verdict and hash on a page is the one behind it."""

from __future__ import annotations

import base64
import html
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image
from small_workspace import GROUPS, MARKUP, ROWS_ONLY, TABLES

from harness.assets.datasets.reading import open_dataset
from harness.degradations import degradation
from harness.errors import HarnessError
from harness.files import write_json
from harness.images import pixels_sha256, read_image, write_png
from harness.metrics import psnr
from harness.protocols import protocol
from harness.records.cells import FIRST_DRAW
from harness.records.restored import LevelRecord
from harness.records.rows import MeasuredRecord, write_rows
from harness.report.render import render
from harness.report.site import SiteSummary, build_site, cell_page, one_protocol_page, table_page
from harness.report.site.tables import measured_marks
from harness.tables.collected import collect
from harness.tables.diff import as_record, measured_text
from harness.tables.measurements import Measurements
from harness.tables.one_protocol import COLUMN, one_protocol
from harness.tables.workspace import Workspace


def pages(site: SiteSummary) -> list[Path]:
    return sorted(site.folder.rglob("*.html"))


def copy_of(workspace: Workspace, folder: Path) -> Workspace:
    shutil.copytree(workspace.root, folder / "copy", ignore=shutil.ignore_patterns("site"))
    return Workspace(folder / "copy")


def pointed_at(page: Path) -> list[tuple[dict[str, str], str, dict[str, str]]]:
    """What a table's page shows of each cell: facts of the number, then the heading and facts of its making."""
    details = json.loads(re.search(r'id="facts">(.*?)</script>', page.read_text(), re.DOTALL)[1])  # type: ignore[index]
    texts = details["texts"]
    assert len(set(texts)) == len(texts)
    found = []
    for cell, made in zip(details["cells"], details["made"], strict=True):
        words = [texts[number] for number in cell]
        head, *making = [texts[number] for number in details["makings"][made]] if made >= 0 else [""]
        found.append(
            (
                dict(zip(words[::2], words[1::2], strict=True)),
                head,
                dict(zip(making[::2], making[1::2], strict=True)),
            )
        )
    return found


def test_every_kind_of_page_is_there(site: SiteSummary) -> None:
    names = {path.relative_to(site.folder).as_posix() for path in pages(site)}
    assert {"index.html", "plots.html", "compare/index.html", table_page("report-mine")} <= names
    assert {cell_page((group, 50 if group.task != "sr" else 2)) for group in GROUPS} <= names
    assert len([name for name in names if name.startswith("compare/denoise-rgb/embedded/50/")]) == 4
    assert site.pages == len(names)
    assert (
        site.bytes
        == sum(p.stat().st_size for p in site.folder.rglob("*") if p.is_file())
        - (site.folder / "site.json").stat().st_size
    )


def test_a_table_of_mixed_protocols_has_a_page_under_one(site: SiteSummary, report_workspace: Workspace) -> None:
    page = site.folder / one_protocol_page("report-sr")
    text = html.unescape(page.read_text())
    assert "Bicubic: printed under psnr-y8-crop" in re.sub("</?code>", "", text)
    (enlarge, bicubic) = re.findall(r'<span class="measured [a-z]*">([0-9.]+)</span>', text)
    for cell in one_protocol(report_workspace, report_workspace.table("report-sr"), COLUMN):
        assert cell.protocol == "psnr-y-crop"
        assert float({"Enlarge": enlarge, "Bicubic": bicubic}[cell.request.row]) == pytest.approx(cell.value, abs=6e-4)
    assert page.name in (site.folder / table_page("report-sr")).read_text()
    records = json.loads(page.with_suffix(".json").read_text())
    assert [record["protocol"] for record in records] == ["psnr-y-crop"] * 2
    # Where every row has its column's protocol there is nothing to show.
    assert not (site.folder / one_protocol_page("report-mine")).exists()


def test_links_lead_to_files_and_nowhere_else(site: SiteSummary) -> None:
    for page in pages(site):
        for link in re.findall(r'(?:href|src)="([^"]*)"', page.read_text()):
            if link.startswith(("#", "data:")):
                continue
            assert "://" not in link, f"{page}: {link}"
            assert (page.parent / link.partition("#")[0]).is_file(), f"{page}: {link}"


def test_numbers_of_a_table_page_are_those_behind_it(site: SiteSummary, report_workspace: Workspace) -> None:
    text = (site.folder / table_page("report-mine")).read_text()
    item = collect(report_workspace, ["report-mine"])[0]
    places = re.findall(
        r'<td class="n place ([a-z-]+)" data-verdict="([^"]*)" data-published="([^"]*)" data-measured="([^"]*)" '
        r'data-delta="([^"]*)">(.*?)</td>',
        text,
        re.DOTALL,
    )
    shown = [(v, p and float(p), m and float(m), d and float(d)) for kind, v, p, m, d, _ in places if kind != "empty"]
    expected = [
        tuple("" if value is None else value for value in (r["verdict"], r["published"], r["measured"], r["delta"]))
        for r in map(as_record, item.results)
    ]
    assert shown == expected
    assert {v for v, *_ in shown} == {"match", "close", "off", "incomparable", "measured", "not run"}
    for result in item.results:
        if measured_text(result):
            assert measured_text(result) in text
    details = pointed_at(site.folder / table_page("report-mine"))
    for result, (facts, _, _) in zip(item.results, details, strict=True):
        assert facts["verdict"].startswith(result.verdict)
        if measured_text(result):
            assert float(facts["measured"]) == as_record(result)["measured"]


def test_a_reason_is_told_once_a_row(site: SiteSummary, report_workspace: Workspace) -> None:
    text = html.unescape((site.folder / table_page("report-mine")).read_text())
    cells = text[text.index('id="cells"') :]
    results = collect(report_workspace, ["report-mine"])[0].results
    reasons = {(r.request.row, r.judgement.reason) for r in results if r.judgement.reason}
    assert cells.count("<summary>why</summary>") == len(reasons) < sum(bool(r.judgement.reason) for r in results)
    folded = dict(re.findall(r'<span id="(why-\d+)">(.*?)</span></details>', cells, re.DOTALL))
    assert len(set(folded)) == len(reasons)
    assert set(re.findall(r'href="#(why-\d+)"', cells)) <= set(folded)


def test_images_stand_in_the_order_that_is_told(site: SiteSummary, report_workspace: Workspace, tmp_path: Path) -> None:
    def listed(folder: Path) -> dict[str, tuple[str, list[tuple[str, str]]]]:
        text = html.unescape((folder / "compare" / "index.html").read_text())
        sections = re.findall(r"<h3><a[^>]*>(.*?)</a></h3>(.*?)</section>", text, re.DOTALL)
        pattern = r'<span>([^<]*)</span></a> <span class="dim">([^<]*)</span>'
        return {title: (body, re.findall(pattern, body)) for title, body in sections}

    def values(group: Any, level: int, protocol_name: str = "psnr") -> dict[str, float]:
        return Measurements(report_workspace.work).images(group, level, protocol_name)

    body, images = listed(site.folder)["Embedded, sigma 50"]
    blur, smear = values(GROUPS[1], 50), values(GROUPS[2], 50)
    apart = {image: abs(blur[image] - smear[image]) for image in blur}
    assert "Images on which the methods lie farthest apart in PSNR stand first." in body
    ranked = sorted(apart, key=apart.__getitem__, reverse=True)
    assert images == [(image, f"{apart[image]:.2f} dB apart") for image in ranked]
    # Rows of two protocols: the sentence says so.
    assert "farthest apart in PSNR, each under its own protocol," in listed(site.folder)["Embedded, x2"][0]
    # With one method the worst images come first, and the sentence is another.
    workspace = copy_of(report_workspace, tmp_path)
    shutil.rmtree(workspace.work / "restored" / GROUPS[2].place)
    body, images = listed(build_site(workspace, tmp_path / "site", names=["report-mine"]).folder)["Embedded, sigma 50"]
    assert "has the lowest PSNR stand first" in body and "farthest" not in body
    assert images == [(image, f"{blur[image]:.2f} dB") for image in sorted(blur, key=blur.__getitem__)]


def test_a_photograph_has_one_thumbnail(site: SiteSummary) -> None:
    # Three images, at three scenes: one file each, which its page shows, too.
    files = {path.name for path in (site.folder / "overviews").iterdir()}
    text = (site.folder / "compare" / "index.html").read_text()
    used = re.findall(r'src="\.\./overviews/([0-9a-f]+\.webp)" alt="" width="\d+" height="\d+" loading="lazy"', text)
    assert len(used) == site.images_shown and set(used) <= files
    assert len({name for name in used}) == len(files) < len(used)


def test_a_cell_page_shows_rows_hashes_and_what_made_them(site: SiteSummary, report_workspace: Workspace) -> None:
    group = GROUPS[1]
    text = html.unescape((site.folder / cell_page((group, 50))).read_text())
    values = Measurements(report_workspace.work).images(group, 50, "psnr")
    folder = report_workspace.work / "restored" / group.place / "50" / f"draw{FIRST_DRAW}"
    assert len(values) == 3
    for image, value in values.items():
        assert f'data-value="{value}"' in text
        assert pixels_sha256(read_image(folder / f"{image}.png")) in text
    assert "c0de" in text and "numpy" in text and "psnr.1" in text
    assert "harness why report-mine 'Blur " in text


def test_pointing_at_a_number_tells_it_from_others(site: SiteSummary, report_workspace: Workspace) -> None:
    item = collect(report_workspace, ["report-mine"])[0]
    for result, (_, head, making) in zip(
        item.results, pointed_at(site.folder / table_page("report-mine")), strict=True
    ):
        if result.request.group is None:
            assert (head, making) == ("", {})
            continue
        assert head == "What made it"
        assert {"policy": "whole", "degradation": "awgn-8bit", "saving": "round"}.items() <= making.items()
        assert making["code fingerprint"] == "c0de"
        # What is the same for every cell is on the cell's page.
        assert not {"machine", "memory", "command", "Python", "libraries"} & making.keys()
        if result.request.dataset == "embedded":
            assert "numpy" in making["versions"] and "pillow" not in making["versions"]
            assert making["time"].endswith("s an image (3 images)")
            page = html.unescape((site.folder / cell_page((result.request.group, result.request.level))).read_text())
            for label in ("machine", "libraries", "peak memory", "Python", *(making.keys() - {"versions"})):
                assert f"<dt>{label}</dt>" in page


NOT_RUN = "the weights blur/50.pt are not here"


@pytest.fixture(scope="module")
def changed(report_workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, SiteSummary]:
    """A copy in which a cell was not run and another has a record of a later version, and its site without scenes."""
    workspace = copy_of(report_workspace, tmp_path_factory.mktemp("changed"))
    place = ROWS_ONLY.place
    empty = MeasuredRecord(ROWS_ONLY, "none", 1, {"psnr": "psnr.1"}, "c0de", "", {50: LevelRecord(NOT_RUN, {})}, 2)
    write_rows(workspace.work / "rows" / place.with_name(place.name + ".csv"), empty, [])
    run = {"libraries": {"numpy": "2.0"}, "finished": "2026-01-01T00:00:00+00:00", "revision": "abc", "dirty": True}
    write_json(workspace.work / "timing" / place.with_name(place.name + ".json"), run)
    place = GROUPS[1].place
    record = {"git_revision": "abc1234", "flags": {"tf32": False}, "seed": 0}
    write_json(workspace.work / "provenance" / place.with_name(place.name + ".json"), record)
    return workspace, build_site(workspace, workspace.results / "site", names=["report-mine"], budget=0)


def test_a_cell_that_was_not_run_shows_what_would_make_it(changed: tuple[Workspace, SiteSummary]) -> None:
    workspace, made = changed
    page = (made.folder / cell_page((ROWS_ONLY, 50))).read_text()
    assert "<h2>What would make it</h2>" in page and "What made it" not in page and f"Not run: {NOT_RUN}" in page
    assert re.findall("<dt>(.*?)</dt>", page) == ["method", "policy", "degradation", "saving"]
    assert "per-image values are not" not in page
    results = collect(workspace, ["report-mine"])[0].results
    details = pointed_at(made.folder / table_page("report-mine"))
    index = next(i for i, r in enumerate(results) if r.request.group == ROWS_ONLY)
    facts, head, making = details[index]
    assert facts["verdict"] == f"not run: {NOT_RUN}"
    assert head == "What would make it" and list(making) == ["method", "policy", "degradation", "saving"]


def test_facts_of_later_versions_are_shown(changed: tuple[Workspace, SiteSummary]) -> None:
    text = (changed[1].folder / cell_page((GROUPS[1], 50))).read_text()
    assert "git revision" in text and "abc1234" in text and "tf32 no" in text


def test_a_picture_and_its_psnr_are_of_the_very_pixels(site: SiteSummary, report_workspace: Workspace) -> None:
    fetched = open_dataset("embedded", report_workspace.data)
    for group, level, measure in ((GROUPS[1], 50, "psnr"), (GROUPS[3], 2, "psnr-y")):
        made = degradation(group.degradation)
        folder = site.folder / "compare" / group.task / "embedded" / str(level)
        views = [path for path in folder.glob("*.html") if path.name != "index.html"]
        assert views
        for page in views:
            text = page.read_text()
            meta = json.loads(re.search(r'id="view">(.*?)</script>', text, re.DOTALL)[1])  # type: ignore[index]
            coded = re.findall(r'<figure class="picture".*?base64,([^"]*)"', text, re.DOTALL)
            shown = [np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for data in coded]
            title = "Enlarge" if level == 2 else "Blur"
            index = next(i for i, p in enumerate(meta["pictures"]) if p["title"].startswith(title))
            (top, left), (height, width) = meta["origin"], meta["size"]
            cut = np.s_[top : top + height, left : left + width]
            restored = read_image(report_workspace.work / "restored" / group.place / f"{level}/draw0/{page.stem}.png")
            truth = made.reference(fetched.read(page.stem), level)
            np.testing.assert_array_equal(shown[index], restored[cut])
            np.testing.assert_array_equal(shown[meta["pictures"][index]["reference"]], truth[cut])
            for crop in meta["crops"]:
                square = np.s_[crop["top"] : crop["top"] + crop["side"], crop["left"] : crop["left"] + crop["side"]]
                value = protocol(measure).measure(truth[square], restored[square])
                assert f'<td class="n">{value:.2f}</td>' in text
            whole = Measurements(report_workspace.work).images(group, level, "psnr" if level == 50 else "psnr-y-crop")
            assert f"whole image {whole[page.stem]:.2f} dB" in text


def test_worst_and_best_are_cut_from_the_files(site: SiteSummary, report_workspace: Workspace) -> None:
    group = GROUPS[2]
    text = (site.folder / cell_page((group, 30))).read_text()
    values = Measurements(report_workspace.work).images(group, 30, "psnr")
    fetched = open_dataset("embedded", report_workspace.data)
    for which, image in (("Worst", min(values, key=values.__getitem__)), ("Best", max(values, key=values.__getitem__))):
        section = re.search(rf"<h3>{which}: {image}</h3>(.*?)</section>", text, re.DOTALL)[1]  # type: ignore[index]
        files = re.findall(r'src="[./]*(pictures/[0-9a-f]+\.webp)"', section)
        side, top, left = map(int, re.search(r"the (\d+)×\d+ pixels from row (\d+), column (\d+)", section).groups())  # type: ignore[union-attr]
        square = np.s_[top : top + side, left : left + side]
        restored = read_image(report_workspace.work / "restored" / group.place / f"30/draw0/{image}.png")[square]
        truth = fetched.read(image)[square]
        np.testing.assert_array_equal(np.asarray(Image.open(site.folder / files[0])), restored)
        np.testing.assert_array_equal(np.asarray(Image.open(site.folder / files[1])), truth)
        assert f"Whole image {values[image]:.2f} dB" in section
        assert f"this crop {psnr(truth, restored):.2f} dB" in section


def test_markup_in_names_stays_text(site: SiteSummary) -> None:
    for page in [*pages(site), *site.folder.rglob("*.md")]:
        text = page.read_text()
        assert "<script>window" not in text, page
        assert "<img src=x" not in text, page
    assert html.escape(MARKUP, quote=False)[:20] in (site.folder / table_page("report-mine")).read_text()
    assert "&lt;script&gt;window.attacked" in (site.folder / cell_page((ROWS_ONLY, 50))).read_text()


def test_marks_of_measured_values_need_three_under_one_protocol(report_workspace: Workspace) -> None:
    results = collect(report_workspace, ["report-mine"])[0].results
    marks = measured_marks(results)
    at_50 = {
        r.request.row: marks.get((r.request.part, r.request.line, r.request.key))
        for r in results
        if r.request.key == "embedded/50/psnr"
    }
    assert at_50["Noisy"] is None
    assert sorted(filter(None, at_50.values())) in (["best", "best", "second"], ["best", "second", "second"])
    assert not measured_marks(collect(report_workspace, ["report-sr"])[0].results)


def test_a_fresh_clone_shows_recorded_numbers_and_says_so(report_workspace: Workspace, tmp_path: Path) -> None:
    for name in TABLES:
        render(report_workspace, report_workspace.table(name))
    for name in ("params.yaml", "methods", "tables"):
        source = report_workspace.root / name
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, tmp_path / name)
    (tmp_path / "results").mkdir()
    for name in TABLES:
        shutil.copyfile(report_workspace.results / f"{name}.json", tmp_path / "results" / f"{name}.json")
    clone = Workspace(tmp_path)
    here = [as_record(r) for item in collect(report_workspace, TABLES) for r in item.results]
    there = [as_record(r) for item in collect(clone, TABLES) for r in item.results]
    assert [cell | {"recorded": ""} for cell in there] == here
    assert {bool(cell["recorded"]) for cell in there if cell["measured"] is not None} == {True}
    made = build_site(clone, tmp_path / "results" / "site", names=TABLES)
    assert made.scenes_shown == 0
    index = (made.folder / "index.html").read_text()
    measured = sum(cell["measured"] is not None for cell in there)
    assert f"0 of the {measured} measured numbers were measured here" in index and "No images are shown" in index
    cell = (made.folder / cell_page((GROUPS[1], 50))).read_text()
    assert "per-image values are not on the machine" in cell
    assert not (made.folder / "compare").exists()


def test_recorded_numbers_do_not_replace_measured_ones(report_workspace: Workspace, tmp_path: Path) -> None:
    workspace = copy_of(report_workspace, tmp_path)
    results = render(workspace, workspace.table("report-mine"))
    path = workspace.results / "report-mine.json"
    stale = json.loads(path.read_text())
    for cell in stale:
        cell["measured"] = 1.0
    path.write_text(json.dumps(stale))
    item = collect(workspace, ["report-mine"])[0]
    assert item.results == results and not item.recorded
    path.write_text("[{}]")
    item = collect(workspace, ["report-mine"])[0]
    assert item.results == results and "not a table's results" in item.damaged[0]


def test_what_is_missing_is_told(report_workspace: Workspace, tmp_path: Path) -> None:
    workspace = copy_of(report_workspace, tmp_path)
    shutil.rmtree(workspace.data)
    made = build_site(workspace, tmp_path / "site", names=TABLES)
    assert made.scenes_shown == 0 and any("no pictures, because the dataset 'embedded'" in note for note in made.notes)
    assert "no pictures" in (made.folder / "index.html").read_text()


def test_images_that_were_not_fetched_are_left_out(report_workspace: Workspace, tmp_path: Path) -> None:
    workspace = copy_of(report_workspace, tmp_path)
    (workspace.work / "restored" / GROUPS[1].place / "50" / "draw0" / "coffee.png").unlink()
    (workspace.work / "restored" / GROUPS[3].place / "restored.json").unlink()
    made = build_site(workspace, tmp_path / "site", names=TABLES)
    folder = made.folder / "compare" / "denoise-rgb" / "embedded" / "50"
    assert {path.stem for path in folder.glob("*.html")} == {"index", "astronaut", "chelsea"}
    assert "Enlarge" not in (made.folder / "compare" / "sr" / "embedded" / "2" / "coffee.html").read_text()
    # Its numbers are there all the same.
    assert "coffee" in (made.folder / cell_page((GROUPS[1], 50))).read_text()


def test_a_replaced_image_is_refused(report_workspace: Workspace, tmp_path: Path) -> None:
    workspace = copy_of(report_workspace, tmp_path)
    for file in (workspace.work / "restored" / GROUPS[1].place / "50" / "draw0").iterdir():
        write_png(file, np.zeros((512, 512, 3), np.uint8))
    with pytest.raises(HarnessError, match="the pixels are not those that were restored"):
        build_site(workspace, tmp_path / "site", names=TABLES)
    assert not (tmp_path / "site").exists()
    assert not list(tmp_path.glob(".site*"))


def test_the_same_results_give_the_same_site(site: SiteSummary, report_workspace: Workspace, tmp_path: Path) -> None:
    again = build_site(report_workspace, tmp_path / "site", names=TABLES)
    first = {p.relative_to(site.folder): p.read_bytes() for p in site.folder.rglob("*") if p.is_file()}
    second = {p.relative_to(again.folder): p.read_bytes() for p in again.folder.rglob("*") if p.is_file()}
    assert first == second


def test_only_a_site_is_replaced(report_workspace: Workspace, tmp_path: Path) -> None:
    target = tmp_path / "thesis"
    target.mkdir()
    (target / "chapter1.tex").write_text("years of work")
    with pytest.raises(HarnessError, match="holds something else"):
        build_site(report_workspace, target, names=TABLES)
    assert (target / "chapter1.tex").read_text() == "years of work"


def test_the_budget_bounds_the_pictures(
    report_workspace: Workspace, changed: tuple[Workspace, SiteSummary], tmp_path: Path
) -> None:
    none = changed[1]
    assert none.images_shown == 0 and none.images_left_out > 0
    every = build_site(report_workspace, tmp_path / "every", names=TABLES, budget=0, all_images=True)
    assert every.images_shown == 9 and every.images_left_out == 0
    meta: Any = re.search(
        r'id="view">(.*?)</script>', (every.folder / "compare/sr/embedded/2/coffee.html").read_text(), re.DOTALL
    )
    assert json.loads(meta[1])["size"] == [400, 600]


def test_the_site_keeps_its_limit_by_fewer_pictures(
    site: SiteSummary, report_workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(limit: int) -> SiteSummary:
        made = build_site(report_workspace, tmp_path / str(limit), names=TABLES, limit=limit)
        test_links_lead_to_files_and_nowhere_else(made)
        assert made.pages == len(pages(made))
        shown = [page for page in made.folder.glob("compare/*/*/*/*.html") if page.name != "index.html"]
        assert made.images_shown == len(shown)
        assert made.images_shown + made.images_left_out == site.images_shown + site.images_left_out
        return made

    monkeypatch.setattr("harness.report.site.build.LEAST_PICTURES", 1)
    smaller = build(site.bytes - 1)
    assert smaller.bytes < site.bytes - 1
    assert 0 < smaller.images_shown < site.images_shown
    assert any("images fewer" in note and "--megabytes 7" in note for note in smaller.notes)
    index = html.unescape((smaller.folder / "compare" / "index.html").read_text())
    assert f"{smaller.images_left_out} further images" in index and smaller.notes[-1] in index
    assert len(list((smaller.folder / "pictures").iterdir())) == len(list((site.folder / "pictures").iterdir()))
    # Where even that is too much, one view of a scene stays, and the size is told to be too large.
    least = build(1000)
    assert least.images_shown == 1 and not list((least.folder / "pictures").iterdir())
    assert "Worst and best" not in (least.folder / cell_page((GROUPS[1], 50))).read_text()
    assert any("worst and best" in note for note in least.notes)
    assert "the site takes more than 0.001 MB" in least.notes[-1]


def test_the_whole_project_fits_its_limits(site: SiteSummary) -> None:
    # Twenty megabytes for the project's own tables; this one has two scenes of three images.
    assert site.bytes < 8_000_000
    assert msgspec.json.decode((site.folder / "site.json").read_bytes())["pages"] == site.pages
