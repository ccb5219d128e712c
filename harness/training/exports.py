"""The folder of a finished run that DVC tracks and methods load: weights, recipe, log, record."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from harness.errors import HarnessError
from harness.files import write_json
from harness.records.training_runs import RECORD, TrainedRecord

FILES = ("weights.safetensors", "recipe.json", "log.csv")


def export(record: TrainedRecord, source: Path | None, target: Path) -> None:
    """Replace the folder `target` by a run's result, or by the reason why there is none.

    Raises HarnessError: The disk is full or the like; the old folder is as it was.
    """
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        if source is not None:
            for name in FILES:
                shutil.copyfile(source / name, part / name)
        write_json(part / RECORD, record)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(part, target)
    except OSError as error:
        raise HarnessError(
            f"{target}: cannot be written ({error.strerror or error}); the training itself is kept, "
            "run the same command again"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
