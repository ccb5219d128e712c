"""Copies of a training's log for DVCLive and for Weights & Biases, where they are asked for."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from harness.errors import NotAvailableError, missing_package
from harness.training.logs import LogRow, Tracker


def check_trackers(names: Sequence[str]) -> None:
    """Find out whether what a log is to be written to is installed; NotAvailableError says what to install."""
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise NotAvailableError(
                f"--set log={name}: the package '{error.name}' is not installed; "
                f"pip install 'restoration-harness[{name}]'",
                missing_package(error),
            ) from None


def tracker(
    name: str, run: str, folder: Path, workspace: Path, about: Mapping[str, Any], rows: Sequence[LogRow]
) -> Tracker:
    """Begin a copy of a log.

    `workspace`: Where DVC looks for metrics.
    `about`: What the run's result depends on: recipe, options, seed.
    `rows`: Lines that the log has already: those of the run up to its checkpoint.
    """
    plain = msgspec.to_builtins(about)
    if name == "wandb":
        return _WeightsAndBiases(run, folder, plain)
    return _DvcLive(workspace / "dvclive" / run, plain, rows)


class _DvcLive:
    """Metrics, curves and parameters below ``dvclive/<run>``, with the dvc.yaml that tells DVC of them.

    It is written anew from the log at every start, so that what an interrupted process wrote after its last
    checkpoint is not there twice. No experiment is saved unasked: that would commit the user's other changes with it.
    """

    def __init__(self, folder: Path, about: dict[str, Any], rows: Sequence[LogRow]) -> None:
        from dvclive.live import Live

        self._live = Live(
            dir=str(folder), resume=False, report=None, save_dvc_exp=False, dvcyaml=str(folder / "dvc.yaml")
        )
        self._live.log_params(about)
        for row in rows:
            self._log(row)
        self._live.make_dvcyaml()

    def add(self, row: LogRow) -> None:
        """Write a line's values, and the file of the newest ones."""
        self._log(row)
        self._live.make_summary()

    def _log(self, row: LogRow) -> None:
        self._live.step = row.iteration
        for name, value in row.curves.items():
            self._live.log_metric(name, value)

    def close(self) -> None:
        """Write what is left."""
        self._live.end()


class _WeightsAndBiases:
    """A run of Weights & Biases, on this disk unless ``WANDB_MODE`` says otherwise: nothing is sent unasked."""

    def __init__(self, run: str, folder: Path, about: dict[str, Any]) -> None:
        import wandb

        self._run = wandb.init(
            project="restoration-harness",
            name=run,
            id=folder.name,
            resume="allow",
            dir=str(folder),
            mode=os.environ.get("WANDB_MODE", "offline"),
            config=about,
        )

    def add(self, row: LogRow) -> None:
        """Write a line's values."""
        self._run.log(row.curves, step=row.iteration)

    def close(self) -> None:
        """Write what is left."""
        self._run.finish()
