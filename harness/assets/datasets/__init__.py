"""Datasets: the registry of image sets, how to get them, and reading them with their checksums held.

The names below are loaded when they are first used: the check that a dataset is still in place runs before every table
and must not wait for numpy or an HTTP library.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from harness.assets.datasets.fetching import fetch as fetch
    from harness.assets.datasets.reading import FetchedDataset as FetchedDataset
    from harness.assets.datasets.reading import open_dataset as open_dataset
    from harness.assets.datasets.registry import Dataset as Dataset
    from harness.assets.datasets.registry import dataset as dataset
    from harness.assets.datasets.registry import dataset_names as dataset_names

_NAMES = {
    "fetching": ["fetch"],
    "reading": ["FetchedDataset", "open_dataset"],
    "registry": ["Dataset", "dataset", "dataset_names"],
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs=_NAMES)
