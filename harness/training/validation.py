"""PSNR of a network on fixed splits, made and measured as the evaluation does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from harness.assets.datasets.reading import FetchedDataset, open_dataset
from harness.assets.inputs import make_input
from harness.degradations.kinds import Degradation
from harness.errors import NotAvailableError
from harness.images import write_png
from harness.metrics.quantization import to_uint8
from harness.protocols.definitions import measure_many
from harness.records.cells import InputId
from harness.records.tasks import task as task_of
from harness.training.recipe import Recipe
from harness.training.stores import check_channels


class _Pair(NamedTuple):
    image: str
    reference: NDArray[np.uint8]
    degraded: NDArray[np.generic]


def watched(recipe: Recipe, named: tuple[str, ...], data: Path) -> Iterator[tuple[str, FetchedDataset]]:
    """Open the sets that a run watches, each with the name it goes by: those named, else the recipe's first one here.

    Raises NotAvailableError: A set that was named is not here; the recipe's own may all be absent.
    """
    if named:
        yield from ((name, open_dataset(name, data)) for name in named)
        return
    for name in recipe.validation.datasets:
        with suppress(NotAvailableError):
            yield name, open_dataset(name, data)
            return


class Split:
    """Centre crops of a few images of a set and their inputs, in memory.

    `recipe`: How many images, and the side of the crops.
    `pairs`: Name, ground truth and input of each image.
    """

    def __init__(
        self, name: str, fetched: FetchedDataset, recipe: Recipe, degradation: Degradation, level: int
    ) -> None:
        self.name, self.dataset, self.protocol = name, fetched.name, task_of(recipe.task).metrics[0]
        self.scale = degradation.scale(level)
        self.pairs: list[_Pair] = []
        count = min(recipe.validation.images, len(fetched.image_ids))
        channels: dict[str, int] = {}
        chosen = np.linspace(0, len(fetched.image_ids) - 1, count).round().astype(int)
        for index in chosen:
            image = fetched.image_ids[index]
            reference, degraded = make_input(fetched, degradation, InputId(level, 0, image), fetched.read(image))
            channels[image] = 1 if reference.ndim == 2 else 3
            self.pairs.append(_Pair(image, *self._centre(reference, degraded, recipe.validation.side)))
        check_channels("validation", fetched, channels, task_of(recipe.task), degradation)

    def _centre(
        self, reference: NDArray[np.uint8], degraded: NDArray[np.generic], side: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.generic]]:
        # Even offsets: the mosaic of the crop begins with the same filter as that of the image.
        scale = self.scale
        height, width = (min(side // scale, size) for size in degraded.shape[:2])
        top, left = ((size - part) // 4 * 2 for size, part in zip(degraded.shape[:2], (height, width), strict=True))
        target = reference[scale * top : scale * (top + height), scale * left : scale * (left + width)]
        return target, degraded[top : top + height, left : left + width]

    def keep_targets(self, folder: Path, images: int) -> None:
        """Write ground truth and input of the first images, as `psnr` writes what a network makes of them."""
        for image, reference, degraded in self.pairs[:images]:
            write_png(self._file(folder / "target", image), reference)
            write_png(self._file(folder / "input", image), to_uint8(np.asarray(degraded, dtype=np.float64)))

    def _file(self, folder: Path, image: str) -> Path:
        return folder / f"{self.name}-{image.replace('/', '-')}.png"

    def psnr(self, network: nn.Module, device: torch.device, folder: Path | None = None, images: int = 0) -> float:
        """Mean PSNR in dB of 8-bit results under the task's first protocol.

        `network`: Is applied in evaluation mode.
        `folder`: Where the results of the first images are written as PNGs.
        `images`: How many of them.
        """
        from harness.inference.sizes import whole
        from harness.networks.ranges import from_network, to_network

        training = network.training
        network.eval()
        values = []
        with torch.inference_mode():
            for number, (image, reference, degraded) in enumerate(self.pairs):
                array = degraded[:, :, None] if degraded.ndim == 2 else degraded
                pixels = torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1), dtype=np.float32))
                output = whole(network, to_network(network, pixels[None].to(device) / 255))[0].float().cpu()
                result = from_network(network, output).double().numpy().transpose(1, 2, 0) * 255
                if not np.isfinite(result).all():
                    return float("nan")
                restored = to_uint8(result[:, :, 0] if result.shape[2] == 1 else result)
                values.append(measure_many((self.protocol,), reference, restored, scale=self.scale)[self.protocol])
                if folder is not None and number < images:
                    write_png(self._file(folder, image), restored)
        network.train(training)
        return float(np.mean(values))
