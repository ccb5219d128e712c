"""Numbers that no audit searches for: a network under inputs that differ in one thing, and the cells of held-out sets.

A control asks what one choice costs, with everything else fixed. A held-out cell asks whether a protocol that other
sets decided also gives the number of a set that the search never saw (`harness.audit.settings.HELD_OUT`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from harness.assets.datasets import fetch
from harness.audit.images import Bench
from harness.audit.measuring import set_values, ssim_mask
from harness.audit.outcomes import Control, HeldOut, RowAudit
from harness.audit.settings import HELD_OUT
from harness.audit.variants import INDEPENDENT, Finish, Making, NoiseDraw, reading_of, set_readings
from harness.degradations import degradation
from harness.errors import HarnessError
from harness.methods import Method
from harness.tables.published import published_tables
from harness.tables.requests import IMAGE_METRICS, requests
from harness.tables.workspace import Workspace

CONTROLS = (
    # Two kinds of noise, for one network with its weights for clipped noise and with those of the printed row.
    Control("ffdnet-clip", "denoise-rgb", "kodak24", 50, "awgn-seed0-8bit", 0),
    Control("ffdnet", "denoise-rgb", "kodak24", 50, "awgn-seed0-8bit", 0),
    # Noise drawn for each image, where the printed row is of one field for all.
    Control("ffdnet", "denoise-rgb", "cbsd68", 10, "awgn-float", 0),
)
"""What is measured with one thing changed; their values are filled in by `measure_controls`."""


def measure_controls(
    workspace: Workspace,
    known: Iterable[Control] = (),
    progress: Callable[[str], None] = lambda text: None,
    wanted: Sequence[Control] = CONTROLS,
) -> tuple[Control, ...]:
    """Measure the controls; one that cannot be measured here keeps the value that is known, or is left out."""
    for name in dict.fromkeys(control.dataset for control in wanted):
        fetch(name, workspace.data)
    bench = Bench(workspace)
    before = {control.question: control for control in known}
    found = []
    for control in wanted:
        progress(f"{control.method} on {control.dataset}, level {control.level}, {control.degradation}")
        draw = NoiseDraw(INDEPENDENT, control.seed) if degradation(control.degradation).random else NoiseDraw()
        making = Making(control.degradation, control.method, "whole", draw, ((control.dataset, control.dataset),))
        try:
            value, images = _value(bench, control.task, control.level, making, Finish(), control.protocol)
        except HarnessError:
            found.extend([before[control.question]] if control.question in before else [])
            continue
        found.append(msgspec.structs.replace(control, value=value, images=images))
    return tuple(found)


def held_out_cells(
    audit: RowAudit, methods: Mapping[str, Method], sets: Sequence[str] = HELD_OUT
) -> tuple[HeldOut, ...]:
    """List the printed cells of held-out sets that an audited row's protocol speaks of, not measured.

    Only levels that the protocol was fixed on: LapSRN's x3 is made in another way than its x2 and x4.
    """
    levels = {cell.level for cell in audit.cells}
    return tuple(
        HeldOut(audit.table, audit.row, r.key, r.dataset, r.level, r.metric, r.printed.text, _made(audit, r.metric))
        for r in requests(published_tables()[audit.table], methods)
        if r.printed is not None
        and (r.part, r.row) == (audit.part, audit.row)
        and r.metric in IMAGE_METRICS
        and r.dataset in sets
        and r.level in levels
    )


def _made(audit: RowAudit, metric: str) -> str:
    """Name what an audit fixed: protocol, input, method, policy, noise, saving and range."""
    assert audit.best is not None
    choices = audit.best.choices
    fixed = audit.best.protocols[metric], choices["input"], choices["method"], audit.policy, audit.noise
    return " ".join((*fixed, audit.saving, audit.span)).replace("  ", " ")


def measure_held_out(
    workspace: Workspace,
    audits: Iterable[RowAudit],
    known: Iterable[HeldOut] = (),
    progress: Callable[[str], None] = lambda text: None,
    sets: Sequence[str] = HELD_OUT,
) -> tuple[HeldOut, ...]:
    """Measure the held-out cells under the protocols that the audits fixed; what cannot be had here stays as known."""
    methods = workspace.methods()
    before = {cell.place: cell for cell in known}
    for name in sets:
        fetch(name, workspace.data)
    found = []
    for audit in audits:
        assert audit.best is not None
        bench = Bench(workspace)
        scheme, _, seed = audit.noise.partition("/")
        for cell in held_out_cells(audit, methods, sets):
            progress(f"{audit.table}, {audit.row}: {cell.key}")
            making = Making(
                degradation=audit.best.choices["input"],
                method=audit.best.choices["method"],
                policy=audit.policy,
                noise=NoiseDraw(scheme, int(seed)) if scheme else NoiseDraw(),
                datasets=((cell.dataset, cell.dataset),),
            )
            finish, name = Finish(audit.saving, audit.span), audit.best.protocols[cell.metric]
            try:
                value, images = _value(bench, audit.task, cell.level, making, finish, name)
            except HarnessError:
                cell = before.get(cell.place, cell)
            else:
                cell = msgspec.structs.replace(cell, measured=value, images=images)
            if cell.measured is not None:
                found.append(cell)
    return tuple(found)


def _value(bench: Bench, task: str, level: int, making: Making, finish: Finish, name: str) -> tuple[float, int]:
    """Measure a whole set under one protocol; give its value and the number of its images."""
    ((dataset, _),) = making.datasets
    source = bench.whole_source(task, dataset, level, making)
    if source.stored and finish not in {Finish(saving) for saving in source.stored}:
        source = bench.source(task, dataset, level, making, here=True)
    metric = "psnr" if name.startswith("psnr") else "ssim"
    readings = set_readings(metric, source.same_size)
    by_label = {reading.label: index for index, reading in enumerate(readings)}
    index = by_label[name] if name in by_label else by_label[reading_of(name).label]
    mask = ssim_mask([index]) if metric == "ssim" else None
    source.measure([metric], None, finish, mask)
    values = set_values(metric, source.values(metric, finish), source.pixels(), readings)
    return round(float(values[index]), 6), len(source.images)
