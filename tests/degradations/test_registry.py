from __future__ import annotations

import msgspec
import numpy as np
import pytest

from harness.degradations import (
    DEGRADATIONS,
    awgn,
    awgn_8bit,
    bayer_mosaic,
    degradation,
    degradation_names,
    imresize,
    noise_generator,
    rgb2gray,
)
from harness.degradations.jpeg import jpeg
from harness.errors import HarnessError
from harness.images import pixels_sha256
from harness.metrics import luma
from harness.records.tasks import TASKS

LEVEL = {"sigma": 25, "quality": 20, "scale": 3, "": 0}

# Version, then the beginnings of the SHA-256 of reference and input.
PINNED = {
    "awgn-8bit": (1, "f44ff487befef4ad", "de4bed4ee06547fd"),
    "awgn-8bit-gray": (1, "b530ee88f056d0d2", "0ab5ae582658d89d"),
    "awgn-8bit-luma": (1, "f050d289c0b368f5", "f86a8ea18d458280"),
    "awgn-clipped": (1, "f44ff487befef4ad", "43e5e0c3f3adbc8a"),
    "awgn-clipped-gray": (1, "b530ee88f056d0d2", "d7a8b3320f1363d8"),
    "awgn-float": (1, "f44ff487befef4ad", "e1ea61a4f1f288cd"),
    "awgn-float-gray": (1, "b530ee88f056d0d2", "d41167a812a45333"),
    "awgn-float-luma": (1, "f050d289c0b368f5", "19fc09d3df647933"),
    "awgn-seed0-8bit": (1, "f44ff487befef4ad", "6f8c78ccf805910e"),
    "awgn-seed0-8bit-gray": (1, "b530ee88f056d0d2", "062fd4f34ca09b5e"),
    "awgn-seed0-float": (1, "f44ff487befef4ad", "304a8ebf362753ed"),
    "awgn-seed0-float-gray": (1, "b530ee88f056d0d2", "2c789c250a7712ac"),
    "awgn-truncated": (1, "f44ff487befef4ad", "23394d07f95217c4"),
    "awgn-truncated-gray": (1, "b530ee88f056d0d2", "29c0580deb028156"),
    "bayer-bggr": (1, "f44ff487befef4ad", "7614d20f34696159"),
    "bayer-gbrg": (1, "f44ff487befef4ad", "34c743c5084013bc"),
    "bayer-grbg": (1, "f44ff487befef4ad", "41b39cf55f3d501b"),
    "bayer-rggb": (1, "f44ff487befef4ad", "977dc910ba86f72c"),
    "bicubic-float-replicate": (1, "344f2008a5e58703", "7e8c615c264be4d9"),
    "bicubic-float-symmetric": (1, "344f2008a5e58703", "b7d575141e209aac"),
    "bicubic-replicate": (1, "344f2008a5e58703", "8e139f0e5cbc9fbd"),
    "bicubic-symmetric": (1, "344f2008a5e58703", "b40a48bb4c0f0b72"),
    "bicubic-y8-float": (1, "2b353e9ac76c4fb9", "e90b5f8b5cd51f2e"),
    "bicubic-y8-float-replicate": (1, "2b353e9ac76c4fb9", "ebcea12b184fdcde"),
    "bicubic-y8-replicate": (1, "2b353e9ac76c4fb9", "a69459af46bba022"),
    "bicubic-y8-symmetric": (1, "2b353e9ac76c4fb9", "ce151738404b08c3"),
    "jpeg-rgb": (1, "f44ff487befef4ad", "3bbe0387d51fd586"),
    "jpeg-rgb2gray": (1, "b530ee88f056d0d2", "0eb942ee18355e90"),
    "jpeg-y-truncated": (1, "4fe125b29eab7c4e", "53fa62d3c810de53"),
    "jpeg-y8": (1, "f050d289c0b368f5", "53fe04a1767cce59"),
}


def rng() -> np.random.Generator:
    return noise_generator("set", "image", 25, 0)


def test_every_task_finds_its_degradation() -> None:
    for task in TASKS.values():
        made = degradation(task.degradation)
        assert made.level_name == task.level_name


@pytest.mark.parametrize("name", degradation_names())
def test_each_is_frozen_described_and_true_to_its_name(name: str) -> None:
    made = degradation(name)
    assert made.name == name
    assert made.version >= 1
    assert made.summary
    with pytest.raises(AttributeError):
        made.version = 9  # type: ignore[misc]
    assert msgspec.convert(msgspec.to_builtins(made), type(made)) == made


@pytest.mark.parametrize("name", [name for name in degradation_names() if name != "pairs"])
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes_and_dtypes(name: str, channels: int, synthetic) -> None:
    made, image = degradation(name), synthetic(32, 44, channels)
    level = LEVEL[made.level_name]
    if name.startswith("bayer") and channels == 1:
        with pytest.raises(HarnessError, match="RGB"):
            made.degrade(image, level)
        return
    reference = made.reference(image, level)
    assert reference.dtype == np.uint8
    scale = made.scale(level)
    assert reference.shape[:2] == (32 // scale * scale, 44 // scale * scale)
    low = made.degrade(reference, level, rng())
    assert low.dtype == made.output
    assert low.shape == (reference.shape[0] // scale, reference.shape[1] // scale, *reference.shape[2:])
    np.testing.assert_array_equal(low, made.degrade(reference, level, rng()))


@pytest.mark.parametrize("name", [name for name in degradation_names() if name != "pairs"])
def test_output_is_pinned_at_this_version(name: str, synthetic) -> None:
    # When this fails on purpose, raise the version of the degradation and note it in docs/protocols.md.
    made = degradation(name)
    level = LEVEL[made.level_name]
    reference = made.reference(synthetic(32, 44), level)
    found = pixels_sha256(reference)[:16], pixels_sha256(made.degrade(reference, level, rng()))[:16]
    assert (made.version, *found) == PINNED[name]


def test_names_mean_what_they_say(synthetic) -> None:
    image = synthetic(30, 40)
    np.testing.assert_array_equal(degradation("awgn-float").degrade(image, 25, rng()), awgn(image, 25, rng()))
    np.testing.assert_array_equal(degradation("awgn-8bit").degrade(image, 25, rng()), awgn_8bit(image, 25, rng()))
    np.testing.assert_array_equal(degradation("awgn-8bit-gray").reference(image, 25), rgb2gray(image))
    np.testing.assert_array_equal(degradation("bayer-grbg").degrade(image, 0), bayer_mosaic(image, "GRBG"))
    y8 = luma(image, "uint8")
    np.testing.assert_array_equal(degradation("jpeg-y8").reference(image, 10), y8)
    np.testing.assert_array_equal(degradation("jpeg-y8").degrade(y8, 10), jpeg(y8, 10))
    np.testing.assert_array_equal(
        degradation("bicubic-replicate").degrade(image, 2), imresize(image, 1 / 2, border="replicate")
    )
    np.testing.assert_array_equal(
        degradation("bicubic-y8-float").degrade(y8, 2), imresize(y8.astype(float), 1 / 2, border="symmetric")
    )


def test_clipped_and_truncated_noise_follow_from_the_same_draw(synthetic) -> None:
    image = synthetic(30, 40)
    noisy = degradation("awgn-float").degrade(image, 70, rng())
    clipped = degradation("awgn-clipped").degrade(image, 70, rng())
    np.testing.assert_array_equal(clipped, np.clip(noisy, 0, 255))
    np.testing.assert_array_equal(degradation("awgn-truncated").degrade(image, 70, rng()), np.floor(clipped))


def test_pairs_are_read_and_not_made(synthetic) -> None:
    image = synthetic(8, 8)
    np.testing.assert_array_equal(degradation("pairs").reference(image, 0), image)
    with pytest.raises(HarnessError, match="read_input"):
        degradation("pairs").degrade(image, 0)


@pytest.mark.parametrize(
    ("name", "level", "says"),
    [
        ("awgn-8bit", -1, "sigma -1"),
        ("awgn-float", float("nan"), "sigma nan"),
        ("jpeg-y8", 0, "quality 0"),
        ("jpeg-y8", 101, "quality 101"),
        ("bicubic-symmetric", 0, "scale 0"),
        ("bicubic-symmetric", 1.5, "scale 1.5"),
        ("bayer-grbg", 3, "no level 3"),
    ],
)
def test_levels_without_meaning_are_refused(name: str, level, says: str, synthetic) -> None:
    with pytest.raises(HarnessError, match=says):
        degradation(name).reference(synthetic(8, 8), level)


def test_other_mistakes_are_named(synthetic) -> None:
    with pytest.raises(HarnessError, match="noise_generator"):
        degradation("awgn-8bit").degrade(synthetic(8, 8), 10)
    with pytest.raises(HarnessError, match="8-bit images"):
        degradation("awgn-8bit").reference(synthetic(8, 8).astype(float), 10)
    with pytest.raises(HarnessError, match="'jpeg-y8'"):
        degradation("jpeg-y")
    assert set(DEGRADATIONS) == set(degradation_names())
