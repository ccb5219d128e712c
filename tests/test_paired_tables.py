"""KiT's tables through DVC, on small releases in their owners' formats that appear after a first run without them."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from release_folders import (
    dnd_release,
    fu_rain,
    gopro,
    hide,
    packed_as_mprnet,
    picture,
    put,
    realblur,
    sidd_blocks,
    sidd_medium,
    sidd_validation,
    side_by_side,
)

from harness import metrics
from harness.images import pixels_sha256, read_image
from harness.methods.mprnet import SIZES
from harness.networks.mprnet import MPRNet

ROOT = Path(__file__).parent.parent
SCRIPTS = Path(sys.executable).parent
PHOTOGRAPHS, BLOCKS = 2, 3

COMPUTE = f"""
import sys
sys.path.append({str(ROOT / "tests")!r})
from pathlib import Path
from computing import compute
from harness.records.cells import Group
from harness.tables.workspace import Workspace
workspace = Workspace(Path.cwd())
"""


class Checkout:
    """A copy of the project in which the sets of pairs are small."""

    def __init__(self, root: Path, environment: dict[str, str]) -> None:
        self.root = root
        self.environment = environment

    def shrink(self, name: str, count: int, size: tuple[int, int] = (0, 0), **fields: object) -> None:
        """Register a set of the package with few and small images."""
        path = self.root / f"harness/assets/datasets/registry/{name}.json"
        record = json.loads(path.read_text()) | {"count": count} | fields
        path.write_text(json.dumps(record | ({"sizes": [size]} if "sizes" in record else {})))

    def unpin(self, name: str) -> None:
        """Register a weight set of the package without sources and checksums, so that any file is taken for it."""
        path = self.root / f"harness/assets/weights/registry/{name}.json"
        record = json.loads(path.read_text()) | {"sources": [], "obtain": "make one"}
        kept = ("name", "format", "makes", "released_as")
        record["files"] = [{key: file[key] for key in kept} for file in record["files"]]
        path.write_text(json.dumps(record))

    def python(self, *arguments: str, code: int | None = 0) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.root, env=self.environment, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert code is None or done.returncode == code, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def harness(self, *arguments: str, code: int | None = 0) -> str:
        return self.python("-m", "harness", *arguments, code=code)

    def measure(self, groups: Sequence[tuple[str, str, str, str]]) -> None:
        """Restore and measure fetched sets in one process: task, dataset, method and protocol of each."""
        code = "".join(
            f"compute(workspace, Group({task!r}, {dataset!r}, 'pairs', {method!r}, 'whole'), (0,), ({protocol!r},))\n"
            for task, dataset, method, protocol in groups
        )
        self.python("-c", COMPUTE + code)

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
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HARNESS_")}
    made = Checkout(root, kept | {"PATH": f"{SCRIPTS}{os.pathsep}{kept['PATH']}", "PYTHONPATH": str(root)})
    made.shrink("sidd-validation", PHOTOGRAPHS * BLOCKS, (16, 16))
    made.shrink("realblur-j", 2)
    return made


def test_kit_table1_without_data_and_then_with_it(checkout: Checkout, tmp_path: Path) -> None:
    pytest.importorskip("bm3d", reason="the extra 'bm3d' is not installed")
    checkout.harness("repro", "kit-table1", "--row", "BM3D", code=1)
    cells = checkout.cells("kit-table1", "--row", "BM3D")
    assert {cell["verdict"] for cell in cells} == {"not run"}
    of_set = {str(cell["dataset"]): str(cell["reason"]) for cell in cells}
    assert "the folder must hold input/{id}.* and target/{id}.* or " in of_set["sidd-validation"]
    assert " or ValidationNoisyBlocksSrgb.mat and ValidationGtBlocksSrgb.mat" in of_set["sidd-validation"]
    assert "the ground truth of 'dnd' is not given out" in of_set["dnd"]
    # The two files of the owners appear, and the same command uses them.
    clean, noisy = sidd_blocks(PHOTOGRAPHS, BLOCKS, seed=2), sidd_blocks(PHOTOGRAPHS, BLOCKS, seed=3)
    noisy = np.clip(clean + (noisy.astype(int) - 128) // 8, 0, 255).astype(np.uint8)
    own = tmp_path / "SIDD"
    sidd_validation(own, clean, noisy)
    assert "sidd-validation: complete, 6" in checkout.harness(
        "datasets", "fetch", "sidd-validation", "--from", str(own)
    )
    # Measured, and compared with nothing: the printed numbers are another program's.
    checkout.harness("repro", "kit-table1", "--row", "BM3D", code=1)
    cells = checkout.cells("kit-table1", "--row", "BM3D", "--dataset", "sidd-validation")
    assert [cell["verdict"] for cell in cells] == ["incomparable", "incomparable"]
    assert all(cell["images"] == 6 and isinstance(cell["measured"], float) for cell in cells)
    # The identity row is the distance of the two files, under MATLAB's ssim of an RGB array.
    checkout.harness("repro", "paired-tasks", "--row", "Noisy")
    cells = checkout.cells("paired-tasks", "--row", "Noisy")
    pairs = [(clean[p, b], noisy[p, b]) for p in range(PHOTOGRAPHS) for b in range(BLOCKS)]
    assert cells[0]["measured"] == pytest.approx(
        np.mean([metrics.psnr(*pair, data_range=255) for pair in pairs]), abs=1e-9
    )
    assert cells[1]["measured"] == pytest.approx(
        np.mean([metrics.ssim(*pair, "volume", data_range=255) for pair in pairs]), abs=1e-9
    )
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
    rows = checkout.harness(
        "export", "rows", "--dataset", "realblur-j", "--method", "blurry", "--mean", "--format", "json"
    )
    plain = next(row["mean"] for row in json.loads(rows) if row["protocol"] == "psnr")
    assert cells["psnr-aligned"]["measured"] > plain + 6
    assert 0.8 < float(str(cells["ssim-aligned"]["measured"])) <= 1


def test_kit_is_trained_and_stands_in_its_tables(checkout: Checkout, tmp_path: Path) -> None:
    """One step on pairs as SIDD packs them; the recipe's patches and batch are small here, the network is KiT's own."""
    pair = (picture(5, 80, 80), picture(6, 80, 80))
    sidd_medium(tmp_path / "medium", lambda n: pair[0], lambda n: pair[1])
    sidd_validation(tmp_path / "blocks", *(sidd_blocks(PHOTOGRAPHS, BLOCKS, seed=seed) for seed in (2, 3)))
    checkout.shrink("sidd-train", 2)
    checkout.harness("datasets", "fetch", "sidd-train", "--from", str(tmp_path / "medium/SIDD_Medium_Srgb"))
    checkout.harness("datasets", "fetch", "sidd-validation", "--from", str(tmp_path / "blocks"))
    recipe = checkout.root / "harness/training/recipes/kit-denoise-real.yaml"
    text = recipe.read_text()
    recipe.write_text(text.replace("patch: 128", "patch: 64").replace("batch: 16", "batch: 1"))
    checkout.harness("train", "kit", "--task", "denoise-real", "--iterations", "1")
    checkout.harness("repro", "kit-table5", "--row", "KiT")
    for table in ("kit-table1", "kit-table5"):
        psnr_cell, ssim_cell = checkout.cells(table, "--row", "KiT", "--dataset", "sidd-validation")
        assert psnr_cell["verdict"] == ssim_cell["verdict"] == "trained", psnr_cell
        assert (
            psnr_cell["origin"] == "trained: 0.00017 % of the paper's epochs as counted here"
            and psnr_cell["images"] == 6
        )
        assert psnr_cell["delta"] == pytest.approx(float(str(psnr_cell["measured"])) - 39.80)
    # Five cells of a row differ in the hash rounds alone: the method tells them apart.
    assert "k = 16 (kit-k16-h8)" in checkout.harness("diff", "kit-table4", "--all", code=1)
    for cell in checkout.cells("kit-table5", "--row", "KiT_S"):
        assert cell["verdict"] == "not run" and "harness train kit-table5 --budget smoke" in str(cell["reason"])


ANCHORS = """
name: anchors
paper: ""
title: Every set, unchanged
source: a test
parts:
  - task: denoise-real
    protocol: {psnr: psnr}
    columns: [{metric: psnr, dataset: sidd-validation}]
    rows: [{name: Noisy, method: noisy}]
  - task: deblur
    protocol: {psnr: psnr}
    columns:
      - {metric: psnr, dataset: gopro-test}
      - {metric: psnr, dataset: hide}
      - {metric: psnr, dataset: realblur-j}
      - {metric: psnr, dataset: realblur-r}
    rows: [{name: Blurry, method: blurry}]
  - task: derain
    protocol: {psnr: psnr-y}
    columns:
      - {metric: psnr, dataset: test100}
      - {metric: psnr, dataset: rain100h}
      - {metric: psnr, dataset: rain100l}
      - {metric: psnr, dataset: test2800}
      - {metric: psnr, dataset: test1200}
    rows: [{name: Rainy, method: rainy}]
"""
SIDE = 32


def sharp(n: int) -> NDArray[np.uint8]:
    return picture(n, SIDE, SIDE)


def degraded(n: int) -> NDArray[np.uint8]:
    return np.clip(sharp(n).astype(int) + picture(2000 + n, SIDE, SIDE) // 8, 0, 255).astype(np.uint8)


def registered(folder: Path) -> list[dict[str, object]]:
    """Describe files as a pinned set's record does."""
    return [
        {
            "name": path.relative_to(folder).as_posix(), "bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "shape": [SIDE, SIDE, 3],
            "pixels_sha256": pixels_sha256(read_image(path)),
        }
        for path in sorted(folder.rglob("*.png"))
    ]  # fmt: skip


def test_every_set_appears_is_measured_and_is_taken_away(checkout: Checkout, tmp_path: Path) -> None:
    """All ten sets of KiT's Tables 1 to 3 and RealBlur, as their owners pack them, in ``data/own``; then most are gone.

    The identity rows of all sets are measured in one process. MPRNet goes through DVC, with generated weights under
    the names of its release: it stands for a network whose weights the user supplies.
    """
    own = checkout.root / "data/own"
    clean = np.stack([np.stack([sharp(10 * p + b) for b in range(BLOCKS)]) for p in range(PHOTOGRAPHS)])
    noisy = np.stack([np.stack([degraded(10 * p + b) for b in range(BLOCKS)]) for p in range(PHOTOGRAPHS)])
    sidd_validation(own / "sidd-validation", clean, noisy)
    dnd_release(own / "dnd/dnd_2017")
    gopro(own / "gopro-test", sharp, degraded)
    hide(own / "hide", sharp, degraded)
    realblur(own / "realblur-j", "J", sharp, degraded)
    realblur(own / "realblur-r", "R", sharp, degraded)
    side_by_side(own / "test100", sharp, degraded, "target")
    side_by_side(own / "test1200", sharp, degraded, "input")
    fu_rain(own / "test2800", sharp, degraded)
    pairs = {name: [(n, n) for n in range(3)] for name in ("gopro-test", "hide", "realblur-j", "realblur-r")}
    pairs |= {name: [(n, n) for n in range(3)] for name in ("test100", "test1200", "rain100h", "rain100l")}
    pairs["test2800"] = [(scene, 100 * scene + rain) for scene in (901, 902) for rain in range(1, 15)]
    pairs["sidd-validation"] = [(10 * p + b, 10 * p + b) for p in range(PHOTOGRAPHS) for b in range(BLOCKS)]
    for name, expected in pairs.items():
        checkout.shrink(name, len(expected), (SIDE, SIDE))
    checkout.shrink("dnd", 2)
    for name in ("rain100h", "rain100l"):
        packed_as_mprnet(own / name, sharp, degraded, "")
        files = registered(own / name)
        layouts = [{"target": "target/{id}.*", "input": "input/{id}.*"}]
        checkout.shrink(name, 3, files=files, layouts=layouts, sources=[], supply="user")
    (checkout.root / "tables").mkdir(exist_ok=True)
    (checkout.root / "tables/anchors.yaml").write_text(ANCHORS)
    params = checkout.root / "params.yaml"
    params.write_text(re.sub("(?m)^tables:.*$", "tables: [tables]", params.read_text()))
    checkout.harness("datasets", "fetch", *pairs)
    deblurred = ("gopro-test", "hide", "realblur-j", "realblur-r")
    derained = ("test100", "test1200", "test2800", "rain100h", "rain100l")
    checkout.measure(
        [
            ("denoise-real", "sidd-validation", "noisy", "psnr"),
            *(("deblur", name, "blurry", "psnr") for name in deblurred),
            *(("derain", name, "rainy", "psnr-y") for name in derained),
        ]
    )
    cells = {str(cell["dataset"]): cell for cell in checkout.cells("anchors")}
    assert set(cells) == set(pairs)
    for name, cell in cells.items():
        both = [(sharp(target), degraded(source)) for target, source in pairs[name]]
        if cell["protocol"] == "psnr-y":
            both = [(metrics.luma(target), metrics.luma(source)) for target, source in both]
        assert cell["images"] == len(both), name
        assert cell["measured"] == pytest.approx(
            np.mean([metrics.psnr(*pair, data_range=255) for pair in both]), abs=1e-9
        ), name

    # Most sets are taken away again, and the weights of one network appear.
    for name in pairs:
        if name not in ("sidd-validation", "hide", "test1200"):
            shutil.rmtree(own / name)
            shutil.rmtree(checkout.root / "data/datasets" / name)
    torch.manual_seed(3)
    for task, released in (("denoise-real", "denoising"), ("deblur", "deblurring"), ("derain", "deraining")):
        state = MPRNet(*SIZES[task]).state_dict()
        (own.parent / "own-weights").mkdir(exist_ok=True)
        torch.save({"epoch": 1, "state_dict": state}, own.parent / f"own-weights/model_{released}.pth")
    checkout.unpin("mprnet")
    checkout.harness("weights", "fetch", "mprnet", "--from", str(own.parent / "own-weights"))
    checkout.harness("repro", "kit-table1", "kit-table2", "kit-table3", "--row", "MPRNet")
    for table, kept in (("kit-table1", "sidd-validation"), ("kit-table2", "hide"), ("kit-table3", "test1200")):
        for cell in checkout.cells(table, "--row", "MPRNet"):
            if cell["dataset"] == kept:
                assert cell["verdict"] == "off" and cell["images"] == len(pairs[kept])
                assert cell["delta"] == pytest.approx(cell["measured"] - cell["published"])  # type: ignore[operator]
            else:
                assert cell["verdict"] == "not run" and cell["measured"] is None, cell
                if cell["dataset"] not in ("dnd", ""):
                    assert f"dataset '{cell['dataset']}' is not here" in str(cell["reason"])
                    assert f"harness datasets fetch {cell['dataset']} --from FOLDER" in str(cell["reason"])
