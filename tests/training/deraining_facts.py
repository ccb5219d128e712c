"""What the programs of the deraining systems and of MLP say about their training, read once more."""

from __future__ import annotations

from typing import NamedTuple


class Trained(NamedTuple):
    """Patch, batch, loss, optimiser and length of a recipe, and where the program or paper says so."""

    patch: int
    batch: int
    loss: dict[str, float]
    rate: float
    betas: tuple[float, float]
    decay: float
    iterations: int
    length_of: str
    where: str


USUAL = (0.9, 0.999)
FACTS = {
    "semi-derain": Trained(
        *(64, 20, {"mse": 1.0}, 1e-3, USUAL, 0, 15 * 50_000, "released"),
        "training.py: image_size 64, batch_size 20, learning_rate 0.001, epoch 15, num_h5_file 50000",
    ),
    "derainnet-derain": Trained(
        *(64, 18, {"mse": 1.0}, 1e-3, USUAL, 0, 120_000, "released"),
        "training.py: patch_size 64, --batch_size 18, learning_rate 1e-3, --iterations 120000",
    ),
    "didmdn-derain": Trained(
        *(256, 1, {"l1": 1.0}, 2e-4, (0.5, 0.999), 5e-5, 400 * 12_000, "released"),
        "derain_train_2018.py: --batchSize 1, --lrG 0.0002, --beta1 0.5, weight_decay 0.00005, --annealEvery 400",
    ),
    "umrl-derain": Trained(
        *(256, 1, {"l1": 1.0}, 2e-4, (0.5, 0.999), 5e-5, 400 * 13_712, "epochs"),
        "umrl_train.py: --batchSize 1, --lrG 0.0002, --beta1 0.5, weight_decay 0.00005, --annealEvery 400",
    ),
    "rescan-derain": Trained(
        *(64, 64, {"mse": 1.0}, 5e-3, USUAL, 0, 20_000, "released"),
        "settings.py: batch_size 64, patch_size 64, lr 5e-3; train.py: 20000 steps",
    ),
    "mspfn-derain": Trained(
        *(96, 12, {"charbonnier": 1.0, "edge": 0.05}, 5e-4, USUAL, 0, 50 * 13_712 // 12, "epochs"),
        "train_MSPFN.py: 96x96, batch_size 12, start_learning_rate 5e-4; MSPFN.py: 0.05*edge_loss; epoch50",
    ),
    "mlp-denoise-gray": Trained(
        *(51, 16, {"mse": 1.0}, 1e-4, USUAL, 0, 400_000, "project"),
        "the paper's squared error; the rest is chosen",
    ),
}
