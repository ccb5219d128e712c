"""A table for one's own paper: digits, marks, daggers, headings, caption, and LaTeX that compiles."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_latex import compile_tex

from harness.cli import main
from harness.errors import HarnessError
from harness.records.cells import Group
from harness.records.restored import LevelRecord
from harness.records.rows import ImageRow, MeasuredRecord, write_rows
from harness.report.paper import PaperTable, forms, paper_tables
from harness.tables.collected import collect, results_of
from harness.tables.published import Column, Row, Table, TablePart, check_table
from harness.tables.workspace import Workspace

HOSTILE = r"\input{/etc/passwd} 100 % of {x}_y^z ~ & # $ \\"


def workspace_with(root: Path, values: dict[str, float]) -> Workspace:
    """Make a workspace in which methods have one measured PSNR on one image each."""
    workspace = Workspace(root)
    for method, value in values.items():
        group = Group("denoise-rgb", "kodak24", "awgn-seed0-8bit", method, "whole")
        record = MeasuredRecord(group, "none", 1, {"psnr": "psnr.1"}, "c0de", "", {50: LevelRecord("", {})}, 1)
        rows = [ImageRow(50, 0, "kodim01", "psnr.1", value)]
        write_rows(workspace.work / "rows" / group.place.with_name(group.place.name + ".csv"), record, rows)
    return workspace


def table_of(*rows: Row, columns: tuple[Column, ...] = (Column("psnr", "kodak24", 50),)) -> Table:
    part = TablePart(task="denoise-rgb", columns=columns, rows=rows)
    return Table(name="mine", paper="", title="Mine", source="a test", parts=(part,))


def laid(workspace: Workspace, table: Table, *extra: str) -> PaperTable:
    return paper_tables(workspace, table, results_of(workspace, table), extra)[0]


def test_a_row_is_one_line_measured_where_it_was_and_else_as_published(tmp_path: Path) -> None:
    workspace = workspace_with(tmp_path, {"noisy": 20.005, "identity": 30.0})
    made = laid(
        workspace,
        table_of(
            Row("A", ("28.6",), method="noisy"),
            Row("B", ("31.234",), not_run="no code"),
            Row("C", ("N/A",), not_run="no code"),
        ),
    )
    # Three digits are printed in the column, so a measured number has three; what has no number is left out.
    assert [(row.name, row.published, row.cells[0].text) for row in made.rows] == [
        ("A", False, "20.005"),
        ("B", True, "31.234"),
    ]
    assert "† as published, not measured here." in made.caption
    assert "$^{\\dagger}$" in forms([made])["tex"]


@pytest.mark.parametrize(("value", "text"), [(27.775, "27.78"), (27.7749, "27.77"), (27.785, "27.79")])
def test_halves_are_rounded_up_at_the_digits_of_papers(tmp_path: Path, value: float, text: str) -> None:
    made = laid(workspace_with(tmp_path, {"noisy": value}), table_of(Row("A", method="noisy")))
    assert made.rows[0].cells[0].text == text


def marks(*values: str, metric: str = "psnr") -> list[str]:
    column = Column("psnr", "kodak24", 50) if metric == "psnr" else Column(metric)
    table = table_of(*(Row(f"R{n}", (v,), not_run="no code") for n, v in enumerate(values)), columns=(column,))
    return [row.cells[0].mark for row in laid(Workspace("."), table).rows]


def test_equal_numbers_share_a_mark() -> None:
    assert marks("30.00", "31.00", "31.00", "29.00") == ["second", "best", "best", ""]
    assert marks("30.00", "30.00", "31.00") == ["second", "second", "best"]
    assert marks("30.00", "30.00", "30.00") == ["", "", ""]
    assert marks("30.00") == [""]
    assert marks("30.00", "31.00") == ["", "best"]


def test_of_costs_the_lowest_is_best() -> None:
    assert marks("3.0", "1.0", "2.0", metric="seconds") == ["", "best", "second"]


def test_numbers_measured_and_published_are_ranked_together(tmp_path: Path) -> None:
    workspace = workspace_with(tmp_path, {"noisy": 29.996})
    rows = [Row("A", ("28.00",), method="noisy"), Row("B", ("30.00",), not_run="x"), Row("C", ("29.00",), not_run="x")]
    assert [row.cells[0].mark for row in laid(workspace, table_of(*rows)).rows] == ["best", "best", "second"]


def test_headings_have_datasets_levels_and_metrics() -> None:
    workspace = Workspace(".")
    made = laid(workspace, workspace.table("panet-table3"))
    assert [(text, span) for text, span in made.heads[0]] == [("LIVE1", 8), ("Classic5", 8)]
    assert made.heads[1] == tuple((f"quality {q}", 2) for _ in range(2) for q in (10, 20, 30, 40))
    assert made.heads[2] == (("PSNR", 1), ("SSIM", 1)) * 8


def test_one_level_stands_in_the_caption(tmp_path: Path) -> None:
    made = laid(workspace_with(tmp_path, {"noisy": 20.0}), table_of(Row("A", method="noisy")))
    assert made.caption[0] == "Colour denoising at σ = 50 on Kodak24 (1 image): PSNR in dB."
    assert made.heads == ((("Kodak24", 1),),)


def test_rows_are_ranked_under_the_protocol_of_their_column() -> None:
    workspace = Workspace(".")
    table = workspace.table("panet-table3")
    [of_jpeg] = [row for row in laid(workspace, table).rows if row.name == "JPEG"]
    under = {
        r.request.key: r.under_column.value
        for r in results_of(workspace, table)
        if r.request.row == "JPEG" and r.under_column is not None and hasattr(r.under_column, "value")
    }
    assert under and of_jpeg.cells[1].text == f"{under['live1/10/ssim']:.4f}"


def test_parameters_are_a_column(tmp_path: Path) -> None:
    rows = [Row("A", ("28.00",), method="dncnn"), Row("B", ("27.00",), method="noisy")]
    made = laid(Workspace(tmp_path), table_of(*rows), "parameters")
    assert made.heads[-1][-1] == ("Parameters", 1)
    assert made.rows[0].cells[1].text.endswith("K") and made.rows[1].cells[1].text == ""
    with pytest.raises(HarnessError, match="no row's seconds were recorded"):
        laid(Workspace(tmp_path), table_of(*rows), "seconds")
    with pytest.raises(HarnessError, match="unknown column 'macs'"):
        laid(Workspace(tmp_path), table_of(*rows), "macs")


def test_keys_to_cite() -> None:
    made = laid(Workspace("."), check_table(table_of(Row("A_b", ("28.00",), cite="doe_2026,roe:27", not_run="x")), "t"))
    assert r"A\_b$^{\dagger}$~\cite{doe_2026,roe:27} & 28.00" in forms([made])["tex"]
    for wrong in ("a}b", r"\input", "a b", ",", "ключ"):
        with pytest.raises(HarnessError, match="holds no BibTeX keys"):
            check_table(table_of(Row("A", ("28.00",), cite=wrong, not_run="x")), "t")


def test_every_table_for_a_paper_compiles_and_fits_the_page(tmp_path: Path) -> None:
    bodies = []
    for item in collect(Workspace(".")):
        if any(r.request.printed is not None for r in item.results):
            bodies.append(forms(paper_tables(Workspace("."), item.table, item.results))["tex"])
    rows = [
        Row(HOSTILE, ("28.00",), not_run="x", cite="a_b"),
        Row("Müller, Łukasz — β ≥ 2 × σ", ("27.00",), not_run="x"),
    ]
    own = table_of(*rows, columns=(Column("psnr", "kodak24", 50, label=HOSTILE),))
    bodies.append(forms([laid(Workspace(tmp_path), own)])["tex"])
    assert len(bodies) >= 24
    log = compile_tex(tmp_path, "\n\\clearpage\n".join(bodies))
    assert "Overfull" not in log
    assert "root:" not in (tmp_path / "all.log").read_text(errors="replace")


def test_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, said in (
        (["--columns", "parameters"], "--columns goes with --style paper"),
        (["--style", "paper", "--format", "csv"], "--style paper has the forms tex, md, text"),
        (["--style", "paper", "--one-protocol", "column"], "--style paper goes with"),
    ):
        with pytest.raises(SystemExit):
            main(["table", "panet-table1", *arguments])
        assert said in capsys.readouterr().err


def test_a_plugins_metric_is_ranked_in_its_own_direction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.report.paper.better_of", lambda metric: "lower")
    assert marks("30.00", "31.00", "29.00") == ["second", "", "best"]


def test_a_column_that_one_part_lacks_stays_in_the_others(tmp_path: Path) -> None:
    of_network, of_none = table_of(Row("A", ("28.00",), method="dncnn")), table_of(Row("B", ("27.00",), method="noisy"))
    both = Table("mine", "", "Mine", "a test", (*of_network.parts, *of_none.parts))
    workspace = Workspace(tmp_path)
    first, second = paper_tables(workspace, both, results_of(workspace, both), ["parameters"])
    assert len(first.rows[0].cells) == 2 and len(second.rows[0].cells) == 1
    assert (first.name, second.name) == ("mine-1", "mine-2")
