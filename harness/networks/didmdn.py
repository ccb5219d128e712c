"""DID-MDN (Zhang and Patel, CVPR 2018): rain density is classified first, then three dense streams remove the rain.

From the released program (hezhangsprinter/DID-MDN, ``test.py`` and ``models``), whose names of layers are kept, those
that nothing uses too: images in [-1, 1]; a first network estimates the rain without knowing its density; a classifier
sees that estimate and says one of four densities; the label, as a map, goes into the network that removes the rain and
refines the result; the result is stretched to [0, 1]. All normalise by the image at hand: the program never leaves
training mode.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.networks.dense_streams import Bottleneck, Resample, Transition
from harness.networks.image_statistics import ImageNorm2d, Statistics, stretched, unused

SIDE = 512
"""The program resizes every image to this side; the classifier takes no other."""

POOLS = (32, 16, 8, 4)
"""Sides of the averages that the refinement looks at."""

_DOWN_UP: tuple[Resample, ...] = ("halve", "halve", "halve", "double", "double", "double")


class Stream(nn.Module):
    """Six bottlenecks and transitions, down and up again.

    Parameters
    ----------
    sizes : sequence of (int, int, int)
        Channels into each bottleneck, its growth, channels out of the transition.
    resample : sequence of str
        What each transition does to the resolution.
    kernel : int
        Side of the bottlenecks' filters.
    joins : bool
        Whether earlier features are joined to later ones, and not added, and the image and copies of a map of the first
        features joined to the last ones.
    """

    conv11: nn.Conv2d

    def __init__(
        self,
        sizes: Sequence[tuple[int, int, int]],
        resample: Sequence[Resample],
        kernel: int,
        statistics: Statistics,
        *,
        joins: bool,
    ) -> None:
        super().__init__()
        self.joins = joins
        for number, ((inputs, growth, outputs), how) in enumerate(zip(sizes, resample, strict=True), 1):
            setattr(self, f"dense_block{number}", Bottleneck(inputs, growth, kernel, statistics))
            setattr(self, f"trans_block{number}", Transition(inputs + growth, outputs, how, statistics))

    def _step(self, number: int, x: Tensor) -> Tensor:
        dense, transition = getattr(self, f"dense_block{number}"), getattr(self, f"trans_block{number}")
        return transition(dense(x))

    def forward(self, x: Tensor) -> Tensor:
        """Take (B, 3, H, W), H and W multiples of 8; (B, 2, H, W), or with joins (B, 12, H, W)."""
        first = self._step(1, x)
        second = self._step(2, first)
        fourth = self._step(4, self._step(3, second))
        fifth = self._step(5, torch.cat([fourth, second], 1) if self.joins else fourth + second)
        sixth = self._step(6, torch.cat([fifth, first], 1) if self.joins else fifth + first)
        if not self.joins:
            return sixth
        # The program enlarges the map of the first features five times and none of the later ones'.
        seen = functional.leaky_relu(self.conv11(first), 0.2)
        seen = functional.interpolate(seen, size=sixth.shape[2:], mode="nearest")
        return torch.cat([sixth, *[seen] * 5, x], 1)


class _Refined(nn.Module):
    """What the two networks of streams share: what they join is refined with averages over four sizes."""

    dense0: Stream
    dense1: Stream
    dense2: Stream

    def __init__(self, channels: int, means: int, labels: int) -> None:
        super().__init__()
        self.labels = labels
        self.conv_refin = nn.Conv2d(channels, 20 if channels == 13 else channels, 3, padding=1)
        width = self.conv_refin.out_channels
        for index in range(1, 5):
            setattr(self, f"conv10{index}0", nn.Conv2d(width, means, 1))
        self.refine3 = nn.Conv2d(width + 4 * means, 3, 3, padding=1)
        self.batchnorm20, self.batchnorm1 = ImageNorm2d(20), ImageNorm2d(1)
        unused(self.batchnorm20, self.batchnorm1)

    def rain(self, x: Tensor, label: Tensor) -> Tensor:
        """Estimate the rain layer of (B, 3, H, W) in [-1, 1], told the density labels (B,)."""
        maps = label.to(x).view(-1, 1, 1, 1).expand(-1, self.labels, *x.shape[2:])
        joined = torch.cat([self.dense0(x), x, self.dense1(x), self.dense2(x), maps], 1)
        features = functional.leaky_relu(self.conv_refin(joined), 0.2)
        means = []
        for index, pool in enumerate(POOLS, 1):
            mean = getattr(self, f"conv10{index}0")(functional.avg_pool2d(features, pool))
            mean = functional.leaky_relu(mean, 0.2)
            means.append(functional.interpolate(mean, size=features.shape[2:], mode="nearest"))
        return torch.tanh(self.refine3(torch.cat([*means, features], 1)))


def _add_maps(stream: Stream, features: Sequence[int]) -> None:
    """Add the maps of features that released files hold: a stream uses the first alone."""
    for number, inputs in enumerate(features, 1):
        setattr(stream, f"conv{number}1", nn.Conv2d(inputs, 1, 3, padding=1))
        if number > 1:
            unused(getattr(stream, f"conv{number}1"))


def _add_refinement(stream: Stream) -> None:
    """Add the refinement that released files hold in a stream: nothing uses it."""
    stream.conv_refin, stream.refine3 = nn.Conv2d(11, 20, 3, padding=1), nn.Conv2d(24, 3, 3, padding=1)
    stream.batchnorm20, stream.batchnorm1 = ImageNorm2d(20), ImageNorm2d(1)
    unused(stream.conv_refin, stream.refine3, stream.batchnorm20, stream.batchnorm1)


class DenseRain(_Refined):
    """The network that removes the rain (``Dense_rain``): streams of 3x3, 5x5 and 7x7 filters, and a refinement.

    Parameters
    ----------
    statistics : {"image", "running"}
        See `ImageNorm2d`.
    """

    rgb_range = 1.0
    reentrant = True
    size_multiple = 32

    def __init__(self, statistics: Statistics = "image") -> None:
        super().__init__(47, 2, 8)
        self.refineclean1 = nn.Conv2d(3, 8, 7, padding=3)
        self.refineclean2 = nn.Conv2d(8, 3, 3, padding=1)
        small = [(3, 5, 4), (4, 8, 12), (12, 4, 12), (12, 4, 12), (24, 8, 4), (8, 8, 4)]
        large = [(3, 13, 8), (8, 16, 16), (16, 16, 16), (16, 16, 16), (32, 8, 8), (16, 8, 4)]
        once: list[Resample] = ["halve", "keep", "keep", "keep", "keep", "double"]
        twice: list[Resample] = ["halve", "halve", "keep", "keep", "double", "double"]
        self.dense0 = Stream(small, once, 3, statistics, joins=True)
        self.dense1 = Stream(large, twice, 5, statistics, joins=True)
        self.dense2 = Stream(large, _DOWN_UP, 7, statistics, joins=True)
        _add_maps(self.dense0, (4, 12, 12, 24, 8, 8))
        for stream in (self.dense1, self.dense2):
            _add_maps(stream, (8, 16, 16, 32, 16, 8))
            _add_refinement(stream)

    def layers(self, x: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Split (B, 3, H, W) in [-1, 1] into rain and restored image, told the density labels (B,)."""
        rain = self.rain(x, label)
        refined = functional.leaky_relu(self.refineclean1(x - rain), 0.2)
        return rain, torch.tanh(self.refineclean2(refined))

    def forward(self, x: Tensor) -> Tensor:
        """Restore (B, 3, H, W) in [0, 1], H and W multiples of 32, taken to hold rain of the first density."""
        return self.layers(2 * x - 1, x.new_ones(x.shape[0]))[1] / 2 + 0.5


class DenseRainResidual(_Refined):
    """The network that estimates the rain before its density is known (``Dense_rain_residual``): 3x3 streams."""

    def __init__(self, statistics: Statistics = "image") -> None:
        super().__init__(13, 1, 4)
        own = [(3, 13, 8), (8, 16, 16), (16, 32, 16), (16, 16, 16), (16, 8, 8), (8, 8, 4)]
        for number, (inputs, growth, outputs) in enumerate(own, 1):  # in the released files, and used by nothing
            setattr(self, f"dense_block{number}", Bottleneck(inputs, growth, 3, statistics))
            setattr(self, f"trans_block{number}", Transition(inputs + growth, outputs, "keep", statistics))
        small = [(3, 5, 4), (4, 8, 12), (12, 4, 12), (12, 4, 12), (12, 8, 4), (4, 8, 2)]
        large = [(3, 13, 8), (8, 16, 16), (16, 16, 16), (16, 16, 16), (16, 8, 8), (8, 8, 2)]
        never: list[Resample] = ["keep"] * 6
        once: list[Resample] = ["halve", "keep", "keep", "keep", "keep", "double"]
        twice: list[Resample] = ["halve", "halve", "keep", "keep", "double", "double"]
        self.dense0 = Stream(small, never, 3, statistics, joins=False)
        self.dense1 = Stream(large, once, 3, statistics, joins=False)
        self.dense2 = Stream(large, twice, 3, statistics, joins=False)
        for stream in (self.dense1, self.dense2):
            _add_refinement(stream)
            for index in range(1, 5):
                setattr(stream, f"conv10{index}0", nn.Conv2d(20, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Estimate the rain of (B, 3, H, W) in [-1, 1]; the program tells it the density 0 whatever the image."""
        return self.rain(x, x.new_zeros(x.shape[0]))


class DensityClassifier(nn.Module):
    """The first layer of VGG-19 and three more (``vgg19ca``): an image less its rain → scores of four densities."""

    def __init__(self, statistics: Statistics = "image") -> None:
        super().__init__()
        self.feature = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), ImageNorm2d(64, statistics), nn.ReLU())
        self.conv16 = nn.Conv2d(64, 24, 3, padding=1)
        self.dense_classifier = nn.Linear(24 * (SIDE // 7) ** 2, 512)
        self.dense_classifier1 = nn.Linear(512, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Score (B, 3, 512, 512) in [-1, 1]: (B, 4)."""
        pooled = functional.avg_pool2d(torch.relu(self.conv16(self.feature(x))), 7)
        return self.dense_classifier1(torch.relu(self.dense_classifier(pooled.flatten(1))))


class DIDMDN(nn.Module):
    """The three networks in the order of the released test.

    The program resizes every image to 512x512 and leaves it so. Here the density is told by the image of that size, and
    the rain removed from the image as it is.
    """

    rgb_range = 1.0
    reentrant = True
    size_multiple = 32

    def __init__(self) -> None:
        super().__init__()
        self.residual = DenseRainResidual()
        self.classifier = DensityClassifier()
        self.derain = DenseRain()

    def density(self, x: Tensor) -> Tensor:
        """Tell the density of (B, 3, H, W) in [-1, 1]: 1 to 4, (B,)."""
        x = functional.interpolate(x, size=(SIDE, SIDE), mode="bilinear", antialias=True)
        return self.classifier(x - self.residual(x)).argmax(1) + 1

    def forward(self, x: Tensor) -> Tensor:
        """Restore (B, 3, H, W) in [0, 1], H and W multiples of 32; stretched to [0, 1]."""
        x = 2 * x - 1
        return stretched(self.derain.layers(x, self.density(x))[1])
