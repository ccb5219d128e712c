"""What all figures share: rows and marks, matplotlib's settings, and files whose bytes are the same every time."""

from __future__ import annotations

import contextlib
import functools
import re
import string
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from harness.errors import HarnessError, Missing, NotAvailableError, unknown_name
from harness.files import whole_file, write_text
from harness.report.paper import made_words
from harness.report.render import few_empty_lines, tex_environment
from harness.tables.diff import CellResult
from harness.tables.fairness import Line, footnotes
from harness.tables.measurements import Measurement

FORMS = (".pdf", ".png", ".svg", ".tex")

WIDTHS = {"column": 3.3, "text": 6.9}
"""Inches of a column and of the whole text in most conferences' styles."""

# Wider than a column: LaTeX's figure* lets it span both.
_SPANNING = 4.0

POINTS = 72.0
"""Points an inch."""

# Okabe and Ito's colours, which colour-blind readers tell apart, without yellow: it is too light for lines.
COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")

# Times as most papers are set in, from matplotlib's own files, so that every machine draws the same. What that font
# lacks comes from the second.
_STYLE = {
    "font.family": ["STIXGeneral", "DejaVu Sans"],
    "font.size": 8.0,
    "pdf.fonttype": 42,  # TrueType: some publishers refuse matplotlib's default
    "text.hinting": "none",  # letters stand at their own distance at any resolution
    "svg.hashsalt": "restoration-harness",
    "axes.linewidth": 0.6,
    "axes.unicode_minus": False,
    "lines.linewidth": 1.0,
    "lines.markersize": 4.0,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
}

_METADATA: dict[str, dict[str, str | None]] = {
    ".pdf": {"CreationDate": None, "Creator": "restoration-harness"},
    ".svg": {"Date": None, "Creator": "restoration-harness"},
    ".png": {"Software": None},
}

# What LaTeX takes in \includegraphics and in a label without escapes.
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

_SUPERSCRIPTS = str.maketrans("abcdefghijklmnoprstuvwxyz", "ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻ")


class FigureNote(msgspec.Struct, frozen=True):
    """In what rows are not like the others: the letter that stands at them, and a sentence."""

    mark: str
    text: str


class PaperFigure(msgspec.Struct, frozen=True, kw_only=True):
    """A drawn figure.

    `name`: Of its files and its label.
    `notes`: What the letters at rows mean; they belong to the caption.
    `remarks`: What its author should know: what was left out, what was chosen.
    `width`: Inches.
    `drawn`: Matplotlib's.
    """

    name: str
    caption: tuple[str, ...]
    notes: tuple[FigureNote, ...]
    remarks: tuple[str, ...]
    width: float
    drawn: Any

    @property
    def caption_text(self) -> str:
        """The caption as plain text."""
        return " ".join([*self.caption, *(f"({note.mark}) {note.text}" for note in self.notes)])


@contextlib.contextmanager
def styled() -> Iterator[None]:
    """Draw with the same settings everywhere, whatever a user's matplotlibrc says.

    Raises NotAvailableError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError:
        raise NotAvailableError(
            "matplotlib is not installed; pip install 'restoration-harness[figures]'", Missing("package", "matplotlib")
        ) from None
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)  # type: ignore[arg-type]
        yield


def check_outputs(paths: Iterable[Path]) -> None:
    """Refuse files that no figure can be written to, before anything is computed.

    Raises HarnessError: Another ending, or a name that LaTeX would not take as it is.
    """
    for path in paths:
        if path.suffix not in FORMS:
            raise HarnessError(f"{path}: a figure ends in {', '.join(FORMS)}")
        if path.suffix == ".tex" and not _PLAIN.fullmatch(path.stem):
            raise HarnessError(
                f"{path}: name it with letters, digits, '.', '_' and '-': LaTeX reads other signs itself"
            )


def write_figure(figure: PaperFigure, paths: Sequence[Path], dpi: int) -> tuple[list[Path], list[str]]:
    """Write a figure; beside a ``.tex`` the PDF that it includes.

    `paths`: See `check_outputs`.
    `dpi`: Pixels an inch of a PNG.
    Returns `written`: In the order of writing.
    Returns `problems`: Signs that the fonts do not have.
    """
    pictures = dict.fromkeys(path.with_suffix(".pdf") if path.suffix == ".tex" else path for path in paths)
    problems: dict[str, None] = {}
    for path in pictures:
        with styled(), warnings.catch_warnings(record=True) as caught, whole_file(path) as part:
            warnings.simplefilter("always")
            figure.drawn.savefig(part, format=path.suffix[1:], dpi=dpi, metadata=_METADATA[path.suffix])
        problems |= {f"drawing: {warning.message}": None for warning in caught}
    texts = [path for path in paths if path.suffix == ".tex"]
    for path in texts:
        write_text(path, latex_figure(figure, path.with_suffix(".pdf").name))
    return [*pictures, *texts], list(problems)


def latex_figure(figure: PaperFigure, file: str) -> str:
    """Write the LaTeX that includes a file with the figure's caption and label."""
    template = tex_environment().get_template("figures/figure.tex.j2")
    return few_empty_lines(template.render(figure=figure, file=file, star="*" if figure.width > _SPANNING else ""))


def slug(text: str) -> str:
    """Make a part of a file's name of any text.

    >>> slug("BSD68/3096 (gray)")
    'bsd68-3096-gray'
    """
    return re.sub("[^a-z0-9]+", "-", text.lower()).strip("-") or "unnamed"


def chosen_rows(table: str, results: Iterable[CellResult], text: str) -> list[str]:
    """Read names of rows with commas between, in any case; a name may itself hold commas.

    Raises HarnessError: The table has no such row; the nearest are named.
    """
    known = {result.request.row.lower(): result.request.row for result in results}
    parts = text.split(",")
    found: list[str] = []
    while parts:
        for end in range(len(parts), 0, -1):
            if name := known.get(",".join(parts[:end]).strip().lower()):
                found.append(name)
                break
        else:
            raise unknown_name(f"row of {table}", parts[0].strip(), known.values())
        parts = parts[end:]
    return list(dict.fromkeys(found))


def one_task(table: str, cells: Iterable[CellResult]) -> str:
    """Name the task of cells.

    Raises HarnessError: They are of several tasks, which one figure does not mix.
    """
    tasks = list(dict.fromkeys(cell.request.task for cell in cells))
    if len(tasks) > 1:
        raise HarnessError(f"{table} has several tasks there; name one with --task: {', '.join(tasks)}")
    return tasks[0]


def row_notes(results: Sequence[CellResult]) -> tuple[list[FigureNote], dict[Line, str]]:
    """Say in what the rows of a figure are not like each other, or were trained here; and the letters of each row."""
    found, by_line = footnotes(map(_as_shown, results))
    notes = [FigureNote(note.mark, f"{', '.join(note.rows)}: {note.text}.") for note in found]
    marks = {line: "".join(note.mark for note in of_line) for line, of_line in by_line.items()}
    weights = {line for line, of_line in by_line.items() if any(n.difference.kind == "weights" for n in of_line)}
    trained: dict[str, dict[Line, str]] = {}
    for result in results:
        line = result.request.part, result.request.line
        if result.origin.startswith("trained") and line not in weights:
            trained.setdefault(result.origin, {})[line] = result.request.row
    for origin, rows in trained.items():
        letters = string.ascii_lowercase
        mark = letters[len(notes) % len(letters)] * (1 + len(notes) // len(letters))
        notes.append(FigureNote(mark, f"{', '.join(dict.fromkeys(rows.values()))}: {origin}."))
        for line in rows:
            marks[line] = marks.get(line, "") + mark
    return notes, marks


def _as_shown(result: CellResult) -> CellResult:
    """Take off that a number is printed under a protocol of its own, where the one under the column's is shown."""
    if not isinstance(result.under_column, Measurement):
        return result
    return msgspec.structs.replace(result, differs=tuple(d for d in result.differs if d.kind != "protocol"))


def raised(mark: str) -> str:
    """Raise the letters of a mark."""
    return mark.translate(_SUPERSCRIPTS)


@functools.cache
def text_length(text: str, size: float, bold: bool = False) -> float:
    """Length of a text in points, in letters of `size` points; call it inside `styled`."""
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.font_manager import FontProperties

    make: Any = RendererAgg
    dpi = 720
    font = FontProperties(size=size, weight="bold" if bold else "normal")
    return float(make(1, 1, dpi).get_text_width_height_descent(text, font, ismath=False)[0]) * POINTS / dpi


def how_made(task: str, results: Sequence[CellResult]) -> list[str]:
    """Say in sentences how the numbers were made; of inputs only where the notes of rows do not tell them apart."""
    differing = {note.difference.kind for note in footnotes(results)[0]}
    words = made_words(task, results)
    return [f"{start}: {text}." for start, text in words if start != "Input" or "input" not in differing]
