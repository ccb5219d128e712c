"""Samples are the evaluation's inputs, and depend on seed, step and place only."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.assets.datasets import fetch, open_dataset
from harness.assets.inputs import make_input
from harness.degradations.mosaic import PATTERNS, bayer_mosaic
from harness.degradations.noise import noise_generator
from harness.degradations.registry import degradation
from harness.errors import HarnessError
from harness.images import write_png
from harness.records.cells import InputId
from harness.training.recipe import recipe
from harness.training.samples import Samples, _below, batches, dihedral
from harness.training.stores import Store, make_store


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for name in ("embedded", "embedded-gray"):
        fetch(name, folder)
    return folder


def samples(data: Path, name: str, level: int, seed: int = 1, dataset: str = "embedded", **changes: object) -> Samples:
    found = msgspec.structs.replace(recipe(name), **changes)  # type: ignore[arg-type]
    made = degradation(found.degradation)
    store = Store(make_store(open_dataset(dataset, data), made, level, data.parent / "stores"))
    return Samples(store, found, made, level, seed)


CASES = [
    ("panet-denoise-rgb", 50),
    ("rnan-denoise-gray", 30),
    ("panet-demosaic", 0),
    ("panet-jpeg", 10),
    ("panet-sr", 2),
    ("panet-sr", 3),
]


@pytest.mark.parametrize(("name", "level"), CASES)
def test_inputs_equal_the_evaluations_bit_for_bit(data: Path, name: str, level: int) -> None:
    drawn = samples(data, name, level, augmentation="none")
    made = drawn.degradation
    fetched = open_dataset("embedded", data)
    for place in range(4):
        target, degraded = drawn.sample(7, place)
        rng = noise_generator("training embedded", f"7/{place}", level, 1)
        raw = [int(value) for value in rng.bit_generator.random_raw(4)]
        side, scale = drawn.recipe.patch, made.scale(level)
        (usable,) = drawn.usable[side]
        image = fetched.image_ids[usable[_below(raw[0], len(usable))]]
        reference = made.reference(fetched.read(image), level)
        reference = reference[:, :, None] if reference.ndim == 2 else reference
        height, width = (size // scale for size in reference.shape[:2])
        top, left = _below(raw[1], height - side + 1), _below(raw[2], width - side + 1)
        np.testing.assert_array_equal(
            target, reference[scale * top : scale * (top + side), scale * left : scale * (left + side)]
        )
        if drawn.store.has_inputs:
            # A patch of the very image that the evaluation restores.
            whole = make_input(fetched, made, InputId(level, 0, image), fetched.read(image))[1]
            expected = whole[top : top + side, left : left + side]
        elif made.random:
            # The evaluation's own function, on the patch.
            expected = made.degrade(target[:, :, 0] if target.shape[2] == 1 else target, level, rng)
        else:
            expected = made.degrade(reference, level)[top : top + side, left : left + side]
        np.testing.assert_array_equal(degraded, expected[:, :, None] if expected.ndim == 2 else expected)


def phase(target: np.ndarray, degraded: np.ndarray) -> str:
    """Name the one Bayer pattern whose mosaic of the target is the input."""
    (found,) = (p for p in PATTERNS if np.array_equal(bayer_mosaic(target, p), degraded))
    return found


def test_a_mosaic_is_drawn_in_the_phase_of_its_place_and_turned_with_its_target(data: Path) -> None:
    drawn, still = samples(data, "panet-demosaic", 0), samples(data, "panet-demosaic", 0, augmentation="none")
    phases, kept = set(), set()
    for place in range(64):
        target, degraded = drawn.sample(0, place)
        phases.add(phase(target, degraded))
        before = still.sample(0, place)
        kept.add(phase(*before))
        turns = [which for which in range(8) if np.array_equal(dihedral(before[0], which), target)]
        assert any(np.array_equal(dihedral(before[1], which), degraded) for which in turns)
    # Four without turning already, as the authors' random crops of mosaiced images are.
    assert phases == kept == set(PATTERNS)


@pytest.mark.parametrize("name", ["panet-denoise-rgb", "panet-jpeg"])
def test_every_input_is_turned_with_its_target(data: Path, name: str) -> None:
    drawn, still = samples(data, name, 30), samples(data, name, 30, augmentation="none")
    for place in range(8):
        (target, degraded), before = drawn.sample(0, place), still.sample(0, place)
        (turn,) = (which for which in range(8) if np.array_equal(dihedral(before[0], which), target))
        np.testing.assert_array_equal(dihedral(before[1], turn), degraded)


def test_noise_of_samples_is_independent_of_the_evaluations(data: Path) -> None:
    drawn = samples(data, "panet-denoise-rgb", 50)
    first = [drawn.sample(0, place)[1].astype(float) - drawn.sample(0, place)[0] for place in range(2)]
    assert abs(np.corrcoef(first[0].ravel(), first[1].ravel())[0, 1]) < 0.1
    again = drawn.sample(1, 0)
    assert not np.array_equal(again[1], drawn.sample(0, 0)[1])


def test_same_seed_same_samples_and_loaders_do_not_matter(data: Path) -> None:
    one, two = (samples(data, "panet-denoise-rgb", 50, seed=3) for _ in range(2))
    direct = list(batches(one, range(4), 0, 3, 0))
    for workers in (1, 2):
        for (x, y), (u, v) in zip(direct, batches(two, range(4), 0, 3, workers), strict=True):
            assert torch.equal(x, u) and torch.equal(y, v)
    # Two halves, as two processes draw them, are the whole.
    halves = [list(batches(one, places, 0, 3, 0)) for places in (range(2), range(2, 4))]
    for step in range(3):
        assert torch.equal(torch.cat([half[step][0] for half in halves]), direct[step][0])
    other = samples(data, "panet-denoise-rgb", 50, seed=4)
    assert not torch.equal(next(batches(other, range(4), 0, 1, 0))[0], direct[0][0])


def test_a_run_that_resumes_sees_the_same_samples(data: Path) -> None:
    drawn = samples(data, "panet-sr", 2)
    whole = list(batches(drawn, range(2), 0, 6, 0))
    later = list(batches(drawn, range(2), 4, 6, 0))
    assert all(torch.equal(a[0], b[0]) for a, b in zip(whole[4:], later, strict=True))


def test_batches_are_channels_first_in_the_unit_range(data: Path) -> None:
    x, y = samples(data, "panet-sr", 3, dataset="embedded").batch(0, range(2))
    assert x.shape == (2, 3, 48, 48) and y.shape == (2, 3, 144, 144)
    assert x.dtype == y.dtype == torch.float32 and float(x.min()) >= 0 and float(x.max()) <= 1
    gray, _ = samples(data, "panet-jpeg", 40, dataset="embedded-gray").batch(0, range(1))
    assert gray.shape == (1, 1, 48, 48)


def test_turns_are_the_eight_of_the_square(synthetic: object) -> None:
    image = synthetic(5, 5)  # type: ignore[operator]
    assert len({dihedral(image, which).tobytes() for which in range(8)}) == 8
    np.testing.assert_array_equal(dihedral(image, 0), image)


@given(st.integers(0, 2**64 - 1), st.integers(1, 10**6))
def test_whole_numbers_stay_below_their_limit(raw: int, limit: int) -> None:
    assert 0 <= _below(raw, limit) < limit


def test_every_crop_and_turn_is_drawn(data: Path) -> None:
    drawn = samples(data, "panet-denoise-rgb", 10, patch=300)
    chosen = {drawn.sample(step, 0)[0].tobytes() for step in range(60)}
    assert len(chosen) > 50
    # chelsea is 300 pixels high: it has one row of crops and still takes part.
    assert len(drawn.usable[300][0]) == 3


def test_a_patch_that_no_image_holds(data: Path) -> None:
    with pytest.raises(HarnessError, match="no image of 'embedded' holds a patch of 4000x4000"):
        samples(data, "panet-denoise-rgb", 10, patch=4000)


def test_a_store_is_made_once_and_holds_the_pixels(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = open_dataset("embedded", data)
    made = degradation("awgn-8bit")
    folder = make_store(fetched, made, 30, data.parent / "stores")
    store = Store(folder)
    for index, image in enumerate(fetched.image_ids):
        np.testing.assert_array_equal(store.target(index), fetched.read(image))
    assert not store.has_inputs
    monkeypatch.setattr(type(fetched), "read", lambda *_: pytest.fail("decoded again"))
    assert make_store(fetched, made, 50, data.parent / "stores") == folder  # noise leaves the reference as it is


def test_a_store_of_pairs_follows_their_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other inputs under the same names, with the same ground truth, are another store."""
    record = {
        "name": "own-pairs", "title": "Own", "kind": "pairs", "count": 1, "supply": "user", "description": "One.",
        "licence": "none", "licence_note": "None.", "homepage": "https://example.org", "citation": "none",
        "layouts": [{"target": "target/{id}.*", "input": "input/{id}.*"}],
    }  # fmt: skip
    (tmp_path / "datasets").mkdir()
    (tmp_path / "params.yaml").write_text("")
    (tmp_path / "datasets/own-pairs.json").write_text(json.dumps(record))
    monkeypatch.chdir(tmp_path)
    write_png(tmp_path / "own/target/a.png", np.zeros((8, 8, 3), np.uint8))
    for value in (10, 20):
        write_png(tmp_path / "own/input/a.png", np.full((8, 8, 3), value, np.uint8))
        assert fetch("own-pairs", tmp_path / "data", folder=tmp_path / "own").complete
        fetched = open_dataset("own-pairs", tmp_path / "data")
        assert Store(make_store(fetched, degradation("pairs"), 0, tmp_path / "stores")).input(0).max() == value


def test_a_store_that_cannot_be_written_leaves_nothing(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("harness.training.stores.os.replace", full)
    with pytest.raises(HarnessError, match="No space left on device"):
        make_store(open_dataset("embedded", data), degradation("awgn-8bit"), 30, tmp_path)
    assert not list(tmp_path.iterdir())
