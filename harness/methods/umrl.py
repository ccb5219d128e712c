"""UMRL with the authors' weights: the model that they trained for the set, once over the image or cycle-spun."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.methods import method
from harness.methods.trained import trained_method

PAPER = "Yasarla and Patel, CVPR 2019"
URL = "https://github.com/rajeevyasarla/UMRL--using-Cycle-Spinning"
# Test100 is the test part of Rain800, Test1200 that of DID-MDN's data.
MODELS = {"test100": "rain800.pth", "rain100l": "jorder.pth", "test1200": "didmdn.pth"}


def _network(task: str, level: int) -> Any:
    from harness.networks.umrl import StretchedUMRL

    return StretchedUMRL()


def _spun_network(task: str, level: int) -> Any:
    from harness.networks.umrl import SpunUMRL

    return SpunUMRL()


def _trainable_network(task: str, level: int) -> Any:
    from harness.networks.umrl import UMRL

    return UMRL()


def _register(name: str, title: str, network: Callable[[str, int], Any]) -> None:
    # The program saves bytes of 255 * output, so its images are truncated.
    @method(
        name,
        tasks=["derain"],
        title=title,
        paper=PAPER,
        url=URL,
        origin="released",
        weights=["umrl"],
        weights_for=MODELS,
        network=network,
        checked="the authors' outputs on generated weights, and their weights",
        saving="truncate",
    )
    def build(task: str, level: int, dataset: str) -> Any:
        """Build the network that was trained for a dataset."""
        from harness.assets.weights.loading import released_network

        return released_network("umrl", MODELS[dataset], lambda: network(task, level))


_register("umrl", "UMRL", _network)
_register("umrl-spun", "UMRL (cycle spinning)", _spun_network)
trained_method("umrl-trained", _trainable_network, {"derain": "umrl-derain"}, title="UMRL", paper=PAPER, url=URL)
