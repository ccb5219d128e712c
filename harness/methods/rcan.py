"""RCAN, by the images its authors restored and released."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.errors import NotAvailableError
from harness.methods import method

SETS = ("set5",)
SCALES = (2, 3, 4)


@method(
    "rcan",
    tasks=["sr"],
    title="RCAN",
    paper="Zhang et al., ECCV 2018",
    url="https://github.com/yulunzhang/RCAN",
    origin="released",
    released=[f"rcan-{name}-x{scale}" for name in SETS for scale in SCALES],
    file=lambda task, level, dataset: f"rcan-{dataset}-x{level}",
    on="images",
)
def build(task: str, level: int) -> Callable[[str, str], Any]:
    """Return the function that finds a released image; Set5's files lack the suffix ``_GT`` of the ground truth's."""
    from harness.assets.datasets.reading import open_dataset
    from harness.assets.places import data_folder

    if level not in SCALES:
        raise NotAvailableError(f"RCAN's images were released at the scales {SCALES}, not at {level}")
    data = data_folder(None)

    def find(dataset: str, image: str) -> Any:
        if dataset not in SETS:
            raise NotAvailableError(f"RCAN's released images of '{dataset}' have no checked public source")
        return open_dataset(f"rcan-{dataset}-x{level}", data).read(image.removesuffix("_GT"))

    return find
