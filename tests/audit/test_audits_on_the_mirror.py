"""What the audit finds by itself on the real images, from the published numbers alone; evidence is measured again.

The rows' own protocols, degradations and evidence are struck out before the audit, so nothing of what is known of them
can help.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from harness.audit.evidence import check_evidence
from harness.audit.images import Bench
from harness.audit.rows import RowAudit, Settings, audit_row
from harness.datasets import fetch
from harness.errors import NotAvailableError
from harness.tables.published import Table, published_tables, select
from harness.weights import fetch as fetch_weights
from harness.workspace import Workspace

RCAN = tuple(f"rcan-set5-x{scale}" for scale in (2, 3, 4))
SETS = ("classic5", "live1", "kodak24", "set5", "set14", "mcmaster18", "cbsd68", *RCAN)


@pytest.fixture(scope="module")
def workspace(mirror: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    root = tmp_path_factory.mktemp("workspace")
    (root / "params.yaml").write_text("tables: []\n")
    for name in SETS:
        fetch(name, root / "data")
    return Workspace(root)


def stripped(
    name: str, row: str, dataset: str, level: int | None = None, method: str = "", degradation: str = ""
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
    return audit_row(Bench(workspace), table, 0, name, Settings(**{"seeds": 1, **settings}))  # type: ignore[arg-type]


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


def test_bicubic_row_is_rounded_luma_in_float64_clipped_to_its_range(workspace: Workspace) -> None:
    audit = audited(workspace, stripped("rnan-table6", "Bicubic", "set14", level=4, method="bicubic"))
    assert audit.explained
    assert audit.best is not None
    assert audit.best.choices["input"] == "bicubic-y8-float"
    assert admitted(audit, "input") == ["bicubic-y8-float"]
    assert admitted(audit, "range") == ["16..235"]
    assert (audit.cells[0].printed, audit.cells[1].printed) == ("26.00", "0.7027")


def test_mosaic_is_grbg(workspace: Workspace) -> None:
    table = stripped("panet-table2", "Mosaiced", "kodak24", degradation="bayer-rggb")
    audit = audited(workspace, table)
    assert audit.explained
    assert admitted(audit, "input") == ["bayer-grbg"]
    assert admitted(audit, "dataset") == ["kodak24"]


@pytest.mark.slow
def test_ffdnet_saw_unclipped_noise_on_the_full_images(workspace: Workspace) -> None:
    """At sigma 70, where clipping matters most; from clipped 8-bit noise as the starting point."""
    if not fetch_weights("ffdnet", workspace.data).files:
        pytest.skip("the weights of FFDNet are not here")
    table = stripped("panet-table1", "FFDNet", "kodak24", level=70, degradation="awgn-float")
    audit = audited(workspace, table, budget=1e9, probe=2)
    assert audit.explained
    assert audit.best is not None
    assert "float" in audit.best.choices["input"]
    assert audit.best.choices["dataset"] == "kodak24"
    clipped = [s for s in audit.screened if s.choices.get("input") in ("awgn-8bit", "awgn-seed0-8bit")]
    assert clipped
    assert all(s.verdict == "ruled out" for s in clipped)


ROWS = [
    (name, index, line)
    for name, table in published_tables().items()
    for index, part in enumerate(table.parts)
    for line, row in enumerate(part.rows)
    if row.audit is not None
]


@pytest.mark.parametrize(("name", "index", "line"), ROWS)
def test_stored_evidence_is_what_is_measured(name: str, index: int, line: int, workspace: Workspace) -> None:
    part = published_tables()[name].parts[index]
    row = part.rows[line]
    # One image of each set: its value is part of the evidence. `check_evidence(whole=True)` measures the sets.
    try:
        checked = check_evidence(Bench(workspace), part, row, whole=False)
    except NotAvailableError as missing:
        pytest.skip(str(missing))
    assert checked
    for cell in checked:
        assert cell.measured == pytest.approx(cell.stored, abs=2e-6), cell.key
