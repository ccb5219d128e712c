"""DMPHN (Zhang, Dai, Li, Koniusz, CVPR 2019): patches of one, two and four in a hierarchy, and a stack of four of them.

Names of layers are those of the authors' files, one for every encoder and decoder of a stage and level, with the name
of the file before them: ``encoder_s1_lv3.layer1.weight`` (HongguangZhang/DMPHN-cvpr19-master, SDNet4.py, models.py).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.errors import HarnessError

LEVELS = (1, 2, 3)
FEATURES = (32, 64, 128)


def _residual(features: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(features, features, 3, padding=1), nn.ReLU(), nn.Conv2d(features, features, 3, padding=1)
    )


class DMPHNEncoder(nn.Module):
    """Three levels of a convolution and two residual blocks, each at half the last one's size (section 3.2)."""

    def __init__(self) -> None:
        super().__init__()
        inputs = 3
        for number, features in zip((1, 5, 9), FEATURES, strict=True):
            stride = 1 if number == 1 else 2
            self.add_module(f"layer{number}", nn.Conv2d(inputs, features, 3, stride=stride, padding=1))
            self.add_module(f"layer{number + 1}", _residual(features))
            self.add_module(f"layer{number + 2}", _residual(features))
            inputs = features

    def forward(self, x: Tensor) -> Tensor:
        """Map an image (B, 3, H, W), H and W multiples of 4, to features (B, 128, H / 4, W / 4)."""
        for number in (1, 5, 9):
            x = getattr(self, f"layer{number}")(x)
            x = getattr(self, f"layer{number + 1}")(x) + x
            x = getattr(self, f"layer{number + 2}")(x) + x
        return x


class DMPHNDecoder(nn.Module):
    """The encoder turned round: two residual blocks and a transposed convolution a level."""

    def __init__(self) -> None:
        super().__init__()
        for number, features in zip((13, 17, 21), reversed(FEATURES), strict=True):
            self.add_module(f"layer{number}", _residual(features))
            self.add_module(f"layer{number + 1}", _residual(features))
            last = nn.Conv2d(32, 3, 3, padding=1)
            enlarge = nn.ConvTranspose2d(features, features // 2, 4, stride=2, padding=1)
            self.add_module(f"layer{number + 3}", last if number == 21 else enlarge)

    def forward(self, x: Tensor) -> Tensor:
        """Map features (B, 128, H, W) to an image (B, 3, 4 H, 4 W)."""
        for number in (13, 17, 21):
            x = getattr(self, f"layer{number}")(x) + x
            x = getattr(self, f"layer{number + 1}")(x) + x
            x = getattr(self, f"layer{number + 3}")(x)
        return x


class StackDMPHN(nn.Module):
    """Stack-DMPHN(1-2-4): stages that restore one after another (section 3.3).

    A stage begins with quarters of its image, joins what it makes of them to halves, and these to the whole image. Its
    features are added to those of the stage before.

    Parameters
    ----------
    stages : int
        Four in the published rows.
    """

    reentrant = True

    rgb_range = 1.0

    size_multiple = 8
    """Half of each side is halved twice."""

    def __init__(self, stages: int = 4) -> None:
        super().__init__()
        self.stages = stages
        for stage in range(1, stages + 1):
            for level in LEVELS:
                self.add_module(f"encoder_s{stage}_lv{level}", DMPHNEncoder())
                self.add_module(f"decoder_s{stage}_lv{level}", DMPHNDecoder())

    @property
    def parts(self) -> list[str]:
        """Names of the encoders and decoders, which are those of the released files."""
        return [name for name, _ in self.named_children()]

    def forward(self, x: Tensor) -> Tensor:
        """Restore (B, 3, H, W) in [0, 1], H and W multiples of 8; the last stage's image, not clipped."""
        return self.restore_stages(x)[-1]

    def restore_stages(self, x: Tensor) -> list[Tensor]:
        """Give the restored image of every stage, in [0, 1] as the input."""
        if x.shape[2] % self.size_multiple or x.shape[3] % self.size_multiple:
            raise HarnessError(
                f"DMPHN needs a width and height that {self.size_multiple} divides, not {x.shape[3]}x{x.shape[2]}"
            )
        image = x - 0.5
        images: list[Tensor] = []
        before: dict[str, Tensor] = {}
        for stage in range(1, self.stages + 1):
            # The middle level of every later stage adds the first stage's image (SDNet4_test.py).
            image, before = self._stage(stage, image, before, images[0] if images else None)
            images.append(image)
        return [made + 0.5 for made in images]

    def _stage(
        self, stage: int, image: Tensor, before: dict[str, Tensor], first: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Run one stage on an image around 0; gives its image and its features by place."""
        encode = [getattr(self, f"encoder_s{stage}_lv{level}") for level in LEVELS]
        decode = [getattr(self, f"decoder_s{stage}_lv{level}") for level in LEVELS]
        features: dict[str, Tensor] = {}
        halves = dict(zip(("top", "bottom"), image.chunk(2, 2), strict=True))
        for place, half in halves.items():
            quarters = [encode[2](quarter) for quarter in half.chunk(2, 3)]
            lowest = _added(torch.cat(quarters, 3), before.get(f"{place} of quarters"))
            features[f"{place} of quarters"] = lowest
            middle = encode[1](half + decode[2](lowest)) + lowest
            features[place] = _added(middle, before.get(place))
        joined = torch.cat([features["top"], features["bottom"]], 2)
        whole = encode[0](image + _added(decode[1](joined), first)) + joined
        features["whole"] = _added(whole, before.get("whole"))
        return decode[0](features["whole"]), features


def _added(x: Tensor, other: Tensor | None) -> Tensor:
    return x if other is None else x + other
