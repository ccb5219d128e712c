"""LaTeX that compiles, for every table of the project and whatever a user writes into his own."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.report.render import latex
from harness.tables.collected import collect
from harness.tables.published import Column, Row, Table, TablePart
from harness.tables.workspace import Workspace

PACKAGES = r"\usepackage{amssymb,booktabs,graphicx,xcolor}"


def compile_tex(folder: Path, body: str, packages: str = PACKAGES, options: str = "") -> str:
    pdflatex = shutil.which("pdflatex")
    if pdflatex is None:
        pytest.skip("no pdflatex was found; install texlive-latex-base and texlive-latex-recommended")
    text = rf"\documentclass[{options}]{{article}}{packages}\begin{{document}}" + "\n" + body + "\n" + r"\end{document}"
    (folder / "all.tex").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [pdflatex, "-interaction=nonstopmode", "-halt-on-error", "all.tex"],
        cwd=folder,
        capture_output=True,
        timeout=120,
        check=False,
    )
    log = done.stdout.decode(errors="replace")
    assert done.returncode == 0, "\n".join(line for line in log.splitlines() if line.startswith(("!", "l.")))
    return log


def every_table() -> list[str]:
    return [latex(item.table, item.results) for item in collect(Workspace("."))]


def test_every_table_compiles_and_fits_the_page(tmp_path: Path) -> None:
    tables = every_table()
    assert len(tables) >= 23
    log = compile_tex(tmp_path, "\n\\clearpage\n".join(tables))
    assert "Overfull" not in log
    assert PACKAGES[12:-1] in tables[0]


def test_marks_of_the_paper_are_kept() -> None:
    text = next(t for t in every_table() if "tab:panet-table3" in t)
    assert r"\textbf{29.69}" in text and r"\underline{29.63}" in text
    assert r"\multicolumn{2}{c}{DnCNN}" in text and r"\cmidrule(lr){3-4}" in text


def free_table(text: str) -> Table:
    row = Row(name=text, values=("1.00",), not_run=text)
    part = TablePart(task="jpeg", columns=(Column("psnr", "live1", 10, label=text),), rows=(row,), title=text)
    return Table(name="free", paper="", title=text, source=text, parts=(part,))


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(min_codepoint=32, max_codepoint=0x2200), min_size=1))
def test_any_text_is_escaped(text: str) -> None:
    from harness.tables.diff import diff_table
    from harness.tables.measurements import Measurements

    table = free_table(text)
    made = latex(table, diff_table(table, {}, Measurements(Path("nowhere"))))
    plain = re.sub(r"\\.", "", made)
    assert plain.count("{") == plain.count("}")
    # Nothing but the template's own commands is left, whatever the text says.
    begun = re.findall(r"\\(begin|end)\{(\w+)\}", made)
    assert begun == [("begin", "table"), ("begin", "tabular"), ("end", "tabular"), ("end", "table")]


def test_hostile_text_compiles(tmp_path: Path) -> None:
    from harness.tables.diff import diff_table
    from harness.tables.measurements import Measurements

    bodies = []
    for text in (r"\input{/etc/passwd} 100 % of {x}_y^z ~ & # $ \\", "Müller, Łukasz — β ≥ 2 × σ", "a\tb\nc"):
        table = free_table(text)
        bodies.append(latex(table, diff_table(table, {}, Measurements(tmp_path))))
    compile_tex(tmp_path, "\n".join(bodies))
    assert "root:" not in (tmp_path / "all.log").read_text(errors="replace")
