from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from harness.networks.lapsrn import SLOPE, STRIP, LapSRN, Level


def by_layers(level: Level, features: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
    """The level as its layers are: the map of features held several times over."""
    for conv in level.convs:
        features = functional.leaky_relu_(conv(features), SLOPE)
    features = functional.leaky_relu_(level.up(features)[..., :-1, :-1], SLOPE)
    return features, level.image_up(image) + level.residual(features)


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (33, 41), (181, 363), (257, 257)])
def test_channels_and_strips_change_no_bit(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    level = Level(depth=1)
    features, image = torch.randn(1, 64, *size), torch.rand(1, 1, *size)
    with torch.inference_mode():
        want, got = by_layers(level, features, image), level(features, image)
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))
    # The last sizes are cut into strips.
    assert (4 * size[0] * size[1] >= 2 * STRIP) == (size[0] > 100)


def test_a_network_is_trained_through_its_strips() -> None:
    torch.manual_seed(0)
    network = LapSRN(2, features=8, depth=1)
    assert torch.autograd.gradcheck(network.double(), torch.rand(1, 1, 3, 2, dtype=torch.float64, requires_grad=True))


# Large pieces go back to the system when they are freed: what is left of the peak is what is held, to 0.1 %.
RETURNING = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}

PEAKS = """
import torch
from harness.networks.lapsrn import Level
from harness.networks.measure import peak_memory
from tests.networks.test_lapsrn import by_layers

level = Level(depth=1)
features, image = torch.rand(1, 64, 256, 256), torch.rand(1, 1, 256, 256)
with torch.inference_mode():
    for function in (level, lambda *given: by_layers(level, *given)):
        function(features[..., :8], image[..., :8])
        held = peak_memory(lambda: function(features, image))
        print(held / (64 * 512 * 512 * 4) if held is not None else "unknown")
"""


def test_memory_is_that_of_one_map_of_features() -> None:
    """In a process of its own: how freed memory is kept is a setting of the whole process, which other tests turn."""
    done = subprocess.run(
        [sys.executable, "-c", PEAKS], env=os.environ | RETURNING, capture_output=True, text=True, check=True
    )
    if "unknown" in done.stdout or platform.libc_ver()[0] != "glibc":
        pytest.skip("memory cannot be measured here")
    by_strips, whole = map(float, done.stdout.split())
    assert by_strips < 2.3 < 3.2 < whole
