"""Whether a claim such as "PANet > RNAN on Urban100 sigma 50" is settled by what was measured image by image.

A claim is tested with Fisher's sign-flip test of the images' differences, which is exact for any number of images
(`harness.tables.paired.sign_flip_p`), and with Student's paired interval: both must tell the rows apart. Where one
of the rows was not measured, the claim is untestable, and what is missing is said: printed means are no test.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Literal, get_args

import msgspec

from harness.assets.datasets.registry import dataset
from harness.audit.outcomes import Findings
from harness.audit.overlap import TRAINED_ON
from harness.errors import HarnessError, unknown_name
from harness.protocols import protocol
from harness.protocols.own import quality
from harness.protocols.signature import signature
from harness.records.loading import convert, load_json, read_yaml
from harness.records.tasks import TASKS
from harness.tables.collected import TableResults
from harness.tables.comparison import paired_values
from harness.tables.diff import CellResult, Lack, lacks
from harness.tables.measurements import Measurement, Measurements
from harness.tables.paired import SIGNIFICANCE, p_floor, paired_t, sign_flip_p
from harness.tables.requests import is_of_images

Verdict = Literal[
    "supported", "not separable", "reversed", "reversed under one protocol", "depends on training images", "untestable"
]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

_FORM = "PANet > RNAN on Urban100 sigma 50"
_LEVEL = re.compile(r"\s(?:(?:sigma|σ|quality|scale)\s*=?\s*|[x×])(?P<level>[0-9]{1,3})(?=\s|$)", re.IGNORECASE)
_PLACES = {
    "metric": re.compile(r"\s(?:in\s+)?(?P<metric>PSNR|SSIM)(?=\s|$)", re.IGNORECASE),
    "table": re.compile(r"\sin\s+(?P<table>[\w-]+)(?=\s|$)", re.IGNORECASE),
    "level": _LEVEL,
    "margin": re.compile(r"\sby\s+(?P<margin>[0-9]+(?:\.[0-9]+)?)(?:\s+dB)?(?=\s|$)", re.IGNORECASE),
    "dataset": re.compile(r"\son\s+(?P<dataset>[^\s]+)(?=\s|$)", re.IGNORECASE),
}


class RowClaim(msgspec.Struct, frozen=True):
    """That one row is better than another; what is empty or 0 is left open, and then every such cell is meant.

    `margin`: By how much at least, in the unit of the metric.
    """

    text: str
    better: str
    worse: str
    dataset: str = ""
    level: int = 0
    metric: str = ""
    table: str = ""
    margin: Decimal = Decimal(0)


class Settled(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A claim about one cell of one column, and what came out.

    `tables`: Every table that prints this pair of numbers.
    `printed`: What the print says of it; no test.
    `why`: What the verdict rests on, or what is missing.
    `signature`: Of the measurement that was tested.
    `difference`, `low`, `high`: Mean over the images, and Student's paired 95 % interval; None without a test.
    `p`, `images`: Of the sign-flip test.
    `missing`: What rows without a measured number lack.
    """

    claim: str
    tables: tuple[str, ...]
    dataset: str
    level: int
    metric: str
    printed: str
    verdict: Verdict
    why: str
    signature: str = ""
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    images: int = 0
    missing: tuple[Lack, ...] = ()


class _Claims(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    claims: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()


def read_claim(text: str) -> RowClaim:
    """Read a claim: ``A > B``, then in any order ``on SET``, ``sigma 50``, ``SSIM``, ``by 0.3 dB``, ``in TABLE``.

    Raises HarnessError: It has another form.

    >>> claim = read_claim("PANet > RNAN on Urban100 sigma 50 by 0.3 dB")
    >>> claim.better, claim.worse, claim.dataset, claim.level, claim.margin
    ('PANet', 'RNAN', 'urban100', 50, Decimal('0.3'))
    """
    better, found, rest = text.partition(">")
    fields: dict[str, str] = {}
    for name, pattern in _PLACES.items():
        if match := pattern.search(rest):
            fields[name] = match[name].lower()
            rest = rest[: match.start()] + rest[match.end() :]
    if not found or not better.strip() or not rest.strip() or ">" in rest:
        raise HarnessError(f"'{text}' is no claim of the form '{_FORM}', with 'SSIM', 'by 0.3' or 'in TABLE' behind it")
    level, margin = int(fields.pop("level", "0")), Decimal(fields.pop("margin", "0"))
    return RowClaim(text.strip(), better.strip(), rest.strip(), level=level, margin=margin, **fields)


def read_claims(path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Read a file of claims (``claims:``) and of tables whose bold marks are claims (``marks:``).

    Raises HarnessError: It has other keys, or neither.
    """
    found = convert(read_yaml(path), _Claims, str(path))
    if not found.claims and not found.marks:
        raise HarnessError(f"{path} claims nothing; write claims: ['{_FORM}'] or marks: [panet-table1]")
    return found.claims, found.marks


def settle(claim: RowClaim, tables: Iterable[TableResults], measurements: Measurements, root: Path) -> list[Settled]:
    """Settle a claim in every column that prints both rows.

    `root`: Folder of the workspace, where the evidence of shared images lies.
    Raises HarnessError: No table has such rows, or none together in a column as asked.
    """
    pairs, rows, columns = [], set(), set()
    for item in tables:
        if claim.table in ("", item.table.name):
            for cells in _columns(item).values():
                named = {cell.request.row.lower(): cell for cell in cells}
                rows |= {cell.request.row for cell in cells}
                first, second = named.get(claim.better.lower()), named.get(claim.worse.lower())
                if first is not None and second is not None:
                    columns.add((first.request.dataset, first.request.level, first.request.metric))
                    if _is_meant(first, claim):
                        pairs.append((first, second))
    for name in (claim.better, claim.worse):
        if name.lower() not in {row.lower() for row in rows}:
            raise unknown_name("row", name, rows)
    if not pairs:
        known = ", ".join(f"{d} {n or ''} {m}".replace("  ", " ") for d, n, m in sorted(columns))
        raise HarnessError(f"no column as in '{claim.text}' holds both rows; they share {known or 'none'}")
    return _settled(claim.text, pairs, claim.margin, measurements, root)


def settle_marks(item: TableResults, measurements: Measurements, root: Path) -> list[Settled]:
    """Settle every bold mark of a table: that its number is better than the best of the column's others."""
    found: list[Settled] = []
    for cells in _columns(item).values():
        bold = [cell for cell in cells if cell.request.printed and cell.request.printed.mark == "best"]
        others = [cell for cell in cells if cell.request.printed and cell not in bold]
        if others:
            rival = max(others, key=lambda cell: quality(cell.request.metric, _printed(cell)))
            for cell in bold:
                text = f"{cell.request.row} > {rival.request.row}"
                found += _settled(text, [(cell, rival)], Decimal(0), measurements, root)
    return found


def settle_orders(item: TableResults, measurements: Measurements, root: Path) -> list[Settled]:
    """Settle what a table's numbers say of every two rows of a column that were both measured."""
    found: list[Settled] = []
    for cells in _columns(item).values():
        told = [c for c in cells if c.request.printed and isinstance(c.measured, Measurement)]
        told.sort(key=lambda cell: quality(cell.request.metric, _printed(cell)), reverse=True)
        for index, first in enumerate(told):
            for second in told[index + 1 :]:
                if _printed(first) != _printed(second):
                    text = f"{first.request.row} > {second.request.row}"
                    found += _settled(text, [(first, second)], Decimal(0), measurements, root)
    return found


def exit_status(settled: Sequence[Settled]) -> int:
    """Status for CI: 0 if all are supported, 1 if one is not, 2 if one cannot be tested and none failed."""
    verdicts = {one.verdict for one in settled} - {"supported"}
    return 1 if verdicts - {"untestable"} else 2 if verdicts else 0


def _columns(item: TableResults) -> Mapping[tuple[int, str], list[CellResult]]:
    columns: dict[tuple[int, str], list[CellResult]] = {}
    for cell in item.results:
        if is_of_images(cell.request.metric) and cell.request.dataset:
            columns.setdefault((cell.request.part, cell.request.key), []).append(cell)
    return columns


def _is_meant(cell: CellResult, claim: RowClaim) -> bool:
    asked = cell.request
    return (
        claim.dataset in ("", asked.dataset, dataset(asked.dataset).title.lower())
        and claim.level in (0, asked.level)
        and claim.metric in ("", asked.metric)
    )


def _printed(cell: CellResult) -> float:
    return float(cell.request.printed.value) if cell.request.printed else -math.inf


def _settled(
    text: str,
    pairs: Sequence[tuple[CellResult, CellResult]],
    margin: Decimal,
    measurements: Measurements,
    root: Path,
) -> list[Settled]:
    """Settle pairs of cells; one that several tables print alike is settled once."""
    found: dict[tuple[object, ...], Settled] = {}
    for first, second in pairs:
        asked, tables = first.request, (first.request.table,)
        printed = _what_the_print_says(first, second, margin)
        key = (asked.dataset, asked.level, asked.metric, printed, asked.group, second.request.group)
        if key in found:
            found[key] = msgspec.structs.replace(found[key], tables=(*found[key].tables, *tables))
            continue
        verdict, why, tested = _tested(first, second, float(margin), measurements, root)
        at = asked.dataset, asked.level, asked.metric
        lack = tuple(sorted({lacks(cell) for cell in _unmeasured(first, second)}))
        found[key] = Settled(text, tables, *at, printed, verdict, why, missing=lack)
        if tested is not None:
            numbers = dict(zip(("difference", "low", "high", "p", "images"), tested.numbers, strict=True))
            found[key] = msgspec.structs.replace(found[key], signature=tested.signature, **numbers)
    return list(found.values())


def _what_the_print_says(first: CellResult, second: CellResult, margin: Decimal) -> str:
    a, b = first.request.printed, second.request.printed
    if a is None or b is None:
        return "not printed"
    lead = Decimal(str(quality(first.request.metric, float(a.value - b.value))))
    if lead <= 0:
        said = "the print says the reverse" if lead else "the print says that they are equal"
    else:
        said = "as claimed" if lead >= margin else f"{lead:f} and not {margin:f}"
    return f"{a.text} and {b.text}: {said}"


class _Test(msgspec.Struct, frozen=True):
    outcome: Literal["better", "worse", "not separable"]
    signature: str
    numbers: tuple[float, float, float, float, int]
    images: tuple[str, ...]

    @property
    def text(self) -> str:
        """What was found, with the interval and p."""
        difference, low, high, p, images = self.numbers
        return f"{difference:+.4g} [{low:+.4g}, {high:+.4g}], p = {p:.2g}, {images} images"


def _tested(
    first: CellResult, second: CellResult, margin: float, measurements: Measurements, root: Path
) -> tuple[Verdict, str, _Test | None]:
    lacking: dict[str, list[str]] = {}
    for cell in _unmeasured(first, second):
        lacking.setdefault(cell.judgement.reason, []).append(cell.request.row)
    if lacking:
        what = f"no measured number for {dataset(first.request.dataset).title}"
        said = [f"{' and '.join(rows)}: {what}: {reason}" for reason, rows in lacking.items()]
        return "untestable", "; ".join(said), None
    own = first.request.protocol if first.request.protocol == second.request.protocol else first.request.column_protocol
    test = _test(first, second, own, margin, measurements)
    if isinstance(test, str):
        return "untestable", test, None
    others = {}
    for name in _common_protocols(first, second, measurements):
        if name != own and not isinstance(other := _test(first, second, name, margin, measurements), str):
            others[name] = other
    against = [name for name, other in others.items() if {other.outcome, test.outcome} == {"better", "worse"}]
    if against:
        told = "; ".join(f"{name}: {others[name].text}" for name in against)
        return "reversed under one protocol", f"{own}: {test.text}; {told}", test
    if test.outcome == "worse":
        less = "; the lead is smaller than claimed" if quality(first.request.metric, test.numbers[0]) > 0 else ""
        return "reversed", test.text + less, test
    if test.outcome == "not separable":
        floor = p_floor(test.numbers[4])
        few = f"; so few images cannot give a p below {floor:.3g}" if floor > SIGNIFICANCE else ""
        return "not separable", test.text + few, test
    shared, unknown = _training_images(first.request.dataset, root)
    if dropped := shared & set(test.images):
        rest = _test(first, second, own, margin, measurements, dropped)
        names = ", ".join(sorted(dropped))
        if isinstance(rest, str) or rest.outcome != "better":
            told = rest if isinstance(rest, str) else rest.text
            return "depends on training images", f"{test.text}; without {names}, which training sets hold: {told}", test
        return "supported", f"{test.text}; also without {names}, which training sets hold", test
    return "supported", test.text + unknown, test


def _unmeasured(*cells: CellResult) -> list[CellResult]:
    return [cell for cell in cells if not isinstance(cell.measured, Measurement)]


def _common_protocols(first: CellResult, second: CellResult, measurements: Measurements) -> list[str]:
    """Name the protocols of the cells' metric under which both were measured."""
    records = [measurements.record(cell.request.group) for cell in (first, second) if cell.request.group is not None]
    names = [set(record.protocols) for record in records if record is not None]
    common = set.intersection(*names) if len(names) == 2 else set()
    return sorted(name for name in common if protocol(name).family == first.request.metric)


def _test(
    first: CellResult,
    second: CellResult,
    name: str,
    margin: float,
    measurements: Measurements,
    without: Iterable[str] = (),
) -> _Test | str:
    a, b = (
        msgspec.structs.replace(cell, request=msgspec.structs.replace(cell.request, protocol=name))
        for cell in (first, second)
    )
    pair = paired_values(a, b, measurements, set(without))
    if isinstance(pair, str):
        return pair
    metric, task, level = first.request.metric, first.request.task, first.request.level
    threshold = pair.second + quality(metric, margin)
    difference = math.fsum(pair.first - threshold) / len(pair.images)
    p = sign_flip_p(threshold, pair.first)
    low, high = paired_t(threshold, pair.first)
    outcome: Literal["better", "worse", "not separable"] = "not separable"
    # Both: the verdict never contradicts the interval beside it.
    if p <= SIGNIFICANCE and not low <= 0 <= high:
        outcome = "better" if quality(metric, difference) > 0 else "worse"
    ends = paired_t(pair.second, pair.first)
    numbers = math.fsum(pair.first - pair.second) / len(pair.images), *ends, p, len(pair.images)
    return _Test(outcome, signature(protocol(name), TASKS[task].scale(level)), numbers, pair.images)


def _training_images(name: str, root: Path) -> tuple[set[str], str]:
    """Name the images of a set that training sets of the papers' networks hold, and say what is not known of it."""
    path = root / "docs" / "findings.json"
    if not path.is_file():
        return set(), "; which of its images training sets hold is not known here (docs/findings.json)"
    found = load_json(path, Findings)
    images: set[str] = set()
    unknown = ""
    for overlap in found.overlaps:
        if overlap.one in TRAINED_ON and overlap.other == name:
            images |= {example.other for example in overlap.examples}
            if len(overlap.examples) < sum(overlap.kinds.values()):
                unknown = f"; {overlap.other_count} of its images, in {overlap.one} too, were not left out"
    return (set(), unknown) if unknown else (images, "")


def settled_text(settled: Sequence[Settled]) -> str:
    """Write what came out, a paragraph each, and how many claims have which verdict."""
    lines = []
    for one in settled:
        where = " ".join(filter(None, (one.dataset, str(one.level or ""), one.metric.upper())))
        lines.append(f"{one.claim} · {where}: {one.verdict}\n  {one.why}")
        if one.signature:
            lines.append(f"  measured as {one.signature}")
        lines.append(f"  printed in {', '.join(one.tables)}: {one.printed} (no test)")
    counts = [f"{sum(one.verdict == verdict for one in settled)} {verdict}" for verdict in VERDICTS]
    tested = "Differences with Student's paired 95 % interval; p: two-sided, signs of the images' differences flipped."
    return "\n".join([*lines, ", ".join(text for text in counts if text[0] != "0") or "nothing is claimed", tested])
