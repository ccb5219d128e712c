"""What is odd about a transcribed table: marks, digits, values out of range, and values that other tables print, too.

None of it is an error: papers print misprints, and their authors mark what they like. But each is a place where a
transcription may be wrong, and is to be compared with the paper once more.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

import msgspec

from harness.tables.published import PublishedNumber, Row, Table, TablePart, published_number

# Restored images are farther from equal than the first, and noisy ones no farther off than the second, in dB.
_HIGHEST_PSNR, _LOWEST_PSNR = 80, 3
# Of more numbers that differ from one table only the first is told.
_MOST_LISTED = 3


def system_name(text: str) -> str:
    """Take off a printed name what tables add to it: a citation, ``(ours)``, a year, a star.

    >>> system_name("RNAN+ (ours) [12]"), system_name("Ours")
    ('RNAN+', 'Ours')
    """
    plain = re.sub(r"\[[\d, –-]{1,40}\]", "", text)
    plain = re.sub(r"\(\s?(?:ours|proposed|20\d\d)\s?\)|\bours\b", "", plain, flags=re.IGNORECASE)
    # A row that is called "Ours" keeps that name.
    return " ".join(plain.strip(" *†‡§,").split()) or text.strip()


def system_key(text: str) -> str:
    """Give what is left of a system's name whichever way it is written; the plus of a self-ensemble belongs to it.

    >>> system_key("D-DBPN [3]"), system_key("EDSR+ (ours)")
    ('ddbpn', 'edsr+')
    """
    return "".join(sign for sign in system_name(text).casefold() if sign.isalnum() or sign == "+")


class Place(msgspec.Struct, frozen=True):
    """Where a number stands, alike in every table: task, system (`system_key`), dataset, level, metric."""

    task: str
    system: str
    dataset: str
    level: int
    metric: str


class Printed(msgspec.Struct, frozen=True):
    """A number that a table prints."""

    place: Place
    table: str
    part: TablePart
    row: Row
    number: PublishedNumber


def printed_numbers(table: Table) -> Iterator[Printed]:
    """List the numbers that a table prints on datasets, row by row."""
    for part in table.parts:
        for row in part.rows:
            for column, value in zip(part.columns, row.values, strict=False):
                number = published_number(value)
                if number is not None and column.dataset:
                    level = (column.level if column.level is not None else row.level) or 0
                    place = Place(part.task, system_key(row.system or row.name), column.dataset, level, column.metric)
                    yield Printed(place, table.name, part, row, number)


def by_place(tables: Iterable[Table]) -> dict[Place, list[Printed]]:
    """Gather the numbers of tables by where they stand, under every name that a table gives to the system."""
    found: dict[Place, list[Printed]] = defaultdict(list)
    for table in tables:
        for printed in printed_numbers(table):
            for name in names_of(printed.row):
                found[msgspec.structs.replace(printed.place, system=name)].append(printed)
    return found


def names_of(row: Row) -> set[str]:
    """Give the keys of a row's system, and of the name that the row prints."""
    return {system_key(row.system or row.name), system_key(row.name)}


def remarks(table: Table, others: Iterable[Table]) -> list[str]:
    """Name what is odd about a table, a sentence each.

    `others`: Tables to compare it with; itself is left out.
    Returns: What to compare with the paper once more, and last how far other tables print the same numbers.
    """
    known = by_place(other for other in others if other.name != table.name)
    found = [text for part in table.parts for text in _of_columns(part)]
    return found + _beside_others(table, known)


def _of_columns(part: TablePart) -> Iterator[str]:
    """Look at the numbers of a column, those of a level together where rows carry it."""
    for position, column in enumerate(part.columns):
        rows: dict[int | None, list[tuple[Row, PublishedNumber]]] = defaultdict(list)
        for row in part.rows:
            number = published_number(row.values[position]) if row.values else None
            if number is not None:
                rows[row.level].append((row, number))
        for level, numbers in rows.items():
            shown = [column.dataset, column.level if column.level is not None else level, column.metric]
            where = ", ".join(str(item) for item in shown if item not in ("", None, 0))
            yield from _out_of_range(column.metric, where, numbers)
            yield from _unequal_digits(column.metric, where, numbers)
            if column.metric in ("psnr", "ssim"):
                yield from _wrong_marks(where, numbers)


def _out_of_range(metric: str, where: str, numbers: list[tuple[Row, PublishedNumber]]) -> Iterator[str]:
    limits = {"psnr": (_LOWEST_PSNR, _HIGHEST_PSNR), "ssim": (0, 1)}
    if metric not in limits:
        return
    low, high = limits[metric]
    for row, number in numbers:
        if not low <= number.value <= high:
            yield f"{row.name}, {where}: {number.text} is out of the range of {low} to {high}"


def _unequal_digits(metric: str, where: str, numbers: list[tuple[Row, PublishedNumber]]) -> Iterator[str]:
    if metric not in ("psnr", "ssim"):
        return
    counts = Counter(number.unit for _, number in numbers)
    usual = max(counts, key=lambda unit: counts[unit])
    for row, number in numbers:
        if number.unit != usual:
            told = abs(int(usual.adjusted()))
            yield f"{row.name}, {where}: {number.text} has not {told} decimals, as {counts[usual]} others have"


def _wrong_marks(where: str, numbers: list[tuple[Row, PublishedNumber]]) -> Iterator[str]:
    """Compare marks with ranks; numbers that are equal share a rank."""
    ranks = sorted({number.value for _, number in numbers}, reverse=True)
    marked = {number.mark for _, number in numbers}
    if "best" in marked:
        for row, number in numbers:
            if number.mark == "best" and number.value != ranks[0]:
                best = next((other, n) for other, n in numbers if n.value == ranks[0])
                yield f"{row.name}, {where}: {number.text} is marked as the best, but {best[0].name} has {best[1].text}"
        if not any(number.mark == "best" and number.value == ranks[0] for _, number in numbers):
            return
        for row, number in numbers:
            if number.mark != "best" and number.value == ranks[0]:
                yield f"{row.name}, {where}: {number.text} is the best, and not marked so"
    if "second" in marked:
        # Where two share the first place, some papers mark the next as second, others nobody.
        for row, number in numbers:
            if number.mark == "second" and number.value not in ranks[:2]:
                second = next((other, n) for other, n in numbers if n.value == ranks[1])
                yield (
                    f"{row.name}, {where}: {number.text} is marked as the second best, "
                    f"but {second[0].name} has {second[1].text}"
                )


def _beside_others(table: Table, known: dict[Place, list[Printed]]) -> list[str]:
    """Compare with the same numbers of other tables."""
    differing: dict[tuple[str, str], list[str]] = defaultdict(list)
    equal: Counter[tuple[str, str]] = Counter()
    for printed in printed_numbers(table):
        for other in known.get(printed.place, []):
            beside = printed.row.name, other.table
            if other.number.value == printed.number.value:
                equal[beside] += 1
                continue
            place = printed.place
            where = ", ".join(str(item) for item in (place.dataset, place.level, place.metric) if item)
            differing[beside].append(f"{where}: {printed.number.text} here, {other.number.text} in {other.table}")
    found = []
    for (row, name), texts in differing.items():
        if len(texts) > _MOST_LISTED:
            found.append(f"{row}: {len(texts)} numbers are not those of {name}; the first: {texts[0]}")
        else:
            found += [f"{row}, {text}" for text in texts]
    for row in dict.fromkeys(row for row, _ in equal):
        told = ", ".join(f"{count} in {name}" for (of_row, name), count in equal.items() if of_row == row)
        found.append(f"{row}: equal numbers: {told}")
    return found
