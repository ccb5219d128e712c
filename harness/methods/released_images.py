"""Systems by the images that their authors restored and released, beside the method that applies the weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.errors import NotAvailableError
from harness.methods import method

SETS = ("set5",)
SCALES = (2, 3, 4)

# Title, paper and home page of the systems of which a public repository holds the authors' images.
SYSTEMS = {
    "rcan": ("RCAN", "Zhang et al., ECCV 2018", "https://github.com/yulunzhang/RCAN"),
    "rdn": ("RDN", "Zhang et al., CVPR 2018", "https://github.com/yulunzhang/RDN"),
    "srfbn": ("SRFBN", "Li et al., CVPR 2019", "https://github.com/Paper99/SRFBN_CVPR19"),
}


def _images_method(system: str, title: str, paper: str, url: str) -> None:
    """Register ``<system>-images``; the names of Set5's images lack the suffix ``_GT`` of the ground truth's."""

    def build(task: str, level: int) -> Callable[[str, str], Any]:
        from harness.assets.datasets.reading import open_dataset
        from harness.assets.places import data_folder

        if level not in SCALES:
            raise NotAvailableError(f"{title}'s images were released at the scales {SCALES}, not at {level}")
        data = data_folder(None)

        def find(dataset: str, image: str) -> Any:
            if dataset not in SETS:
                raise NotAvailableError(f"{title}'s released images of '{dataset}' have no checked public source")
            return open_dataset(f"{system}-{dataset}-x{level}", data).read(image.removesuffix("_GT"))

        return find

    register = method(
        f"{system}-images",
        tasks=["sr"],
        title=f"{title} (released images)",
        paper=paper,
        url=url,
        origin="released",
        released=[f"{system}-{name}-x{scale}" for name in SETS for scale in SCALES],
        file=lambda task, level, dataset: f"{system}-{dataset}-x{level}",
        on="images",
    )
    register(build)


for _system, _about in SYSTEMS.items():
    _images_method(_system, *_about)
