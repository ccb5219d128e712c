"""PSNR of a network on a fixed split, made and measured as the evaluation does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from harness.assets.datasets.reading import open_dataset
from harness.assets.inputs import make_input
from harness.degradations.kinds import Degradation
from harness.errors import NotAvailableError
from harness.metrics.quantization import to_uint8
from harness.protocols.definitions import measure_many
from harness.records.cells import InputId
from harness.records.tasks import task as task_of
from harness.training.recipe import Recipe
from harness.training.stores import check_channels


class Split:
    """Centre crops of a few images and their inputs, in memory.

    `dataset`: Where they are from; empty where none of the recipe's validation sets is here.
    `pairs`: Ground truth and input of each.
    """

    def __init__(self, recipe: Recipe, degradation: Degradation, level: int, data: Path) -> None:
        self.dataset, self.protocol = "", task_of(recipe.task).metrics[0]
        self.scale = degradation.scale(level)
        self.pairs: list[tuple[NDArray[np.uint8], NDArray[np.generic]]] = []
        for name in recipe.validation.datasets:
            try:
                fetched = open_dataset(name, data)
            except NotAvailableError:
                continue
            count = min(recipe.validation.images, len(fetched.image_ids))
            channels: dict[str, int] = {}
            chosen = np.linspace(0, len(fetched.image_ids) - 1, count).round().astype(int)
            for index in chosen:
                image = fetched.image_ids[index]
                reference, degraded = make_input(fetched, degradation, InputId(level, 0, image), fetched.read(image))
                channels[image] = 1 if reference.ndim == 2 else 3
                self.pairs.append(self._centre(reference, degraded, recipe.validation.side))
            check_channels("validation", fetched, channels, task_of(recipe.task), degradation)
            self.dataset = fetched.name
            return

    def _centre(
        self, reference: NDArray[np.uint8], degraded: NDArray[np.generic], side: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.generic]]:
        # Even offsets: the mosaic of the crop begins with the same filter as that of the image.
        scale = self.scale
        height, width = (min(side // scale, size) for size in degraded.shape[:2])
        top, left = ((size - part) // 4 * 2 for size, part in zip(degraded.shape[:2], (height, width), strict=True))
        target = reference[scale * top : scale * (top + height), scale * left : scale * (left + width)]
        return target, degraded[top : top + height, left : left + width]

    def psnr(self, network: nn.Module, device: torch.device) -> float | None:
        """Mean PSNR in dB of 8-bit results under the task's first protocol; None without images."""
        if not self.pairs:
            return None
        from harness.inference.policies import whole
        from harness.networks.ranges import from_network, to_network

        training = network.training
        network.eval()
        values = []
        with torch.inference_mode():
            for reference, degraded in self.pairs:
                array = degraded[:, :, None] if degraded.ndim == 2 else degraded
                pixels = torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1), dtype=np.float32))
                output = whole(network, to_network(network, pixels[None].to(device) / 255))[0].float().cpu()
                result = from_network(network, output).double().numpy().transpose(1, 2, 0) * 255
                if not np.isfinite(result).all():
                    return float("nan")
                restored = to_uint8(result[:, :, 0] if result.shape[2] == 1 else result)
                values.append(measure_many((self.protocol,), reference, restored, scale=self.scale)[self.protocol])
        network.train(training)
        return float(np.mean(values))
