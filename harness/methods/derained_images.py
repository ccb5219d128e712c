"""Competitors' results that MSPFN's authors offer: images derained by six systems, where the user supplies them.

The README of kuijiang94/MSPFN links to them for Test100, Test1200, Rain100H and Rain100L. By lineage KiT Table 3 prints
what was measured on them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.errors import NotAvailableError
from harness.methods import method

SYSTEMS = {
    "derainnet": ("DerainNet", "Fu et al., IEEE TIP 2017"),
    "semi": ("SEMI", "Wei et al., CVPR 2019"),
    "didmdn": ("DID-MDN", "Zhang and Patel, CVPR 2018"),
    "umrl": ("UMRL", "Yasarla and Patel, CVPR 2019"),
    "rescan": ("RESCAN", "Li et al., ECCV 2018"),
    "prenet": ("PReNet", "Ren et al., CVPR 2019"),
}
SETS = ("test100", "rain100h", "rain100l", "test1200")


def _register(system: str, title: str, paper: str) -> None:
    name = f"derained-{system}"

    @method(
        f"{system}-images",
        tasks=["derain"],
        title=f"{title} (derained images)",
        paper=paper,
        url="https://github.com/kuijiang94/MSPFN",
        origin="released",
        released=[name],
        file=lambda task, level, dataset: name if dataset in SETS else "",
        on="images",
    )
    def build(task: str, level: int) -> Callable[[str, str], Any]:
        """Return the function that finds a derained image."""
        from harness.assets.datasets.reading import open_dataset
        from harness.assets.places import data_folder

        data = data_folder(None)

        def find(dataset: str, image: str) -> Any:
            if dataset not in SETS:
                raise NotAvailableError(f"MSPFN's authors offer images of {', '.join(SETS)}, none of '{dataset}'")
            return open_dataset(name, data).read(f"{dataset}-{image}")

        return find


for _system, (_title, _paper) in SYSTEMS.items():
    _register(_system, _title, _paper)
