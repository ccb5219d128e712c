"""Tables as they are pasted: LaTeX, Markdown or CSV, read into a grid of cells with their marks.

Only what the text says is read here: cells, spans, and the marks of the best and the second-best value. What headings
mean is `harness.tables.headings`' matter.
"""

from __future__ import annotations

import csv
import re
from typing import Literal

import msgspec

from harness.errors import HarnessError
from harness.tables.published import CITE_KEY

Form = Literal["latex", "markdown", "csv"]
FORMS: tuple[Form, ...] = ("latex", "markdown", "csv")

# Far more than a printed table has.
MOST_CHARACTERS = 1_000_000
MOST_LINES = 2_000
MOST_COLUMNS = 200
_MOST_CELLS = 40_000
_LONGEST_CELL = 300
_DEEPEST = 40

# Bold and underline, or two colours; the last two are macros that papers define for themselves.
_BEST = {"textbf", "mathbf", "bm", "boldsymbol", "bf", "bfseries", "best", "first", "fst", "red", "firstbest"}
_SECOND = {"underline", "uline", "ul", "second", "snd", "scnd", "blue", "secondbest"}
_COLOURS = {"red": "best", "blue": "second"}

_CITING = ("cite", "citep", "citet")

# Commands without a meaning for the table, with the number of their braced arguments.
_DROPPED = {
    **dict.fromkeys(
        ("hline", "toprule", "midrule", "bottomrule", "addlinespace", "centering", "noindent", "arraybackslash"), 0
    ),
    **dict.fromkeys(("tiny", "scriptsize", "footnotesize", "small", "normalsize", "large", "it", "em", "rm", "tt"), 0),
    **dict.fromkeys(("itshape", "upshape", "mdseries", "rmfamily", "displaystyle", "textstyle", "left", "right"), 0),
    **dict.fromkeys(("uparrow", "downarrow", "dagger", "dag", "ddagger", "ddag", "ast", "star", "quad", "qquad"), 0),
    **dict.fromkeys(("cline", "cmidrule", "rowcolor", "cellcolor", "label", "ref", "cref", "footnote", "vspace"), 1),
    **dict.fromkeys(("footnotemark", "tnote", "textsuperscript", "hspace", "phantom", "hphantom", "rule"), 1),
    **dict.fromkeys((*_CITING, "citeauthor", "citeyear", "arrayrulecolor", "noalign"), 1),
    **dict.fromkeys(("setlength", "addtolength"), 2),
    "specialrule": 3,
}
# Commands that only wrap their last argument, with the number of those before it.
_WRAPPING = {
    **dict.fromkeys(("text", "textrm", "textit", "texttt", "textsf", "textsc", "emph", "mathrm", "mathit", "mbox"), 0),
    **dict.fromkeys(("makecell", "shortstack", "thead", "ensuremath", "textnormal", "num", "fbox", "operatorname"), 0),
    **dict.fromkeys(("rotatebox", "scalebox", "raisebox", "parbox", "colorbox", "href"), 1),
    "resizebox": 2,
}
_SIGNS = {
    "sigma": "σ",
    "times": "×",
    "pm": "±",
    "infty": "∞",
    "checkmark": "✓",
    "textendash": "–",
    "textemdash": "—",
    "ldots": "…",
    "dots": "…",
}
_TABULARS = ("tabular", "tabular*", "tabularx", "tabulary", "longtable", "tblr", "array")


class PastedCell(msgspec.Struct, frozen=True):
    """One cell: pieces of text, each with its mark (``best``, ``second`` or none).

    A cell that spans several columns stands in each of them; `continued` says that it began farther left or above.
    """

    pieces: tuple[tuple[str, str], ...] = ()
    continued: bool = False

    @property
    def text(self) -> str:
        """The text without marks."""
        return " ".join("".join(text for text, _ in self.pieces).split())

    def split(self, sign: str) -> list[PastedCell]:
        """Cut the cell at a sign; every part keeps the marks of its own text."""
        parts: list[list[tuple[str, str]]] = [[]]
        for text, mark in self.pieces:
            first, *others = text.split(sign)
            parts[-1].append((first, mark))
            parts += [[(other, mark)] for other in others]
        return [PastedCell(tuple(part)) for part in parts]

    def without(self, pattern: re.Pattern[str]) -> PastedCell:
        """Leave out what a pattern finds, also across pieces; the cell itself where it finds nothing."""
        spans = [match.span() for match in pattern.finditer("".join(text for text, _ in self.pieces))]
        if not spans:
            return self
        pieces, at = [], 0
        for text, mark in self.pieces:
            inside = (any(start <= at + i < end for start, end in spans) for i in range(len(text)))
            pieces.append(("".join(sign for sign, out in zip(text, inside, strict=True) if not out), mark))
            at += len(text)
        return PastedCell(tuple(pieces), self.continued)

    def with_signs(self, old: str, new: str) -> PastedCell:
        """Write one sign for another."""
        return PastedCell(tuple((text.replace(old, new), mark) for text, mark in self.pieces), self.continued)

    @property
    def mark(self) -> str:
        """The mark of its text; that of a part of it counts, ``best`` before ``second``."""
        marks = {mark for text, mark in self.pieces if text.strip()}
        return "best" if "best" in marks else "second" if "second" in marks else ""


class PastedTable(msgspec.Struct, frozen=True):
    r"""A grid of cells, every line equally long.

    `lines`: The cells, spans filled in.
    `caption`: What stands in ``\caption``; empty where there is none.
    `unknown`: LaTeX commands that nobody here knows; their arguments were read as text.
    `cites`: By a cell's text, the BibTeX keys that it cites, with commas between.
    """

    lines: tuple[tuple[PastedCell, ...], ...]
    caption: str
    form: Form
    unknown: tuple[str, ...] = ()
    cites: dict[str, str] = {}


def read_pasted(text: str, form: Form | None = None, where: str = "the pasted table") -> PastedTable:
    r"""Read a table from LaTeX, Markdown or CSV.

    `text`: As pasted. LaTeX may be the whole table environment or the lines of a tabular.
    `form` ({"latex", "markdown", "csv"} or None): How it is written; None to tell from the text.
    Raises HarnessError: There is no table in it, there are several, or it is larger than any table is.

    >>> read = read_pasted(r"DnCNN~\cite{a} & \textbf{27.92}/0.7830 \\")
    >>> [cell.text for cell in read.lines[0]], [part.mark for part in read.lines[0][1].split("/")]
    (['DnCNN', '27.92/0.7830'], ['best', ''])
    """
    if len(text) > MOST_CHARACTERS:
        raise HarnessError(f"{where}: is longer than {MOST_CHARACTERS:,} characters; paste the table alone")
    # Line ends and tabs stay; signs that cannot be seen are nobody's digits.
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = "".join(c if c in "\n\t" or c.isprintable() else " " if c.isspace() else "" for c in text)
    form = form or form_of(text)
    caption = ""
    unknown: tuple[str, ...] = ()
    cites: dict[str, str] = {}
    if form == "latex":
        reader = _Latex(text, where)
        spanned, caption, unknown = reader.lines(), reader.caption, tuple(dict.fromkeys(reader.unknown))
        cites = reader.cites
    else:
        cells = _markdown_cells(text) if form == "markdown" else _csv_cells(text, where)
        spanned = [[_Spanned(_inline(cell)) for cell in line] for line in cells]
    lines = _filled(spanned, where)
    if not lines or len(lines[0]) < 2:
        raise HarnessError(
            f"{where}: no table with two columns was found in it, read as {form}; --syntax names another form"
        )
    return PastedTable(lines, caption, form, unknown, cites)


def form_of(text: str) -> Form:
    """Tell how a table is written from its text."""
    if "\\begin{" in text or ("&" in text and "\\\\" in text):
        return "latex"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if any(_is_rule(line) for line in lines) or (
        lines and sum(line.startswith("|") for line in lines) * 2 > len(lines)
    ):
        return "markdown"
    return "csv"


class _Spanned(msgspec.Struct):
    pieces: list[tuple[str, str]]
    columns: int = 1
    lines: int = 1


def _filled(spanned: list[list[_Spanned]], where: str) -> tuple[tuple[PastedCell, ...], ...]:
    """Write out spans, and make all lines equally long."""
    if len(spanned) > MOST_LINES:
        raise HarnessError(f"{where}: has more than {MOST_LINES:,} lines; paste the table alone")
    wide = max((sum(cell.columns for cell in line) for line in spanned), default=0)
    if wide > MOST_COLUMNS or wide * len(spanned) > _MOST_CELLS:
        raise HarnessError(
            f"{where}: has more than {MOST_COLUMNS} columns, or {_MOST_CELLS:,} cells; paste the table alone"
        )
    grid = [[PastedCell()] * wide for _ in spanned]
    down: list[tuple[int, int, int, int, PastedCell]] = []
    for number, line in enumerate(spanned):
        at = 0
        for cell in line:
            pieces = _short(cell.pieces)
            for column in range(at, at + cell.columns):
                grid[number][column] = PastedCell(pieces, continued=column > at)
            if 1 < abs(cell.lines) <= MOST_COLUMNS and pieces:
                down.append((number, cell.lines, at, cell.columns, PastedCell(pieces, continued=True)))
            at += cell.columns
    for number, lines, at, columns, continued in down:
        # A negative span goes upwards: its text stands in the last of its lines.
        step = 1 if lines > 0 else -1
        for other in range(number + step, max(-1, min(number + lines, len(grid))), step):
            for column in range(at, at + columns):
                if not grid[other][column].text:
                    grid[other][column] = continued
    return tuple(tuple(line) for line in grid if any(cell.text for cell in line))


def _short(pieces: list[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Keep of a cell what a printed one may hold."""
    kept: list[tuple[str, str]] = []
    left = _LONGEST_CELL
    for text, mark in pieces:
        if text and left > 0:
            kept.append((text[:left], mark))
            left -= len(text)
    return tuple(kept)


class _Latex:
    """A reader of one tabular; it goes through the text once, and knows no macro but those above."""

    def __init__(self, text: str, where: str) -> None:
        self.where = where
        self.unknown: list[str] = []
        self.cites: dict[str, str] = {}
        self.cited: list[str] = []
        self.at = 0
        self.cell = _Spanned([])
        text = re.sub(r"(?<!\\)%[^\n]*\n?", "", text)
        self.text, self.caption = text, ""
        at = text.find("\\caption{")
        if at >= 0:
            self.at = at + len("\\caption{")
            # Line ends of a caption are no lines of the table.
            self.caption = _plain(self._inline("}", "", 0))
            self.unknown, self.cited, self.cell = [], [], _Spanned([])
        self.text, self.at = self._body(text), 0

    def _body(self, text: str) -> str:
        """Cut out what stands inside the tabular; without one, all of it is lines."""
        found = [(m.start(), m.end(), m[1], m[2]) for m in re.finditer(r"\\(begin|end)\{([a-z]{1,20}\*?)\}", text)]
        found = [item for item in found if item[3] in _TABULARS]
        if not found:
            return text
        depth, bodies, begin = 0, [], (0, "")
        for start, end, which, name in found:
            if which == "begin":
                begin = (end, name) if depth == 0 else begin
                depth += 1
            elif depth:
                depth -= 1
                if depth == 0:
                    bodies.append((begin[0], start, begin[1]))
        if depth or not bodies:
            raise HarnessError(f"{self.where}: \\begin and \\end of its tabular do not belong together; paste it whole")
        if len(bodies) > 1:
            raise HarnessError(f"{self.where}: holds {len(bodies)} tabulars; give each a table of its own")
        first, last, name = bodies[0]
        self.text, self.at = text, first
        self._options()
        for _ in range(2 if name in ("tabular*", "tabularx", "tabulary") else 1):
            self._raw()
        return text[self.at : last]

    def lines(self) -> list[list[_Spanned]]:
        """Read line by line."""
        lines: list[list[_Spanned]] = [[]]
        while True:
            self.cell = _Spanned([])
            self.cell.pieces = self._inline("&\n", "", 0)
            lines[-1].append(self.cell)
            if self.cited:
                self.cites.setdefault(PastedCell(_short(self.cell.pieces)).text, ",".join(dict.fromkeys(self.cited)))
                self.cited = []
            if self.at >= len(self.text):
                return lines
            if self.text[self.at] == "&":
                self.at += 1
            else:  # two backslashes, or a command for the same
                self.at += 2 if self.text.startswith("\\\\", self.at) else len("\\tabularnewline")
                if self.text[self.at : self.at + 1] == "*":
                    self.at += 1
                self._options()
                lines.append([])
                if len(lines) > MOST_LINES:
                    return lines

    def _inline(self, stop: str, mark: str, depth: int) -> list[tuple[str, str]]:
        r"""Read text up to a stop: ``}`` of a group, or ``&`` and the end of a line (``&\n``)."""
        if depth > _DEEPEST:
            raise HarnessError(f"{self.where}: nests deeper than {_DEEPEST} groups; it is no table")
        pieces: list[tuple[str, str]] = []
        nested = 0
        while self.at < len(self.text):
            sign = self.text[self.at]
            if sign == "}":
                self.at += 1
                if stop == "}":
                    return pieces
            elif sign == "&" and not nested:
                if stop != "}":
                    return pieces
                self.at += 1
                pieces.append((" ", mark))
            elif sign == "{":
                self.at += 1
                pieces += self._inline("}", mark, depth + 1)
            elif sign == "\\":
                if not nested and stop != "}" and re.compile(r"\\\\|\\tabularnewline\b").match(self.text, self.at):
                    return pieces
                more, mark, nested = self._command(mark, depth, nested)
                pieces += more
            elif sign == "^":
                self.at += 1
                raised = self._argument(mark, depth)
                # An exponent that is a word or a number belongs to the name; a star or a dagger does not.
                pieces += [(text, m) for text, m in raised if re.search(r"[A-Za-z+]", text)]
            elif sign == "_" and self.text[self.at + 1 : self.at + 2] == "{":
                self.at += 1
                pieces += [("_", mark), *self._argument(mark, depth)]
            else:
                self.at += 1
                pieces.append((" " if sign in "~\n\t&" else "" if sign == "$" else sign, mark))
        return _joined(pieces)

    def _command(self, mark: str, depth: int, nested: int) -> tuple[list[tuple[str, str]], str, int]:
        """Read a command at a backslash: its text, the mark of what follows, and how many environments are open."""
        found = re.compile(r"\\([A-Za-z]{1,40})\*?").match(self.text, self.at)
        if found is None:
            sign = self.text[self.at + 1 : self.at + 2]
            self.at += 2
            if sign == "\\":  # inside a group or an environment
                self._options()
            return [(sign if sign in "%&#_${}" and sign else " " if sign in " ,;:\\" else "", mark)], mark, nested
        name = found[1]
        self.at = found.end()
        if name in ("begin", "end"):
            about = self._raw()
            if name == "begin":
                self._options()
                if about in _TABULARS:
                    self._raw()
            return [(" ", mark)], mark, max(0, nested + (1 if name == "begin" else -1))
        if name in ("bf", "bfseries"):
            return [], "best", nested
        if name == "color":
            self._options()
            return [], _colour_mark(self._raw()) or mark, nested
        if name == "textcolor":
            self._options()
            own = _colour_mark(self._raw()) or mark
            return self._argument(own, depth), mark, nested
        if name in ("multicolumn", "multirow"):
            return self._spanning(name, mark, depth), mark, nested
        if name in _SIGNS:
            return [(_SIGNS[name], mark)], mark, nested
        if name in _DROPPED:
            self._options(rounded=name == "cmidrule")
            if name in _CITING:  # natbib's take words before and after
                self._options()
            for _ in range(_DROPPED[name]):
                raw = self._raw()
                if name in _CITING:
                    self.cited += [key for key in map(str.strip, raw.split(",")) if CITE_KEY.fullmatch(key)]
            self._options()
            return [(" ", mark)], mark, nested
        if name in _WRAPPING:
            self._options()
            for _ in range(_WRAPPING[name]):
                self._raw()
            return self._argument(mark, depth), mark, nested
        own = "best" if name in _BEST else "second" if name in _SECOND else mark
        if name not in _BEST | _SECOND:
            self.unknown.append(f"\\{name}")
        return self._argument(own, depth), mark, nested

    def _spanning(self, name: str, mark: str, depth: int) -> list[tuple[str, str]]:
        self._options()
        count = self._raw().strip()
        self._options()
        if self.text[self.at : self.at + 1] in ("*", "="):  # a width without braces
            self.at += 1
        else:
            self._raw()
        self._options()
        pieces = self._argument(mark, depth)
        if re.fullmatch(r"-?\d{1,4}", count):
            size = int(count)
            if name == "multicolumn":
                self.cell.columns = max(1, min(size, MOST_COLUMNS + 1))
            else:
                self.cell.lines = size
        return pieces

    def _argument(self, mark: str, depth: int) -> list[tuple[str, str]]:
        """Read a command's argument: a group, or the next sign."""
        while self.text[self.at : self.at + 1] in (" ", "\n") and self.at < len(self.text):
            self.at += 1
        sign = self.text[self.at : self.at + 1]
        if sign == "{":
            self.at += 1
            return self._inline("}", mark, depth + 1)
        if sign == "\\" and depth < _DEEPEST and not self.text.startswith("\\\\", self.at):
            return self._command(mark, depth + 1, 0)[0]
        if sign in ("", "&", "}", "\\", "$"):
            return []
        self.at += 1
        return [(sign, mark)]

    def _raw(self) -> str:
        """Pass over a braced argument; its text."""
        while self.text[self.at : self.at + 1] in (" ", "\n") and self.at < len(self.text):
            self.at += 1
        if self.text[self.at : self.at + 1] != "{":
            return ""
        begin, open_braces = self.at + 1, 0
        while self.at < len(self.text):
            sign = self.text[self.at]
            open_braces += (sign == "{") - (sign == "}")
            self.at += 1
            if not open_braces:
                break
        return self.text[begin : self.at - 1]

    def _options(self, rounded: bool = False) -> None:
        """Pass over ``[…]``, and over ``(lr)`` where a command takes that."""
        for opening, closing in (("[", "]"), *((("(", ")"),) if rounded else ())):
            if self.text[self.at : self.at + 1] == opening:
                # Options are short; an unclosed bracket is text.
                end = self.text.find(closing, self.at, self.at + 80)
                self.at = end + 1 if end >= 0 else self.at


def _colour_mark(text: str) -> str:
    """Tell what a colour marks: by name, as ``FE0000`` or as ``1, 0, 0``; clear red is the best, clear blue the second.

    >>> _colour_mark("red"), _colour_mark("FE0000"), _colour_mark("0,0,1"), _colour_mark("gray")
    ('best', 'best', 'second', '')
    """
    text = text.strip().lower()
    if re.fullmatch(r"[0-9a-f]{6}", text):
        shares = [int(text[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    elif re.fullmatch(r"[\d.]{1,8}(?:, ?[\d.]{1,8}){2}", text) and all(n.count(".") < 2 for n in text.split(",")):
        numbers = [float(f"0{number.strip()}") for number in text.split(",")]
        shares = [number / max(1.0, *numbers) for number in numbers]
    else:
        return _COLOURS.get(text, "")
    red, green, blue = shares
    clear = 0.75
    if red > clear > 2 * max(green, blue):
        return "best"
    return "second" if blue > clear > 2 * max(red, green) else ""


def _joined(pieces: list[tuple[str, str]]) -> list[tuple[str, str]]:
    joined: list[tuple[list[str], str]] = []
    for text, mark in pieces:
        if joined and joined[-1][1] == mark:
            joined[-1][0].append(text)
        elif text:
            joined.append(([text], mark))
    return [("".join(texts), mark) for texts, mark in joined]


def _plain(pieces: list[tuple[str, str]]) -> str:
    return " ".join("".join(text for text, _ in pieces).split())[:_LONGEST_CELL]


def _is_rule(line: str) -> bool:
    """Whether a line is Markdown's below the headings, such as ``|:--|--:|``."""
    return "|" in line and "-" in line and not set(line) - set("|:- +=")


def _markdown_cells(text: str) -> list[list[str]]:
    lines = [line.strip() for line in text.splitlines() if "|" in line]
    cells = []
    for line in lines[: MOST_LINES + 1]:
        if _is_rule(line) and "--" in line:
            continue
        parts = re.split(r"(?<!\\)\|", line)
        if line.startswith("|"):
            parts = parts[1:]
        if parts and not parts[-1].strip():
            parts = parts[:-1]
        cells.append([part.replace("\\|", "|") for part in parts])
    return cells


def _csv_cells(text: str, where: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.strip()][:50]

    # The delimiter that most lines have equally often; a comma may be a decimal one.
    def fits(sign: str) -> tuple[int, int]:
        counts = [line.count(sign) for line in lines if line.count(sign)]
        return (max(counts.count(c) for c in set(counts)), max(counts)) if counts else (0, 0)

    delimiter = max("\t;,", key=fits)
    try:
        return [line for line in csv.reader(text.splitlines(), delimiter=delimiter) if any(map(str.strip, line))]
    except csv.Error as error:
        raise HarnessError(f"{where}: is no CSV ({error}); --syntax names another form") from None


_HTML = {
    "b": "best",
    "strong": "best",
    "u": "second",
    "ins": "second",
    "em": "second",
    "i": "second",
}
_TAG = re.compile(r"<(/?)([A-Za-z]{1,10})([^<>]{0,200})>")
_FENCE = re.compile(r"\*\*|__|\*|_")


def _inline(text: str) -> list[tuple[str, str]]:
    """Read a cell of Markdown or CSV: ``**best**``, ``_second_``, ``<u>second</u>``, ``[name](link)``."""
    text = re.sub(r"\[([^\[\]]{1,200})\]\([^()]{0,300}\)", r"\1", text[: 4 * _LONGEST_CELL])
    text = text.replace("&nbsp;", " ").replace("&amp;", "&").replace("&lt;", "<").replace("&times;", "×")
    pieces: list[tuple[str, str]] = []
    marks: list[tuple[str, str]] = []
    hidden = at = 0
    while at < len(text):
        tag, fence = _TAG.match(text, at), _FENCE.match(text, at)
        mark = marks[-1][1] if marks else ""
        if tag:
            name = tag[2].lower()
            colour = re.search(r"colou?r\s{0,3}[:=]\s{0,3}[\"']?(red|blue)", tag[3].lower())
            own = _HTML.get(name, "") or (_COLOURS[colour[1]] if colour else "")
            if name in ("sup", "sub"):
                hidden = max(0, hidden + (-1 if tag[1] else 1))
            elif tag[1]:
                marks = marks[:-1] if marks and marks[-1][0] == name else marks
            elif name not in ("br", "hr", "img"):
                marks.append((name, own or mark))
            pieces.append((" " if name == "br" else "", mark))
            at = tag.end()
        elif fence and marks and marks[-1][0] == fence[0]:
            marks.pop()
            at = fence.end()
        elif fence and text.find(fence[0], fence.end()) > fence.end() and (at == 0 or not text[at - 1].isalnum()):
            marks.append((fence[0], "best" if len(fence[0]) == 2 or mark == "best" else "second"))
            at = fence.end()
        else:
            # A backslash takes the sign behind it for what it is.
            at += text[at] == "\\" and text[at + 1 : at + 2] in tuple("*_|\\")
            pieces.append(("" if hidden else text[at : at + 1], mark))
            at += 1
    return _joined(pieces)
