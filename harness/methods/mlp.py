"""MLP with the authors' weights, one file a noise level; a photograph's channels are denoised one by one."""

from __future__ import annotations

from typing import Any

from harness.errors import NotAvailableError
from harness.methods import method
from harness.methods.trained import trained_method

PAPER = "Burger et al., CVPR 2012"
URL = "http://people.tuebingen.mpg.de/burger/neural_denoising/"
SIGMAS = (10, 25, 35, 50, 65, 75, 170)
# Jun Xu's program for the Darmstadt set takes this model whatever the photograph
# (csjunxu/MLP_Code_CVPR2012, Demo_MLP_DND2017.m).
REAL = 10


def _sigma(task: str, level: int) -> int:
    return REAL if task == "denoise-real" else level


def _file(task: str, level: int) -> str:
    sigma = _sigma(task, level)
    return f"mlp/sigma{sigma}.mat" if sigma in SIGMAS else ""


def _network(task: str, level: int) -> Any:
    from harness.networks.mlp import MLP

    return MLP()


@method(
    "mlp",
    tasks=["denoise-gray", "denoise-real"],
    title="MLP",
    paper=PAPER,
    url=URL,
    origin="released",
    weights=["mlp"],
    file=_file,
    network=_network,
    checked="the authors' program, patch by patch; no weights were at hand",
)
def build(task: str, level: int) -> Any:
    """Build the perceptron of a noise level; its hidden layers are those of the file."""
    from harness.assets.weights.loading import load_weights
    from harness.networks.checkpoints import load_released
    from harness.networks.mlp import MLP, hidden_layers

    sigma = _sigma(task, level)
    if sigma not in SIGMAS:
        raise NotAvailableError(f"MLP was released for sigma {', '.join(map(str, SIGMAS))}, not for {sigma}")
    weights = load_weights("mlp", f"sigma{sigma}.mat")
    return load_released(MLP(hidden_layers(weights)), weights, f"weights mlp/sigma{sigma}.mat")


trained_method("mlp-trained", _network, {"denoise-gray": "mlp-denoise-gray"}, title="MLP", paper=PAPER, url=URL)
