"""What the audit finds by itself on the real images, from the published numbers alone; evidence is measured again.

The rows' own protocols, degradations and evidence are struck out before the audit, so nothing of what is known of them
can help.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.assets.datasets import fetch
from harness.assets.weights.fetching import fetch as fetch_weights
from harness.audit import rows
from harness.audit.images import Bench
from harness.audit.measuring import ssim_mask
from harness.audit.outcomes import RowAudit
from harness.audit.rows import audit_row
from harness.audit.settings import AuditSettings
from harness.audit.variants import PSNR_READINGS, RANGES, Finish, Making, NoiseDraw, makings, set_readings
from harness.errors import NotAvailableError
from harness.tables.published import Row, Table, TablePart, published_tables, select
from harness.tables.workspace import Workspace

RCAN = tuple(f"rcan-set5-x{scale}" for scale in (2, 3, 4))
SETS = ("classic5", "live1", "kodak24", "set5", "set14", "mcmaster18", "cbsd68", "bsd68-gray", *RCAN)


@pytest.fixture(scope="module")
def workspace(mirror: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    root = tmp_path_factory.mktemp("workspace")
    (root / "params.yaml").write_text("tables: []\n")
    for name in SETS:
        fetch(name, root / "data")
    return Workspace(root)


def stripped(
    name: str, row: str, dataset: str = "", level: int | None = None, method: str = "", degradation: str = ""
) -> Table:
    """A published row with its printed numbers, and nothing else that is known of it."""
    table = select(published_tables()[name], row=row, dataset=dataset)
    (part,) = table.parts
    kept = [i for i, c in enumerate(part.columns) if level is None or c.level in (None, level)]
    rows = tuple(
        msgspec.structs.replace(
            r,
            values=tuple(r.values[i] for i in kept),
            degradation="",
            protocol={},
            evidence="",
            saving="",
            audit=None,
            method=method or r.method,
            cells={},
        )
        for r in part.rows
        if level is None or r.level in (None, level)
    )
    part = msgspec.structs.replace(
        part, columns=tuple(part.columns[i] for i in kept), rows=rows, degradation=degradation, protocol={}
    )
    return msgspec.structs.replace(table, parts=(part,))


def audited(workspace: Workspace, table: Table, **settings: object) -> RowAudit:
    name = table.parts[0].rows[0].name
    return audit_row(Bench(workspace), table, 0, name, AuditSettings(**{"seeds": 1, **settings}))  # type: ignore[arg-type]


def admitted(audit: RowAudit, dimension: str) -> list[str]:
    return next(d.admitted for d in audit.dimensions if d.name == dimension)


def test_jpeg_row_is_ssim_8x8(workspace: Workspace) -> None:
    audit = audited(workspace, stripped("panet-table3", "JPEG", "live1", level=10))
    assert audit.explained
    assert admitted(audit, "kind of SSIM") == ["ssim-8x8"]
    assert admitted(audit, "border of SSIM") == ["none"]
    assert "jpeg-rgb2gray" not in admitted(audit, "input")
    assert audit.cells[0].images == 29


def test_rcan_is_on_unrounded_luma(workspace: Workspace) -> None:
    audit = audited(workspace, stripped("panet-table5", "RCAN", "set5"))
    assert audit.explained
    assert admitted(audit, "luma of PSNR") == ["y"]
    assert admitted(audit, "luma of SSIM") == ["y"]
    assert admitted(audit, "border of PSNR") == ["crop"]
    assert admitted(audit, "kind of SSIM") == ["ssim-gauss"]


@pytest.mark.slow
def test_bicubic_row_is_rounded_luma_in_float64_clipped_to_its_range(workspace: Workspace) -> None:
    """From the method that does not clip: that the luma was clipped to 16..235 is found, too."""
    audit = audited(workspace, stripped("rnan-table6", "Bicubic", method="bicubic"))
    assert audit.explained
    assert audit.best is not None
    assert admitted(audit, "input") == ["bicubic-y8-float"]
    assert "16..235" in admitted(audit, "range")
    assert {"set14/4/psnr": "26.00", "set14/4/ssim": "0.7027"}.items() <= {
        c.key: c.printed for c in audit.cells
    }.items()


@pytest.mark.slow
def test_mosaic_is_grbg(workspace: Workspace) -> None:
    audit = audited(workspace, stripped("panet-table2", "Mosaiced", degradation="bayer-rggb"))
    assert audit.explained
    assert admitted(audit, "input") == ["bayer-grbg"]
    assert admitted(audit, "dataset") == ["mcmaster18, kodak24, cbsd68"]


NAMED = {
    "kodak24": ("awgn-seed0-float-gray", "awgn-seed0-8bit-gray", "awgn-clipped-gray"),
    "kodak24-crop500": ("awgn-seed0-float-gray",),
}
"""FFDNet's candidates in the short test: the right one, and in each way another: 8-bit, clipped, on other images."""


@pytest.mark.slow
def test_ffdnet_saw_unclipped_noise_on_the_full_images(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """One cell of the row, every named making restored whole; the start is wrong. The next test tries all makings."""
    if not fetch_weights("ffdnet", workspace.data).files:
        pytest.skip("the weights of FFDNet are not here")
    monkeypatch.setattr(rows, "makings", named_makings)
    table = stripped("rnan-table3", "FFDNet", "kodak24", level=50, degradation="awgn-seed0-8bit-gray")
    audit = audited(workspace, table, inputs="all", probe=2)
    assert audit.stated is not None
    assert audit.stated.digits < audit.digits
    assert audit.explained
    assert not audit.screened
    assert admitted(audit, "input") == ["awgn-seed0-float-gray"]
    assert admitted(audit, "dataset") == ["kodak24"]


def named_makings(*arguments: Any) -> list[Making]:
    found = [m for m in makings(*arguments) if m.degradation in NAMED[m.used("kodak24")] and m.method == "ffdnet"]
    assert len(found) == sum(len(inputs) for inputs in NAMED.values())
    return found


@pytest.mark.slow
def test_ffdnet_among_every_making_of_its_row(workspace: Workspace) -> None:
    if not os.environ.get("HARNESS_SLOW_AUDITS"):
        pytest.skip("restores Kodak24 many times (about 10 minutes of one core); HARNESS_SLOW_AUDITS=1 runs it")
    if not fetch_weights("ffdnet", workspace.data).files:
        pytest.skip("the weights of FFDNet are not here")
    table = stripped("panet-table1", "FFDNet", "kodak24", level=50, degradation="awgn-8bit")
    audit = audited(workspace, table, inputs="all")
    assert audit.explained
    assert all("float" in name for name in admitted(audit, "input"))
    assert admitted(audit, "dataset") == ["kodak24"]


ROWS = [
    (name, index, line)
    for name, table in published_tables().items()
    for index, part in enumerate(table.parts)
    for line, row in enumerate(part.rows)
    if row.audit is not None
]


@pytest.fixture(scope="module")
def bench(workspace: Workspace) -> Bench:
    """One bench for all evidence: tables that print the same row share its images."""
    return Bench(workspace)


def sampled(bench: Bench, part: TablePart, row: Row) -> set[str]:
    """Of each metric one cell on the set with the smallest image, at another level for every row: networks are slow."""
    assert row.audit is not None
    cells = row.audit.cells
    of_set: dict[str, dict[str, list[str]]] = {}
    for column in part.columns:
        key = part.column_key(column, row)
        if key in cells:
            of_set.setdefault(column.dataset, {}).setdefault(column.metric, []).append(key)

    def pixels(dataset: str) -> int:
        image = next(cells[key].image for keys in of_set[dataset].values() for key in keys)
        height, width = bench.open(row.audit.datasets.get(dataset, dataset)).shape(image)[:2]
        return int(height * width)

    smallest = of_set[min(of_set, key=pixels)]
    turn = zlib.crc32(f"{row.audit.method}/{row.audit.degradation}".encode())
    return {keys[turn % len(keys)] for keys in smallest.values()}


@pytest.mark.parametrize(("name", "index", "line"), ROWS)
def test_stored_evidence_is_what_is_measured(name: str, index: int, line: int, bench: Bench) -> None:
    part = published_tables()[name].parts[index]
    row = part.rows[line]
    assert row.audit is not None
    every = bench.light(row.audit.method) or bool(os.environ.get("HARNESS_SLOW_AUDITS"))
    # One image of each set: its value is part of the evidence. `harness audit` measures the sets.
    try:
        values = measured_again(bench, part, row, set(row.audit.cells) if every else sampled(bench, part, row))
    except NotAvailableError as missing:
        pytest.skip(str(missing))
    assert values
    for key, value in values.items():
        assert value == pytest.approx(row.audit.cells[key].value, abs=2e-6), key


def measured_again(bench: Bench, part: TablePart, row: Row, keys: set[str]) -> dict[str, float]:
    """The witness images' values under the row's evidence, by cell."""
    audit = row.audit
    assert audit is not None
    scheme, _, seed = audit.noise.partition("/")
    noise = NoiseDraw(scheme, int(seed)) if scheme else NoiseDraw()
    making = Making(audit.degradation, audit.method, audit.policy, noise, ())
    finish = Finish(audit.saving, next(span for span, name in RANGES.items() if name == audit.range))
    values = {}
    for column in part.columns:
        key, metric = part.column_key(column, row), column.metric
        if key not in audit.cells or key not in keys:
            continue
        level = column.level if column.level is not None else (row.level or 0)
        source = bench.source(part.task, audit.datasets.get(column.dataset, column.dataset), level, making, here=True)
        index = [reading.label for reading in set_readings(metric, same_size=False)].index(audit.protocol[metric])
        image = audit.cells[key].image
        # The averages of a set go through the readings of one image in the same order.
        single = index % len(PSNR_READINGS) if metric == "psnr" else index
        source.measure([metric], [image], finish, ssim_mask([index]))
        values[key] = float(source.values(metric, finish, [image])[0, single])
    return values
