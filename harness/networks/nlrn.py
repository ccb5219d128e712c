"""NLRN: one residual block with a non-local module, applied twelve times; each pass adds to the correlations before it.

Liu, Wen, Fan, Loy, Huang, "Non-Local Recurrent Network for Image Restoration", NeurIPS 2018. Sizes and order of layers
are those of the authors' first program, whose models are the paper's (Ding-Liu/NLRN_v0, `models/nlrn.py`): every pass
shares the convolutions and has batch normalisations of its own. The confined neighbourhood of the paper is a window of
45x45 pixels that attends within itself; an image is the mean of windows seven pixels apart (`test_sr.py`).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.networks.blocks import conv

WINDOWS_AT_ONCE = 8
"""Each holds its correlations: 16 MB for 45x45 pixels."""


def _normalise(channels: int) -> nn.BatchNorm2d:
    # TensorFlow's defaults: epsilon 0.001 and a momentum of 0.99, which is 0.01 here.
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class NLRN(nn.Module):
    """NLRN on one channel.

    Input and output are ``(B, 1, H, W)`` in 0..255: luma enlarged by bicubic, or a noisy gray image. In evaluation an
    image larger than a window is the mean of its windows; in training it is one window.

    Parameters
    ----------
    states : int
        Passes through the recurrent block, 12.
    features : int
        Channels, 128.
    embedded : int
        Channels of the embeddings that are correlated, 64.
    window, stride : int
        Side of a window, 45 pixels, and the distance of windows, 7.
    """

    rgb_range = 255.0
    size_multiple = 1
    reentrant = True

    def __init__(
        self, states: int = 12, features: int = 128, embedded: int = 64, window: int = 45, stride: int = 7
    ) -> None:
        super().__init__()
        self.states = states
        self.window = window
        self.stride = stride
        self.norm_in = _normalise(1)
        self.conv1 = conv(1, features)
        self.norms = nn.ModuleList(_normalise(features) for _ in range(3 * states))
        self.theta = conv(features, embedded, 1)
        self.phi = conv(features, embedded, 1)
        self.g = conv(features, features, 1)
        self.conv_a = conv(features, features)
        self.conv_b = conv(features, features)
        self.norm_out = _normalise(features)
        self.conv_end = conv(features, 1)
        # As in TensorFlow, but for the non-local module, which starts by changing nothing.
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        nn.init.zeros_(self.g.weight)

    def residual(self, image: Tensor) -> Tensor:
        """Return what to add to ``(B, 1, H, W)``, one window."""
        x = source = self.conv1(self.norm_in(image))
        correlations: Tensor | None = None
        for state in range(self.states):
            first, second, third = (self.norms[3 * state + place] for place in range(3))
            x = torch.relu(first(x))
            scores = self.theta(x).flatten(2).transpose(1, 2) @ self.phi(x).flatten(2)
            # Correlation propagation (section 3.3): the scores of all passes so far add up.
            correlations = scores if correlations is None else correlations + scores
            gathered = self.g(x).flatten(2) @ correlations.softmax(2).transpose(1, 2)
            x = x + gathered.view_as(x)
            x = self.conv_b(torch.relu(third(self.conv_a(second(x))))) + source
        return self.conv_end(torch.relu(self.norm_out(x)))

    def forward(self, image: Tensor) -> Tensor:
        """Restore ``(B, 1, H, W)``."""
        height, width = image.shape[2:]
        if self.training or max(height, width) <= self.window:
            return image + self.residual(image)
        return torch.stack([self._in_windows(one) for one in image])

    def _in_windows(self, image: Tensor) -> Tensor:
        total, count = torch.zeros_like(image), torch.zeros_like(image)
        places = [(y, x) for y in self._spans(image.shape[1]) for x in self._spans(image.shape[2])]
        for start in range(0, len(places), WINDOWS_AT_ONCE):
            here = places[start : start + WINDOWS_AT_ONCE]
            restored = self.residual(torch.stack([image[:, y, x] for y, x in here]))
            for (y, x), window in zip(here, restored, strict=True):
                total[:, y, x] += window
                count[:, y, x] += 1
        return image + total / count

    def _spans(self, side: int) -> list[slice]:
        last = max(0, side - self.window)
        return [slice(start, start + self.window) for start in (*range(0, last, self.stride), last)]


def from_tensorflow(variables: Mapping[str, Tensor], where: str, states: int = 12) -> dict[str, Tensor]:
    """Rename the variables of a released checkpoint; the optimiser's, beside the model's, are left out.

    Raises
    ------
    HarnessError
        A variable of the model belongs to no layer of NLRN.
    """
    layers = {"conv1": "conv1", "conv_end": "conv_end", "rnn/RB1_a": "conv_a", "rnn/RB1_b": "conv_b"}
    layers |= {f"rnn/non_local_{name}": name for name in ("theta", "phi", "g")}
    layers |= {_numbered("batch_normalization", index): name for index, name in enumerate(("norm_in", "norm_out"))}
    layers |= {_numbered("rnn/batch_normalization", index): f"norms.{index}" for index in range(3 * states)}
    kinds = {
        "kernel": "weight",
        "bias": "bias",
        "gamma": "weight",
        "beta": "bias",
        "moving_mean": "running_mean",
        "moving_variance": "running_var",
    }
    found: dict[str, Tensor] = {}
    for name, value in variables.items():
        if not name.startswith("model/"):
            continue
        layer, _, kind = name.removeprefix("model/").rpartition("/")
        if layer not in layers or kind not in kinds:
            raise HarnessError(f"{where}: '{name}' is left over; these are the weights of another network")
        found[f"{layers[layer]}.{kinds[kind]}"] = value
    return found | {f"{name}.num_batches_tracked": torch.tensor(0) for name in layers.values() if "norm" in name}


def _numbered(name: str, index: int) -> str:
    """Name that TensorFlow gives to layers of one kind that were given none."""
    return f"{name}_{index}" if index else name
