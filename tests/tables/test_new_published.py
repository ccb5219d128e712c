"""`harness new published`: tables as papers write them, pasted, read back digit by digit, and compared."""

from __future__ import annotations

import itertools
import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.cli import harness as command
from harness.cli.initialising import initialise
from harness.cli.publishing import write_published
from harness.errors import HarnessError
from harness.methods.fingerprints import PACKAGE
from harness.records.tasks import TASKS
from harness.tables.checking import remarks, system_key
from harness.tables.headings import ReadColumn, ReadRow, UnderstoodTable
from harness.tables.published import PLACE, Column, Row, Table, TablePart, own_tables, published_tables
from harness.tables.workspace import Workspace

TITLES = {
    "kodak24": "Kodak24",
    "cbsd68": "BSD68",
    "bsd68-gray": "BSD68",
    "urban100": "Urban 100",
    "mcmaster18": "McMaster",
    "live1": "LIVE1",
    "classic5": "Classic 5",
    "set5": "Set5",
    "set14": "Set14",
    "b100": "BSD100",
    "manga109": "Manga109",
    "sidd-validation": "SIDD",
    "gopro-test": "GoPro",
    "hide": "HIDE",
}
LEVELS = {"sigma": "$\\sigma{=}%s$", "quality": "$q=%s$", "scale": "$\\times$%s", "": ""}


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "params.yaml").write_text("{}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str, text: str = "", code: int = 0) -> str:
    result: Result = CliRunner().invoke(command, list(arguments), input=text, catch_exceptions=True)
    told = result.output + (str(result.exception) if isinstance(result.exception, HarnessError) else "")
    assert (result.exit_code != 0) == bool(code), told + repr(result.exception)
    return told


def level_of(part: TablePart, level: int | None) -> str:
    return LEVELS[TASKS[part.task].level_name] % level if level else ""


def title_of(name: str) -> str:
    return TITLES.get(name, name)


def mark(value: str, best: str, second: str) -> str:
    for fence, form in (("**", best), ("_", second)):
        if value.startswith(fence):
            return form % value.strip(fence)
    return value


def spans(titles: list[str]) -> Iterator[tuple[str, int]]:
    for title, same in itertools.groupby(titles):
        yield title, len(list(same))


def blocks(part: TablePart) -> list[list[int]]:
    """Columns of a dataset and level together: PSNR and SSIM."""
    groups: dict[tuple[str, int | None], list[int]] = {}
    for index, column in enumerate(part.columns):
        groups.setdefault((column.dataset, column.level), []).append(index)
    return list(groups.values())


def booktabs(part: TablePart) -> str:
    """Sets above levels and metrics, bold and underline, citations, rules with options."""
    scale = any(row.level for row in part.rows)
    heads = [f"{level_of(part, c.level)} {c.metric.upper()}$\\uparrow$" for c in part.columns]
    sets = [f"\\multicolumn{{{n}}}{{c}}{{{t}}}" for t, n in spans([title_of(c.dataset) for c in part.columns])]
    lines = [
        "\\begin{table*}[t]\\centering\\small",
        "\\caption{Comparison. \\textbf{Bold}: best, \\underline{underlined}: second best.}\\label{tab:a}",
        "\\resizebox{\\textwidth}{!}{",
        f"\\begin{{tabular}}{{@{{}}l{'c' * (len(heads) + scale)}@{{}}}} \\toprule",
        " & ".join(["\\multirow{2}{*}{Method}", *(["\\multirow{2}{*}{Scale}"] * scale), *sets])
        + " \\\\ \\cmidrule(lr){2-3}",
        " & ".join(["", *([""] * scale), *heads]) + " \\\\ \\midrule",
    ]
    for row in part.rows:
        values = [mark(value, "\\textbf{%s}", "\\underline{%s}") for value in row.values]
        lines.append(
            " & ".join([f"{row.name}~\\cite{{a:b_c}}", *([f"x{row.level}"] * scale), *values])
            + " \\\\[2pt] % 28.11 & 1"
        )
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}}", "\\end{table*}"])


def pairs(part: TablePart) -> str:
    """PSNR/SSIM in one cell, the best red and the second blue; scales in a column with spans."""
    scale = any(row.level for row in part.rows)
    heads = [f"{title_of(part.columns[b[0]].dataset)} {level_of(part, part.columns[b[0]].level)}" for b in blocks(part)]
    lines = ["\\begin{tabular}{|l|c|" + "c|" * len(heads) + "} \\hline"]
    lines.append(" & ".join(["Model", *(["Scale"] * scale), *heads]) + " \\\\ \\hline\\hline")
    lines.append(" & ".join(["", *([""] * scale), *(["PSNR/SSIM"] * len(heads))]) + " \\\\ \\hline")
    for _, group in itertools.groupby(part.rows, key=lambda row: row.level):
        rows = list(group)
        for number, row in enumerate(rows):
            values = [mark(value, "{\\color{red}{%s}}", "\\textcolor{blue}{%s}") for value in row.values]
            cells = ["/".join(values[index] for index in block) for block in blocks(part)]
            first = f"\\multirow{{{len(rows)}}}{{*}}{{$\\times {row.level}$}}" if number == 0 else ""
            lines.append(" & ".join([row.name, *([first] * scale), *cells]) + " \\\\")
        lines.append("\\hline")
    return "\n".join([*lines, "\\end{tabular}"])


def transposed(part: TablePart) -> str:
    """Methods as columns, sets and levels as lines, old commands for bold."""
    metrics = list(dict.fromkeys(c.metric for c in part.columns))
    heads = [f"\\multicolumn{{{len(metrics)}}}{{c|}}{{{row.name} \\cite{{x}}}}" for row in part.rows]
    lines = ["\\begin{tabular}{c|c|" + "c" * len(heads) + "}\\hline", " & ".join(["Dataset", "Level", *heads]) + "\\\\"]
    lines.append(" & ".join(["", "", *([metric.upper() for metric in metrics] * len(heads))]) + "\\\\ \\hline")
    before = ""
    for block in blocks(part):
        column = part.columns[block[0]]
        title = title_of(column.dataset) if column.dataset != before else ""
        before = column.dataset
        values = [mark(row.values[i], "{\\bf %s}", "$\\underline{%s}$") for row in part.rows for i in block]
        lines.append(" & ".join([title, level_of(part, column.level), *values]) + "\\\\")
    return "\n".join([*lines, "\\end{tabular}"])


def sections(part: TablePart) -> str:
    """A line over the whole width for each scale; bold in formulas."""
    heads = [f"{title_of(c.dataset)} {c.metric.upper()}" for c in part.columns]
    lines = [" & ".join(["Methods", *heads]) + " \\\\ \\midrule"]
    for level, rows in itertools.groupby(part.rows, key=lambda row: row.level):
        lines.append(f"\\multicolumn{{{len(heads) + 1}}}{{c}}{{\\textit{{Scale factor}} $\\times{level}$}} \\\\")
        for row in rows:
            values = [mark(value, "$\\mathbf{%s}$", "\\uline{%s}") for value in row.values]
            lines.append(f"{row.name} & {' & '.join(values)} \\tabularnewline")
    return "\n".join(lines)


def markdown(part: TablePart) -> str:
    """As in a README, pairs in one cell, links and footnotes, stars and HTML for marks."""
    scale = any(row.level for row in part.rows)
    heads = [
        f"{title_of(part.columns[b[0]].dataset)} {level_of(part, part.columns[b[0]].level).replace('{=}', '=')}"
        f"<br>{'/'.join(part.columns[i].metric.upper() for i in b)}"
        for b in blocks(part)
    ]
    heads = [head.replace("$\\sigma", "σ").replace("$\\times$", "x").replace("$", "") for head in heads]
    lines = ["| " + " | ".join(["Method", *(["Scale"] * scale), *heads]) + " |"]
    lines.append("|:--" + "|:-:" * (len(heads) + scale) + "|")
    for row in part.rows:
        values = [mark(value, "**%s**", "<u>%s</u>") for value in row.values]
        cells = ["/".join(values[index] for index in block) for block in blocks(part)]
        lines.append(
            f"| [{row.name}](https://example.org/a_b)<sup>1</sup> | "
            + " | ".join([*([f"×{row.level}"] * scale), *cells])
            + " |"
        )
    return "A sentence before.\n\n" + "\n".join(lines) + "\n\nAnd one after."


def spreadsheet(part: TablePart, sign: str = "\t") -> str:
    """As copied from a spreadsheet: two lines of headings, sets named once; marks of Markdown."""
    scale = any(row.level for row in part.rows)
    sets = [
        t if n == 0 else "" for t, count in spans([title_of(c.dataset) for c in part.columns]) for n in range(count)
    ]
    heads = [f"{level_of(part, c.level)} {c.metric}".replace("$", "").replace("{=}", "=") for c in part.columns]
    heads = [head.replace("\\sigma", "σ").replace("\\times", "x").strip() for head in heads]
    lines = [["", *([""] * scale), *sets], ["Method", *(["Scale"] * scale), *heads]]
    lines += [[row.name, *([f"x{row.level}"] * scale), *row.values] for row in part.rows]
    return "\n".join(sign.join(line) for line in lines)


Cells = dict[tuple[str, str, int | None, str], str]


def cells_of(part: TablePart) -> Cells:
    return {
        (system_key(row.name), c.dataset, c.level if c.level is not None else row.level, c.metric): value.replace(
            "–", "-"
        )
        for row in part.rows
        for c, value in zip(part.columns, row.values, strict=True)
    }


def semicolons(part: TablePart) -> str:
    return spreadsheet(part, ";")


# Tables of other shapes (levels in columns or rows, one metric or two, none at all) in every style that has them.
STYLED: list[tuple[str, Callable[[TablePart], str]]] = [
    ("panet-table1", booktabs),
    ("panet-table1", transposed),
    ("panet-table1", markdown),
    ("rnan-table3", spreadsheet),
    ("rnan-table3", semicolons),
    ("panet-table2", booktabs),
    ("rnan-table4", markdown),
    ("panet-table3", booktabs),
    ("panet-table3", pairs),
    ("panet-table3", transposed),
    ("rnan-table5", markdown),
    ("rnan-table5", spreadsheet),
    ("panet-table5", booktabs),
    ("panet-table5", pairs),
    ("panet-table5", sections),
    ("rnan-table6", markdown),
    ("rnan-table6", spreadsheet),
    ("csnln-table1", pairs),
    ("kit-table1", booktabs),
    ("kit-table2", booktabs),
]


@pytest.mark.parametrize(("name", "style"), STYLED, ids=lambda value: getattr(value, "__name__", value))
def test_a_table_comes_back_digit_by_digit(workspace: Path, name: str, style: Callable[[TablePart], str]) -> None:
    part = published_tables()[name].parts[0]
    told = run("new", "published", "doe-table1", "--task", part.task, "--from", "-", text=style(part))
    assert "place:" not in told and PLACE not in (workspace / "tables/doe-table1.yaml").read_text(), told
    table = Workspace(workspace).table("doe-table1")
    assert cells_of(table.parts[0]) == cells_of(part)
    # Every row of the paper's table is recognised: its method, or that there is none; and how it was made.
    for row, known in zip(table.parts[0].rows, part.rows, strict=True):
        assert bool(row.method) == bool(known.method), row.name
        if sum(other.name == known.name for other in part.rows) == 1:
            assert (row.degradation or table.parts[0].degradation) == (
                known.degradation or part.degradation or TASKS[part.task].degradation
            )
    assert "harness repro doe-table1" in told


TRAINED_ON = r"""\begin{table*}[t]\caption{\textbf{Average PSNR/SSIM}. Best in {\color{red} red}.}\scalebox{0.78}{
\begin{tabular}{|l|c|c|c|c|c|c|} \hline
\multirow{2}{*}{Method} & \multirow{2}{*}{Scale} & \multirow{2}{*}{\makecell{Training \\ Dataset}} &
\multicolumn{2}{c|}{Set5~\cite{a}} & \multicolumn{2}{c|}{Manga109 [49]}
\\ \cline{4-7} & & & PSNR & SSIM & PSNR & SSIM
\\ \hline\hline
EDSR+~\cite{b}& $\times$2 & DIV2K & {38.20} & {0.9606} & {39.10} & - \\
\textbf{SwinIR} (Ours) & $\times$2 & DIV2K & \textcolor{red}{38.35} & \textcolor{red}{0.9620} & 39.60 & 0.9792 \\
\end{tabular}}\end{table*}"""
NUMBERED = """| Method | Params (M) | FLOPs (G) | CBSD68 15 | CBSD68 25 |
|---|---|---|---|---|
| DnCNN [12] | 0.56 | 37 | 33.90 | 31.24 |
| Restormer | 26.1 | 140 | **34.40** | **31.79** |"""
BRACKETS = r"""\begin{tabular}{lcc} Method & Set5 & BSDS100 \\ \hline \multicolumn{3}{l}{\emph{Scale} 2} \\
EDSR+ & 38.20 (\textbf{0.9606}) & 32.37 (0.9018) \\ EDSR & \num{38.11} (0.9602) & 32.32 dB (0.9013) \\ \end{tabular}"""
MIXED = """Quality,Dataset,JPEG,Foo
10,LIVE1,27.77/0.7905,N/A/N/A
20,LIVE1,30.07/0.8683,*31.59*/.8802
10,Classic5,27.82/0.7800,29.40/N/A"""


@pytest.mark.parametrize("style", ["rows", "columns"])
def test_citations_of_the_pasted_rows_are_kept(workspace: Workspace, style: str) -> None:
    """Keys that LaTeX cites beside a name become the row's `cite`, and come out as citations of the paper's table."""
    cited = {r"DnCNN~\cite{zhang2017}": "zhang2017", r"Foo\citep[see][]{a:b, c_d+1,../x,}": "a:b,c_d+1", "Bar": ""}
    lines = [["Method", r"LIVE1~\cite{live} $q=10$", "Classic5 $q=10$"], *([name, "29.19", "29.40"] for name in cited)]
    if style == "columns":
        lines[0][0] = "Dataset"
        lines = [list(line) for line in zip(*lines, strict=True)]
    text = "\n".join(f"{' & '.join(line)} \\\\" for line in lines)
    run("new", "published", "doe-table1", "--task", "jpeg", "--metric", "psnr", "--from", "-", text=text)
    rows = Workspace(workspace).table("doe-table1").parts[0].rows
    assert [(row.name, row.cite) for row in rows] == list(zip(("DnCNN", "Foo", "Bar"), cited.values(), strict=True))
    made = run("table", "doe-table1", "--style", "paper")
    assert r"\cite{zhang2017}" in made and r"\cite{a:b,c_d+1}" in made


@pytest.mark.parametrize(
    ("task", "text", "options", "expected"),
    [
        (
            "sr",
            TRAINED_ON,
            [],
            {
                ("edsr+", "set5", 2): ("38.20", "0.9606"),
                ("edsr+", "manga109", 2): ("39.10", "-"),
                ("swinir", "set5", 2): ("**38.35**", "**0.9620**"),
                ("swinir", "manga109", 2): ("39.60", "0.9792"),
            },
        ),
        (
            "denoise-rgb",
            NUMBERED,
            ["--metric", "psnr"],
            {
                ("dncnn", "", None): ("0.56M",),
                ("dncnn", "cbsd68", 15): ("33.90",),
                ("dncnn", "cbsd68", 25): ("31.24",),
                ("restormer", "", None): ("26.1M",),
                ("restormer", "cbsd68", 15): ("**34.40**",),
                ("restormer", "cbsd68", 25): ("**31.79**",),
            },
        ),
        (
            "sr",
            BRACKETS,
            [],
            {
                ("edsr+", "set5", 2): ("38.20", "**0.9606**"),
                ("edsr+", "b100", 2): ("32.37", "0.9018"),
                ("edsr", "set5", 2): ("38.11", "0.9602"),
                ("edsr", "b100", 2): ("32.32 dB (0.9013)",),
            },
        ),
        (
            "jpeg",
            MIXED,
            [],
            {
                ("jpeg", "live1", 10): ("27.77", "0.7905"),
                ("jpeg", "live1", 20): ("30.07", "0.8683"),
                ("jpeg", "classic5", 10): ("27.82", "0.7800"),
                ("foo", "live1", 10): ("N/A", "N/A"),
                ("foo", "live1", 20): ("_31.59_", "0.8802"),
                ("foo", "classic5", 10): ("29.40", "N/A"),
            },
        ),
    ],
    ids=["training sets", "numbered sets", "brackets", "pairs without values"],
)
def test_what_papers_write(
    workspace: Path,
    task: str,
    text: str,
    options: list[str],
    expected: dict[tuple[str, str, int | None], tuple[str, ...]],
) -> None:
    told = run("new", "published", "doe-table1", "--task", task, "--from", "-", *options, text=text)
    path = workspace / "tables/doe-table1.yaml"
    if "place:" in told:
        # What cannot be read is named, and a person writes it.
        assert "'32.32 dB (0.9013)'" in told
        path.write_text(path.read_text().replace(f'"{PLACE}", "{PLACE}"', '"32.32", "0.9013"'))
        expected = {**expected, ("edsr", "b100", 2): ("32.32", "0.9013")}
    found: dict[tuple[str, str, int | None], tuple[str, ...]] = {}
    for (row, dataset, level, _), value in cells_of(Workspace(workspace).table("doe-table1").parts[0]).items():
        level = level if dataset else None
        found[row, dataset, level] = (*found.get((row, dataset, level), ()), value)
    assert found == expected


def test_the_page_shows_what_is_printed(workspace: Path) -> None:
    page = (PACKAGE.parent / "docs/tables.md").read_text()
    blocks = dict(re.findall(r"```(\w+)\n(.*?)```", page, re.DOTALL))
    commands = [line.split("#")[0] for line in re.findall(r"^harness new published.*", page, re.MULTILINE)]
    (workspace / "table.tex").write_text(blocks["latex"])
    said = [run(*shlex.split(command)[1:]) for command in commands]
    assert said[0] == blocks["text"] and "place:" not in said[1] and "written: tables/ournet-table3.yaml" in said[2]
    (workspace / "tables/ournet-table2.yaml").write_text(blocks["yaml"])
    assert "'ournet-table2' can be read: 4 numbers" in run("check", "ournet-table2")


def test_headings_that_nobody_knows_are_places_until_they_are_said(workspace: Path) -> None:
    text = (
        r"Method & FooSet $\sigma=50$ & Kodak24 & Time (s) \\ DnCNN & 29.16 & 28.9? & 0.1 \\ New & 29.2 & 29.40 & - \\"
    )
    told = run("new", "published", "new-table", "--from", "-", text=text)
    for open_place in ("--dataset fooset=NAME", "--metric NAME", "--level NUMBER", "'28.9?'"):
        assert open_place in told
    written = (workspace / "tables/new-table.yaml").read_text()
    assert f'dataset: "{PLACE}", level: 50}}  # FooSet σ=50' in written
    for refused in (["check", "new-table"], ["diff", "new-table"], ["repro", "new-table"]):
        assert "something is still to be written" in run(*refused, code=2)
    assert "is there already" in run("new", "published", "new-table", "--from", "-", text=text, code=2)
    options = ["--dataset", "FooSet=cbsd68", "--metric", "psnr", "--level", "50", "--force"]
    run("new", "published", "new-table", "--from", "-", *options, text=text.replace("28.9?", "28.95"))
    told = run("check", "new-table")
    assert "DnCNN, kodak24, 50, psnr: 28.95 here, 29.16 in panet-table1" in told
    assert "New, cbsd68, 50, psnr: 29.2 has not 2 decimals" in told
    assert "'new-table' can be read: 5 numbers in 6 places" in told


def test_a_form_to_fill_in(workspace: Path) -> None:
    rows = ["--row", "Bicubic", "--row", "no: 'name' # \"of\" *any &kind"]
    told = run("new", "published", "form", "--task", "sr", "--dataset", "set5", "--level", "2", *rows)
    path = workspace / "tables/form.yaml"
    assert path.read_text().count(f'"{PLACE}"') == 4 and "check form" in told
    path.write_text(path.read_text().replace(PLACE, "0.5"))
    rows_read = Workspace(workspace).table("form").parts[0].rows
    assert [row.name for row in rows_read] == ["Bicubic", "no: 'name' # \"of\" *any &kind"]
    assert "0.5 is out of the range of 3 to 80" in run("check", "form")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["panet-table1", "--from", "-"], "is there already"),
        (["Table 1", "--from", "-"], "use lower-case letters"),
        (["a", "--from", "missing.tex"], "missing.tex"),
        (["a", "--from", "-", "--task", "denoise"], "unknown task"),
        (["a", "--from", "-", "--dataset", "Foo=kodak25"], "did you mean 'kodak24'"),
        (["a", "--from", "-", "--dataset", "=kodak24"], "HEADING=NAME"),
        (["a", "--from", "-", "--metric", "psnrr"], "did you mean 'psnr'"),
        (["a", "--from", "-", "--method", "DnCNN=dncn"], "did you mean 'dncnn'"),
        (["a", "--from", "-", "--method", "DnCN=dncnn"], "did you mean 'DnCNN'"),
        (["a", "--from", "-", "--method", "DnCNN=arcnn"], "does not do 'denoise-rgb'"),
        (["a", "--from", "-", "--row", "DnCNN"], "goes without --from"),
        (["a", "--from", "-", "--level", "30", "--level", "50"], "one --level"),
        (["a", "--from", "-", "--dataset", "kodak24", "--dataset", "cbsd68"], "one --dataset"),
        (["a", "--syntax", "csv"], "goes with --from"),
        (["a", "--dataset", "kodak24"], "--row NAME"),
    ],
)
def test_mistakes_are_told_and_write_nothing(workspace: Path, arguments: list[str], message: str) -> None:
    text = "Method,Kodak24 sigma 50 PSNR,CBSD68 sigma 50 PSNR\nDnCNN,29.16,28.01\n"
    before = sorted(workspace.rglob("*"))
    assert message in run("new", "published", *arguments, text=text, code=2)
    assert sorted(workspace.rglob("*")) == before


@pytest.mark.parametrize(("data", "message"), [(b"a,28.35\xff", "UTF-8"), (b"x" * 4_100_000, "longer than a table")])
def test_files_that_are_no_table(workspace: Path, data: bytes, message: str) -> None:
    (workspace / "table.csv").write_bytes(data)
    assert message in run("new", "published", "a", "--from", "table.csv", code=2)


def test_an_option_to_copy_is_quoted_for_a_shell(workspace: Path) -> None:
    text = r"Method & it's \$(touch here) `x` & Set5 x2 PSNR \\ A & 38.11 & 38.11 \\"
    told = run("new", "published", "a", "--task", "sr", "--from", "-", "--metric", "psnr", "--level", "2", text=text)
    (place,) = [line for line in told.splitlines() if line.startswith("place:")]
    option = place.partition("--dataset ")[2].partition(" says it")[0]
    assert shlex.split(option) == ["it's $ touch here `x`=NAME"]


def doubtful(*rows: tuple[str, str], metric: str = "psnr") -> list[str]:
    part = TablePart("denoise-rgb", (Column(metric, "kodak24", 50),), tuple(Row(n, (v,)) for n, v in rows))
    return remarks(Table("doe-table1", "doe", "", "", (part,)), [])


def test_marks_digits_and_ranges_are_checked() -> None:
    assert doubtful(("A", "28.10"), ("B", "_28.20_"), ("C", "**28.30**")) == []
    assert doubtful(("A", "28.10"), ("B", "28.20"), ("C", "28.30")) == []
    assert doubtful(("A", "**28.30**"), ("B", "**28.30**"), ("C", "_28.20_")) == []
    assert ["is marked as the best, but C has 28.30" in t for t in doubtful(("A", "**28.10**"), ("C", "28.30"))] == [
        True
    ]
    (told,) = doubtful(("A", "_28.10_"), ("B", "28.20"), ("C", "**28.30**"))
    assert "A, kodak24, 50, psnr: 28.10 is marked as the second best, but B has 28.20" in told
    assert doubtful(("A", "0.8123"), ("B", "8.123"), metric="ssim")[0].endswith("out of the range of 0 to 1")
    assert "has not 2 decimals" in doubtful(("A", "28.10"), ("B", "28.20"), ("C", "28.3"))[0]


def test_the_projects_own_contradictions_are_found() -> None:
    known = published_tables()
    assert any(
        "RNAN, urban100, 50, psnr: 29.08 here, 29.15 in panet-table4" in text
        for text in remarks(known["panet-table1"], known.values())
    )


TEXTS = st.text(st.characters(), max_size=12)


@settings(max_examples=60)
@given(
    names=st.lists(
        TEXTS | st.sampled_from(["no", "1e5", "- a", "*x", "&y", "{", "#", "'", '"', "\\", "\u2028", "\x85"]),
        min_size=1,
        max_size=3,
    ),
    title=TEXTS,
)
def test_any_name_and_caption_is_written_as_yaml(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], title: str
) -> None:
    folder = tmp_path_factory.mktemp("named")
    (folder / "params.yaml").write_text("{}\n")
    read = UnderstoodTable(
        (ReadColumn("psnr", "kodak24", 50),), tuple(ReadRow(name, None, ("28.35",)) for name in names), "rows", (), ()
    )
    write_published(Workspace(folder), "doe-table1", "denoise-rgb", read, title=title, source="a: b # c")
    table = Workspace(folder).table("doe-table1")
    assert [row.name for row in table.parts[0].rows] == [
        "".join(sign for sign in name if sign.isprintable()) for name in names
    ]


def test_from_pasted_lines_to_verdicts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    initialise(tmp_path)
    monkeypatch.chdir(tmp_path)
    counted = run("tables").partition("different published numbers")[0].splitlines()[-1]
    listed = json.loads(run("tables", "--format", "json"))
    # The values that this project measured on the embedded images, one of them misprinted.
    part = next(part for part in own_tables()["embedded"].parts if part.task == "jpeg")
    (known,) = [row for row in part.rows if row.method == "jpeg"]
    value = {(c.level, c.metric): v for c, v in zip(part.columns, known.values, strict=True)}
    text = rf"""
      \begin{{tabular}}{{lcc}} \toprule Method & \multicolumn{{2}}{{c}}{{Embedded (gray)}} \\
      & $q=10$ & $q=20$ \\ \midrule
      JPEG~\cite{{w}} & \textbf{{{value[10, "psnr"]}}}/{value[10, "ssim"]} & 39.99/\textbf{{{value[20, "ssim"]}}} \\
      Ours & 28.00/- & N/A \\ \bottomrule \end{{tabular}}"""
    told = run("new", "published", "panet-table10", "--task", "jpeg", "--from", "-", text=text)
    assert "JPEG: jpeg" in told and "no method is known for Ours" in told and "pairs are taken for PSNR/SSIM" in told
    run("repro", "panet-table10", "--row", "JPEG")
    cells = json.loads((run("diff", "panet-table10", "--format", "json", code=1)).rpartition("]")[0] + "]")
    found = {(cell["row"], cell["level"], cell["metric"]): cell["verdict"] for cell in cells}
    assert [found["JPEG", level, metric] for level in (10, 20) for metric in ("psnr", "ssim")] == [
        "match",
        "match",
        "off",
        "match",
    ]
    assert found["Ours", 10, "psnr"] == "not run"
    # It stands among the user's tables, and raises no count of the project.
    assert counted == run("tables").partition("different published numbers")[0].splitlines()[-1]
    assert json.loads(run("tables", "--format", "json")) == listed
    run("report")
    index = (tmp_path / "results/site/index.html").read_text()
    groups = dict(re.findall(r'colspan="2">([^<]*)</th>.*?<td class="n">([\d,]+)</td></tr>', index))
    printed = sum(table.number_count() for table in published_tables().values() if table.paper == "panet")
    assert (groups["PANet"], groups["panet, added here"]) == (str(printed), "5")
    own = {record["table"]: record for record in json.loads(run("tables", "--own", "--format", "json"))}
    assert own["panet-table10"]["numbers"] == 5 and not own["panet-table10"]["published"]
