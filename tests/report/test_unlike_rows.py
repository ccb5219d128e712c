"""Rows of a table that were made otherwise are marked and explained in every form; own rows have words of their own."""

from __future__ import annotations

import csv
import html
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from click.testing import CliRunner

import harness.methods as registry
from harness.cli import harness
from harness.methods import Method
from harness.records.cells import Group
from harness.records.restored import LevelRecord
from harness.records.rows import ImageRow, MeasuredRecord, write_rows
from harness.report.badge import badge_svg, badge_text
from harness.report.grid import summary
from harness.report.render import forms
from harness.report.site import build_site
from harness.tables.collected import collect, results_of
from harness.tables.diff import CellResult, Difference
from harness.tables.fairness import footnotes, with_differences
from harness.tables.measurements import Measurement
from harness.tables.published import Table, check_table, read_table, select
from harness.tables.requests import requests
from harness.tables.verdicts import Judgement
from harness.tables.workspace import Workspace

FLOAT, EIGHT_BITS = "awgn-seed0-float", "awgn-seed0-8bit"

PLUGIN = """
from harness.methods import method

@method("new-net", tasks=["denoise-rgb"], title="NewNet", on="array")
def new(task, level):
    return lambda image: image

@method("old-net", tasks=["denoise-rgb"], title="OldNet", on="array")
def old(task, level):
    return lambda image: image
"""


def own_table(*rows: dict[str, Any], name: str = "mine", **part: Any) -> dict[str, Any]:
    columns = [{"dataset": "embedded", "level": 50, "metric": metric} for metric in ("psnr", "ssim")]
    parts = [{"task": "denoise-rgb", "columns": columns, "rows": list(rows), **part}]
    return {"name": name, "paper": "", "title": "Mine", "source": "measured here", "parts": parts}


NEW = {"name": "NewNet", "method": "new-net"}
OLD = {"name": "OldNet", "method": "old-net"}
FFDNET = {"name": "FFDNet (panet-table1)", "method": "ffdnet", "values": ["29.10", ""], "degradation": FLOAT}


def measured(workspace: Workspace, method: str, degradation: str, value: float) -> None:
    group = Group("denoise-rgb", "embedded", degradation, method, "whole")
    versions = {"psnr": "psnr.1", "ssim-gauss": "ssim-gauss.1"}
    record = MeasuredRecord(group, "none", 1, versions, "c0de", "", {50: LevelRecord("", {})}, 1)
    rows = [ImageRow(50, 0, "coffee", "psnr.1", value), ImageRow(50, 0, "coffee", "ssim-gauss.1", value / 40)]
    write_rows(workspace.work / "rows" / group.place.with_name(group.place.name + ".csv"), record, rows)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    registry.methods()
    for name in ("_registry", "_broken", "_loaded", "_in_folders"):
        value = getattr(registry, name)
        monkeypatch.setattr(registry, name, type(value)(value))
    for folder in ("methods", "tables"):
        (tmp_path / folder).mkdir()
    (tmp_path / "methods/nets.py").write_text(PLUGIN)
    (tmp_path / "params.yaml").write_text("methods: [methods]\ntables: [tables]\n")
    tables = (own_table(NEW, FFDNET), own_table(NEW, {**FFDNET, "degradation": EIGHT_BITS}, name="alike"))
    for table in (*tables, own_table(NEW, OLD, name="alone")):
        (tmp_path / f"tables/{table['name']}.yaml").write_text(yaml.safe_dump(table))
    made = Workspace(tmp_path)
    measured(made, "new-net", EIGHT_BITS, 27.0)
    measured(made, "old-net", EIGHT_BITS, 26.0)
    measured(made, "ffdnet", FLOAT, 29.1)
    measured(made, "ffdnet", EIGHT_BITS, 27.4)
    monkeypatch.chdir(tmp_path)
    return made


def run(*arguments: str) -> str:
    return CliRunner().invoke(harness, list(arguments)).output


def page(workspace: Workspace, name: str) -> str:
    folder = build_site(workspace, workspace.results / "site", names=[name]).folder
    return (folder / "tables" / f"{name}.html").read_text(encoding="utf-8")


def test_unclipped_noise_beside_8_bit_noise_is_said_in_every_form(workspace: Workspace) -> None:
    table = workspace.table("mine")
    texts = forms(table, results_of(workspace, table))
    shown = {
        "terminal": (run("table", "mine"), "FFDNet (panet-table1) [a input]"),
        "md": (texts["md"], "| FFDNet (panet-table1) <sup>a input</sup> |"),
        "tex": (texts["tex"], r"FFDNet (panet-table1)\textsuperscript{a input} &"),
        "site": (page(workspace, "mine"), 'FFDNet (panet-table1) <sup class="marks">a input</sup></th>'),
    }
    for form, (text, row) in shown.items():
        assert row in text, form
        plain = " ".join(html.unescape(text).split())
        assert f"another input: {FLOAT} (" in plain and f"the table's own rows: {EIGHT_BITS} (" in plain, form
        assert "neither rounded nor clipped" in plain, form
        assert not re.search(r"NewNet( \[|\\text| <sup)", text), form
    cells = {(cell["row"], cell["metric"]): cell["differs"] for cell in json.loads(texts["json"])}
    difference = {"kind": "input", "own": FLOAT, "others": EIGHT_BITS, "beside": "own rows"}
    assert cells["FFDNet (panet-table1)", "psnr"] == [difference]
    assert cells["NewNet", "psnr"] == cells["NewNet", "ssim"] == []
    assert f"not alike: FFDNet (panet-table1): another input: {FLOAT}" in run("diff", "mine")
    told = {(c["row"], c["metric"]): c["differs"] for c in csv.DictReader(texts["csv"].splitlines())}
    assert told["FFDNet (panet-table1)", "psnr"] == f"input: {FLOAT} (own rows: {EIGHT_BITS})"
    assert told["NewNet", "psnr"] == ""


def test_a_row_shown_alone_is_marked_as_in_its_table(workspace: Workspace) -> None:
    """Whatever rows and sets are left out, a cell's differences are those that it has in the whole table."""
    for name in ("mine", "alike", "alone", "panet-table3"):
        table = workspace.table(name)
        whole = [(r.request.row, r.request.dataset, r.request.key, r.differs) for r in results_of(workspace, table)]
        for row in {each[0] for each in whole}:
            for dataset in {each[1] for each in whole}:
                part = select(table, row=row, dataset=dataset)
                shown = [
                    (r.request.row, r.request.dataset, r.request.key, r.differs) for r in results_of(workspace, part)
                ]
                assert shown == [each for each in whole if each[:2] == (row, dataset)]
    for command in ("table", "diff"):
        assert "another input" in run(command, "mine", "--row", "FFDNet (panet-table1)")
        assert "another input" not in run(command, "mine", "--row", "NewNet")


def test_a_row_that_is_off_is_a_question_for_the_audit(workspace: Workspace) -> None:
    odd = own_table(NEW, {**FFDNET, "values": ["20.00", ""]}, name="odd")
    (workspace.root / "tables/odd.yaml").write_text(yaml.safe_dump(odd))
    for command in ("table", "diff"):
        assert "`harness audit odd --row 'FFDNet (panet-table1)'`" in " ".join(run(command, "odd").split())
        assert "harness audit" not in run(command, "mine")


@pytest.mark.parametrize("name", ["alike", "alone"])
def test_equal_rows_are_not_marked(workspace: Workspace, name: str) -> None:
    table = workspace.table(name)
    texts = forms(table, results_of(workspace, table))
    assert all(cell["differs"] == [] for cell in json.loads(texts["json"]))
    for text in (texts["md"], texts["tex"], run("table", name), run("diff", name), page(workspace, name)):
        assert not re.search(r"not alike|made otherwise|another input|<sup|textsuperscript|\[a", text)


def cells_of(table: Table, methods: Mapping[str, Method], origins: Mapping[str, str], **extra: Any) -> list[CellResult]:
    """Give every cell of a table a number; `origins` by row."""
    judgement = Judgement("measured", None, "")
    return [
        CellResult(request, Measurement(27.0, 1, None), judgement, None, {}, origins.get(request.row, ""), **extra)
        for request in requests(table, methods)
    ]


def kinds(results: Iterable[CellResult]) -> dict[str, list[tuple[str, str, str]]]:
    found: dict[str, list[tuple[str, str, str]]] = {}
    for result in results:
        of_row = found.setdefault(result.request.row, [])
        of_row += [each for d in result.differs if (each := (d.kind, d.own, d.others)) not in of_row]
    return found


@pytest.fixture
def nets() -> dict[str, Method]:
    def net(name: str, **about: Any) -> Method:
        return Method(name, ("denoise-rgb",), lambda task, level: lambda image: image, **about)

    trained = frozenset({("denoise-rgb", 50)})
    return {
        "short": net("short", origin="trained", trained=trained),
        "long": net("long", origin="trained", trained=trained),
        "released": net("released", origin="released"),
        "images": net("images", origin="released", on="images", released=("some-set",)),
        "filter": net("filter"),
    }


def made_of(plain: dict[str, Any]) -> Table:
    return check_table(msgspec.convert(plain, Table), "a test")


def test_weights_of_another_kind_are_told_apart(nets: dict[str, Method]) -> None:
    rows = [{"name": name, "method": name} for name in nets]
    rows.insert(0, {"name": "again", "method": "released"})
    table = made_of(own_table(*rows))
    origins = {"short": "trained: 1 % of the paper's iterations", "long": "trained: 50 % of the paper's iterations"}
    found = with_differences(table, cells_of(table, nets, origins), nets)
    assert kinds(found) == {
        "again": [],
        "released": [],
        "short": [("weights", origins["short"], "released")],
        "long": [("weights", origins["long"], "released")],
        "images": [("weights", "released images", "released")],
        # A method without weights has none of another kind.
        "filter": [],
    }
    notes, by_line = footnotes(found)
    assert [(note.mark, note.rows) for note in notes] == [("a", ("short",)), ("b", ("long",)), ("c", ("images",))]
    assert "trained: 1 % of the paper's iterations; most rows: released by the authors" in notes[0].text
    assert set(by_line) == {(0, 1), (0, 2), (0, 4)}


@pytest.mark.parametrize(
    ("other", "kind", "own", "others"),
    [
        ({"protocol": {"ssim": "ssim-8x8"}}, "protocol", "ssim-8x8", "ssim-gauss"),
        ({"saving": "unrounded"}, "saving", "unrounded", "round"),
        ({"policy": "x8"}, "policy", "x8", "single"),
        ({"degradation": FLOAT}, "input", FLOAT, EIGHT_BITS),
        ({"attributes": {"training data": "DIV2K"}}, "training data", "DIV2K", "BSD400"),
    ],
)
def test_every_kind_is_compared_with_the_own_rows(
    nets: dict[str, Method], other: dict[str, Any], kind: str, own: str, others: str
) -> None:
    """Two printed rows do not outvote the one row that the table is about."""
    plain = {"name": "Mine", "method": "released", "attributes": {"training data": "BSD400"}}
    printed = [{"name": name, "method": "released", "values": ["29.10", "0.9"], **other} for name in ("One", "Two")]
    table = made_of(own_table(*printed, plain))
    found = with_differences(table, cells_of(table, nets, {}), nets)
    assert kinds(found) == {"One": [(kind, own, others)], "Two": [(kind, own, others)], "Mine": []}
    assert {d.beside for result in found for d in result.differs} == {"own rows"}
    # As a paper's table it is about all of its rows.
    paper = made_of({**own_table(*printed, plain), "paper": "doe"})
    found = with_differences(paper, cells_of(paper, nets, {}), nets)
    assert kinds(found) == {"One": [], "Two": [], "Mine": [(kind, others, own)]}


def test_how_an_image_is_cut_into_tiles_is_no_difference(nets: dict[str, Method]) -> None:
    rows = [{"name": policy, "method": "released", "policy": policy} for policy in ("whole", "chop", "chop+x8")]
    table = made_of(own_table(*rows))
    found = with_differences(table, cells_of(table, nets, {}), nets)
    assert kinds(found) == {"whole": [], "chop": [], "chop+x8": [("policy", "x8", "single")]}


def test_marks_stand_at_columns_where_methods_are_columns(nets: dict[str, Method]) -> None:
    rows = [{"name": n, "method": "released", "degradation": d} for n, d in (("A", FLOAT), ("B", ""), ("C", ""))]
    table = made_of({**own_table(*rows), "methods_as": "columns"})
    results = with_differences(table, cells_of(table, nets, {}), nets)
    texts = forms(table, results)
    assert "| A <sup>a input</sup> |" in texts["md"]
    assert r"\multicolumn{2}{c}{A\textsuperscript{a input}}" in texts["tex"]
    assert all(f"{name} <sup>" not in texts["md"] for name in "BC")


def test_letters_go_on_after_z(nets: dict[str, Method]) -> None:
    table = made_of(own_table({"name": "A", "method": "released"}))
    (cell, _) = cells_of(table, nets, {})
    many = tuple(Difference("training data", str(index), "x", "most rows") for index in range(28))
    notes, _ = footnotes([msgspec.structs.replace(cell, differs=many)])
    assert [note.mark for note in notes][24:] == ["y", "z", "aa", "ab"]


# Words for a comparison with what is printed; a table of own rows alone has nothing to compare with.
COMPARING = re.compile(r"incomparable|reference value|publish|reproduc|printed|0 of|\bpaper|match|delta", re.IGNORECASE)


def words_of_json(text: str) -> str:
    return " ".join(str(value) for cell in json.loads(text) for value in cell.values())


def visible(page: str) -> str:
    """Text of a page, with what is told in labels."""
    labels = " ".join(re.findall(r'(?:aria-label|title|value)="([^"]*)"', page))
    return html.unescape(re.sub(r"<[^>]*>", " ", re.sub(r"<pre.*?</pre>", "", page, flags=re.DOTALL)) + labels)


def test_a_table_of_own_rows_has_no_words_of_a_comparison(workspace: Workspace) -> None:
    table = workspace.table("alone")
    results = results_of(workspace, table)
    found = collect(workspace, ["alone"])
    texts = forms(table, results)
    folder = build_site(workspace, workspace.results / "site", names=["alone"]).folder
    said = {
        "summary": summary(table, results),
        "badge": badge_text("alone", found),
        "svg": badge_svg("alone", found),
        "md": texts["md"].replace("harness repro", ""),
        "tex": texts["tex"].replace("harness repro", ""),
        "csv": texts["csv"].partition("\n")[2],
        "json": words_of_json(texts["json"]),
        "table": run("table", "alone"),
        "diff": run("diff", "alone"),
        "why": run("why", "alone", "NewNet", "embedded/50/psnr"),
        **{
            str(path.relative_to(folder)): visible(path.read_text(encoding="utf-8")).replace("Numbers of papers", "")
            for path in folder.rglob("*.html")
        },
    }
    assert len(said) > 12
    for where, text in said.items():
        assert not (hit := COMPARING.search(text.replace("harness repro", ""))), f"{where}: {hit and hit[0]}: {text}"
    listing = next(line for line in run("tables", "--own").splitlines() if line.startswith("alone"))
    assert listing.split() == ["alone", "Mine", "4"]
    assert summary(table, results) == "alone: 4 of 4 numbers measured"
    assert {cell["verdict"] for cell in json.loads(texts["json"])} == {"measured"}


def test_own_rows_beside_published_ones_are_measured(workspace: Workspace) -> None:
    table = workspace.table("mine")
    results = results_of(workspace, table)
    assert {r.verdict for r in results if r.request.row == "NewNet"} == {"measured"}
    assert summary(table, results) == "mine: 3 of 3 numbers measured, 1 published beside them: 1 match"
    assert CliRunner().invoke(harness, ["diff", "mine"]).exit_code == 0


def test_a_summary_of_all_tables_leaves_none_out(workspace: Workspace) -> None:
    told = run("report", "--summary").splitlines()
    for name in ("alone", "mine", "train-smoke"):
        assert any(line.startswith(name) for line in told), name
    assert next(line for line in told if line.startswith("alone")).split()[-3:] == ["4", "·", "4"]


def test_strict_fails_where_no_row_can_be_compared(workspace: Workspace) -> None:
    for strict, status in ((), 0), (("--strict",), 1):
        done = CliRunner().invoke(harness, ["diff", "mine", "--against", "NewNet", *strict], standalone_mode=True)
        assert done.exit_code == status
    assert "nothing of mine could be compared with 'NewNet': other inputs" in str(done.exception) + done.output


def test_the_reason_of_a_row_whose_plugin_is_broken_is_told(workspace: Workspace) -> None:
    (workspace.root / "methods/nets.py").write_text("import no_such_package\n" + PLUGIN)
    for form in ("text", "json"):
        told = run("diff", "alone", "--format", form)
        assert "no_such_package" in told, form
        assert "'old-net' may be in what could not be loaded" in told, form


def test_a_new_table_takes_the_input_of_the_published_rows(workspace: Workspace) -> None:
    where = ["--dataset", "kodak24", "--level", "50", "--method", "new-net", "--published"]
    told = run("new", "table", "one", *where, "panet-table1:FFDNet")
    assert f"input of your rows: {FLOAT} (as of the published rows); measured by psnr, ssim-gauss" in told
    part = read_table(workspace.root / "tables/one.yaml").parts[0]
    assert (part.degradation, [row.degradation for row in part.rows]) == (FLOAT, ["", ""])
    both = [*where, "panet-table1:FFDNet", "--published", "panet-table1:RNAN"]
    done = CliRunner().invoke(harness, ["new", "table", "two", *both])
    assert done.exit_code != 0 and not (workspace.root / "tables/two.yaml").exists()
    asked = str(done.exception) + done.output
    assert f"{FLOAT} (FFDNet (panet-table1)); {EIGHT_BITS} (RNAN (panet-table1))" in asked
    assert "--degradation NAME" in asked
    run("new", "table", "two", *both, "--degradation", EIGHT_BITS)
    part = read_table(workspace.root / "tables/two.yaml").parts[0]
    assert [(row.name, row.degradation) for row in part.rows if row.degradation] == [("FFDNet (panet-table1)", FLOAT)]
    table = workspace.table("two")
    notes, _ = footnotes(results_of(workspace, table))
    assert [(note.difference.kind, note.rows) for note in notes] == [("input", ("FFDNet (panet-table1)",))]
    wrong = CliRunner().invoke(harness, ["new", "table", "three", *where[:6], "--degradation", "jpeg-y8"])
    assert "is not one of colour denoising" in str(wrong.exception) + wrong.output


def test_a_new_table_takes_the_protocol_of_the_published_rows_or_asks(workspace: Workspace) -> None:
    where = ["--task", "jpeg", "--dataset", "classic5", "--level", "10", "--method", "dncnn"]
    both = [*where, "--published", "panet-table3:ARCNN", "--published", "panet-table3:TNRD"]
    done = CliRunner().invoke(harness, ["new", "table", "one", *both])
    asked = str(done.exception) + done.output
    assert "ssim-8x8 (ARCNN (panet-table3)); ssim-gauss (TNRD (panet-table3))" in asked and "--protocol NAME" in asked
    run("new", "table", "one", *both, "--protocol", "ssim-8x8")
    part = read_table(workspace.root / "tables/one.yaml").parts[0]
    assert (part.protocol, [row.protocol for row in part.rows]) == (
        {"ssim": "ssim-8x8"},
        [{}, {"ssim": "ssim-gauss"}, {}],
    )
    twice = CliRunner().invoke(harness, ["new", "table", "two", *where, "--protocol", "ssim-8x8,ssim-gauss"])
    assert "both measure ssim" in str(twice.exception) + twice.output
    none = CliRunner().invoke(harness, ["new", "table", "two", *where, "--protocol", "nonsense"])
    assert none.exit_code != 0 and "nonsense" in str(none.exception) + none.output


def test_a_copied_row_keeps_what_it_was_made_with(workspace: Workspace) -> None:
    """Its training data, the saving of each of its cells, and the input of the very levels that were copied."""
    where = ["--dataset", "kodak24", "--level", "50", "--metric", "psnr", "--method", "new-net", "--published"]
    run("new", "table", "one", *where, "rnan-table8:FFDNet,rnan-table8:RNAN", "--degradation", EIGHT_BITS)
    rows = read_table(workspace.root / "tables/one.yaml").parts[0].rows
    trained_on = [row.attributes.get("training data") for row in rows]
    assert trained_on == ["BSD400+", "BSD400", None]
    sr = ["--task", "sr", "--dataset", "set5", "--method", "bicubic", "--published", "panet-table5:LapSRN"]
    run("new", "table", "two", *sr, "--level", "2,4")
    part = read_table(workspace.root / "tables/two.yaml").parts[0]
    assert (part.degradation, part.rows[0].degradation) == ("bicubic-float-symmetric", "")
    refused = CliRunner().invoke(harness, ["new", "table", "three", *sr, "--level", "2,3"])
    assert "LapSRN at 2 and LapSRN at 3 were not made alike" in str(refused.exception) + refused.output


def test_marks_stand_in_a_table_for_a_paper(workspace: Workspace) -> None:
    """Also of a row that is shown as published; a number under another protocol is not ranked in its column."""
    columns = [{"dataset": "embedded", "level": 50, "metric": metric} for metric in ("psnr", "ssim")]
    best = {"name": "Paper's", "values": ["40.00", "0.9999"], "protocol": {"ssim": "ssim-8x8"}, "policy": "x8"}
    odd = own_table(NEW, OLD, best | {"not_run": "no weights", "lacks": "weights"}, FFDNET, name="odd")
    odd["parts"][0]["columns"] = columns
    (workspace.root / "tables/odd.yaml").write_text(yaml.safe_dump(odd))
    tex = run("table", "odd", "--style", "paper")
    assert r"Paper's$^{\dagger}$\textsuperscript{a,b} & \textbf{40.00} & 0.9999 \\" in tex
    assert r"FFDNet (panet-table1)\textsuperscript{c} & \underline{29.10}" in tex
    assert "a: Paper's (1 of 1 numbers)" not in tex and "NewNet & 27.00" in tex
    for sentence in (
        "Paper's: compared under ssim-8x8; the table's own rows: under ssim-gauss",
        "Paper's: restored from the mean over the eight flips",
        f"another input: {FLOAT}",
    ):
        assert sentence in tex, sentence
    assert "underlined among numbers of the column's protocol." in tex
    told = run("table", "odd", "--style", "paper", "--format", "md")
    assert "| Paper's† <sup>a,b</sup> " in told and "| NewNet " in told
    assert "sup>" not in run("table", "alike", "--style", "paper", "--format", "md")


def test_marked_tables_compile(workspace: Workspace) -> None:
    from test_latex import compile_tex

    texts = [
        forms(workspace.table(name), results_of(workspace, workspace.table(name)))["tex"] for name in ("mine", "alone")
    ]
    compile_tex(workspace.root, "\n".join(texts))


def test_a_method_of_another_origin_is_another_method(nets: dict[str, Method]) -> None:
    """Weights that are known by their origin alone, of a number that was recorded, are compared, too."""
    table = made_of(own_table({"name": "short", "method": "short"}, {"name": "released", "method": "released"}))
    known = {**nets, "short": replace(nets["short"])}
    found = with_differences(table, cells_of(table, known, {}), known)
    assert kinds(found)["released"] == [("weights", "released", "trained here")]
