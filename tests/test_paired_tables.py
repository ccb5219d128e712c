"""KiT's tables through DVC, on small releases in their owners' formats that appear after a first run without them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from release_folders import picture, put, sidd_blocks
from scipy.io import savemat

from harness.images import pixels_sha256
from harness.metrics import psnr
from harness.metrics.structural import ssim

ROOT = Path(__file__).parent.parent
SCRIPTS = Path(sys.executable).parent
PHOTOGRAPHS, BLOCKS = 2, 3


class Checkout:
    """A copy of the project in which the sets of pairs are small."""

    def __init__(self, root: Path, environment: dict[str, str]) -> None:
        self.root = root
        self.environment = environment

    def harness(self, *arguments: str, code: int | None = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "harness", *arguments],
            cwd=self.root, env=self.environment, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert code is None or done.returncode == code, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def cells(self, table: str, *arguments: str) -> list[dict[str, object]]:
        found: list[dict[str, object]] = json.loads(
            self.harness("diff", table, "--format", "json", *arguments, code=None)
        )
        return found


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    import os

    root = tmp_path_factory.mktemp("checkout")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in listed.stdout.split("\0"):
        if name and (ROOT / name).is_file() and not name.startswith(("tests/", "docs/", "results/")):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name)
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    for name, count, sizes in (("sidd-validation", PHOTOGRAPHS * BLOCKS, [[16, 16]]), ("realblur-j", 2, None)):
        path = root / f"harness/datasets/registry/{name}.json"
        record = json.loads(path.read_text()) | {"count": count}
        path.write_text(json.dumps(record | ({"sizes": sizes} if sizes else {})))
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HARNESS_")}
    return Checkout(root, kept | {"PATH": f"{SCRIPTS}{os.pathsep}{kept['PATH']}", "PYTHONPATH": str(root)})


def test_kit_table1_without_data_and_then_with_it(checkout: Checkout, tmp_path: Path) -> None:
    pytest.importorskip("bm3d", reason="the extra 'bm3d' is not installed")
    checkout.harness("repro", "kit-table1", "--row", "BM3D")
    cells = checkout.cells("kit-table1", "--row", "BM3D")
    assert {cell["verdict"] for cell in cells} == {"not run"}
    of_set = {str(cell["dataset"]): str(cell["reason"]) for cell in cells}
    assert "the folder must hold input/{id}.* and target/{id}.* or ValidationNoisy" in of_set["sidd-validation"]
    assert "the ground truth of 'dnd' is not given out" in of_set["dnd"]
    # The two files of the owners appear, and the same command uses them.
    clean, noisy = sidd_blocks(PHOTOGRAPHS, BLOCKS, seed=2), sidd_blocks(PHOTOGRAPHS, BLOCKS, seed=3)
    noisy = np.clip(clean + (noisy.astype(int) - 128) // 8, 0, 255).astype(np.uint8)
    own = tmp_path / "SIDD"
    own.mkdir()
    for variable, blocks in (("ValidationGtBlocksSrgb", clean), ("ValidationNoisyBlocksSrgb", noisy)):
        savemat(own / f"{variable}.mat", {variable: blocks}, do_compression=True)
    assert "sidd-validation: complete, 6" in checkout.harness(
        "datasets", "fetch", "sidd-validation", "--from", str(own)
    )
    checkout.harness("repro", "kit-table1", "--row", "BM3D")
    cells = checkout.cells("kit-table1", "--row", "BM3D", "--dataset", "sidd-validation")
    assert [cell["verdict"] for cell in cells] == ["incomparable", "incomparable"]
    assert all(cell["images"] == 6 and isinstance(cell["measured"], float) for cell in cells)
    # The identity row is the distance of the two files, under MATLAB's ssim of an RGB array.
    checkout.harness("repro", "paired-tasks", "--row", "Noisy")
    cells = checkout.cells("paired-tasks", "--row", "Noisy")
    pairs = [(clean[p, b], noisy[p, b]) for p in range(PHOTOGRAPHS) for b in range(BLOCKS)]
    assert cells[0]["measured"] == pytest.approx(np.mean([psnr(*pair) for pair in pairs]), abs=1e-9)
    assert cells[1]["measured"] == pytest.approx(np.mean([ssim(*pair, "volume") for pair in pairs]), abs=1e-9)
    assert pixels_sha256(clean[0, 0]) in (checkout.root / "data/manifests/datasets/sidd-validation.json").read_text()


def test_realblur_is_measured_after_alignment(checkout: Checkout, tmp_path: Path) -> None:
    """A shifted and darker image is not punished for either: its aligned PSNR is far above the plain one."""
    cv2 = pytest.importorskip("cv2", reason="the extra 'alignment' is not installed")
    names = []
    for shot in (1, 2):
        sharp = cv2.GaussianBlur(picture(shot, 72, 80), (9, 9), 3)
        sharp = cv2.normalize(sharp, None, 0, 255, cv2.NORM_MINMAX)
        moved = cv2.warpPerspective(
            sharp, np.array([[1, 0, 1.5], [0, 1, -1.0], [0, 0, 1]]), (80, 72), borderMode=cv2.BORDER_REFLECT
        )
        names += [
            f"RealBlur-J_ECC_IMCORR_centroid_itensity_ref/scene001/{kind}_{shot}.png" for kind in ("gt/gt", "blur/blur")
        ]
        put(tmp_path / names[-2], sharp)
        put(tmp_path / names[-1], (0.9 * moved).astype(np.uint8))
    (tmp_path / "RealBlur_J_test_list.txt").write_text("\n".join(" ".join(names[i : i + 2]) for i in (0, 2)))
    checkout.harness("datasets", "fetch", "realblur-j", "--from", str(tmp_path))
    checkout.harness("repro", "paired-tasks", "--row", "Blurry", "--dataset", "realblur-j")
    cells = {
        str(cell["protocol"]): cell
        for cell in checkout.cells("paired-tasks", "--row", "Blurry", "--dataset", "realblur-j")
    }
    rows = checkout.harness("rows", "--dataset", "realblur-j", "--method", "blurry", "--mean", "--format", "json")
    plain = next(row["mean"] for row in json.loads(rows) if row["protocol"] == "psnr")
    assert cells["psnr-aligned"]["measured"] > plain + 6
    assert 0.8 < float(str(cells["ssim-aligned"]["measured"])) <= 1
