"""Measured rows as pandas data frames, for one's own statistics and figures."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

import msgspec

from harness.errors import NotAvailableError
from harness.records.rows import read_rows
from harness.tables.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "task",
    "dataset",
    "degradation",
    "method",
    "policy",
    "origin",
    "level",
    "draw",
    "image",
    "protocol",
    "version",
    "value",
)


def measured_rows(workspace: Workspace) -> pd.DataFrame:
    """Collect every per-image value that was measured in a workspace.

    Returns: One line an image and protocol, with the columns `COLUMNS`; `value` is dB or 0..1, `draw` 0 is the noise
        draw that tables show, `protocol` is a name and `version` its version.
    """
    import pandas as pd

    folder = workspace.work / "rows"
    records = []
    for path in sorted(folder.rglob("*.csv")):
        record, rows = read_rows(path)
        names = {version: name for name, version in record.protocols.items()}
        about = {**msgspec.to_builtins(record.group), "origin": record.origin}
        for row in rows:
            value = msgspec.to_builtins(row)
            version = value.pop("protocol")
            records.append(about | value | {"protocol": names.get(version, version), "version": version})
    return pd.DataFrame.from_records(records, columns=list(COLUMNS))


def parquet(frame: pd.DataFrame) -> bytes:
    """Write a data frame as a Parquet file.

    Raises NotAvailableError: The package pyarrow is not installed.
    """
    data = io.BytesIO()
    try:
        frame.to_parquet(data, engine="pyarrow", index=False)
    except ImportError:
        raise NotAvailableError("pyarrow is not installed; pip install 'restoration-harness[parquet]'") from None
    return data.getvalue()


def rows(root: str | os.PathLike[str] = ".") -> pd.DataFrame:
    """Collect every per-image value that was measured in a workspace, found from a folder.

    Parameters
    ----------
    root : path
        A folder in the workspace: params.yaml lies in it or above it.

    Returns
    -------
    pandas.DataFrame
        As `measured_rows`; empty where nothing was measured yet.

    Raises
    ------
    HarnessError
        There is no workspace, or a file of rows is damaged.

    Examples
    --------
    >>> import harness
    >>> measured = harness.rows()
    >>> list(measured.columns)[-4:]
    ['image', 'protocol', 'version', 'value']
    >>> means = measured.groupby(["method", "level", "protocol"]).value.mean()
    """
    return measured_rows(Workspace.find(root))
