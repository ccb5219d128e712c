"""What the headings of a pasted table mean: datasets, levels, metrics and methods, and what nobody recognises.

Nothing is guessed: a heading that is not recognised becomes a place that is marked in the table's file (`PLACE`), and
is told with the option that fills it.
"""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Iterable, Mapping

import msgspec

from harness.assets.datasets.registry import datasets
from harness.errors import HarnessError
from harness.records.tasks import TASKS
from harness.tables.checking import system_key, system_name
from harness.tables.pasted import PastedCell, PastedTable
from harness.tables.published import METRICS, PLACE, published_number

# Usual spellings beside the registry's names, titles and aliases, by what is left of them without spaces and signs.
_SPELLINGS = {
    "kodak": ("kodak24",),
    "mcmaster": ("mcmaster18",),
    "mcm": ("mcmaster18",),
    "bsd68": ("cbsd68", "bsd68-gray"),
    "bsds68": ("cbsd68", "bsd68-gray"),
    "bsd100": ("b100",),
    "bsds100": ("b100",),
    "urban": ("urban100",),
    "manga": ("manga109",),
    "classic": ("classic5",),
    "live": ("live1",),
    "sidd": ("sidd-validation",),
    "siddval": ("sidd-validation",),
    "gopro": ("gopro-test",),
    "rain1400": ("test2800",),
}
# Networks are trained on them; no table's columns are meant, though a column of training data names them.
_FOR_TRAINING = {"bsd400", "div2k-train", "gopro-train", "rain13k", "sidd-train", "t91-bsd200"}
_PSNR, _SSIM, _PARAMETERS, _SECONDS = METRICS
_METRIC = re.compile(
    r"(?<![a-z])(?:(?P<psnr>psnr)|(?P<ssim>ssim)|(?P<parameters>#? ?param(?:eter)?s?(?![a-z]))"
    r"|(?P<seconds>seconds|(?:run ?|inference )?times?(?: ?\(s\)| ?\[s\])?(?![a-z(\[])))"
)
_LEVEL_WORDS = {
    "sigma": r"σ|sigma|noise level|noise",
    "quality": r"quality(?: factor)?|qf?|jpeg quality",
    "scale": r"(?:up)?scal(?:e|ing)(?: factor)?|factor|x|×",
}
_NONE = {
    "-": "-",
    "--": "-",
    "---": "-",
    "−": "-",
    "–": "–",
    "—": "–",
    "n/a": "N/A",
    "na": "N/A",
    "-/-": "-",
    "–/–": "–",
}
_VALUE = re.compile(r"\d{0,6}\.\d{1,8}|\d{1,3}(?:,\d{3}){0,3}(?:\.\d{1,4})? ?[KkM]")
# What stands behind a value over several runs, also lowered or in brackets.
_DEVIATION = re.compile(r"(?<=\d)[ _(]{0,4}(?:±|\+ ?/? ?[-−]) ?\d{0,4}[.,]?\d{1,6} ?\)?")
# Of numbers without any point; the first alone may be thousands.
_DECIMAL_COMMA = re.compile(r"\d{1,3},\d")
_COMMA_FOR_SURE = re.compile(r"0,\d|\d{1,3},(?:\d{1,2}|\d{4,8})(?!\d)")
# Footnotes and arrows.
_AROUND = " *†‡§↑↓"
_CITATION = re.compile(r"\[[\d, –-]{1,40}\]")
_NUMBERED = re.compile(r"(.{1,60}[^\d ]\d{0,4}) (\d{1,3})")
_BRACKETED = re.compile(r"\d{1,3}\.\d{1,6} ?\(\d{0,3}\.\d{1,6}\)")
_METHODS = re.compile(r"method|model|network|approach|algorithm")
_WHOLE = re.compile(r"\d{1,7}")
# What surrounds a heading and says nothing about the column.
_FILLERS = re.compile(
    r"\b(?:datasets?|test ?sets?|methods?|models?|networks?|metrics?|results?|on|db|images?|evaluation|avg\.?)\b"
    r"|[↑↓:;,=()\[\]{}|/#]"
)


def compact(text: str) -> str:
    """Leave the letters and digits of a name, in lower case: ``Urban 100`` is ``urban100``."""
    return "".join(c for c in text.lower() if c.isalnum())


class Choices(msgspec.Struct, frozen=True):
    """What the user says of headings.

    `dataset`, `metrics`, `level`: Of every column whose heading names none.
    `meanings`: By compact heading, a dataset of the registry; ``-`` leaves the columns out.
    """

    dataset: str = ""
    metrics: tuple[str, ...] = ()
    level: int | None = None
    meanings: dict[str, str] = {}


class Heading(msgspec.Struct, frozen=True):
    """What a heading says; `rest` is what was not understood."""

    dataset: str = ""
    level: int | None = None
    metrics: tuple[str, ...] = ()
    rest: str = ""
    unit: str = ""
    left_out: bool = False

    @property
    def understood(self) -> bool:
        """Whether it says something, and nothing else."""
        return not self.rest and bool(self.dataset or self.level is not None or self.metrics or self.left_out)

    def beside(self, other: Heading) -> Heading:
        """Join two headings of one column or row; what the first says comes first."""
        return Heading(
            self.dataset or other.dataset,
            other.level if self.level is None else self.level,
            self.metrics or other.metrics,
            " ".join(text for text in (self.rest, other.rest) if text),
            self.unit or other.unit,
            self.left_out or other.left_out,
        )


class ReadColumn(msgspec.Struct, frozen=True):
    """A column of the table: what its headings say. `heading` is printed where they do not say enough."""

    metric: str
    dataset: str
    level: int | str | None
    heading: str = ""


class ReadRow(msgspec.Struct, frozen=True):
    """A row of the table: name, level if rows carry it, a value a column in the form of table files, BibTeX keys."""

    name: str
    level: int | str | None
    values: tuple[str, ...]
    cite: str = ""


class UnderstoodTable(msgspec.Struct, frozen=True):
    """A pasted table, understood as far as it can be.

    `columns`, `rows`: See `ReadColumn` and `ReadRow`.
    `notes`: What was taken for what, and what was left out.
    `open`: Places that a person must fill, with the option that does.
    """

    columns: tuple[ReadColumn, ...]
    rows: tuple[ReadRow, ...]
    methods_as: str
    notes: tuple[str, ...]
    open: tuple[str, ...]


def dataset_spellings(task: str) -> dict[str, str]:
    """List how the sets that suit a task are written: by compact spelling the registry's name."""
    gray, pairs = TASKS[task].channels == 1, TASKS[task].degradation == "pairs"
    known = {record.name: record for record in datasets() if record.name not in _FOR_TRAINING}
    found: dict[str, list[str]] = {}
    for name, record in known.items():
        for spelling in (name, record.title, *record.aliases):
            found.setdefault(compact(spelling), []).append(name)
    for spelling, names in _SPELLINGS.items():
        found.setdefault(spelling, []).extend(name for name in names if name in known)

    def suits(name: str) -> tuple[bool, bool]:
        return (known[name].kind != "images") == pairs, ("gray" in name) == gray

    # Where two sets share a title, the one that suits the task's images: BSD68 is of colour, or gray.
    return {spelling: max(dict.fromkeys(names), key=suits) for spelling, names in found.items()}


def understand(
    table: PastedTable, task: str, choices: Choices | None = None, where: str = "the pasted table"
) -> UnderstoodTable:
    """Say what the headings of a pasted table mean.

    Raises HarnessError: No line holds a number, or none holds a method's name.
    """
    return _Understanding(table, task, choices or Choices(), where).reading()


_Lines = tuple[tuple[PastedCell, ...], ...]
# Dataset, level, metric and, where those are open, the heading; and what a row has there.
_Key = tuple[str, int | None, str, str]
_Values = dict[_Key, str]


class _Understanding:
    def __init__(self, table: PastedTable, task: str, choices: Choices, where: str) -> None:
        self.task, self.choices, self.where = TASKS[task], choices, where
        self.spellings = dataset_spellings(task)
        self.caption, self.cites = table.caption, table.cites
        # Both by what is said, with the places that it is said of.
        self.notes: dict[str, dict[str, None]] = {}
        self.open: dict[tuple[str, str], dict[str, None]] = {}
        # Each is asked for at every cell.
        self.heading = functools.cache(self._heading)
        self._paired = functools.cache(self._holds_pairs)
        if table.unknown:
            self._note(
                "commands that are not known, read as plain text (a mark may be lost)", ", ".join(table.unknown[:12])
            )
        self.head, self.body = self._cut(self._with_plain_numbers(table.lines))

    def _with_plain_numbers(self, lines: _Lines) -> _Lines:
        """Take deviations off values, ``29.88±0.02``, and read decimal commas where no number has a point."""

        def alone(cell: PastedCell) -> PastedCell:
            left = cell.without(_DEVIATION)
            if left is cell or not _is_number(left.text.replace(",", ".")):
                return cell
            self._note("deviations are left out, values taken", f"{left.text[:40]} for '{cell.text[:40]}'")
            return left

        lines = tuple(tuple(map(alone, line)) for line in lines)
        texts = [cell.text for line in lines for cell in line]
        commas = [text for text in texts if _DECIMAL_COMMA.match(text) and _is_number(text.replace(",", "."))]
        if not any(map(_is_number, texts)) and any(_COMMA_FOR_SURE.match(text) for text in commas):
            self._note("decimal commas are read as points", f"'{commas[0][:40]}'")
            lines = tuple(
                tuple(cell.with_signs(",", ".") if cell.text in commas else cell for cell in line) for line in lines
            )
        return lines

    def _heading(self, text: str) -> Heading:
        """Understand one heading."""
        meaning = self.choices.meanings.get(compact(text))
        if meaning is not None:
            return Heading(left_out=True) if meaning == "-" else Heading(dataset=meaning)
        lower = _CITATION.sub(" ", text.lower())
        metrics: list[str] = []
        unit = ""
        if (found := re.search(r"param\w{0,7}\.? ?[(\[/] ?([km])\b[)\]]?", lower)) is not None:
            unit = found[1].upper()
            lower = lower[: found.start()] + "params" + lower[found.end() :]

        def metric(match: re.Match[str]) -> str:
            metrics.append(str(match.lastgroup))
            return " "

        lower = _METRIC.sub(metric, lower)
        level: int | None = None
        if self.task.level_name:
            words = _LEVEL_WORDS[self.task.level_name]
            after = r"|(?<![\w.])(\d{1,3}) ?[x×](?![a-z0-9])" if self.task.level_name == "scale" else ""
            pattern = rf"(?<![a-z])(?:{words}) ?[:=]? ?[x×]? ?(\d{{1,3}})(?![\d.]){after}"
            if (match := re.search(pattern, lower)) is not None:
                level = int(match[1] or match[2])
                lower = lower[: match.start()] + " " + lower[match.end() :]
            elif _WHOLE.fullmatch(lower.strip()) and 0 < int(lower) <= 255:
                level, lower = int(lower), ""
        rest = " ".join(_FILLERS.sub(" ", lower).split())
        meaning = self.choices.meanings.get(compact(rest)) if rest else None
        if meaning is not None:
            return Heading("" if meaning == "-" else meaning, level, tuple(metrics), "", unit, meaning == "-")
        name = self.spellings.get(compact(rest), "") if rest else ""
        # "BSD68 15", where "BSD68" is a set and the whole is none.
        if not name and level is None and self.task.level_name and (match := _NUMBERED.fullmatch(rest)):
            name = self.spellings.get(compact(match[1]), "")
            level = int(match[2]) if name else None
        rest = "" if name or not compact(rest) else rest
        if rest and re.fullmatch(_LEVEL_WORDS.get(self.task.level_name, "(?!)"), rest):
            rest = ""
        return Heading(name, level, tuple(dict.fromkeys(metrics)), rest, unit)

    def _cut(self, lines: _Lines) -> tuple[list[tuple[PastedCell, ...]], list[tuple[Heading, tuple[PastedCell, ...]]]]:
        """Cut the lines into headings and data; a line that only says a level or a set belongs to what follows."""
        head: list[tuple[PastedCell, ...]] = []
        body: list[tuple[Heading, tuple[PastedCell, ...]]] = []
        section = Heading()
        for line in lines:
            texts = [cell.text for cell in line]
            distinct = list(dict.fromkeys(text for text in texts if text))
            values = [text for text in texts[1:] if _is_value(text)]
            blank = sum(text.lower() in _NONE for text in texts[1:])
            if any(_is_number(text) for text in values) or (body and values) or (blank and blank + 1 >= len(distinct)):
                body.append((section, line))
            elif len(distinct) == 1:
                found = self.heading(distinct[0])
                if found.understood:
                    section = found
                else:
                    self._note("left out, lines that say", f"'{distinct[0][:60]}'")
            elif not body:
                head.append(line)
            elif texts != [cell.text for cell in (head[0] if head else ())]:
                self._note("left out, lines between the values", " | ".join(distinct)[:80])
        if not body:
            raise HarnessError(f"{self.where}: no line with a number such as 28.35 was found in it")
        return head, body

    def reading(self) -> UnderstoodTable:
        """Understand the whole table."""
        wide = len(self.body[0][1])
        kinds = [self._kind(column) for column in range(wide)]
        first = kinds.index("values") if "values" in kinds else wide
        stubs = [column for column in range(first)]
        names = [column for column in stubs if not self._says_where(column)]
        heads = self._heads(first, wide)
        if first == 0 or not stubs:
            raise HarnessError(f"{self.where}: its lines do not begin with a name; put the methods or the sets first")
        if names:
            said = [column for column in names if _METHODS.search(self._corner(column))]
            return self._methods_as_rows(kinds, first, (said or names)[0], heads)
        return self._methods_as_columns(kinds, first, heads)

    def _kind(self, column: int) -> str:
        texts = [line[column].text for _, line in self.body]
        numbers = sum(_is_number(text) for text in texts)
        if numbers:
            return "values"
        told = [text for text in texts if text]
        if all(text.lower() in _NONE for text in told):
            return "values" if told else "text"
        if all(_is_value(text) or text.lower() in _NONE for text in told) and not self._says_where(column):
            return "values"
        return "text"

    def _says_where(self, column: int) -> bool:
        """Whether a column of row headings says sets, levels or metrics, and not methods."""
        corner = self._corner(column)
        if (_METHODS.search(corner) and "/" not in corner) or "train" in corner:
            return False
        if re.fullmatch(r"data ?sets?|test ?sets?|metrics?", corner):
            return True
        level = re.fullmatch(_LEVEL_WORDS.get(self.task.level_name, "(?!)"), corner.strip(" ()"))
        texts = {line[column].text for _, line in self.body if line[column].text}
        told = [self.heading(text) for text in texts]
        return bool(level) or (bool(told) and 2 * sum(heading.understood for heading in told) > len(told))

    def _corner(self, column: int) -> str:
        return next((line[column].text.lower() for line in reversed(self.head) if line[column].text), "")

    def _heads(self, first: int, wide: int) -> list[list[str]]:
        """Give the headings of each column of values, line by line; an empty one continues that to its left."""
        found: list[list[str]] = [[] for _ in range(wide)]
        for number, line in enumerate(self.head):
            below = self.head[number + 1 :]
            before = ""
            for column in range(first, wide):
                text = line[column].text
                if not text and any(lower[column].text for lower in below):
                    text = before
                before = text
                if text and text not in found[column]:
                    found[column].append(text)
        return found

    def _joined(self, texts: Iterable[str]) -> Heading:
        heading = Heading()
        for text in texts:
            heading = self.heading(text).beside(heading) if heading.understood else heading.beside(self.heading(text))
        return heading

    def _methods_as_rows(
        self, kinds: list[str], first: int, name_column: int, heads: list[list[str]]
    ) -> UnderstoodTable:
        places = [column for column in range(first) if column != name_column and self._says_where(column)]
        for column in range(first, len(kinds)):
            if kinds[column] != "values":
                self._note("left out, columns without values such as 28.35", self._named(heads[column], column))
        for column in set(range(first)) - {name_column, *places}:
            corner = [line[column].text for line in self.head if line[column].text]
            self._note("left out, columns beside the names", self._named(corner, column))
        columns: dict[_Key, None] = {}
        rows: dict[tuple[object, ...], tuple[str, int | None, _Values]] = {}
        before: dict[int, str] = {}
        of_columns = [self._joined(texts) for texts in heads]
        for heading in of_columns:
            if heading.dataset and heading.rest:
                self._note("not understood in headings and left aside", f"'{heading.rest}'")
        for number, (section, line) in enumerate(self.body):
            for column in (*places, name_column):
                before[column] = line[column].text or before.get(column, "")
            of_row = self._joined(before[column] for column in places).beside(section)
            name = before[name_column]
            if not line[name_column].text and not places:
                raise HarnessError(f"{self.where}: line {number + 1} of its values has no name")
            # A set that rows or sections say becomes a column: the values of one method stand in several lines.
            pivoted = bool(of_row.dataset or of_row.metrics)
            identity = (system_key(name), of_row.level) if pivoted else (number,)
            _, _, values = rows.setdefault(identity, (name, of_row.level, {}))
            for column in range(first, len(kinds)):
                of_column = of_columns[column]
                if kinds[column] != "values" or of_column.left_out or of_row.left_out:
                    continue
                # A column that says something else than a set of ours is not on the set of its line, either.
                of_line = msgspec.structs.replace(of_row, dataset="") if of_column.rest else of_row
                heading = of_column.beside(of_line)
                for key, value in self._cell(
                    line[column], heading, heads[column], of_column.level, name, self._paired(column)
                ):
                    columns.setdefault(key)
                    self._put(values, key, value, name)
        return self._made(columns, [(name, level, values) for name, level, values in rows.values()], "rows")

    def _methods_as_columns(self, kinds: list[str], first: int, heads: list[list[str]]) -> UnderstoodTable:
        columns: dict[_Key, None] = {}
        rows: dict[str, _Values] = {}
        before: dict[int, str] = {}
        for section, line in self.body:
            for column in range(first):
                before[column] = line[column].text or before.get(column, "")
            of_line = self._joined(before[column] for column in range(first)).beside(section)
            if of_line.left_out:
                continue
            for column in range(first, len(kinds)):
                said = [self.heading(text) for text in heads[column]]
                name = " ".join(t for t, h in zip(heads[column], said, strict=True) if not h.understood)
                facets = Heading()
                for heading in said:
                    facets = facets.beside(heading) if heading.understood else facets
                if kinds[column] != "values":
                    continue
                if not name:
                    raise HarnessError(f"{self.where}: column {column + 1} names no method in its headings")
                where = [before[column] for column in range(first) if before[column]]
                heading = facets.beside(of_line)
                for key, value in self._cell(line[column], heading, where, heading.level, name, self._paired(column)):
                    columns.setdefault(key)
                    self._put(rows.setdefault(name, {}), key, value, name)
        return self._made(columns, [(name, None, values) for name, values in rows.items()], "columns")

    def _put(self, values: _Values, key: _Key, value: str, name: str) -> None:
        if values.get(key):
            raise HarnessError(
                f"{self.where}: '{name}' has two values for {' '.join(str(k) for k in key if k)}; "
                "paste the parts of the table apart"
            )
        values[key] = value

    @staticmethod
    def _named(texts: list[str], column: int) -> str:
        return f"'{' / '.join(texts)[:60]}'" if texts else f"number {column + 1}"

    def _cell(
        self, cell: PastedCell, heading: Heading, texts: list[str], level: int | None, name: str, paired: bool
    ) -> list[tuple[_Key, str]]:
        """Read a cell: one value for each metric, with the column that it belongs to."""
        parts = _parts(cell)
        metrics = heading.metrics or self.choices.metrics
        said = " / ".join(texts)
        if not metrics and paired:
            metrics = (_PSNR, _SSIM)
            self._note("pairs are taken for PSNR/SSIM, --metric says otherwise", f"'{said}'" if said else "")
        if not metrics and (told := self.heading(self.caption).metrics) and len(told) == 1:
            metrics = told
            self._note(f"the metric {told[0]} is read off the caption")
        metrics = metrics or (PLACE,)
        if len(parts) == 1 and cell.text.lower() in (*_NONE, ""):
            parts = parts * len(metrics)
        if len(parts) != len(metrics):
            if not cell.text:
                return []
            self._open(
                f"one value for each of {', '.join(metrics)}",
                "write them by hand",
                f"'{cell.text[:40]}' ({name}, {said})",
            )
            parts = [PastedCell(((PLACE, ""),))] * len(metrics)
        found = []
        for metric, part in zip(metrics, parts, strict=True):
            image = metric in (_PSNR, _SSIM, PLACE)
            # Parameters and times are no set's.
            dataset = (heading.dataset or ("" if heading.rest else self.choices.dataset) or PLACE) if image else ""
            key = (dataset, level if image else None, metric, said if PLACE in (dataset, metric) else "")
            if dataset == PLACE:
                rest = heading.rest or ("" if heading.metrics else said)
                # The heading is a stranger's text, and the option is there to be copied into a shell.
                says, leaves = (shlex.quote(f"{rest}={name}") for name in ("NAME", "-"))
                option = f"--dataset {says} says it, {leaves} leaves it out" if rest else "--dataset NAME says it"
                self._open("the set of columns", option, f"'{said}'")
            if metric == PLACE:
                self._open("the metric of columns", "--metric NAME says it", f"'{said}'")
            found.append((key, self._value(part, metric, heading.unit, f"{name}, {said}")))
        return found

    def _holds_pairs(self, column: int) -> bool:
        """Whether a column holds two values in a cell somewhere."""
        return any(len(_parts(line[column])) == 2 and _is_number(line[column].text) for _, line in self.body)

    def _value(self, cell: PastedCell, metric: str, unit: str, place: str) -> str:
        """Write a value as table files do; `PLACE` where it is no printed number."""
        text, mark = cell.text, cell.mark
        if text == PLACE:
            return PLACE
        if text.lower() in _NONE or not text:
            return _NONE.get(text.lower(), "")
        plain = re.sub(r" ?dB$", "", text.strip(_AROUND)).strip()
        if plain.startswith("."):
            plain = f"0{plain}"
        if metric == _PARAMETERS and re.fullmatch(r"\d{1,7}(?:\.\d{1,4})?", plain.replace(",", "")):
            if not unit and len(plain) < 5:
                self._open("the unit (K or M) of parameters", "write it by hand", f"'{text[:40]}' ({place})")
                return PLACE
            plain += unit
        try:
            number = published_number(plain)
        except HarnessError:
            number = None
        if number is None:
            self._open("a printed number for", "write it by hand", f"'{text[:40]}' ({place})")
            return PLACE
        if plain != text and not unit:
            self._note("values are written otherwise", f"{plain} for '{text[:40]}' ({place})")
        return {"best": f"**{plain}**", "second": f"_{plain}_", "": plain}[mark]

    def _note(self, what: str, where: str = "") -> None:
        places = self.notes.setdefault(what, {})
        if where:
            places[where] = None

    def _open(self, what: str, option: str, where: str) -> None:
        self.open.setdefault((what, option), {})[where] = None

    def _made(
        self,
        keys: Mapping[_Key, None],
        rows: list[tuple[str, int | None, _Values]],
        methods_as: str,
    ) -> UnderstoodTable:
        columns = list(keys)
        by_row = any(level is not None for _, level, _ in rows)
        leveled = bool(self.task.level_name)

        def said(level: int | None, what: str, where: str) -> int | str | None:
            """Take the level that the user says where none is printed."""
            if level is not None or not leveled:
                return level
            if self.choices.level is None:
                self._open(f"the {self.task.level_name} of {what}", "--level NUMBER says it", f"'{where}'")
                return PLACE
            return self.choices.level

        read_rows = []
        for printed, level, values in rows:
            name = system_name(printed)
            if len(values) < len(columns):
                self._note("columns without a value", f"{len(columns) - len(values)} of '{name}'")
            row_level = said(level, "rows", name) if by_row else None
            cite = self.cites.get(printed, "")
            read_rows.append(ReadRow(name, row_level, tuple(values.get(key, "") for key in columns), cite))
        read = []
        for dataset, level, metric, heading in columns:
            of_image = metric not in (_PARAMETERS, _SECONDS) and not by_row
            of_column = said(level, "columns", heading or f"{dataset} {metric}") if of_image else level
            read.append(ReadColumn(metric, dataset, of_column, heading))
        # The same set twice in other words, or a default for what differs: no column may stand for two.
        for index, column in enumerate(read):
            if column in read[:index]:
                raise HarnessError(
                    f"{self.where}: two columns are both {column.dataset} {column.metric}; name them apart"
                )
        return UnderstoodTable(
            tuple(read),
            tuple(read_rows),
            methods_as,
            tuple(f"{what}: {_listed(places)}" if places else what for what, places in self.notes.items()),
            tuple(f"{what} {_listed(places)}; {option}" for (what, option), places in self.open.items()),
        )


def _listed(places: dict[str, None]) -> str:
    return ", ".join(list(places)[:4]) + (f" and {len(places) - 4} more" if len(places) > 4 else "")


def _parts(cell: PastedCell) -> list[PastedCell]:
    """Cut a cell that holds a pair, ``28.35/0.8012`` or ``28.35 (0.8012)``; the slash of ``N/A`` is none of a pair."""
    parts: list[PastedCell] = []
    if _BRACKETED.fullmatch(cell.text):
        cell = PastedCell(tuple((text.replace("(", "/").replace(")", ""), mark) for text, mark in cell.pieces))
    for part in cell.split("/"):
        if parts and parts[-1].text.lower() == "n" and part.text.lower() == "a":
            parts[-1] = PastedCell(((_NONE["n/a"], ""),))
        else:
            parts.append(part)
    return parts


def _is_number(text: str) -> bool:
    """Whether a text is surely a value: a decimal, a pair of them, a count."""
    parts = [part.text.strip(_AROUND).removesuffix("dB").strip() for part in _parts(PastedCell(((text, ""),)))]
    told = [part for part in parts if part and part.lower() not in _NONE]
    return bool(told) and len(parts) <= 3 and all(_VALUE.match(part) is not None for part in told)


def _is_value(text: str) -> bool:
    return _is_number(text) or _WHOLE.fullmatch(text.strip(" *†‡")) is not None
