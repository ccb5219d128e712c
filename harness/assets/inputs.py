"""Inputs: the degraded images of a dataset, made from its ground truth by recipe and identified by hash.

Degrading is fast and exact, so the pixels are not kept: the stage writes the hash of every input, and `restore` makes
the inputs again and compares. A changed library that changes a single sample is noticed there.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.assets.datasets.reading import FetchedDataset, gray_among_colour, open_dataset
from harness.degradations import Degradation, degradation, noise_generator
from harness.errors import HarnessError, Missing, NotAvailableError
from harness.files import write_json
from harness.images import pixels_sha256
from harness.records.cells import InputId, NoiseDraws, input_ids
from harness.records.loading import load_json


class InputRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The hashes of a dataset's inputs.

    `reason`: Why there are no inputs; empty where there are.
    `inputs`: SHA-256 of each input's samples, by the name of the file it is restored to.
    `missing`: What the reason names, as data.
    """

    dataset: str
    degradation: str
    version: int
    reason: str
    inputs: dict[str, str]
    missing: Missing | None = None


def make_input(
    fetched: FetchedDataset, degrader: Degradation, input_id: InputId, image: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | NDArray[np.float64]]:
    """Make one reference and its degraded input.

    `input_id`: Level, noise draw, image.
    `image`: Ground truth, ``(H, W) uint8`` or ``(H, W, 3) uint8``.
    Returns `reference`: What a restored image is compared with.
    Returns `degraded`: The input, in units of 0..255.
    """
    reference = degrader.reference(image, input_id.level)
    if degrader.name == "pairs":
        degraded = fetched.read_input(input_id.image)
        if degraded.shape != reference.shape:
            raise HarnessError(
                f"dataset '{fetched.name}', image '{input_id.image}': the input is {degraded.shape}, the ground truth "
                f"is {reference.shape}; a pair must have one size"
            )
        return reference, degraded
    rng = noise_generator(fetched.name, input_id.image, input_id.level, input_id.draw) if degrader.random else None
    return reference, degrader.degrade(reference, input_id.level, rng)


def iterate_inputs(
    fetched: FetchedDataset,
    degrader: Degradation,
    ids: list[InputId],
    workers: int,
    read: Callable[[str], NDArray[np.uint8]],
) -> Iterator[tuple[InputId, NDArray[np.uint8], NDArray[np.uint8] | NDArray[np.float64], str]]:
    """Make inputs in order, a few ahead in threads, so that memory holds a few images and never the set.

    `read`: Of `FetchedDataset.reading_once`.
    Yields: As `make_input`.
    Yields `digest`: SHA-256 of the degraded samples.
    """

    def one(input_id: InputId) -> tuple[InputId, NDArray[np.uint8], NDArray[np.uint8] | NDArray[np.float64], str]:
        reference, degraded = make_input(fetched, degrader, input_id, read(input_id.image))
        return input_id, reference, degraded, pixels_sha256(degraded)

    with ThreadPoolExecutor(max_workers=workers) as pool:
        ahead = workers + 1
        waiting = iter(ids)
        futures = [pool.submit(one, input_id) for input_id in itertools.islice(waiting, ahead)]
        try:
            while futures:
                result = futures.pop(0).result()
                futures += [pool.submit(one, input_id) for input_id in itertools.islice(waiting, 1)]
                yield result
        finally:
            for future in futures:
                future.cancel()


def record_inputs(
    data: Path, dataset: str, name: str, levels: tuple[int, ...], noise: NoiseDraws, workers: int = 2
) -> InputRecord:
    """Make every input of a dataset once and record the hashes.

    Returns: With a reason and no inputs where the dataset is not here, or no one number can be made of its images.
    """
    degrader = degradation(name)
    try:
        fetched = open_dataset(dataset, data)
    except NotAvailableError as error:
        return InputRecord(dataset, name, degrader.version, str(error), {}, error.missing)
    ids = input_ids(fetched.image_ids, levels, degrader.random, noise)
    read = fetched.reading_once(input_id.image for input_id in ids)
    hashes: dict[str, str] = {}
    dimensions: dict[str, int] = {}
    for input_id, reference, _, digest in iterate_inputs(fetched, degrader, ids, workers, read):
        hashes[input_id.file] = digest
        dimensions[input_id.image] = reference.ndim
    mixed = gray_among_colour(dimensions)
    if mixed:
        return InputRecord(dataset, name, degrader.version, f"dataset '{dataset}': {mixed}", {})
    return InputRecord(dataset, name, degrader.version, "", hashes)


def write_inputs(path: Path, record: InputRecord) -> None:
    """Write the record as JSON."""
    write_json(path, record)


def read_inputs(path: Path) -> InputRecord:
    """Read a record that `write_inputs` wrote."""
    return load_json(path, InputRecord)
