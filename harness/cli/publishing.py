"""The command `harness new published`: another paper's table, from what was pasted or as a form to fill in."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from harness.cli.options import (
    dataset_option,
    examples,
    level_option,
    listed,
    method_option,
    metric_option,
    task_option,
)
from harness.cli.printing import echo
from harness.errors import HarnessError, plural, unknown_name

if TYPE_CHECKING:
    from harness.records.tasks import Task
    from harness.tables.headings import Choices, UnderstoodTable
    from harness.tables.pasted import Form
    from harness.tables.published import Row, Table, TablePart
    from harness.tables.workspace import Workspace

NOT_KNOWN = "the harness knows no method of this name"


@click.command(
    "published",
    epilog=examples(
        "harness new published doe-table2 --task sr --from table.tex",
        "harness new published doe-table2 --dataset set5 --level 2 --row MyNet",
    ),
)
@click.argument("name")
@task_option("Task of every number.", default="denoise-rgb", show_default=True)
@click.option("--from", "source_file", type=click.Path(allow_dash=True), help="A file with the pasted table; -: input.")
@click.option(
    "--syntax",
    "form",
    type=click.Choice(["latex", "markdown", "csv"]),
    help="How it is written; default: told from the text. CSV may have commas, semicolons or tabs.",
)
@dataset_option(
    "HEADING=NAME: what a heading stands for; HEADING=-: leave it out; NAME: of columns that name none (repeat).",
    between="",
)
@level_option("Sigma, quality or scale of columns that name none.")
@metric_option("Metric of columns that name none; psnr,ssim of pairs.")
@method_option("ROW=METHOD: what makes a row (repeat).", between="")
@listed("row", help="Rows of a form to fill in (repeat).", between="")
@click.option("--force", is_flag=True, help="Write tables/NAME.yaml anew where it is there.")
@click.option("--source", default="", help="Paper and number of the table, and where it was read.")
def new_published(
    name: str,
    task: str,
    source_file: str | None,
    form: Form | None,
    datasets: tuple[str, ...],
    levels: tuple[int, ...],
    metrics: tuple[str, ...],
    methods: tuple[str, ...],
    rows: tuple[str, ...],
    source: str,
    force: bool,
) -> None:
    """Write tables/NAME.yaml, another paper's table: from pasted LaTeX, Markdown or CSV, or as a form to fill in.

    What no heading says and no option is left as a place, `???`, and told with the option that fills it.
    """
    from harness.records.tasks import task as task_of
    from harness.tables.checking import remarks
    from harness.tables.pasted import read_pasted
    from harness.tables.published import PLACE
    from harness.tables.workspace import Workspace

    workspace = Workspace.find()
    workspace.define()
    task_of(task)
    choices = _choices(datasets, levels, metrics)
    caption = ""
    if source_file is None:
        if form:
            raise HarnessError("--syntax goes with --from FILE")
        read = empty_table(task, choices, levels, [d for d in datasets if "=" not in d], rows)
    else:
        from harness.tables.headings import understand

        if rows:
            raise HarnessError("--row goes without --from: the rows are those of the pasted table")
        if len(levels) > 1 or sum("=" not in text for text in datasets) > 1:
            raise HarnessError("a pasted table takes one --level and one --dataset NAME, of columns that name none")
        where = "standard input" if source_file == "-" else source_file
        pasted = read_pasted(_text(source_file), form, where)
        form, caption = pasted.form, pasted.caption
        read = understand(pasted, task, choices, where)
    source = source or ("printed" if source_file in (None, "-") else str(source_file))
    written = write_published(workspace, name, task, read, methods, caption, source, force=force)
    if source_file is not None:
        sets = dict.fromkeys(column.dataset for column in read.columns if column.dataset)
        echo(
            f"read as {form}: {plural(len(read.rows), 'row')}, {plural(len(read.columns), 'column')}, "
            f"methods as {read.methods_as}; {', '.join(sets)}"
        )
    for text in (*written.notes, *read.notes):
        echo(f"note: {text}")
    for text in read.open:
        echo(f"place: {text}")
    echo(f"written: {written.path}")
    workspace = Workspace.find()
    known = workspace.tables()
    if PLACE in written.path.read_text(encoding="utf-8"):
        options = ", or give the options above with --force" if read.open else ""
        echo(f"next: write what belongs where '{PLACE}' stands{options}; harness check {name}")
        return
    for text in remarks(known[name], known.values()):
        echo(f"remark: {text}")
    echo(f"next: compare the file with the paper; harness check {name}; harness repro {name}")


def _text(source_file: str) -> str:
    """Read what was pasted, and not more of it than a table has."""
    from harness.tables.pasted import MOST_CHARACTERS

    try:
        with click.open_file(source_file, "rb") as file:
            data = bytes(file.read(4 * MOST_CHARACTERS + 1))
        if len(data) > 4 * MOST_CHARACTERS:
            raise HarnessError(f"{source_file}: is longer than a table is; paste the table alone")
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise HarnessError(f"{source_file}: is no text in UTF-8; save it as such") from None
    except OSError as error:
        raise HarnessError(f"{source_file}: cannot be read ({error.strerror or error})") from None


def _choices(datasets: Sequence[str], levels: Sequence[int], metrics: Sequence[str]) -> Choices:
    """Check what the options say of headings."""
    from harness.assets.datasets.registry import dataset
    from harness.protocols.own import OWN_METRICS
    from harness.tables.headings import Choices, compact
    from harness.tables.published import METRICS

    meanings = {}
    plain = [text for text in datasets if "=" not in text]
    for heading, _, said in (text.rpartition("=") for text in datasets if "=" in text):
        if not compact(heading):
            raise HarnessError(f"'{heading}={said}': write HEADING=NAME, with the heading as it is printed")
        meanings[compact(heading)] = said if said == "-" else dataset(said).name
    known = (*METRICS, *OWN_METRICS)
    for metric in metrics:
        if metric not in known:
            raise unknown_name("metric", metric, known)
    return Choices(
        dataset=dataset(plain[0]).name if len(plain) == 1 else "",
        metrics=tuple(metrics),
        level=levels[0] if len(levels) == 1 else None,
        meanings=meanings,
    )


def empty_table(
    task_name: str, choices: Choices, levels: Sequence[int], datasets: Sequence[str], rows: Sequence[str]
) -> UnderstoodTable:
    """Make a form: a place for every printed value.

    `choices`: Its metrics; PSNR and SSIM where it names none.
    `levels`: Levels of the columns; all that the task has where none is named.
    `datasets`, `rows`: Sets of the columns and names of the rows.
    Raises HarnessError: The task or a set is unknown, or no set or no row is named.
    """
    from harness.assets.datasets.registry import dataset
    from harness.records.tasks import task
    from harness.tables.headings import ReadColumn, ReadRow, UnderstoodTable
    from harness.tables.published import PLACE

    chosen = task(task_name)
    if not datasets or not rows:
        raise HarnessError(
            "name what the table has: --from FILE for a pasted one; for a form to fill in --dataset NAME and --row NAME"
        )
    columns = tuple(
        ReadColumn(metric, dataset(name).name, level if chosen.level_name else None)
        for name in datasets
        for level in (levels or chosen.levels)
        for metric in choices.metrics or ("psnr", "ssim")
    )
    filled = tuple(ReadRow(name, None, (PLACE,) * len(columns)) for name in dict.fromkeys(rows))
    return UnderstoodTable(columns, filled, "rows", (), ())


class Written(msgspec.Struct, frozen=True):
    """The file of a table, and what was proposed in it."""

    path: Path
    notes: tuple[str, ...]


def write_published(
    workspace: Workspace,
    name: str,
    task_name: str,
    read: UnderstoodTable,
    methods: Sequence[str] = (),
    title: str = "",
    source: str = "",
    *,
    force: bool = False,
) -> Written:
    """Write tables/<name>.yaml from what was read, and list its folder in params.yaml.

    A row whose system other tables know gets their method. Where it shares numbers with one of their rows, all equal,
    it gets that row's input, protocols and ways of keeping pixels, too.

    `name`: The table's name; what stands before ``-table`` in it is its paper's.
    `methods`: ``ROW=METHOD``.
    `title`, `source`: Caption, and where it was read.
    `force`: Whether a file of the user's tables is written anew.
    Raises HarnessError: The name is taken, a row or a method is unknown, or what was read makes no table.
    """
    import yaml

    from harness.cli.authoring import new_table_path, own_folder
    from harness.files import write_text
    from harness.records.loading import convert
    from harness.records.tasks import task
    from harness.tables.checking import system_key
    from harness.tables.published import PLACE, Table, check_table
    from harness.tables.schema import write_schema

    chosen = task(task_name)
    path = new_table_path(workspace, name, force=force)
    given = _given(workspace, chosen, methods, [row.name for row in read.rows])
    notes: list[str] = []
    # Ablations call their rows by what they vary; and a file that is written anew is no witness of itself.
    known = [t for t in workspace.tables().values() if t.paper and t.kind == "benchmark" and t.name != name]
    rows = [_row(workspace, chosen, read, index, given, known, notes) for index in range(len(read.rows))]
    unknown = list(dict.fromkeys(row["name"] for row in rows if row.get("not_run") == NOT_KNOWN))
    proposed = dict.fromkeys(
        f"{row['name']}: {row['method']}" for row in rows if "method" in row and system_key(row["name"]) not in given
    )
    if proposed:
        notes.insert(0, f"methods are proposed by name, correct them in the file: {', '.join(proposed)}")
    if unknown:
        notes.append(f"no method is known for {', '.join(unknown)}; --method ROW=METHOD names one")
    text = _as_yaml(name, chosen, read, rows, title or f"{chosen.title[:1].upper()}{chosen.title[1:]}: {name}", source)
    if PLACE not in text:
        check_table(convert(yaml.safe_load(text), Table, name), name)
    own_folder(workspace, "tables")
    write_text(path, text)
    write_schema(path.parent)
    return Written(path, tuple(notes))


def _given(workspace: Workspace, task: Task, methods: Sequence[str], names: list[str]) -> dict[str, str]:
    """Check ``ROW=METHOD``; the keys are those of systems."""
    from harness.tables.checking import system_key

    keys = {system_key(name): name for name in names}
    found = {}
    for row, _, method in (text.rpartition("=") for text in methods):
        if system_key(row) not in keys:
            raise unknown_name("row", row, names)
        known = workspace.method(method)
        if task.name not in known.tasks:
            raise HarnessError(f"method '{method}' does not do '{task.name}'; it does {', '.join(known.tasks)}")
        found[system_key(row)] = known.name
    return found


def _row(
    workspace: Workspace,
    task: Task,
    read: UnderstoodTable,
    index: int,
    given: Mapping[str, str],
    known: Sequence[Table],
    notes: list[str],
) -> dict[str, Any]:
    """Make a row, with the method that is given or proposed."""
    from harness.cli.authoring import published_row, without_defaults
    from harness.tables.checking import system_key

    row = read.rows[index]
    key = system_key(row.name)
    plain: dict[str, Any] = {"name": row.name, **({} if row.level is None else {"level": row.level})}
    plain |= {"cite": row.cite} if row.cite else {}
    if key in given:
        return plain | {"method": given[key], "values": list(row.values)}
    like = _like(known, task, read, index)
    if like is None:
        method = _titled(workspace, task, key)
        about = {"method": method} if method else {"not_run": NOT_KNOWN}
        return plain | about | {"values": list(row.values)}
    if not like.equal or like.differing:
        if like.equal:
            notes.append(
                f"{row.name}: {like.equal} of the {like.equal + like.differing} numbers that {like.table} prints, too, "
                "are equal; its input and protocols are not taken over"
            )
        about = {"method": like.row.method} if like.row.method else {"not_run": like.row.not_run or NOT_KNOWN}
        return plain | about | {"values": list(row.values)}
    # Levels of rows stand in the other table's columns, or in its rows.
    columns: list[dict[str, Any]] = []
    for column in read.columns:
        level = column.level if column.level is not None else row.level
        columns.append({"dataset": column.dataset, "metric": column.metric, **({"level": level} if level else {})})
    copied = published_row(workspace, task.name, columns, f"{like.table}:{like.row.name}")
    copied = without_defaults(copied, task, task.degradation, {})
    copied = {key: value for key, value in copied.items() if key not in ("name", "cite", "values", "evidence")}
    more = [key for key in copied if key != "method"]
    told = f"its {plural(like.equal, 'number')} that {like.table} prints, too, are equal"
    if more and "method" in copied:
        copied["evidence"] = f"{told}: {', '.join(more)} as there"
    notes.append(
        f"{row.name}: {told}"
        + (f"; taken over: {', '.join(more)}" if more else "; its input and protocols are the task's")
    )
    return plain | copied | {"values": list(row.values)}


class _Like(msgspec.Struct, frozen=True):
    """A row of a known table for the same system: how many of its numbers are equal, and how many are not."""

    equal: int
    differing: int
    table: str
    row: Row


def _like(known: Sequence[Table], task: Task, read: UnderstoodTable, index: int) -> _Like | None:
    """Find the row of a known benchmark that is nearest to one that was read."""
    from harness.tables.checking import names_of, system_key

    row = read.rows[index]
    own: dict[tuple[str, object, str], str] = {
        (c.dataset, c.level if c.level is not None else row.level, c.metric): value
        for c, value in zip(read.columns, row.values, strict=True)
    }
    found = []
    for table in known:
        for part in table.parts:
            for other in part.rows if part.task == task.name else ():
                if system_key(row.name) in names_of(other):
                    found.append(_likeness(table, part, other, own))
    return max(found, key=lambda like: (like.equal, -like.differing), default=None)


def _likeness(table: Table, part: TablePart, row: Row, own: Mapping[tuple[str, object, str], str]) -> _Like:
    from harness.tables.published import PLACE, published_number

    counts: Counter[bool] = Counter()
    for column, value in zip(part.columns, row.values, strict=False):
        mine = own.get((column.dataset, column.level if column.level is not None else row.level, column.metric), "")
        number, other = published_number(value), published_number("" if mine == PLACE else mine)
        if column.dataset and number is not None and other is not None:
            counts[number.value == other.value] += 1
    return _Like(counts[True], counts[False], table.name, row)


def _titled(workspace: Workspace, task: Task, key: str) -> str:
    """Find the method that has a system's name: one that is not only to be trained, and the shortest of several."""
    from harness.tables.checking import system_key

    found = [
        name
        for name, method in workspace.methods().items()
        if task.name in method.tasks
        and method.origin != "trained"
        and key in (system_key(method.title), system_key(name))
    ]
    return min(found, key=len, default="")


def _as_yaml(name: str, task: Task, read: UnderstoodTable, rows: list[dict[str, Any]], title: str, source: str) -> str:
    """Write the file as the tables of the package are written: a line for a column, the values of a row together."""
    from harness.tables.published import PLACE
    from harness.tables.requests import default_protocol
    from harness.tables.schema import SCHEMA_LINE

    metrics = [m for m in dict.fromkeys(c.metric for c in read.columns) if m in ("psnr", "ssim")]
    protocol = {metric: default_protocol(task, metric) for metric in metrics}
    lines = [
        SCHEMA_LINE,
        f"name: {_scalar(name)}",
        f"paper: {_scalar(name.partition('-table')[0])}",
        f"title: {_quoted(title)}",
        f"source: {_quoted(source)}",
        *(["methods_as: columns"] if read.methods_as == "columns" else []),
        "parts:",
        f"  - task: {_scalar(task.name)}",
        "    # How the input was made and the numbers measured, if the paper says so; a row may have its own.",
        f"    degradation: {_scalar(task.degradation)}",
        *(
            [f"    protocol: {{{', '.join(f'{metric}: {_scalar(way)}' for metric, way in protocol.items())}}}"]
            * bool(protocol)
        ),
        "    columns:",
    ]
    for column in read.columns:
        keys = [f"metric: {_scalar(column.metric)}"]
        keys += [f"dataset: {_scalar(column.dataset)}"] * bool(column.dataset)
        keys += [f"level: {_scalar(column.level)}"] * (column.level is not None)
        note = (
            f"  # {column.heading[:80]}"
            if PLACE in (column.metric, column.dataset, column.level) and column.heading
            else ""
        )
        lines.append(f"      - {{{', '.join(keys)}}}{note}")
    lines.append("    rows:")
    for row in rows:
        for number, (key, value) in enumerate(row.items()):
            begin = "      - " if number == 0 else "        "
            if key == "values":
                lines.append(f"{begin}values: [")
                texts = [_quoted(text) for text in value]
                lines += [f"          {', '.join(texts[at : at + 8])}," for at in range(0, len(texts), 8)]
                lines.append("        ]")
            else:
                lines.append(f"{begin}{key}: {_scalar(value) if key == 'method' else _quoted(value)}")
    return "\n".join(lines) + "\n"


def _quoted(value: object) -> str:
    """Write a value as JSON, which YAML reads alike; what was read has no signs that YAML does not take."""
    if isinstance(value, str):
        value = "".join(sign for sign in value if sign.isprintable())
    return json.dumps(value, ensure_ascii=False)


def _scalar(value: object) -> str:
    """Write a name without quotes where YAML takes it for a text all the same (``no`` it does not)."""
    import yaml

    text = str(value)
    plain = re.fullmatch(r"[a-z0-9][a-z0-9-]*", text) is not None and yaml.safe_load(text) == value
    return text if plain else _quoted(value)
