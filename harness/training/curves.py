"""Training curves: loss and PSNR over the iterations, as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.errors import HarnessError, NotAvailableError
from harness.files import whole_file
from harness.training.logs import LogRow

SUFFIXES = (".svg", ".png", ".pdf")


def plot_curves(logs: Mapping[str, Sequence[LogRow]], path: Path) -> None:
    """Draw the logs of some runs into one picture.

    `logs`: Rows by the name of the run.
    `path`: ``.svg``, ``.png`` or ``.pdf``.
    Raises HarnessError: The file has another ending, or cannot be written.
    Raises NotAvailableError: matplotlib is not installed.
    """
    if path.suffix not in SUFFIXES:
        raise HarnessError(f"{path}: a picture ends in {', '.join(SUFFIXES)}")
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise NotAvailableError("matplotlib is not installed; pip install 'restoration-harness[training]'") from None
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    losses, values = figure.subplots(1, 2)
    for name, rows in logs.items():
        losses.plot([row.iteration for row in rows], [row.loss for row in rows], label=name, linewidth=1)
        measured = [(row.iteration, row.psnr) for row in rows if row.psnr is not None]
        values.plot([i for i, _ in measured], [p for _, p in measured], label=name, linewidth=1, marker=".")
    losses.set(xlabel="iteration", ylabel="loss", yscale="log")
    values.set(xlabel="iteration", ylabel="PSNR on the validation split (dB)")
    losses.legend(fontsize="small")
    with whole_file(path) as part:
        figure.savefig(part, format=path.suffix[1:], metadata={"Date": None} if path.suffix == ".svg" else None)
