"""Batches: patch, flip and noise of every sample follow from seed, iteration and place in the batch, and nothing else.

So a run that resumes, a run with other numbers of loader processes, and several GPUs see the same samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from harness.degradations.kinds import Degradation, Mosaic
from harness.degradations.noise import noise_generator
from harness.errors import HarnessError
from harness.training.recipe import Recipe
from harness.training.stores import Store

Sample = TypeVar("Sample", bound=np.generic)


def dihedral(image: NDArray[Sample], which: int) -> NDArray[Sample]:
    """Apply one of the eight flips and transposes, 0..7, to ``(H, W, C)``; 0 leaves it as it is."""
    if which & 1:
        image = image[::-1]
    if which & 2:
        image = image[:, ::-1]
    if which & 4:
        image = image.swapaxes(0, 1)
    return np.ascontiguousarray(image)


class Samples:
    """Draws samples from a store.

    `recipe`: Patch, batch, augmentation, and the weights of further sets.
    `degradation`: The evaluation's.
    `level`: Sigma, quality, scale or 0.
    `others`: Images of the recipe's further sets, in its order.
    """

    def __init__(
        self,
        store: Store,
        recipe: Recipe,
        degradation: Degradation,
        level: int,
        seed: int,
        others: Sequence[Store] = (),
    ) -> None:
        self.store, self.recipe, self.degradation = store, recipe, degradation
        self.level, self.seed = level, seed
        self.scale = degradation.scale(level)
        self.period = 2 if isinstance(degradation, Mosaic) else 1
        self.stores = (store, *others)
        self.shares = list(accumulate((1.0, *recipe.mix.values()))) if others else [1.0]
        self.sides = [(0, recipe.patch), *((begin, side) for begin, side, _ in recipe.sizes)]
        self.usable = {side: [_usable(each, side) for each in self.stores] for _, side in self.sides}

    def sample(self, iteration: int, place: int) -> tuple[NDArray[np.uint8], NDArray[np.generic]]:
        """Draw one sample.

        `iteration`, `place`: Step, and place in its batch.
        Returns `target`: ``(scale P, scale P, C)``, P as the recipe has it at this step.
        Returns `degraded`: ``(P, P, C)``, uint8 or float64 in units of 0..255.
        """
        rng = noise_generator(f"training {self.store.index.dataset}", f"{iteration}/{place}", self.level, self.seed)
        mixed = len(self.stores) > 1
        raw = [int(v) for v in np.asarray(rng.bit_generator.random_raw(5 if mixed else 4), dtype=np.uint64)]
        scale, side = self.scale, next(side for begin, side in reversed(self.sides) if begin <= iteration)
        at = (raw[4] >> 32) / 2**32 * self.shares[-1] if mixed else 0.0
        which = next(i for i, share in enumerate(self.shares) if at < share)
        store, usable = self.stores[which], self.usable[side][which]
        index = usable[_below(raw[0], len(usable))]
        turn = _below(raw[3], 8) if self.recipe.augmentation == "dihedral" else 0
        source = store.input(index) if store.has_inputs else store.target(index)
        top = _below(raw[1], source.shape[0] - side + 1)
        left = _below(raw[2], source.shape[1] - side + 1)
        target = store.target(index)[scale * top : scale * (top + side), scale * left : scale * (left + side)]
        if store.has_inputs:
            degraded: NDArray[np.generic] = source[top : top + side, left : left + side]
        else:
            # Begun on the grid of filters: a patch of the mosaic of the whole image, in whichever phase it lies.
            above, before = top % self.period, left % self.period
            reference = source[top - above : top + side, left - before : left + side]
            reference = reference[:, :, 0] if reference.shape[2] == 1 else reference
            degraded = self.degradation.degrade(reference, self.level, rng if self.degradation.random else None)
            degraded = (degraded[:, :, None] if degraded.ndim == 2 else degraded)[above:, before:]
        # Turned together, as the authors turn a stored pair.
        return dihedral(target, turn), dihedral(degraded, turn)

    def batch(self, iteration: int, places: range) -> tuple[Tensor, Tensor]:
        """Draw the samples of some places of a batch: inputs and targets ``(B, C, H, W) float32`` in [0, 1]."""
        pairs = [self.sample(iteration, place) for place in places]
        inputs, targets = (np.stack([pair[i] for pair in pairs]).transpose(0, 3, 1, 2) for i in (1, 0))
        return tuple(torch.from_numpy(np.ascontiguousarray(a, dtype=np.float32)).div_(255) for a in (inputs, targets))  # type: ignore[return-value]


def _usable(store: Store, side: int) -> list[int]:
    """Find the images that hold a patch: SR291 has some that are smaller than 48 pixels at scale 4."""
    sides = [item.input_shape[:2] if store.has_inputs else item.shape[:2] for item in store.index.images]
    usable = [index for index, (height, width) in enumerate(sides) if min(height, width) >= side]
    if not usable:
        raise HarnessError(
            f"no image of '{store.index.dataset}' holds a patch of {side}x{side} pixels; take another training set"
        )
    return usable


def _below(raw: int, limit: int) -> int:
    """Turn 64 random bits into a whole number below a limit (numpy's own way may change between versions)."""
    return (raw >> 32) * limit >> 32


class _Batches(Dataset[tuple[Tensor, Tensor]]):
    def __init__(self, samples: Samples, places: range, start: int, stop: int) -> None:
        self.samples, self.places, self.start, self.stop = samples, places, start, stop

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.samples.batch(self.start + index, self.places)


def batches(
    samples: Samples, places: range, start: int, stop: int, workers: int, pinned: bool = False
) -> Iterator[tuple[Tensor, Tensor]]:
    """Iterate over the batches of steps `start` to `stop`, made by `workers` processes (0: by this one)."""
    loader = DataLoader(
        _Batches(samples, places, start, stop),
        batch_size=None,
        shuffle=False,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        pin_memory=pinned,
    )
    return iter(loader)
