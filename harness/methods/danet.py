"""DANet's denoiser with the authors' weights: as trained first (DANet), and on generated noise besides (DANet+)."""

from __future__ import annotations

from typing import Any

from harness.methods.released import released_method
from harness.methods.trained import trained_method

PAPER = "Yue et al., ECCV 2020"
URL = "https://github.com/zsyOAOA/DANet"


def _network(task: str, level: int) -> Any:
    from harness.networks.danet import DANet

    return DANet()


# gdanet, gdanet-plus: trained on SIDD, PolyU and RENOIR together, for DND.
for _name, _title, _file in (
    ("danet", "DANet", "danet.pt"),
    ("danet-plus", "DANet+", "danet-plus.pt"),
    ("gdanet", "GDANet", "gdanet.pt"),
    ("gdanet-plus", "GDANet+", "gdanet-plus.pt"),
):
    released_method(
        _name,
        _network,
        tasks=["denoise-real"],
        weights="danet",
        file=_file,
        title=_title,
        paper=PAPER,
        url=URL,
        checked="the authors' outputs on generated weights",
    )
trained_method("danet-trained", _network, {"denoise-real": "danet-denoise-real"}, title="DANet", paper=PAPER, url=URL)
