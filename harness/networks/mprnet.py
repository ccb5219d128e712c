"""MPRNet (Zamir et al., CVPR 2021): three stages on four patches, two halves and the whole image.

Names of layers are those of the released checkpoints. Sizes: denoising 80, 48, 32; deblurring 96, 48, 32; deraining 40,
20, 16 (features, added per level of the U-Nets, added in the original-resolution network).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.networks.padding import mirrored


def _conv(inputs: int, outputs: int, kernel: int, *, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias)


class MPRNetChannelAttention(nn.Module):
    """Scale channels by what their means say (section 3.2)."""

    def __init__(self, features: int, reduction: int = 4) -> None:
        super().__init__()
        squeezed = features // reduction
        self.conv_du = nn.Sequential(
            _conv(features, squeezed, 1), nn.ReLU(), _conv(squeezed, features, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Take and return (B, C, H, W)."""
        return x * self.conv_du(x.mean((2, 3), keepdim=True))


class ChannelAttentionBlock(nn.Module):
    """Two convolutions, channel attention, and the input added; every block shares one PReLU slope."""

    def __init__(self, features: int, act: nn.PReLU) -> None:
        super().__init__()
        self.CA = MPRNetChannelAttention(features)
        self.body = nn.Sequential(_conv(features, features, 3), act, _conv(features, features, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Take and return (B, C, H, W)."""
        return self.CA(self.body(x)) + x


class SupervisedAttention(nn.Module):
    """Pass on the features that a stage's own image supports, and that image (section 3.3)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1 = _conv(features, features, 1)
        self.conv2 = _conv(features, 3, 1)
        self.conv3 = _conv(3, features, 1)

    def forward(self, x: Tensor, image: Tensor) -> Tensor:
        """Take features (B, C, H, W) and the degraded image (B, 3, H, W)."""
        restored = self.conv2(x) + image
        return self.conv1(x) * torch.sigmoid(self.conv3(restored)) + x


def _resize(scale: float, inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Upsample(scale_factor=scale, mode="bilinear", align_corners=False), _conv(inputs, outputs, 1)
    )


class DownSample(nn.Module):
    """Halve the resolution bilinearly and widen."""

    def __init__(self, features: int, added: int) -> None:
        super().__init__()
        self.down = _resize(0.5, features, features + added)

    def forward(self, x: Tensor) -> Tensor:
        """Take (B, C, H, W) with even H and W."""
        return self.down(x)


class UpSample(nn.Module):
    """Double the resolution bilinearly and narrow."""

    def __init__(self, features: int, added: int) -> None:
        super().__init__()
        self.up = _resize(2, features + added, features)

    def forward(self, x: Tensor) -> Tensor:
        """Take (B, C + added, H, W)."""
        return self.up(x)


class Encoder(nn.Module):
    """The left half of a stage's U-Net; a later stage's adds the earlier stage's features at every level."""

    def __init__(self, features: int, added: int, act: nn.PReLU, *, fuses: bool) -> None:
        super().__init__()
        widths = [features + level * added for level in range(3)]
        for level, width in enumerate(widths, 1):
            setattr(
                self, f"encoder_level{level}", nn.Sequential(*[ChannelAttentionBlock(width, act) for _ in range(2)])
            )
            if fuses:
                setattr(self, f"csff_enc{level}", _conv(width, width, 1))
                setattr(self, f"csff_dec{level}", _conv(width, width, 1))
        self.down12 = DownSample(widths[0], added)
        self.down23 = DownSample(widths[1], added)

    def forward(
        self, x: Tensor, encoded: list[Tensor] | None = None, decoded: list[Tensor] | None = None
    ) -> list[Tensor]:
        """Return the features of the three levels."""
        levels = []
        for level in range(1, 4):
            if level > 1:
                x = (self.down12, self.down23)[level - 2](x)
            x = getattr(self, f"encoder_level{level}")(x)
            if encoded is not None and decoded is not None:
                x = x + getattr(self, f"csff_enc{level}")(encoded[level - 1])
                x = x + getattr(self, f"csff_dec{level}")(decoded[level - 1])
            levels.append(x)
        return levels


class Decoder(nn.Module):
    """The right half of a stage's U-Net."""

    decoder_level1: nn.Sequential
    decoder_level2: nn.Sequential
    decoder_level3: nn.Sequential

    def __init__(self, features: int, added: int, act: nn.PReLU) -> None:
        super().__init__()
        widths = [features + level * added for level in range(3)]
        for level, width in enumerate(widths, 1):
            setattr(
                self, f"decoder_level{level}", nn.Sequential(*[ChannelAttentionBlock(width, act) for _ in range(2)])
            )
        self.skip_attn1 = ChannelAttentionBlock(widths[0], act)
        self.skip_attn2 = ChannelAttentionBlock(widths[1], act)
        self.up21 = UpSample(widths[0], added)
        self.up32 = UpSample(widths[1], added)

    def forward(self, encoded: list[Tensor]) -> list[Tensor]:
        """Return the features of the three levels, the full resolution first."""
        level3 = self.decoder_level3(encoded[2])
        level2 = self.decoder_level2(self.up32(level3) + self.skip_attn2(encoded[1]))
        level1 = self.decoder_level1(self.up21(level2) + self.skip_attn1(encoded[0]))
        return [level1, level2, level3]


class OriginalResolutionBlock(nn.Module):
    """Channel attention blocks and a convolution, and the input added (section 3.1)."""

    def __init__(self, features: int, act: nn.PReLU, blocks: int = 8) -> None:
        super().__init__()
        body: list[nn.Module] = [ChannelAttentionBlock(features, act) for _ in range(blocks)]
        self.body = nn.Sequential(*body, _conv(features, features, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Take and return (B, C, H, W)."""
        return self.body(x) + x


class OriginalResolutionNetwork(nn.Module):
    """The last stage: no resampling of its own; adds the second stage's levels, enlarged."""

    def __init__(self, features: int, added: int, widened: int, act: nn.PReLU) -> None:
        super().__init__()
        wide = features + widened
        for number in range(1, 4):
            setattr(self, f"orb{number}", OriginalResolutionBlock(wide, act))
            setattr(self, f"conv_enc{number}", _conv(features, wide, 1))
            setattr(self, f"conv_dec{number}", _conv(features, wide, 1))
        for side in ("enc", "dec"):
            setattr(self, f"up_{side}1", UpSample(features, added))
            twice = nn.Sequential(UpSample(features + added, added), UpSample(features, added))
            setattr(self, f"up_{side}2", twice)

    def forward(self, x: Tensor, encoded: list[Tensor], decoded: list[Tensor]) -> Tensor:
        """Take features at full resolution and the second stage's levels."""
        for number in range(1, 4):
            x = getattr(self, f"orb{number}")(x)
            for side, levels in (("enc", encoded), ("dec", decoded)):
                level = levels[number - 1]
                if number > 1:
                    level = getattr(self, f"up_{side}{number - 1}")(level)
                x = x + getattr(self, f"conv_{side}{number}")(level)
        return x


class MPRNet(nn.Module):
    """The network.

    Parameters
    ----------
    n_feat : int
        Features of the first level.
    scale_unetfeats : int
        Features that each level of the U-Nets adds.
    scale_orsnetfeats : int
        Features that the original-resolution network adds.
    """

    shallow_feat1: nn.Sequential
    shallow_feat2: nn.Sequential
    shallow_feat3: nn.Sequential

    rgb_range = 1.0

    multiple = 8
    """Heights and widths must be multiples of this; the forward pass mirrors the image up to it."""

    def __init__(self, n_feat: int = 80, scale_unetfeats: int = 48, scale_orsnetfeats: int = 32) -> None:
        super().__init__()
        act = nn.PReLU()
        for stage in range(1, 4):
            shallow = nn.Sequential(_conv(3, n_feat, 3), ChannelAttentionBlock(n_feat, act))
            setattr(self, f"shallow_feat{stage}", shallow)
        self.stage1_encoder = Encoder(n_feat, scale_unetfeats, act, fuses=False)
        self.stage1_decoder = Decoder(n_feat, scale_unetfeats, act)
        self.stage2_encoder = Encoder(n_feat, scale_unetfeats, act, fuses=True)
        self.stage2_decoder = Decoder(n_feat, scale_unetfeats, act)
        self.stage3_orsnet = OriginalResolutionNetwork(n_feat, scale_unetfeats, scale_orsnetfeats, act)
        self.sam12 = SupervisedAttention(n_feat)
        self.sam23 = SupervisedAttention(n_feat)
        self.concat12 = _conv(2 * n_feat, n_feat, 3)
        self.concat23 = _conv(2 * n_feat, n_feat + scale_orsnetfeats, 3)
        self.tail = _conv(n_feat + scale_orsnetfeats, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Restore (B, 3, H, W) in [0, 1]; the last stage's image, not clipped.

        Images whose sides are no multiples of 8 are mirrored at the right and bottom and cropped again, as the authors'
        program does for RealBlur.
        """
        height, width = x.shape[2:]
        padded = mirrored(x, self.multiple)
        return self._restore(padded)[:, :, :height, :width]

    def _restore(self, image: Tensor) -> Tensor:
        # The first stage's U-Net sees four patches, and joins their features to halves before decoding (figure 2).
        halves = _split(image, 2)
        encoded1, decoded1 = [], []
        for half in halves:
            patches = [self.stage1_encoder(self.shallow_feat1(patch)) for patch in _split(half, 3)]
            encoded1.append([torch.cat(levels, 3) for levels in zip(*patches, strict=True)])
            decoded1.append(self.stage1_decoder(encoded1[-1]))
        # The second stage sees the halves, and joins their features to the whole image before decoding.
        encoded2 = []
        for half, encoded, decoded in zip(halves, encoded1, decoded1, strict=True):
            passed = self.sam12(decoded[0], half)
            joined = self.concat12(torch.cat([self.shallow_feat2(half), passed], 1))
            encoded2.append(self.stage2_encoder(joined, encoded, decoded))
        whole = [torch.cat(levels, 2) for levels in zip(*encoded2, strict=True)]
        decoded2 = self.stage2_decoder(whole)
        passed = self.sam23(decoded2[0], image)
        joined = self.concat23(torch.cat([self.shallow_feat3(image), passed], 1))
        return self.tail(self.stage3_orsnet(joined, whole, decoded2)) + image


def _split(x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    middle = x.shape[axis] // 2
    return x.narrow(axis, 0, middle), x.narrow(axis, middle, x.shape[axis] - middle)
