"""Stack(4)-DMPHN(1-2-4) with the authors' weights, a file for each encoder and decoder, and trained here."""

from __future__ import annotations

from typing import Any

from harness.methods import method
from harness.methods.trained import trained_method

PAPER = "Zhang et al., CVPR 2019"
URL = "https://github.com/HongguangZhang/DMPHN-cvpr19-master"


def _network(task: str, level: int) -> Any:
    from harness.networks.dmphn import StackDMPHN

    return StackDMPHN()


# The authors' program was run with a torchvision whose save_image truncates: that makes test_results/SDNet4_test_res
# out of test_samples (000001.png: 35 of a million samples differ, by 1; half of them where outputs are rounded).
@method(
    "dmphn",
    tasks=["deblur"],
    title="DMPHN",
    paper=PAPER,
    url=URL,
    origin="released",
    weights=["dmphn"],
    # The first of 24.
    file=lambda task, level: "dmphn/encoder_s1_lv1.pkl",
    network=_network,
    checked="the authors' outputs on generated weights, and an image of their release with its weights",
    saving="truncate",
)
def build(task: str, level: int) -> Any:
    """Build the network and fill its encoders and decoders, each from its file."""
    from harness.assets.weights.loading import load_weights
    from harness.networks.checkpoints import load_released

    network = _network(task, level)
    state = {
        f"{part}.{key}": value for part in network.parts for key, value in load_weights("dmphn", f"{part}.pkl").items()
    }
    return load_released(network, state, "weights dmphn/*.pkl")


trained_method("dmphn-trained", _network, {"deblur": "dmphn-deblur"}, title="DMPHN", paper=PAPER, url=URL)
