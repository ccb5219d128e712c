"""SRFBN against its authors' code: every step on generated weights, the full sizes, and their small release."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from golden_systems import check_full_size, check_size, check_system

from harness.assets.weights.importers import import_weights
from harness.degradations import imresize, modcrop
from harness.errors import HarnessError
from harness.images import read_image
from harness.inference import chop_rule, restore
from harness.metrics import to_uint8
from harness.networks.blocks import DIV2K_MEAN
from harness.networks.checkpoints import load_released
from harness.networks.srfbn import SRFBN
from harness.protocols import measure_many, protocol


def steps(network: torch.nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    assert isinstance(network, SRFBN)
    results = network.steps(x)
    assert torch.equal(network(x), results[-1])
    return {f"step{number}": result for number, result in enumerate(results, 1)}


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_golden(scale: int) -> None:
    check_system(f"srfbn_x{scale}", SRFBN(scale, n_groups=3, n_feats=32), steps, rgb_range=255)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_released_sizes(scale: int) -> None:
    check_size(f"srfbn_x{scale}", lambda: SRFBN(scale))


def test_full_size() -> None:
    check_full_size(lambda: SRFBN(2), scale=2)


def test_refusal() -> None:
    with pytest.raises(HarnessError, match="no super-resolution network for x5"):
        SRFBN(5)


# The authors' small network, SRFBN-S: PSNR and SSIM on Set5 from small images of the mirrored border rule, which the
# 15 in their repository are bit for bit.
SMALL = {2: ("37.776", "0.95971"), 3: ("34.197", "0.92547"), 4: ("31.985", "0.89231")}
PROTOCOLS = ["psnr-y-crop", "ssim-gauss-y-crop"]


def small_release(mirror: Path, scale: int) -> SRFBN:
    path = mirror / "extra" / "nhchen9+srfbn" / "models" / f"SRFBN-S_x{scale}_BI.pth"
    weights = {name: torch.from_numpy(array) for name, array in import_weights(path, "state-dict").items()}
    return load_released(SRFBN(scale, n_groups=3, n_feats=32), weights, path.name)


def measured(network: SRFBN, file: Path) -> dict[str, float]:
    reference = modcrop(read_image(file), network.scale)
    small = imresize(reference, 1 / network.scale, border="symmetric").astype(np.float32) / 255
    x = torch.from_numpy(np.ascontiguousarray(small.transpose(2, 0, 1)))[None]
    restored = restore(network, x, "chop", chop_rule("srfbn"))[0].double().numpy().transpose(1, 2, 0) * 255
    return measure_many(PROTOCOLS, reference, to_uint8(restored, "round"), network.scale)


def test_small_release(mirror: Path) -> None:
    """Its mean shifts were trained, too: they are those of the file and not DIV2K's mean."""
    network = small_release(mirror, 4)
    shift = network.sub_mean.state_dict()["bias"]
    mean = 255 * torch.tensor(DIV2K_MEAN)
    assert not torch.allclose(-shift, mean, rtol=1e-5) and torch.allclose(-shift, mean, rtol=0.01)
    found = measured(network, mirror / "datasets" / "set5" / "butterfly_GT.bmp")
    assert [found[name] for name in PROTOCOLS] == pytest.approx([28.1855, 0.92061], abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("scale", SMALL)
def test_small_release_on_set5(mirror: Path, scale: int) -> None:
    network = small_release(mirror, scale)
    values = [measured(network, file) for file in sorted((mirror / "datasets" / "set5").iterdir())]
    found = {name: protocol(name).aggregate([value[name] for value in values]) for name in PROTOCOLS}
    assert (f"{found['psnr-y-crop']:.3f}", f"{found['ssim-gauss-y-crop']:.5f}") == SMALL[scale]
