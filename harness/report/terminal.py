"""A table in the terminal: published above measured, the verdict by sign and colour."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from msgspec.structs import replace

from harness.errors import plural, printable
from harness.report.columns import folded, text_table, text_width
from harness.report.grid import (
    GridCell,
    Mark,
    PartGrid,
    Reason,
    choices,
    grids,
    legend,
    marks_text,
    off_advice,
    prints_numbers,
    reasons_not_run,
    recorded_text,
    remarks,
    signatures_of,
    summary,
    unlike,
)
from harness.report.one_protocol import not_run_reasons, one_protocol_grids, protocol_words, rank_changes
from harness.tables.collected import TableResults
from harness.tables.counting import WITH_MEASURED, count_tables, counts_of, of_papers
from harness.tables.diff import CellResult
from harness.tables.one_protocol import OneProtocolCell, input_groups
from harness.tables.ordering import orderings
from harness.tables.published import Table
from harness.tables.verdicts import VERDICTS, Verdict

COLOURS = {
    "match": "green",
    "match (3 digits)": "green dim",
    "fits": "blue",
    "close": "yellow",
    "off": "red bold",
    "incomparable": "magenta",
    "trained": "cyan",
    "not run": "dim",
    "measured": "",
}
WIDE = 190
COVERAGE_WIDE = 130


def print_table(table: Table, results: list[CellResult], *, why: bool = False) -> None:
    """Print a table, what it could not run, and its summary to standard output.

    Where the width is limited a reason takes one line, unless the whole is asked for with `why`.
    """
    console = _console(WIDE)
    console.print()
    _print(console, table, results, 0 if why else text_width())
    if advice := off_advice(table, results):
        console.print(_text(f"  {advice}"))


def _console(least: int) -> Any:
    """Make a console; a log or a pipe has no width, and wrapped numbers would be unreadable: it is `least` wide."""
    from rich.console import Console

    return Console(highlight=False, width=text_width() or least)


def _text(text: str = "", style: str = "") -> Any:
    """Make a piece of text that is printed as it stands: neither Rich's markup nor a terminal's codes in it count."""
    from rich.text import Text

    return Text(printable(text), style=style)


BAR = 24


def coverage_records(collected: Sequence[TableResults]) -> list[dict[str, str | int]]:
    """Give the lines that `print_coverage` prints as plain values: how many places of each verdict a table has."""
    lines: dict[str, dict[Verdict, int]] = {item.table.name: counts_of(item) for item in collected}
    papers = count_tables(of_papers(collected))
    if papers.numbers:
        lines |= {"the papers' numbers": papers.distinct, "with their copies": papers.places}
    return [
        {"table": name, **{verdict: counts.get(verdict, 0) for verdict in WITH_MEASURED}, "all": sum(counts.values())}
        for name, counts in lines.items()
        if sum(counts.values())
    ]


def print_coverage(collected: Sequence[TableResults]) -> None:
    """Print one line a table: a bar of its verdicts, and how many places there are of each.

    Below stand all numbers of the papers, each once, and with the copies that other tables hold.
    """
    from rich.table import Table as RichTable

    width = text_width()
    if width and width < COVERAGE_WIDE:
        _print_narrow_coverage(coverage_records(collected))
        return
    lines = {item.table.name: counts_of(item) for item in collected}
    shown = [v for v in WITH_MEASURED if v in VERDICTS or any(counts[v] for counts in lines.values())]

    def coverage(counts: dict[Verdict, int]) -> list[Any]:
        return [_bar(counts), *(str(counts.get(v) or "·") for v in shown), str(sum(counts.values()))]

    piece = RichTable(box=None, pad_edge=False, padding=(0, 1))
    for head in ("table", "", *(verdict.removeprefix("match ") for verdict in shown), "all"):
        piece.add_column(head, justify="left" if head in ("table", "") else "right", no_wrap=True)
    for name, counts in lines.items():
        if sum(counts.values()):
            piece.add_row(name, *coverage(counts))
    papers = count_tables(of_papers(collected))
    if papers.numbers:
        piece.add_row(_text("the papers' numbers", style="bold"), *coverage(papers.distinct))
        piece.add_row("with their copies", *coverage(papers.places))
    _console(COVERAGE_WIDE).print(piece)


def _print_narrow_coverage(records: Sequence[dict[str, str | int]]) -> None:
    lines = []
    for record in records:
        verdicts = [f"{record[verdict]} {verdict}" for verdict in WITH_MEASURED if record[verdict]]
        lines.append((record["table"], record["all"], ", ".join(verdicts)))
    print(text_table(lines, ("table", "all", "of these")))


def _bar(counts: dict[Verdict, int]) -> Any:
    """Draw shares as blocks; letters would be lost without colour, so a bar only stands beside its numbers."""
    total = sum(counts.values()) or 1
    bar, done, drawn = _text(), 0, 0
    for verdict in WITH_MEASURED:
        done += counts.get(verdict, 0)
        length = round(done / total * BAR) - drawn
        drawn += length
        bar.append(("░" if verdict == "not run" else "█") * length, style=COLOURS[verdict])
    return bar


def table_svg(table: Table, results: list[CellResult]) -> str:
    """Draw what `print_table` prints as an SVG picture, without any reference to the network."""
    import io
    from importlib import resources

    from rich.console import Console
    from rich.terminal_theme import TerminalTheme

    black, white, gray = (36, 41, 47), (255, 255, 255), (90, 99, 110)
    red, green, yellow, blue = (176, 32, 32), (20, 120, 50), (150, 100, 0), (9, 90, 180)
    plain = TerminalTheme(white, black, [black, red, green, yellow, blue, (130, 60, 150), (20, 110, 120), gray])
    template = (resources.files("harness.report") / "templates" / "terminal.svg").read_text(encoding="utf-8")
    console = Console(record=True, file=io.StringIO(), width=WIDE, highlight=False)
    grid_width = max(
        console.measure(piece).maximum for grid in grids(table, results) for piece in grid_pieces(grid, WIDE)
    )
    console = Console(record=True, file=io.StringIO(), width=max(100, grid_width), highlight=False)
    _print(console, table, results)
    return console.export_svg(title=f"harness table {table.name}", theme=plain, code_format=template)


def _print(console: Any, table: Table, results: list[CellResult], width: int = 0) -> None:
    console.print(
        _text(f"{table.name}  ", style="bold") + _text(f"{table.title} — {table.source.split('. ')[0]}", style="dim")
    )
    for grid in grids(table, results):
        for piece in grid_pieces(grid, console.width):
            console.print(piece)
    signs = [_text(f"{sign} {verdict}", style=COLOURS[verdict]) for verdict, sign, _ in legend(results)]
    if prints_numbers(results):
        above = _text("published above, measured below ", style="dim")
        signs = [above, *signs, _text("gray: not run", style="dim")]
    if signs:
        console.print(_text("  ").join(signs))
    if signed := signatures_of(results):
        console.print(_text(f"  measured as {', '.join(signed)}", style="dim"))
    for note in unlike(results):
        console.print(_text(f"  [{note.mark}] {', '.join(note.rows)}: {note.text}"))
    for ordering in orderings(table, results):
        console.print(_text(f"  ordering: {ordering.text}"))
    for remark in remarks(results):
        console.print(_text(f"  {', '.join(remark.rows)} ({plural(remark.cells, 'cell')}): {remark.reason}"))
    for row, text in choices(table, results):
        console.print(_text(f"  choices for {row}: {text}", style="dim"))
    _print_not_run(console, reasons_not_run(results), width)
    console.print(_text(summary(table, results), style="bold"))
    if recorded := recorded_text(results):
        console.print(_text(f"  {recorded}"))


def grid_pieces(grid: PartGrid, width: int) -> list[Any]:
    """Cut a grid into tables that fit the width; every piece repeats the row headings."""
    from rich import box
    from rich.table import Table as RichTable

    rows = [replace(row, heads=(_marked(row.heads[0], row.marks), *row.heads[1:])) for row in grid.rows]
    first, *others = grid.heads
    # A column is too narrow for more than the letters.
    letters = [", ".join(letter for letter, _ in grid.head_marks(0, column)) for column in range(len(first))]
    lines = [tuple(f"{h} [{of_h}]" if of_h else h for h, of_h in zip(first, letters, strict=True)), *others]
    shown = [max(len(head) for head in heads) for heads in zip(*lines, strict=True)]
    for row in rows:
        for index, place in enumerate(row.places):
            shown[index] = max(shown[index], len(place.printed), len(_measured(place)))
    # Beside its text a column takes a space on either side and one between it and the next; the edges take none.
    heads_width = sum(
        max([len(title)] + [len(row.heads[i]) for row in rows]) + 3 for i, title in enumerate(grid.corner)
    )
    # The first column of a piece repeats the heading it continues.
    filled: list[tuple[str, ...]] = [tuple(accumulate(line, lambda before, text: text or before)) for line in lines]
    pieces, start = [], 0
    while start < len(shown):
        stop, used = start, heads_width
        repeated = max(len(line[start]) for line in filled)
        while stop < len(shown) and (stop == start or used + shown[stop] + 2 <= width):
            used += max(shown[stop], repeated if stop == start else 0) + 3
            stop += 1
        piece = RichTable(
            box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), title=_text(grid.title) if grid.title else None
        )
        for corner in grid.corner:
            piece.add_column(_text(corner))
        for column in range(start, stop):
            heads = [(whole if column == start else line)[column] for line, whole in zip(lines, filled, strict=True)]
            piece.add_column(_text("\n".join(heads)), justify="right", no_wrap=True)
        for row in rows:
            piece.add_row(*(_text(head) for head in row.heads), *map(_cell, row.places[start:stop]))
        pieces.append(piece)
        start = stop
    return pieces


def _marked(head: str, marks: Sequence[Mark]) -> str:
    return f"{head} [{marks_text(marks)}]" if marks else head


def _measured(place: GridCell) -> str:
    return f"{place.measured} {place.sign}".strip()


def _cell(place: GridCell) -> Any:
    """Write the published number above the measured one; the mark is the paper's, or that of a rank."""
    mark = {"best": "bold", "second": "underline", "": ""}[place.mark]
    ranked = not place.verdict
    printed = _text(place.printed, style="dim" if ranked else mark if place.measured else f"dim {mark}".strip())
    if not place.measured:
        return printed
    style = mark if ranked else COLOURS[place.verdict] if place.sign else ""
    measured = _text(_measured(place), style=style)
    return _text("\n").join([printed, measured]) if place.printed else measured


def print_one_protocol(table: Table, cells: list[OneProtocolCell]) -> None:
    """Print a table under one protocol: published values in gray above, measured ones below."""
    console = _console(WIDE)
    console.print()
    heading = _text(f"{table.name}  ", style="bold") + _text(f"{table.title} — every row that can be run under ")
    console.print(heading + _text(protocol_words(cells), style="bold"))
    for grid in one_protocol_grids(table, cells):
        for piece in grid_pieces(grid, console.width):
            console.print(piece)
    console.print(
        _text(
            "published in gray, measured below (bold: best measured, underlined: second)   gray alone: not run",
            style="dim",
        )
    )
    for change in rank_changes(cells):
        console.print(_text(f"  other order, {change}", style="yellow"))
    groups = input_groups(cells)
    if len(groups) > 1:
        inputs = "; ".join(f"{name}: {', '.join(rows)}" for name, rows in groups.items())
        console.print(_text("  inputs stay each row's own: " + inputs))
    _print_not_run(console, not_run_reasons(cells))


def _print_not_run(console: Any, reasons: list[Reason], width: int = 0) -> None:
    texts = [f"  not run: {', '.join(r.rows)} ({plural(r.cells, 'cell')}): {r.reason}" for r in reasons]
    shown = [folded(text, width) for text in texts]
    for text in shown:
        console.print(_text(text, style="dim"))
    if shown != texts:
        console.print(_text("  (--why shows the reasons whole)", style="dim"))
