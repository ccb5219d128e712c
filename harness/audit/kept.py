"""Values of slow methods' images, kept in work/audit for the next audit: one small file an image and making."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.audit.variants import Finish
from harness.errors import HarnessError
from harness.files import write_json
from harness.records.loading import load_json

VALUES_VERSION = 1
"""Version of the kept values; rises with any change of what is measured or how."""

Values = dict[Finish, dict[str, NDArray[np.float64]]]
"""Values of one image: by finish, by metric, one a reading."""


class Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Values of one image under one making: by finish, by metric; and the seconds that restoring it took."""

    seconds: float
    values: dict[str, dict[str, list[float | None]]]

    def decoded(self) -> Values:
        """The values as arrays; what had no meaning is NaN."""
        return {
            Finish(*name.split("/")): {
                metric: np.array([np.nan if value is None else value for value in row])
                for metric, row in values.items()
            }
            for name, values in self.values.items()
        }


class Shelf:
    """A folder of kept values.

    Parameters
    ----------
    folder : Path
        The folder; made when it is first needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _file(self, key: list[Any], identity: str) -> Path:
        digest = hashlib.sha256(msgspec.json.encode([VALUES_VERSION, identity, key])).hexdigest()
        return self._folder / digest[:2] / f"{digest[2:32]}.json"

    def read(self, key: list[Any], identity: str) -> Kept | None:
        """Values that an earlier audit kept; None where there are none.

        Parameters
        ----------
        key : list
            Everything that determines the values, apart from code and weights.
        identity : str
            Of code and weights; nothing is kept where it is empty.
        """
        if not identity:
            return None
        path = self._file(key, identity)
        if not path.is_file():
            return None
        try:
            return load_json(path, Kept)
        except HarnessError:
            path.unlink(missing_ok=True)
            return None

    def write(self, key: list[Any], identity: str, seconds: float, values: Values) -> None:
        """Keep values for the next audit."""
        if not identity:
            return
        plain = {
            f"{finish.saving}/{finish.span}": {
                metric: [None if np.isnan(value) else float(value) for value in row] for metric, row in of.items()
            }
            for finish, of in values.items()
        }
        write_json(self._file(key, identity), Kept(round(seconds, 3), plain))
