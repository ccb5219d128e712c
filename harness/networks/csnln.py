"""CSNLN: cross-scale non-local network, as its released code (src/model) builds it; the paper's text is not at hand."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from harness.errors import HarnessError
from harness.networks.blocks import ConvPReLU, MeanShift, ResBlock, check_scale, conv
from harness.networks.dot_product_attention import dot_product_attention
from harness.networks.patch_attention import MEMORY_BUDGET, patch_attention
from harness.networks.recurrence import few_kernels, uses
from harness.networks.resizing import resize

ESCAPE_NAN = 1e-4
"""Smallest norm that a key patch is divided by (released code)."""

OVERLAP = 6.0
"""The overlapping responses are divided by 6 (released code)."""


class InScaleAttention(nn.Module):
    """Non-local attention between pixels of the same map (released: NonLocalAttention); products are not scaled."""

    def __init__(self, channel: int = 128, reduction: int = 2) -> None:
        super().__init__()
        self.kernel = "streamed"
        self.memory_budget = MEMORY_BUDGET
        self.conv_match1 = ConvPReLU(channel, channel // reduction, 1)
        self.conv_match2 = ConvPReLU(channel, channel // reduction, 1)
        self.conv_assembly = ConvPReLU(channel, channel, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, channel, H, W)`` to the same shape."""
        return self.attend(self.conv_match1(x), self.conv_match2(x), self.conv_assembly(x))

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attend between embeddings ``(B, c, H, W)``; the values have ``channel`` channels."""
        return dot_product_attention(
            query, key, value, form="gather", kernel=self.kernel, memory_budget=self.memory_budget
        )


class CrossScaleAttention(nn.Module):
    """Cross-scale non-local attention: match at the shrunk scale, paste the full-size patches.

    Queries are 3x3 patches of the map, keys 3x3 patches of the map shrunk by s, values the 3s x 3s patches
    that the keys stand for, pasted with stride s. In s x s pixel blocks a value patch is 3x3 blocks and the
    pasting has stride 1, so this is ``patch_attention`` with values of ``s^2 channel`` channels.
    """

    def __init__(
        self, channel: int = 128, reduction: int = 2, ksize: int = 3, scale: int = 2, softmax_scale: float = 10.0
    ) -> None:
        super().__init__()
        self.scale = scale
        self.ksize = ksize
        self.softmax_scale = softmax_scale
        self.kernel = "streamed"
        self.memory_budget = MEMORY_BUDGET
        self.register_buffer("escape_NaN", torch.tensor([ESCAPE_NAN]))
        self.conv_match_1 = ConvPReLU(channel, channel // reduction, 1)
        self.conv_match_2 = ConvPReLU(channel, channel // reduction, 1)
        self.conv_assembly = ConvPReLU(channel, channel, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, channel, H, W)``, both multiples of ``scale``, to ``(B, channel, scale H, scale W)``."""
        return self.attend(self.conv_match_1(x), self.key(x), self.conv_assembly(x))

    def key(self, x: Tensor) -> Tensor:
        """Embed the map shrunk by ``scale``: ``(B, channel / reduction, H / scale, W / scale)``."""
        height, width = x.shape[-2:]
        if height % self.scale or width % self.scale:
            raise HarnessError(
                f"cross-scale attention x{self.scale} needs a width and height that {self.scale} divides, "
                f"not {width}x{height}; pad the image first"
            )
        return self.conv_match_2(resize(x, (height // self.scale, width // self.scale), "bilinear"))

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attend from the embedded map to its shrunk one, and paste values ``(B, channel, H, W)`` of full size."""
        response = patch_attention(
            query,
            [key],
            [functional.pixel_unshuffle(value, self.scale)],
            ksize=self.ksize,
            softmax_scale=self.softmax_scale,
            norm_floor=ESCAPE_NAN,
            kernel=self.kernel,
            memory_budget=self.memory_budget,
        )
        return functional.pixel_shuffle(response, self.scale) / OVERLAP


class MultiSourceProjection(nn.Module):
    """Fuse the in-scale and the cross-scale branch at the larger size (released: MultisourceProjection)."""

    def __init__(self, n_feats: int, scale: int) -> None:
        super().__init__()
        kernel, stride, padding = _PROJECTION[scale]
        self.up_attention = CrossScaleAttention(n_feats, scale=stride)
        self.down_attention = InScaleAttention(n_feats)
        self.upsample = nn.Sequential(
            nn.ConvTranspose2d(n_feats, n_feats, kernel, stride=stride, padding=padding), nn.PReLU()
        )
        self.encoder = ResBlock(n_feats, nn.PReLU())

    @property
    def embeddings(self) -> list[ConvPReLU]:
        """The layers that embed the input itself: of the in-scale attention, then of the cross-scale one."""
        down, up = self.down_attention, self.up_attention
        return [down.conv_match1, down.conv_match2, down.conv_assembly, up.conv_match_1, up.conv_assembly]

    def joint(self) -> tuple[Tensor, ...]:
        """Filters, biases and slopes of the five embeddings of the input, as of one convolution."""
        # Filters, biases and the one slope of each, which holds for all of its channels.
        weights = [tuple(layer.parameters()) for layer in self.embeddings]
        slopes = [slope.expand(len(bias)) for _, bias, slope in weights]
        return torch.cat([w[0] for w in weights]), torch.cat([w[1] for w in weights]), torch.cat(slopes)

    def forward(self, x: Tensor, joint: tuple[Tensor, ...] = ()) -> Tensor:
        """Map ``(B, n_feats, H, W)`` to the size enlarged by the branch's factor; see `joint`."""
        down, up = self.down_attention, self.up_attention
        if joint:
            filters, biases, slopes = joint
            widths = [layer.out_channels for layer in self.embeddings]
            maps = functional.prelu(functional.conv2d(x, filters, biases), slopes).split(widths, dim=1)
            pixels, patches = down.attend(*maps[:3]), up.attend(maps[3], up.key(x), maps[4])
        else:
            pixels, patches = down(x), up(x)
        down_map = self.upsample(pixels)
        return down_map + self.encoder(patches - down_map)


_PROJECTION = {2: (6, 2, 2), 3: (9, 3, 3), 4: (6, 2, 2)}
"""Scale to (kernel, stride, padding) of the cell's (transposed) convolutions; x4 goes in two steps of 2."""


class SelfExemplarMiningCell(nn.Module):
    """The recurrent cell (released: RecurrentProjection): projections, then back-projection of the local branch."""

    def __init__(self, n_feats: int, scale: int) -> None:
        super().__init__()
        self.scale = scale

        def down(kernel: int, stride: int, padding: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(n_feats, n_feats, kernel, stride, padding), nn.PReLU())

        def up(kernel: int, stride: int, padding: int) -> nn.Sequential:
            return nn.Sequential(nn.ConvTranspose2d(n_feats, n_feats, kernel, stride, padding), nn.PReLU())

        size = _PROJECTION[scale]
        self.multi_source_projection = MultiSourceProjection(n_feats, scale)
        self.down_sample_1 = down(*size)
        if scale != 4:
            self.down_sample_2 = down(*size)
        self.error_encode = up(*size)
        self.post_conv = ConvPReLU(n_feats, n_feats, 3)
        if scale == 4:
            self.multi_source_projection_2 = MultiSourceProjection(n_feats, scale)
            self.down_sample_3 = down(8, 4, 2)
            self.down_sample_4 = down(8, 4, 2)
            self.error_encode_2 = up(8, 4, 2)

    @property
    def projections(self) -> list[MultiSourceProjection]:
        """One for x2 and x3, two for x4."""
        first = self.multi_source_projection
        return [first, self.multi_source_projection_2] if self.scale == 4 else [first]

    def forward(self, x: Tensor, joint: tuple[Tensor, ...] = ()) -> tuple[Tensor, Tensor]:
        """Return the next low-resolution state and the high-resolution features of this step.

        `joint` holds `MultiSourceProjection.joint` of each projection, or nothing: then each embedding is computed by
        its own convolution.
        """
        h = self.multi_source_projection(x, joint[:3])
        h = h + self.error_encode(x - self.down_sample_1(h))
        if self.scale != 4:
            return self.post_conv(self.down_sample_2(h)), h
        h = self.multi_source_projection_2(h, joint[3:])
        h = h + self.error_encode_2(x - self.down_sample_3(h))
        return self.post_conv(self.down_sample_4(h)), h


class CSNLN(nn.Module):
    """CSNLN for super-resolution: one cell applied ``depth`` times, its features concatenated.

    Input ``(B, n_colors, H, W)`` in ``[0, rgb_range]``; height and width must be multiples of 2 (x2, x4) or
    3 (x3). Output ``(B, n_colors, scale H, scale W)``.

    Parameters
    ----------
    scale : int
        2, 3 or 4.
    depth : int
        Applications of the cell, 12.
    n_feats : int
        Channels, 128.
    n_colors : int
        3; the mean shift is defined for RGB only.
    rgb_range : float
        Largest sample value, 1 in the released checkpoints.
    """

    reentrant = True

    def __init__(
        self, scale: int, depth: int = 12, n_feats: int = 128, n_colors: int = 3, rgb_range: float = 1.0
    ) -> None:
        super().__init__()
        check_scale(scale)
        self.scale = scale
        self.depth = depth
        self.rgb_range = rgb_range
        self.size_multiple = 3 if scale == 3 else 2
        self.sub_mean = MeanShift(rgb_range, -1)
        self.head = nn.Sequential(ConvPReLU(n_colors, n_feats, 3), ConvPReLU(n_feats, n_feats, 3))
        self.SEM = SelfExemplarMiningCell(n_feats, scale)
        self.tail = nn.Sequential(conv(n_feats * depth, n_colors))
        self.add_mean = MeanShift(rgb_range, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Upscale ``(B, n_colors, H, W)`` by ``scale``."""
        x = self.head(self.sub_mean(x))
        features = []
        for weights, joint in self._uses(x):
            x, h = functional_call(self.SEM, weights, (x, joint)) if weights else self.SEM(x)
            features.append(h)
        return self.add_mean(self.tail(torch.cat(features, dim=1)))

    def _uses(self, x: Tensor) -> Iterator[tuple[dict[str, Tensor], tuple[Tensor, ...]]]:
        """What each application of the cell is given: its weights and `joint`, or where a CPU computes, nothing."""
        if not few_kernels(x):
            yield from itertools.repeat(({}, ()), self.depth)
            return
        projections = self.SEM.projections
        joint = [tensor for projection in projections for tensor in projection.joint()]
        inside = {id(p) for each in projections for layer in each.embeddings for p in layer.parameters()}
        own = {name: p for name, p in self.SEM.named_parameters() if id(p) not in inside}
        for tensors in uses((*own.values(), *joint), self.depth):
            yield dict(zip(own, tensors, strict=False)), tensors[len(own) :]
