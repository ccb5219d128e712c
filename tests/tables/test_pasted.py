"""Pasted tables: the papers' own, written in other styles and read back; and text that is no table."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import HarnessError
from harness.records.tasks import TASKS
from harness.tables.headings import Choices, understand
from harness.tables.pasted import FORMS, Form, read_pasted
from harness.tables.published import PLACE, Table, published_tables

LEVELS = {"sigma": "$\\sigma$={}", "quality": "q = {}", "scale": "$\\times${}"}
PLAIN = {"sigma": "σ={}", "quality": "q = {}", "scale": "x{}"}
# KiT's Tables 3 and 4 have columns that no heading can say: a mean of cells, and variants of a method.
NAMES = [name for name in published_tables() if name not in ("kit-table3", "kit-table4")]


def marked(value: str, form: Form) -> str:
    if form != "latex":
        return value
    for fence, command in (("**", "\\textbf"), ("_", "\\underline")):
        if value.startswith(fence):
            return f"{command}{{{value.strip(fence)}}}"
    return value


def written(table: Table, form: Form, part: int = 0) -> str:
    chosen = table.parts[part]
    levels = (LEVELS if form == "latex" else PLAIN).get(TASKS[chosen.task].level_name, "")
    by_row = any(row.level for row in chosen.rows)
    head = ["Method", *(["Scale"] if by_row else [])]
    head += [f"{c.dataset} {levels.format(c.level) if c.level else ''} {c.metric.upper()}" for c in chosen.columns]
    lines = [head]
    for row in chosen.rows:
        scale = [levels.format(row.level)] if by_row else []
        lines.append([row.name, *scale, *(marked(value, form) for value in row.values)])
    if form == "csv":
        return "\n".join(",".join(f'"{cell}"' for cell in line) for line in lines)
    if form == "markdown":
        lines.insert(1, ["--"] * len(head))
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)
    body = "\n".join(" & ".join(line).replace("#", "\\#") + " \\\\[2pt]" for line in lines)
    return f"\\begin{{tabular}}{{l|{'c' * len(head)}}}\n\\toprule % rule\n{body}\n\\bottomrule\n\\end{{tabular}}"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NAMES)
def test_every_digit_mark_and_level_comes_back(name: str, form: Form) -> None:
    table = published_tables()[name]
    part = table.parts[0]
    read = understand(read_pasted(written(table, form)), part.task)
    assert read.open == ()
    assert [(c.dataset, c.level, c.metric) for c in read.columns] == [
        (c.dataset, c.level, c.metric) for c in part.columns
    ]
    assert [(row.level, row.values) for row in read.rows] == [(row.level, row.values) for row in part.rows]


def test_spans_colours_pairs_and_sections() -> None:
    text = r"""\begin{table}\caption{PSNR/SSIM on two sets.}\begin{tabular*}{\textwidth}{l|cc} \hline
      \multirow{2}{*}{Method} & \multicolumn{2}{c}{Datasets} \\ \cline{2-3}
       & Set5~\cite{a} & \makecell{BSD\\100} \\ \hline \multicolumn{3}{c}{Scale $\times$2} \\
      EDSR \cite{b} & {\color{red}38.11}/\textcolor{blue}{0.9602} & 32.32/{\bf 0.9013} \\ %comment & 1 \\
      Ours & N/A & $\mathbf{32.41}/\mathbf{.9024}$ \\ \multicolumn{3}{c}{$\times 3$} \\
      EDSR & -- & 29.25/0.8093 \end{tabular*}\end{table}"""
    read = understand(read_pasted(text), "sr")
    assert read.open == ()
    assert [(c.dataset, c.metric) for c in read.columns] == [
        (name, metric) for name in ("set5", "b100") for metric in ("psnr", "ssim")
    ]
    assert [(row.name, row.level, row.values) for row in read.rows] == [
        ("EDSR", 2, ("**38.11**", "_0.9602_", "32.32", "**0.9013**")),
        ("Ours", 2, ("N/A", "N/A", "**32.41**", "**0.9024**")),
        ("EDSR", 3, ("-", "-", "29.25", "0.8093")),
    ]


@pytest.mark.parametrize(
    ("cell", "mark"),
    [
        (r"\color[HTML]{FE0000} 38.11", "best"),
        (r"{\color[rgb]{0,0,1}38.11}", "second"),
        (r"\textcolor[rgb]{1.00,0.00,0.00}{38.11}", "best"),
        (r"\textcolor[RGB]{255, 0, 0}{38.11}", "best"),
        (r"\textcolor{gray}{38.11}", ""),
        (r"\textcolor[HTML]{C0C0C0}{38.11}", ""),
        (r"\cellcolor{red!20}38.11", ""),
        (r"\textbf{\textcolor{black}{38.11}}", "best"),
        (r"$\bm{38.11}$", "best"),
        (r"\bfseries{38.11}", "best"),
        (r"\second{38.11}", "second"),
        (r"\multirow{-2}*{\underline{38.11}}", "second"),
        (r"\begin{tabular}{@{}c@{}}\textbf{38.11}\end{tabular}", "best"),
    ],
)
def test_marks(cell: str, mark: str) -> None:
    read = read_pasted(rf"\begin{{tabular}}{{lc}} EDSR & {cell} \\ B & 1.5 \end{{tabular}}")
    assert (read.lines[0][1].text, read.lines[0][1].mark) == ("38.11", mark)


def test_methods_as_columns() -> None:
    text = """
    | Dataset | q | JPEG | JPEG | DnCNN | DnCNN |
    |---|---|---|---|---|---|
    | | | PSNR | SSIM | PSNR | SSIM |
    | LIVE 1 | 10 | 27.77 | 0.7905 | **29.19** | **0.8123** |
    | | 20 | 30.07 | 0.8683 | **31.59** | <b>0.8802</b> |
    """
    read = understand(read_pasted(text), "jpeg")
    assert (read.methods_as, read.open) == ("columns", ())
    assert [(c.dataset, c.level, c.metric) for c in read.columns] == [
        ("live1", level, metric) for level in (10, 20) for metric in ("psnr", "ssim")
    ]
    assert [row.values for row in read.rows] == [
        ("27.77", "0.7905", "30.07", "0.8683"),
        ("**29.19**", "**0.8123**", "**31.59**", "**0.8802**"),
    ]


def test_what_is_not_recognised_is_a_place() -> None:
    text = "Method,Foo100 σ=30,Kodak24 σ=30\nDnCNN,28.35,31.39\nRNAN,28.4?,31.86"
    read = understand(read_pasted(text), "denoise-rgb")
    assert read.columns[0].dataset == read.columns[0].metric == read.rows[1].values[0] == PLACE
    assert any("foo100" in told and "--dataset" in told for told in read.open)
    assert any("28.4?" in told for told in read.open)
    choices = Choices(metrics=("psnr",), meanings={"foo100": "-"})
    read = understand(read_pasted(text), "denoise-rgb", choices)
    assert [(c.dataset, c.level, c.metric) for c in read.columns] == [("kodak24", 30, "psnr")]


def test_nothing_is_guessed_in_silence() -> None:
    """Units of counts, levels of rows above the first section, sets of the line, words that nobody knows."""
    read = understand(read_pasted("Method,Params,Set5 x2 PSNR\nA,26.1,38.11\nB,1.5M,38.00\nC,1494000,38.00"), "sr")
    assert [row.values[0] for row in read.rows] == [PLACE, "1.5M", "1494000"]
    assert any("unit (K or M)" in told and "'26.1'" in told for told in read.open)
    sections = r"Method & Set5 PSNR & Set14 PSNR \\ A & 38.11 & 33.92 \\ \multicolumn{3}{c}{x3} \\ A & 34.65 & 30.52 \\"
    read = understand(read_pasted(sections), "sr")
    assert [row.level for row in read.rows] == [PLACE, 3] and "the scale of rows 'A'" in read.open[0]
    assert [r.level for r in understand(read_pasted(sections), "sr", Choices(level=2)).rows] == [2, 3]
    by_line = "Set,Method,PSNR x2,Foo PSNR x2\nSet5,A,38.11,20.00\n,B,38.20,21.00"
    read = understand(read_pasted(by_line), "sr")
    assert [column.dataset for column in read.columns] == ["set5", PLACE]
    read = understand(read_pasted("Method,Set5 x2,Set14 x2\n,PSNR (blurred),PSNR\nA,38.11,33.92"), "sr")
    assert [column.dataset for column in read.columns] == ["set5", "set14"]
    assert any("not understood" in note and "'blurred'" in note for note in read.notes)


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        (r"$29.88 \pm 0.02$", "29.88"),
        (r"\textbf{29.88}$_{\pm 0.02}$", "**29.88**"),
        (r"\underline{29.88} {\tiny(±0.02)}", "_29.88_"),
        ("29.88 +/- .02", "29.88"),
    ],
)
def test_a_deviation_is_left_out_and_told(cell: str, value: str) -> None:
    text = f"Method & LIVE1 q=10 PSNR & LIVE1 q=20 PSNR \\\\ A & {cell} & 30.01 \\\\"
    read = understand(read_pasted(text), "jpeg")
    assert read.rows[0].values == (value, "30.01") and read.open == ()
    assert any(note.startswith("deviations are left out, values taken: 29.88 for '29.88") for note in read.notes)


def test_decimal_commas() -> None:
    text = "Method;LIVE1 q10 PSNR;LIVE1 q10 SSIM;Params (K)\nA;27,77;0,7905;1,494\nB;**29,88**±0,02;0,8123;12\n"
    read = understand(read_pasted(text), "jpeg")
    assert [row.values[:2] for row in read.rows] == [("27.77", "0.7905"), ("**29.88**", "0.8123")]
    assert "decimal commas are read as points: '27,77'" in read.notes and read.open == ()
    # Where numbers have points, or all could be thousands, a comma is none of a decimal.
    for other in ("27.77", "1,494"):
        text = f"Method;LIVE1 q10 PSNR;Params (K)\nA;{other};1,494\nB;{other};1,494\nC;27.77;1\n"
        assert not any("commas" in note for note in understand(read_pasted(text), "jpeg").notes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no table"),
        ("only words", "no table"),
        ("a & b \\\\", "no line with a number"),
        ("\\begin{tabular}{l} a & 1.5 \\\\", "do not belong together"),
        ("{" * 100 + "a & 28.35 \\\\", "nests deeper"),
        ("a" + "& 1.5" * 300 + "\\\\", "columns"),
        ("a & 1.5 \\\\\n" * 3000, "lines"),
        ("x" * 1_000_001, "characters"),
    ],
)
def test_what_is_no_table_is_refused(text: str, message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        understand(read_pasted(text), "sr")


SIGNS = (
    "& \\\\ { } \\multirow{-3}{*}{ \\multicolumn{99}{c}{ \\textbf{ \\begin{tabular} "
    "| ** _ 28.35 / 0.9 x2 Set5 PSNR , % $ ^ \\ "
    "<b> \x1b \u202e -- ?? ["
)
PIECES = st.sampled_from([*SIGNS.split(), "\n"])


@given(st.lists(PIECES | st.text(max_size=4), max_size=60).map("".join), st.sampled_from((*FORMS, None)))
def test_any_text_is_read_or_refused(text: str, form: Form | None) -> None:
    try:
        read = understand(read_pasted(text, form), "sr")
    except HarnessError as error:
        assert str(error)
        return
    assert all(len(row.values) == len(read.columns) for row in read.rows)
    assert all(sign.isprintable() for row in read.rows for sign in row.name)
