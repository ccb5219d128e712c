"""Findings that could be printed: claim, cells, effect, consequence, limitation, and the command that shows it.

The sentences stand in ``templates/claims.yaml``. Every number in them is computed here: from the published tables, the
committed results, the audits and the controls. A finding whose cells are not there is not made.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

import msgspec

from harness.assets.datasets.registry import dataset
from harness.audit.outcomes import Committed, Findings, ParameterFinding, distinct_cells, record_key
from harness.audit.overlap import TRAINED_ON
from harness.audit.wording import decoy_sentence, listed, strength
from harness.degradations import degradation
from harness.errors import HarnessError
from harness.records.loading import read_yaml
from harness.tables.published import PublishedNumber, published_number, published_tables

EQUAL_PARAMETERS = 0.001
"""Relative difference up to which a printed number of parameters (three or four digits) is the counted one."""

CHANNELWISE = 0.25
"""Largest difference in dB between a row's colour and gray PSNR at which it looks like one network on each channel."""


class Claim(msgspec.Struct, frozen=True):
    """A finding; `head` and `cells` are its table, all else are sentences, and `command` shows it.

    `told` is the table in words, for the sheet, where the sentences name no cell.
    """

    head: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    title: str
    claim: str
    effect: str
    consequence: str
    limitation: str
    command: str
    told: str = ""


@functools.cache
def sentences() -> dict[str, dict[str, str]]:
    """Read the sentences of the findings, with braces where a computed number or name goes."""
    read: dict[str, dict[str, str]] = read_yaml(Path(__file__).parent / "templates" / "claims.yaml")
    return read


def _claim(
    key: str, head: Iterable[str], lines: Iterable[tuple[str, ...]], told: str = "", /, **computed: object
) -> Claim:
    said = {part: text.format(**computed).strip() for part, text in sentences()[key].items()}
    return Claim(tuple(head), tuple(lines), told=told, **said)


def claims(found: Findings, committed: Committed) -> list[Claim]:
    """Make the findings that the data hold, the largest consequence first."""
    made = (
        two_ssims(found, committed),
        two_noises(found, committed),
        one_noise_field(found, committed),
        two_savings(found),
        gray_networks_in_colour(committed),
        marks_that_do_not_fit(committed),
        sizes(committed.parameters),
        training_data(),
    )
    return [finding for finding in made if finding is not None]


# --- what is printed, and what was measured


def printed_cells(name: str, row: str, part: int = 0) -> dict[str, PublishedNumber]:
    """Give a row's printed numbers by cell; empty where a table has no such row."""
    table = published_tables()[name]
    cells = {}
    for line in table.parts[part].rows:
        if line.name == row:
            for column, text in zip(table.parts[part].columns, line.values, strict=True):
                number = published_number(text)
                if number is not None:
                    cells[table.parts[part].column_key(column, line)] = number
    return cells


def measured_cells(committed: Committed, name: str, row: str, under_column: bool = False) -> dict[str, float]:
    """Give a row's measured numbers by cell, under its own protocol or under its column's."""
    cells = {}
    for record in committed.results.get(name, ()):
        if record["row"] == row and record["measured"] is not None:
            other = record["measured_under_column_protocol"]
            value = other if under_column and other is not None else record["measured"]
            cells[record_key(record)] = float(value)
    return cells


def cell_name(key: str) -> str:
    """Name a cell for readers: ``live1/10/ssim`` is LIVE1, 10, SSIM."""
    first, *rest = key.split("/")
    try:
        title = dataset(first).title
    except HarnessError:
        title = first
    return ", ".join([title, *(word.upper() if word in ("psnr", "ssim") else word for word in rest)])


def table_name(name: str) -> str:
    """Name a table for readers: ``panet-table3`` is PANet Table 3."""
    paper, _, number = name.partition("-table")
    return f"{ {'panet': 'PANet', 'rnan': 'RNAN', 'kit': 'KiT', 'csnln': 'CSNLN'}.get(paper, paper) } Table {number}"


def span(values: Iterable[float], decimals: int) -> str:
    """Write a range with signs, the smaller amount first: ``-0.0104 to -0.0205``."""
    texts = list(dict.fromkeys(f"{value:+.{decimals}f}" for value in sorted(values, key=abs)))
    return texts[0] if len(texts) == 1 else f"{texts[0]} to {texts[-1]}"


def plain(number: PublishedNumber) -> str:
    """A printed number without its mark."""
    return number.text.strip("*_")


def rank(value: float, others: Iterable[float]) -> int:
    """Rank of a value among itself and others, 1 for the largest."""
    return 1 + sum(other > value for other in others)


# --- the findings


def two_ssims(found: Findings, committed: Committed) -> Claim | None:
    """SSIM of two kinds in one column, and the ranks that change."""
    tables = [t for t in committed.tables if any(c.partition(":")[0].endswith("/ssim") for c in t.changes)]
    if not tables:
        return None
    name = tables[0].table
    shifts = [shift for shift in tables[0].shifts if shift.metric == "ssim"]
    names = _row_names(name)
    printed = {row: {k: float(n.value) for k, n in printed_cells(name, row).items()} for row in names}
    under = {row: cells for row in names if (cells := measured_cells(committed, name, row, under_column=True))}
    lines: dict[str, list[tuple[str, ...]]] = {}
    for s in shifts:
        others = [row for row in under if row != s.row and s.cell in under[row]]
        before = rank(printed[s.row][s.cell], (printed[other][s.cell] for other in others))
        after = rank(s.under_column, (under[other][s.cell] for other in others))
        values = s.printed, f"{s.measured:.5f}", f"{s.under_column:.5f}"
        lines.setdefault(s.row, []).append((cell_name(s.cell), *values, str(before), str(after)))
    moved = {row: sum(line[-1] != line[-2] for line in of_row) for row, of_row in lines.items()}
    row = max(moved, key=lambda name: moved[name])
    of_row = [shift for shift in shifts if shift.row == row]
    rivals = [other for other in names if other not in under and other.startswith(("RNAN", "PANet"))]
    above = {r: sum(printed[row][s.cell] > printed[r][s.cell] for s in of_row) for r in rivals}
    below = {r: sum(s.under_column < printed[r][s.cell] for s in of_row) for r in rivals}
    steps = [f"rank {line[-2]} to {line[-1]}" for line in lines[row] if line[-1] != line[-2]]
    audited = [cell for a in found.audits if (a.table, a.row) == (name, row) for cell in a.cells]
    own, column = of_row[0].own, of_row[0].column
    if any(count < len(of_row) for count in below.values()):
        return None
    return _claim(
        "two_ssims",
        ("cell", f"{row}, printed", f"measured, {own}", f"measured, {column}", "rank, printed", "rank, one SSIM"),
        lines[row],
        tables=listed(table_name(t.table) for t in tables),
        table=name,
        rows=listed(lines),
        row=row,
        own=own,
        column=column,
        moves=span((s.under_column - s.measured for s in shifts), 4),
        run=listed(under),
        moved=moved[row],
        count=len(of_row),
        steps=listed(f"{step} in {steps.count(step)}" for step in dict.fromkeys(steps)),
        above=listed(f"{r} in {n} of {len(of_row)} columns" for r, n in above.items()),
        below=listed(f"{r} in {n} of {len(of_row)}" for r, n in below.items()),
        matched=sum(cell.explained == cell.digits for cell in audited),
        cells=len(audited),
    )


def _controls(found: Findings, method: str, noise: str) -> dict[str, float]:
    """Values of the controls of a method under a noise, by cell."""
    every = (c for c in found.controls if (c.method, c.degradation) == (method, noise))
    return {f"{c.dataset}/{c.level}/{c.protocol}": c.value for c in every}


def two_noises(found: Findings, committed: Committed) -> Claim | None:
    """Unclipped noise and 8-bit noisy images in one table, and what the difference is for one network."""
    name, row = "panet-table1", "FFDNet"
    printed, measured = printed_cells(name, row), measured_cells(committed, name, row)
    same = _controls(found, "ffdnet", "awgn-seed0-8bit")
    own = _controls(found, "ffdnet-clip", "awgn-seed0-8bit")
    keys = [key for key in measured if key in same and key in own]
    mixed = [t for t in committed.tables if len({_is_8bit(i) for i in t.inputs if i.startswith("awgn")}) > 1]
    if not keys or not mixed:
        return None
    inputs = next(t.inputs for t in mixed if t.table == name)
    eight = [row for noise, rows in inputs.items() if _is_8bit(noise) for row in rows]
    leads = {r: [float(printed_cells(name, r)[k].value - printed[k].value) for k in keys] for r in eight}
    least = min(value for values in leads.values() for value in values)
    small = all(abs(own[k] - measured[k]) < least / 5 for k in keys)
    if not small or any(abs(same[k] - measured[k]) < least for k in keys):
        return None
    return _claim(
        "two_noises",
        ("cell", f"{row}, printed", "measured, unclipped", "8-bit, weights for it", "8-bit, the row's weights"),
        (
            (
                cell_name(key),
                plain(printed[key]),
                f"{measured[key]:.3f}",
                f"{own[key]:.3f} ({own[key] - measured[key]:+.3f})",
                f"{same[key]:.3f} ({same[key] - measured[key]:+.3f})",
            )
            for key in keys
        ),
        tables=listed(table_name(t.table) for t in mixed),
        eight=listed(eight),
        row=row,
        own=span((own[k] - measured[k] for k in keys), 3),
        same=span((same[k] - measured[k] for k in keys), 3),
        leads="; ".join(f"{r} {span(values, 2)} dB" for r, values in leads.items()),
        where=listed(cell_name(key) for key in keys),
    )


def _is_8bit(noise: str) -> bool:
    return noise.startswith("awgn") and degradation(noise).summary.endswith("8 bits")


def one_noise_field(found: Findings, committed: Committed) -> Claim | None:
    """The authors' one noise field, and noise drawn for each image."""
    name, row = "panet-table1", "FFDNet"
    printed, measured = printed_cells(name, row), measured_cells(committed, name, row)
    drawn = _controls(found, "ffdnet", "awgn-float")
    keys = [key for key in measured if key in drawn]
    rows = [a for a in found.audits if a.best is not None and a.best.choices["input"].startswith("awgn-seed0-float")]
    if not keys or not rows:
        return None
    matched, counted = distinct_cells(rows, committed.results)
    if any(abs(drawn[k] - measured[k]) > 2 * float(printed[k].unit) for k in keys):
        return None
    return _claim(
        "one_noise_field",
        ("cell", f"{row}, printed", "that field", "noise drawn for each image", "difference"),
        (
            (
                cell_name(key),
                plain(printed[key]),
                f"{measured[key]:.3f}",
                f"{drawn[key]:.3f}",
                f"{drawn[key] - measured[key]:+.3f} dB",
            )
            for key in keys
        ),
        matched=matched,
        counted=counted,
        rows=len(rows),
        row=row,
        moves=span((drawn[k] - measured[k] for k in keys), 3),
        where=listed(f"{row} on {cell_name(key)}" for key in keys),
    )


def two_savings(found: Findings) -> Claim | None:
    """A row whose cells fit two ways of saving the restored images."""
    audit = next((a for a in found.audits if a.mixture is not None and "saved" in a.mixture.choices), None)
    if audit is None or audit.mixture is None or audit.best is None:
        return None
    mixture, first, second = audit.mixture, audit.best.choices["saved"], audit.mixture.choices["saved"]

    def shown(value: float, printed: str) -> str:
        decimals = len(printed.partition(".")[2])
        return f"{value:.{decimals + 1}f}" + (" (equal)" if f"{value:.{decimals}f}" == printed else "")

    cells = [cell for cell in audit.cells if cell.key in mixture.measured]
    moves = {m: [abs(mixture.measured[c.key] - c.measured) for c in cells if c.metric == m] for m in ("psnr", "ssim")}
    ways = {c.key: (shown(mixture.measured.get(c.key, c.measured), c.printed), c) for c in audit.cells}
    left = [
        f"{cell_name(k)} ({c.printed})" for k, (said, c) in ways.items() if c.explained < c.digits and "(" not in said
    ]
    return _claim(
        "two_savings",
        ("cell", f"{audit.row}, printed", f"measured, {second}", f"measured, {first}"),
        ((cell_name(c.key), c.printed, ways[c.key][0], shown(c.measured, c.printed)) for c in cells),
        row=audit.row,
        name=audit.table,
        table=table_name(audit.table),
        first=first,
        second=second,
        places=listed(cell_name(place).replace(",", " at quality") for place in mixture.places),
        psnr=span(moves["psnr"], 3).replace("+", ""),
        ssim=span(moves["ssim"], 4).replace("+", ""),
        whole=audit.best.whole,
        cells=len(audit.cells),
        both=mixture.row_whole,
        decoys=decoy_sentence(mixture.chance),
        neither=f"Neither way gives {' or '.join(left)}." if left else "",
    )


def gray_networks_in_colour(committed: Committed, level: int = 50) -> Claim | None:
    """Colour rows that are those of a gray network on each channel."""
    colour, gray = "panet-table1", "rnan-table3"
    key, other_key = f"cbsd68/{level}/psnr", f"bsd68-gray/{level}/psnr"
    pairs = {
        row: (one, other)
        for row in _row_names(colour)
        if (one := printed_cells(colour, row).get(key)) and (other := printed_cells(gray, row).get(other_key))
    }
    gaps = {row: float(one.value - other.value) for row, (one, other) in pairs.items()}
    alike = [row for row, gap in gaps.items() if abs(gap) < CHANNELWISE]
    rest = [row for row in gaps if row not in alike]
    run = {row: cells[key] for row in gaps if key in (cells := measured_cells(committed, colour, row))}
    measured = [row for row in alike if row in run]
    if not measured or not rest:
        return None
    records = [r for r in committed.results[colour] if r["row"] in measured and r["measured"] is not None]
    best = [[max(pairs[row][i].value for row in group) for i in (0, 1)] for group in (alike, rest)]
    said = {r.system for r in published_tables()["rnan-table7"].parts[0].rows if "channel by channel" in r.note}
    if not {row for row in alike if row not in measured} <= said:
        return None
    return _claim(
        "gray_networks_in_colour",
        ("row", f"colour, {cell_name(key)}", f"gray, {cell_name(other_key)}", "difference", "measured, colour"),
        (
            (row, plain(one), plain(other), f"{gaps[row]:+.2f} dB", f"{run[row]:.3f}" if row in run else "not run")
            for row, (one, other) in pairs.items()
        ),
        table=table_name(colour),
        measured=listed(measured),
        hits=f"{sum(r['verdict'] == 'match' for r in records)} of {len(records)}",
        others=listed(row for row in alike if row not in measured),
        alike=listed(alike),
        rest=listed(rest),
        near=span((gaps[row] for row in alike), 2),
        far=span((gaps[row] for row in rest), 2),
        gray=f"{best[0][1] - best[1][1]:+.2f}",
        colour=f"{best[0][0] - best[1][0]:+.2f}",
    )


def marks_that_do_not_fit(committed: Committed) -> Claim | None:
    """Cells that are marked as the best of their column and are not."""
    groups: dict[tuple[str, str, str, str], list[tuple[str, PublishedNumber, PublishedNumber]]] = {}
    for table in published_tables().values():
        columns: dict[str, list[tuple[str, PublishedNumber]]] = {}
        for part in table.parts:
            for row in part.rows:
                for column, text in zip(part.columns, row.values, strict=True):
                    number = published_number(text)
                    if number is not None and column.metric in ("psnr", "ssim"):
                        columns.setdefault(part.column_key(column, row), []).append((row.name, number))
        for key, numbers in columns.items():
            higher, best = max(numbers, key=lambda entry: entry[1].value)
            for name, number in numbers:
                if number.mark == "best" and number.value < best.value:
                    metric = key.rpartition("/")[2]
                    groups.setdefault((table.name, name, higher, metric), []).append((key, number, best))
    if not groups:
        return None
    lines, run, below = [], 0, 0
    gaps: dict[str, list[float]] = {"psnr": [], "ssim": []}
    for (table_, bold, higher, metric), cells in groups.items():
        under = measured_cells(committed, table_, higher, under_column=True)
        values = [(marked, under[key]) for key, marked, _ in cells if key in under]
        run += len(values)
        below += sum(value < float(marked.value) for marked, value in values)
        gaps[metric] += [float(best.value - marked.value) for _, marked, best in cells]
        lines.append(
            (
                f"{table_name(table_)}, {metric.upper()}",
                "; ".join(cell_name(key).rpartition(",")[0] for key, *_ in cells),
                f"{bold.split()[0]} {', '.join(plain(marked) for _, marked, _ in cells)}",
                f"{higher.split()[0]} {', '.join(plain(best) for *_, best in cells)}",
                ", ".join(f"{value:.4f}" for _, value in values) or "not run",
            )
        )
    return _claim(
        "marks_that_do_not_fit",
        ("table", "columns", "bold", "printed higher", "the higher row, measured under the column's protocol"),
        lines,
        "; ".join(
            f"{table} ({columns.replace('; ', ' | ')}): {bold} under {higher}"
            for table, columns, bold, higher, _ in lines
        ),
        count=sum(map(len, groups.values())),
        places=listed(
            f"{sum(len(cells) for key, cells in groups.items() if key[0] == name)} in {table_name(name)}"
            for name in dict.fromkeys(key[0] for key in groups)
        ),
        ssim=span(gaps["ssim"], 4),
        psnr=span(gaps["psnr"], 2),
        run=run,
        below=below,
        double=sum(best.mark == "best" for cells in groups.values() for *_, best in cells),
    )


def sizes(parameters: Iterable[ParameterFinding]) -> Claim | None:
    """Printed numbers of parameters and counted ones."""
    merged: dict[tuple[Decimal, int], list[ParameterFinding]] = {}
    for item in parameters:
        printed = Decimal(item.printed.replace(",", "").strip().rstrip("Kk")) * 1000  # such as ``7,409K``
        merged.setdefault((printed, item.counted), []).append(item)
    shares = {key: 100 * float(key[1] / key[0] - 1) for key in merged}
    other = [key for key, share in shares.items() if abs(share) > 100 * EQUAL_PARAMETERS]
    if not other:
        return None
    lines = [
        (
            listed(dict.fromkeys(f"{item.row} ({table_name(item.table)})" for item in merged[key])),
            merged[key][0].printed,
            f"{key[1]:,}",
            f"{shares[key]:+.1f} %",
            merged[key][0].note,
        )
        for key in other
    ]
    return _claim(
        "sizes",
        ("network", "printed", "counted", "against the print", "what is known"),
        lines,
        "; ".join(f"{network}: {printed} printed, {counted} counted" for network, printed, counted, *_ in lines),
        count=len(other),
        equal=listed(merged[key][0].row for key in merged if key not in other) or "none",
        which=listed(dict.fromkeys(merged[key][0].row.split()[0].partition("(")[0] for key in other)),
        least=f"{min(shares[key] for key in other):+.1f}",
        most=f"{max(shares[key] for key in other):+.1f}",
    )


def training_data() -> Claim | None:
    """RNAN trained on two sets, by its own tables."""
    large, small = printed_cells("rnan-table2", "RNAN (ours)"), printed_cells("rnan-table8", "RNAN")
    rival = printed_cells("rnan-table8", "FFDNet")
    keys = [key for key in large if key in small and key in rival]
    if not keys:
        return None
    gaps = {key: float(large[key].value - small[key].value) for key in keys}
    by_set: dict[str, list[str]] = {}
    for key in keys:
        by_set.setdefault(cell_name(key.partition("/")[0]), []).append(key)
    gains = {name: [gaps[key] for key in of_set] for name, of_set in by_set.items()}
    (row,) = [r for r in published_tables()["rnan-table8"].parts[0].rows if r.name == "RNAN"]
    open_ = [key for key in keys if "exchanged" in row.cells[key].reconstructed]
    return _claim(
        "training_data",
        ("set", *(f"sigma {key.split('/')[1]}" for key in next(iter(by_set.values())))),
        (
            (name, *(f"{plain(large[key])} − {plain(small[key])} = {gaps[key]:+.2f}" for key in of_set))
            for name, of_set in by_set.items()
        ),
        gains="; ".join(f"{name} {span(values, 2)} dB" for name, values in gains.items()),
        leads=span((float(small[key].value - rival[key].value) for key in keys), 2),
        behind=listed(name for name, values in gains.items() if max(values) >= 0),
        ahead=listed(name for name, values in gains.items() if max(values) < 0),
        exchangeable=listed(plain(small[key]) for key in open_),
    )


# --- what was looked at and is not claimed


def not_claimed(found: Findings, committed: Committed) -> list[str]:
    """Say what was looked at and is no finding, and why; silent where the data are."""
    said = []
    shared = [o for o in found.overlaps if o.one in TRAINED_ON]
    if shared:
        what = listed(f"{o.other_count} of {o.other_size} of {cell_name(o.other)}" for o in shared)
        touched = {o.other: _numbers_on(o.other) for o in shared}
        where = listed(f"{count} printed numbers of {cell_name(name)}" for name, count in touched.items() if count)
        said.append(
            f"Test photographs inside a training set: {what} are in BSD400. That touches {where}, and only those of a "
            "network trained on BSD400; whether one was, and what it gained, was not measured."
        )
    if committed.tiles:
        own = [t for t in committed.tiles if t.rule.startswith(("panet", "paedsr", "rnan", "csnln"))]
        ends = sorted((size for t in own for size in (t.smallest, t.largest)), key=lambda size: size[0] * size[1])
        said.append(
            f"Tiles: the released commands cut images into tiles of {ends[0][0]}x{ends[0][1]} to "
            f"{ends[-1][0]}x{ends[-1][1]} pixels. What that costs a non-local network was not measured: no weights of "
            "one are here."
        )
    waiting = {(c.dataset, c.level) for c in committed.to_hold_out.get("csnln-table1/LapSRN", ())}
    if ("b100", 2) in waiting:
        said.append("Misprints: LapSRN on B100 at x2 is probably one; its cell is among the held-out ones above.")
    said.append("KiT's patch size: no printed number could be tied to it.")
    return said


def _numbers_on(name: str) -> int:
    """Count the printed numbers of a set in the papers' tables."""
    return sum(
        published_number(text) is not None
        for table in published_tables().values()
        for part in table.parts
        for row in part.rows
        for column, text in zip(part.columns, row.values, strict=True)
        if column.dataset == name
    )


def opening(found: Findings, committed: Committed) -> str:
    """Say how many printed numbers match, and how strong that is."""
    matched, measured = distinct_cells(found.audits, committed.results)
    whole = [audit for audit in found.audits if audit.explained]
    strengths = [strength(audit) for audit in whole]
    words = [f"{strengths.count(word)} {word}" for word in ("strong", "suggestive", "weak") if word in strengths]
    return (
        f"Of the {measured} different printed numbers of the {len(found.audits)} rows that could be audited, {matched} "
        f"match in every printed digit under the best variant found for the row (of cells that an audit leaves out: "
        f"under the protocol that is stated for them). {len(whole)} rows match whole; as "
        f"evidence for the protocol that is {listed(words)}."
    )


def _row_names(name: str) -> list[str]:
    return list(dict.fromkeys(row.name for part in published_tables()[name].parts for row in part.rows))
