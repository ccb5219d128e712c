"""The difference between a table as printed and as measured, cell by cell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from harness.methods import Method
from harness.protocols import protocol
from harness.protocols.own import better_of
from harness.protocols.signature import signature
from harness.records.cells import Group
from harness.records.restored import OwnFile
from harness.records.tasks import TASKS
from harness.records.training_runs import TrainedFor, TrainedRecord
from harness.tables.measurements import Measurement, Measurements, NotRun
from harness.tables.published import Table
from harness.tables.requests import AVERAGE, COUNTED, Request, is_of_images, requests, seed_groups
from harness.tables.verdicts import Judgement, Verdict, judge, noise_term

Lack = Literal["code", "dataset", "package", "server", "training", "weights", "cells", "machine", "run"]


class Difference(msgspec.Struct, frozen=True):
    """In what the number of a cell was made otherwise than those it stands beside (`harness.tables.fairness`).

    `own`: How this cell was made: the name of a degradation, protocol, saving rule, policy or training set, or of a
        kind of weights.
    `others`: How the numbers it stands beside were made.
    """

    kind: Literal["input", "protocol", "saving", "policy", "training data", "weights"]
    own: str
    others: str
    beside: Literal["own rows", "most rows"]


class CellResult(msgspec.Struct, frozen=True):
    """A cell as printed and as measured.

    `measured`: Under the protocol the printed number was made with, as far as is known.
    `judgement`: Verdict, delta, reason.
    `under_column`: Under the column's protocol, where the printed number was made with another one.
    `weights`: SHA-256 of the weights that made it, by name.
    `own_files`: The user's own files that the method loads or depends on, by name.
    `origin`: Where the weights come from; for weights trained here, how long they were trained.
    `trained`: How the weights were trained here, if they were.
    `recorded`: Empty for a number that was measured here; else the git revision of the results that it was read from
        (`harness.tables.collected`).
    `differs`: In what it was made otherwise than the numbers it stands beside; empty where nobody compared it with
        them.
    `trained_for`: How long the weights were trained here and on what, also of a number that is recorded.
    """

    request: Request
    measured: Measurement | NotRun
    judgement: Judgement
    under_column: Measurement | NotRun | None
    weights: dict[str, str]
    origin: str
    trained: TrainedRecord | None = None
    recorded: str = ""
    differs: tuple[Difference, ...] = ()
    own_files: dict[str, OwnFile] = {}
    trained_for: TrainedFor | None = None

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

    `table`: The table, or what `harness.tables.published.select` left of it.
    """
    results = [_compare(request, measurements, seed_groups(request, methods)) for request in requests(table, methods)]
    results = averaged(results)
    return [
        r
        for r in results
        if r.request.printed is not None
        or isinstance(r.measured, Measurement)
        or (not table.paper and r.request.method and is_of_images(r.request.metric))
    ]


def _compare(request: Request, measurements: Measurements, further: Mapping[int, Group]) -> CellResult:
    measured: Measurement | NotRun = NotRun(request.reason, request.missing)
    under_column: Measurement | NotRun | None = None
    weights: dict[str, str] = {}
    own_files: dict[str, OwnFile] = {}
    origin = ""
    if request.group is not None and is_of_images(request.metric):
        measured = measurements.value(request.group, request.level, request.protocol)
        if request.protocol != request.column_protocol:
            under_column = measurements.value(request.group, request.level, request.column_protocol)
        record = measurements.record(request.group)
        if record is not None:
            origin = record.origin
            about = record.levels.get(request.level)
            weights, own_files = (about.weights, about.own_files) if about is not None else ({}, {})
    trained, left_out = None, ""
    if origin == "trained" and request.group is not None and isinstance(measured, Measurement):
        trained = measurements.trained(request.group, request.level)
        if trained is None or trained.weights not in weights.values():
            # Trained longer since, or restored elsewhere: the number would stand under another budget's name.
            measured = NotRun("not computed with the weights that are trained here now; run harness repro")
            trained = None
        else:
            origin = trained.origin
            measured, weights, left_out = _over_seeds(request, measurements, trained, measured, weights, further)
    elif request.metric == COUNTED and not request.reason:
        measured = measurements.parameters(request.method, request.task)
    result = CellResult(
        request,
        measured,
        _NOT_JUDGED,
        under_column,
        weights,
        origin,
        trained,
        own_files=own_files,
        trained_for=trained.trained_for if trained is not None else None,
    )
    equal = []
    if isinstance(measured, Measurement) and math.isinf(measured.value) and request.group is not None:
        values = measurements.images(request.group, request.level, request.protocol)
        equal = [image for image, value in values.items() if math.isinf(value)]
    return judged(result, trained.origin if trained is not None else "", equal, left_out)


def _over_seeds(
    request: Request,
    measurements: Measurements,
    first: TrainedRecord,
    measured: Measurement,
    weights: dict[str, str],
    further: Mapping[int, Group],
) -> tuple[Measurement, dict[str, str], str]:
    """Give the mean over seeds that were trained alike, all their weights, and which seeds are left out and why."""
    values, left_out = {first.seed: measured.value}, []
    for seed, group in further.items():
        value, trained = measurements.value(group, request.level, request.protocol), None
        record = measurements.record(group)
        about = record.levels.get(request.level) if record is not None else None
        if isinstance(value, Measurement):
            trained = measurements.trained(group, request.level)
        if trained is None or about is None or trained.weights not in about.weights.values():
            left_out.append(f"seed {seed} is not computed with the weights that are trained here now")
        elif _alike(trained) != _alike(first):
            left_out.append(f"seed {seed} was trained otherwise ({trained.iterations:,} iterations on {trained.data})")
        elif isinstance(value, Measurement):
            values[trained.seed] = value.value
            weights = weights | about.weights
    if len(values) > 1:
        mean = math.fsum(values.values()) / len(values)
        measured = msgspec.structs.replace(measured, value=mean, seeds=tuple(sorted(values.items())))
    return measured, weights, "; ".join(left_out)


def _alike(record: TrainedRecord) -> tuple[object, ...]:
    """What seeds of a network must share, so that nothing but the seed is between them."""
    options = msgspec.structs.replace(record.options, seed=0)
    return record.trained_for, msgspec.to_builtins(options)


_NOT_JUDGED = Judgement("not run", None, "")


def judged(result: CellResult, trained: str = "", equal: Sequence[str] = (), left_out: str = "") -> CellResult:
    """Give a cell its verdict, with all that must be said beside it.

    `trained`: How the network was trained here, if it was.
    `equal`: Images that were restored without any error, which make a PSNR infinite.
    `left_out`: Which seeds of the training do not count, and why.
    """
    request, measured, under_column = result.request, result.measured, result.under_column
    judgement = judge(request.printed, measured, request.special.incomparable, trained, request.fitted)
    reasons = [judgement.reason]
    if isinstance(measured, Measurement) and measured.seeds_sd is not None:
        names = ", ".join(str(seed) for seed, _ in measured.seeds)
        reasons.append(f"mean ± standard deviation over {len(measured.seeds)} seeds ({names})")
    reasons.append(left_out)
    if isinstance(under_column, Measurement):
        reasons.append(
            f"printed under {request.protocol}, not the column's {request.column_protocol}, "
            f"which gives {_digits(under_column.value, request)}: {comparability(measured, under_column, request)}"
        )
    if isinstance(measured, Measurement) and math.isinf(measured.value):
        equal_images = ", ".join(equal) or "image"
        reasons.append(f"infinite, because the restored {equal_images} equals the ground truth")
    if isinstance(measured, Measurement) and request.special.note:
        reasons.append(request.special.note)
    if request.special.suspect:
        reasons.append(f"suspect: {request.special.suspect}")
    if isinstance(measured, Measurement) and request.special.reconstructed:
        reasons.append("the printed value is reconstructed from a scrambled print")
    judgement = msgspec.structs.replace(judgement, reason="; ".join(r for r in reasons if r))
    return msgspec.structs.replace(result, judgement=judgement)


def averaged(results: list[CellResult]) -> list[CellResult]:
    """Fill the cells that are printed as the mean over the datasets of their row."""
    return [_average(r, results) if r.request.averages else r for r in results]


def _average(result: CellResult, results: list[CellResult]) -> CellResult:
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
    measured = Measurement(math.fsum(values) / len(values), len(values), None, _mean_seeds(cells))
    incomparable = next((r.request.special.incomparable for r in cells if r.request.special.incomparable), "")
    trained = next((r.judgement.reason for r in cells if r.verdict == "trained"), "")
    fitted = next((r.request.fitted for r in cells if r.request.fitted), "")
    return msgspec.structs.replace(
        result,
        measured=measured,
        judgement=judge(request.printed, measured, incomparable, trained, fitted),
        origin=cells[0].origin,
        recorded=next((r.recorded for r in cells if r.recorded), ""),
    )


def _mean_seeds(cells: Sequence[CellResult]) -> tuple[tuple[int, float], ...]:
    """Average several cells seed by seed; nothing where they were not made with the same seeds."""
    found = [dict(cell.measured.seeds) for cell in cells if isinstance(cell.measured, Measurement)]
    if not found or any(one.keys() != found[0].keys() for one in found):
        return ()
    return tuple((seed, math.fsum(one[seed] for one in found) / len(found)) for seed in found[0])


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
    """Write a measured value with one digit more than is printed; empty where nothing was measured.

    The mean over several seeds has its standard deviation beside it: ``28.512 ± 0.021``.
    """
    if not isinstance(result.measured, Measurement):
        return ""
    text, sd = _digits(result.measured.value, result.request), result.measured.seeds_sd
    return text if sd is None else f"{text} ± {_digits(sd, result.request)}"


def as_record(result: CellResult) -> dict[str, Any]:
    """Give a cell as plain values: the form of ``harness diff --format json`` and of results/<table>.json.

    `published` and `measured` are numbers or None (in JSON an infinite one is the word ``inf``), `printed` holds the
    digits as printed; `better` says whether the ``higher`` or the ``lower`` values are; `level` is None where the task
    has only one. Cells that were not run have `not_run`, which says what they lack (`lacks`), and `missing` where that
    has a name (`harness.errors.Missing`).
    """
    request = result.request
    missing = result.measured.missing if isinstance(result.measured, NotRun) else None
    measured = result.measured if isinstance(result.measured, Measurement) else None
    under = result.under_column if isinstance(result.under_column, Measurement) else None
    spread = measured.spread if measured else None
    made = protocol(request.protocol) if request.protocol else None
    return {
        "table": request.table,
        "row": request.row,
        "dataset": request.dataset,
        "level": request.level or None,
        "metric": request.metric,
        "better": better_of(request.metric),
        "published": float(request.printed.value) if request.printed else None,
        "printed": request.printed.text if request.printed else "",
        "measured": measured.value if measured else None,
        "delta": result.judgement.delta,
        "verdict": result.verdict,
        "reason": result.judgement.reason,
        "protocol": request.protocol,
        "protocol_version": made.version if made else "",
        "signature": signature(made, TASKS[request.task].scale(request.level)) if made else "",
        "column_protocol": request.column_protocol,
        "measured_under_column_protocol": under.value if under else None,
        "degradation": request.group.degradation if request.group else "",
        "method": request.method,
        "policy": request.group.policy if request.group else "",
        "saving": request.group.saving if request.group else "",
        "origin": result.origin,
        "weights": result.weights,
        **({"own_files": msgspec.to_builtins(result.own_files)} if result.own_files else {}),
        **({"seeds": dict(measured.seeds), "seeds_sd": measured.seeds_sd} if measured and measured.seeds else {}),
        **({"trained_for": msgspec.to_builtins(result.trained_for)} if result.trained_for else {}),
        "images": measured.images if measured else 0,
        "noise": noise_term(spread),
        "recorded": result.recorded,
        "choices": list(request.choices),
        "evidence": request.evidence,
        "note": request.special.note,
        "differs": [msgspec.to_builtins(difference) for difference in result.differs],
        **({"not_run": lacks(result)} if result.verdict == "not run" else {}),
        **({"missing": msgspec.to_builtins(missing)} if missing else {}),
    }


def lacks(result: CellResult) -> Lack:
    """Say in one word what a cell that was not run lacks.

    Beside the kinds of `harness.errors.Missing`: "cells" for a mean of cells that were not run, "machine" for a time on
    the authors' machine, "run" where nothing but `harness repro` is missing.
    """
    missing = result.measured.missing if isinstance(result.measured, NotRun) else None
    if missing is not None:
        return missing.kind
    if result.request.averages:
        return "cells"
    return "machine" if result.request.metric == "seconds" else "run"


def comparability(own: Measurement | NotRun, column: Measurement | NotRun | None, request: Request) -> str:
    """Say whether a cell that is printed under another protocol than its column's can stand beside the others.

    `own`, `column`: The cell under its own protocol, and under the column's.
    """
    if request.printed is not None and isinstance(own, Measurement) and isinstance(column, Measurement):
        decimals = len(request.printed.text.partition(".")[2])
        if f"{own.value:.{decimals}f}" == f"{column.value:.{decimals}f}":
            return "the same at the printed digits"
    return "not comparable with the other rows"
