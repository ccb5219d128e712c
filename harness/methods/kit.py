"""KiT and KiT_S, and the chunk sizes and hash rounds of Table 4. No weights are public: all are trained here."""

from __future__ import annotations

from typing import Any

from harness.methods.trained import trained_method

PAPER = "Lee et al., CVPR 2022"
RECIPES = {task: f"kit-{task}" for task in ("denoise-real", "deblur", "derain")}
SIZES = (1, 2, 4, 8, 16)  # of k and of h in Table 4


def _kit(k: int = 4, h: int = 4, shared: bool = False) -> Any:
    def network(task: str, level: int) -> Any:
        from harness.networks.kit import KiT

        return KiT(k=k, h=h, shared=shared)

    return network


trained_method("kit", _kit(), RECIPES, title="KiT", paper=PAPER)
trained_method("kit-s", _kit(shared=True), RECIPES, title="KiT_S", paper=PAPER)
# k = 4, h = 4 is KiT itself, trained with the others of the table under one budget.
for _k in SIZES:
    for _h in SIZES:
        trained_method(
            f"kit-k{_k}-h{_h}",
            _kit(_k, _h),
            {"denoise-real": RECIPES["denoise-real"]},
            title=f"KiT, k = {_k}, h = {_h}",
            paper=PAPER,
        )
