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
        sets = sorted({each for row in rows for each in row.psnrs})
        for each in sets or [""]:
            measured = [(row.iteration, row.psnrs.get(each) if each else row.psnr) for row in rows]
            points = [(iteration, value) for iteration, value in measured if value is not None]
            label = f"{name}, {each}" if each else name
            values.plot([i for i, _ in points], [p for _, p in points], label=label, linewidth=1, marker=".")
    losses.set(xlabel="iteration", ylabel="loss", yscale="log")
    values.set(xlabel="iteration", ylabel="PSNR on the validation images (dB)")
    losses.legend(fontsize="small")
    if any(row.psnrs for rows in logs.values() for row in rows):
        values.legend(fontsize="small")
    with whole_file(path) as part:
        figure.savefig(part, format=path.suffix[1:], metadata={"Date": None} if path.suffix == ".svg" else None)
