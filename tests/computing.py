"""The stages of a group in one process, as the pipeline runs them in several."""

from __future__ import annotations

from harness.assets.inputs import record_inputs
from harness.files import write_json
from harness.records.cells import Group, NoiseDraws
from harness.records.rows import write_rows
from harness.records.tasks import TASKS
from harness.run.measure import measure
from harness.run.restore import restore
from harness.tables.workspace import Workspace


def compute(workspace: Workspace, group: Group, levels: tuple[int, ...], protocols: tuple[str, ...] = ()) -> None:
    """Restore and measure a fetched set; under every protocol of its task, or those that are named."""
    noise = NoiseDraws(further_draws=0, images=0)
    inputs = record_inputs(workspace.data, group.dataset, group.degradation, levels, noise)
    target = workspace.work / "restored" / group.place
    record, timing = restore(
        group,
        workspace.method(group.method),
        levels,
        inputs,
        data=workspace.data,
        partial=workspace.work / "partial",
        target=target,
        noise=noise,
        code="c0de",
    )
    assert record.images
    write_json(workspace.work / "timing" / group.place.with_name(group.place.name + ".json"), timing)
    measured, rows = measure(target, data=workspace.data, protocols=protocols or TASKS[group.task].metrics)
    write_rows(workspace.work / "rows" / group.place.with_name(group.place.name + ".csv"), measured, rows)
