"""TNRD with the authors' models: gray denoising (colour: each channel by itself) and JPEG."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.errors import NotAvailableError
from harness.methods import method

# Of the authors' 5, 15, 25 and 50 the one that the tables print. The sigma 10, 35 and 75 of csjunxu/TRD_CVPR2015 are
# other models: with its 10 Kodak24 in gray measures 34.599 dB, where 34.41 is printed.
SIGMAS = (50,)
QUALITIES = (10, 20, 30)


@method(
    "tnrd",
    tasks=["denoise-gray", "denoise-rgb", "jpeg"],
    title="TNRD",
    paper="Chen and Pock, IEEE TPAMI 2017",
    url="https://arxiv.org/abs/1508.02848",
    origin="released",
    weights=["tnrd"],
    file=lambda task, level: f"tnrd/deblock-q{level}.mat" if task == "jpeg" else f"tnrd/gray-sigma{level}.mat",
    rgb_range=255,
    checked="the released weights and the numbers printed for them",
)
def build(task: str, level: int) -> Callable[[Any], Any]:
    """Build the diffusion network of a noise level or JPEG quality."""
    from harness.assets.weights.loading import load_weights, ready
    from harness.networks.tnrd import released_tnrd

    jpeg = task == "jpeg"
    if level not in (QUALITIES if jpeg else SIGMAS):
        what = f"JPEG quality {level}" if jpeg else f"sigma {level}"
        raise NotAvailableError(f"no released model of TNRD for {what} is known to the harness")
    file = f"deblock-q{level}.mat" if jpeg else f"gray-sigma{level}.mat"
    arrays = {name: tensor.numpy() for name, tensor in load_weights("tnrd", file).items()}
    apply = ready(released_tnrd(arrays, f"weights tnrd/{file}", level if jpeg else None))

    def restore(batch: Any) -> Any:
        # There is no colour model: the channels go through as images of their own.
        channels = batch.shape[1]
        return apply(batch.flatten(0, 1)[:, None]).unflatten(0, (-1, channels))[:, :, 0]

    return restore
