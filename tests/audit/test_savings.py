"""Ways of saving that are not stored: a row made from unrounded outputs, while the workspace holds 8-bit images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.assets.datasets import fetch
from harness.assets.datasets.reading import open_dataset
from harness.assets.inputs import record_inputs
from harness.audit.images import Bench
from harness.audit.outcomes import RowAudit
from harness.audit.rows import audit_row
from harness.audit.settings import AuditSettings
from harness.audit.variants import Making, NoiseDraw
from harness.audit.wording import print_audits
from harness.degradations import degradation
from harness.protocols import measure_many
from harness.records.cells import Group, NoiseDraws
from harness.run.restore import restore
from harness.tables.published import read_table
from harness.tables.workspace import Workspace

pytest.importorskip("torch")

# A network of the plugin's own, which is restored again here as any network would be.
PLUGIN = """
from harness.methods import method


@method("saving-blur", tasks=["jpeg"], title="Blur")
def blur(task, level):
    import torch

    def mean(batch):
        return torch.nn.functional.avg_pool2d(torch.nn.functional.pad(batch, (1, 1, 1, 1), mode="reflect"), 3, 1)

    return mean
"""
DATASET, INPUT, LEVELS = "embedded-gray", "jpeg-y8", (10, 30)
NOISE = NoiseDraws(further_draws=0, images=0)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with the rounded images of the method in work/restored."""
    workspace = with_plugin(tmp_path_factory.mktemp("workspace"), PLUGIN)
    assert fetch(DATASET, workspace.data).complete
    group = Group("jpeg", DATASET, INPUT, "saving-blur", "whole")
    restore(
        group,
        workspace.method("saving-blur"),
        LEVELS,
        record_inputs(workspace.data, DATASET, INPUT, LEVELS, NOISE),
        data=workspace.data,
        partial=workspace.work / "partial",
        target=workspace.work / "restored" / group.place,
        noise=NOISE,
        code="c0de",
    )
    return workspace


def with_plugin(root: Path, text: str) -> Workspace:
    (root / "methods").mkdir()
    (root / "methods" / "plugin.py").write_text(text)
    (root / "params.yaml").write_text("methods: [methods]\ntables: []\n")
    return Workspace(root)


def audited(workspace: Workspace, saving: str, **settings: Any) -> RowAudit:
    """Audit a row that is printed from outputs of this saving, made without the audit's code."""
    fetched, made = open_dataset(DATASET, workspace.data), degradation(INPUT)
    (image,) = fetched.image_ids
    columns, values = [], []
    for level in LEVELS:
        reference = made.reference(fetched.read(image), level)
        padded = np.pad(made.degrade(reference, level, None).astype(np.float64), 1, mode="reflect")
        height, width = reference.shape
        output = sum(padded[i : i + height, j : j + width] for i in range(3) for j in range(3)) / 9
        if saving == "round":
            output = np.floor(output + 0.5).astype(np.uint8)
        found = measure_many(["psnr", "ssim-gauss"], reference, output, 1)
        for metric, value in zip(("psnr", "ssim"), found.values(), strict=True):
            columns.append(f"      - {{metric: {metric}, dataset: {DATASET}, level: {level}}}")
            values.append(f'"{value:.4f}"')
    path = workspace.root / "hidden-saving.yaml"
    path.write_text(
        "name: hidden-saving\npaper: ''\ntitle: A table\nsource: a test\nparts:\n  - task: jpeg\n"
        "    protocol: {psnr: psnr, ssim: ssim-gauss}\n    columns:\n"
        + "\n".join(columns)
        + f"\n    rows:\n      - {{name: Blur, method: saving-blur, values: [{', '.join(values)}]}}\n"
    )
    return audit_row(Bench(workspace), read_table(path), 0, "Blur", AuditSettings(**settings))


def savings(audit: RowAudit) -> list[str]:
    return next((d.admitted for d in audit.dimensions if d.name == "saved"), [])


@pytest.mark.parametrize("inputs", ["stored", "screened", "all"])
def test_unrounded_numbers_are_found_beside_stored_8_bit_images(
    inputs: str, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    audit = audited(workspace, "unrounded", inputs=inputs)
    assert audit.explained
    assert audit.saving == "unrounded"
    assert "8-bit, rounded" not in savings(audit)
    # Savings that were restored here are shown beside stored ones, with the evidence of both.
    assert audit.stated is not None
    assert audit.stated.digits < audit.digits
    assert set(audit.witnesses) == {cell.key for cell in audit.cells}
    # What an audit kept changes nothing for the next one.
    assert audited(workspace, "unrounded", inputs=inputs) == audit
    print_audits([audit])
    assert "not rounded" in capsys.readouterr().out


def test_numbers_of_stored_images_need_no_other_saving(workspace: Workspace) -> None:
    audit = audited(workspace, "round", inputs="stored")
    assert audit.explained
    assert audit.saving == "round"
    assert savings(audit) == []
    assert any("match every cell" in text for text in audit.not_tried)


def test_kept_values_follow_what_made_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files a method depends on and the versions of libraries are part of what values are kept under."""
    (tmp_path / "net.txt").write_text("one")
    text = PLUGIN.replace("saving-blur", "kept-blur").replace("def blur", "def kept")
    workspace = with_plugin(tmp_path, text.replace('title="Blur"', f"depends=[{str(tmp_path / 'net.txt')!r}]"))
    making = Making(INPUT, "kept-blur", "whole", NoiseDraw(), ())

    def identity() -> str:
        found = Bench(Workspace(workspace.root)).restorer("jpeg", "embedded-gray", 10, making)[1]
        assert found
        return found

    first = identity()
    assert identity() == first
    (workspace.root / "net.txt").write_text("two")
    assert identity() != first
    (workspace.root / "net.txt").write_text("one")
    monkeypatch.setattr("harness.records.runs.LIBRARIES", ("numpy",))
    assert identity() != first


def test_a_spent_budget_is_said(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    audit = audited(workspace, "unrounded", inputs="stored", budget=0.0)
    assert not audit.explained
    of_savings = [left for left in audit.screened if "saving" in left.choices]
    assert {left.verdict for left in of_savings} == {"open"}
    assert all("--seconds" in left.reason for left in of_savings)
    print_audits([audit])
    assert "open: not rounded" in capsys.readouterr().out
