"""The difference between a table as printed and as measured, cell by cell."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from harness.methods import Method
from harness.pipeline.requests import AVERAGE, COUNTED, IMAGE_METRICS, Request, requests
from harness.protocols import protocol
from harness.tables.measurements import Measurement, Measurements, NotRun
from harness.tables.published import Table
from harness.tables.verdicts import VERDICTS, Judgement, Verdict, judge, noise_term
from harness.training.runs import TrainedRecord


class CellResult(msgspec.Struct, frozen=True):
    """A cell as printed and as measured.

    Attributes
    ----------
    request : Request
        What the table asks for.
    measured : Measurement or NotRun
        Under the protocol the printed number was made with, as far as is known.
    judgement : Judgement
        Verdict, delta, reason.
    under_column : Measurement or NotRun or None
        Under the column's protocol, where the printed number was made with another one.
    weights : dict
        SHA-256 of the weights that made it, by name.
    origin : str
        Where the weights come from; for weights trained here, how long they were trained.
    trained : TrainedRecord or None
        How the weights were trained here, if they were.
    """

    request: Request
    measured: Measurement | NotRun
    judgement: Judgement
    under_column: Measurement | NotRun | None
    weights: dict[str, str]
    origin: str
    trained: TrainedRecord | None = None

    @property
    def verdict(self) -> Verdict:
        """The verdict."""
        return self.judgement.verdict

    @property
    def own_protocol(self) -> bool:
        """Whether the printed number was made under another protocol than its column's."""
        return self.request.protocol != self.request.column_protocol


def diff_table(table: Table, methods: Mapping[str, Method], measurements: Measurements) -> list[CellResult]:
    """Compare every cell of a table that holds a printed or a measured number; of the user's own tables every cell.

    Parameters
    ----------
    table : Table
        The table, or what `harness.tables.published.select` left of it.
    methods : mapping
        Methods known here.
    measurements : Measurements
        What was measured.
    """
    results = [_compare(request, measurements) for request in requests(table, methods)]
    results = [_average(r, results) if r.request.reason == AVERAGE else r for r in results]
    return [
        r
        for r in results
        if r.request.printed is not None
        or isinstance(r.measured, Measurement)
        or (not table.paper and r.request.group is not None)
    ]


def _compare(request: Request, measurements: Measurements) -> CellResult:
    measured: Measurement | NotRun = NotRun(request.reason)
    under_column: Measurement | NotRun | None = None
    weights: dict[str, str] = {}
    origin = ""
    if request.group is not None and request.metric in IMAGE_METRICS:
        measured = measurements.value(request.group, request.level, request.protocol)
        if request.protocol != request.column_protocol:
            under_column = measurements.value(request.group, request.level, request.column_protocol)
        record = measurements.record(request.group)
        if record is not None:
            origin = record.origin
            about = record.levels.get(request.level)
            weights = about.weights if about is not None else {}
    trained = None
    if origin == "trained" and request.group is not None and isinstance(measured, Measurement):
        trained = measurements.trained(request.group, request.level)
        if trained is None or trained.weights not in weights.values():
            # Trained longer since, or restored elsewhere: the number would stand under another budget's name.
            measured = NotRun("not computed with the weights that are trained here now; run harness repro")
            trained = None
        else:
            origin = trained.origin
    elif request.metric == COUNTED and not request.reason:
        measured = measurements.parameters(request.method, request.task)
    judgement = judge(
        request.printed, measured, request.special.incomparable, trained.origin if trained is not None else ""
    )
    reasons = [judgement.reason]
    if isinstance(under_column, Measurement):
        reasons.append(
            f"printed under {request.protocol}, not the column's {request.column_protocol}, "
            f"which gives {_digits(under_column.value, request)}: not comparable with the other rows"
        )
    if isinstance(measured, Measurement) and math.isinf(measured.value) and request.group is not None:
        values = measurements.images(request.group, request.level, request.protocol)
        equal = [image for image, value in values.items() if math.isinf(value)]
        reasons.append(f"infinite, because the restored {', '.join(equal)} equals the ground truth")
    if isinstance(measured, Measurement) and request.special.note:
        reasons.append(request.special.note)
    if request.special.suspect:
        reasons.append(f"suspect: {request.special.suspect}")
    if isinstance(measured, Measurement) and request.special.reconstructed:
        reasons.append("the printed value is reconstructed from a scrambled print")
    judgement = msgspec.structs.replace(judgement, reason="; ".join(r for r in reasons if r))
    return CellResult(request, measured, judgement, under_column, weights, origin, trained)


def _average(result: CellResult, results: list[CellResult]) -> CellResult:
    """Fill a cell that is printed as the mean over the datasets of its row."""
    request = result.request
    cells = [
        r
        for r in results
        if (r.request.part, r.request.line, r.request.metric) == (request.part, request.line, request.metric)
        and r.request.dataset
    ]
    values = [r.measured.value for r in cells if isinstance(r.measured, Measurement)]
    if not cells or len(values) < len(cells):
        reason = f"{AVERAGE}, of which {len(cells) - len(values)} of {len(cells)} were not run"
        return msgspec.structs.replace(result, judgement=Judgement("not run", None, reason))
    measured = Measurement(math.fsum(values) / len(values), len(values), None)
    incomparable = next((r.request.special.incomparable for r in cells if r.request.special.incomparable), "")
    trained = next((r.judgement.reason for r in cells if r.verdict == "trained"), "")
    judgement = judge(request.printed, measured, incomparable, trained)
    return msgspec.structs.replace(result, measured=measured, judgement=judgement, origin=cells[0].origin)


def _digits(value: float, request: Request) -> str:
    """Write a value with one digit more than is printed; parameters in thousands, as the papers do."""
    if request.metric == COUNTED:
        return f"{value / 1000:.1f}K"
    return f"{value:.{measured_decimals(request)}f}"


def measured_decimals(request: Request) -> int:
    """Decimals a measured value is shown with: one more than the printed one has."""
    if request.printed is None:
        return 3 if request.metric == "psnr" else 5
    exponent = request.printed.unit.as_tuple().exponent
    return max(0, -exponent) + 1 if isinstance(exponent, int) else 1


def measured_text(result: CellResult) -> str:
    """Write a measured value with one digit more than is printed; empty where nothing was measured."""
    return _digits(result.measured.value, result.request) if isinstance(result.measured, Measurement) else ""


def count_verdicts(results: Iterable[CellResult]) -> dict[Verdict, int]:
    """Count the cells of each verdict (every verdict is a key)."""
    counts = dict.fromkeys(VERDICTS, 0)
    for result in results:
        counts[result.verdict] += 1
    return counts


def as_record(result: CellResult) -> dict[str, Any]:
    """Give a cell as plain values: the form of ``harness diff --format json`` and of results/<table>.json.

    `published` and `measured` are numbers or None (in JSON an infinite one is the word ``inf``), `printed` holds the
    digits as printed; `level` is None where the task has only one.
    """
    request = result.request
    measured = result.measured if isinstance(result.measured, Measurement) else None
    under = result.under_column if isinstance(result.under_column, Measurement) else None
    spread = measured.spread if measured else None
    return {
        "table": request.table,
        "row": request.row,
        "dataset": request.dataset,
        "level": request.level or None,
        "metric": request.metric,
        "published": float(request.printed.value) if request.printed else None,
        "printed": request.printed.text if request.printed else "",
        "measured": measured.value if measured else None,
        "delta": result.judgement.delta,
        "verdict": result.verdict,
        "reason": result.judgement.reason,
        "protocol": request.protocol,
        "protocol_version": protocol(request.protocol).version if request.protocol else "",
        "column_protocol": request.column_protocol,
        "measured_under_column_protocol": under.value if under else None,
        "degradation": request.group.degradation if request.group else "",
        "method": request.method,
        "policy": request.group.policy if request.group else "",
        "saving": request.group.saving if request.group else "",
        "origin": result.origin,
        "weights": result.weights,
        "images": measured.images if measured else 0,
        "noise": noise_term(spread),
        "evidence": request.evidence,
        "note": request.special.note,
    }
