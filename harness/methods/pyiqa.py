"""Any metric of pyiqa as a metric of a workspace, a line each; its weights are read from files and never downloaded."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import HarnessError, InvalidArgumentError, Missing, NotAvailableError, missing_package, text
from harness.files import file_sha256
from harness.protocols.own import Metric, define_metric

# Building replaces functions of libraries for a moment.
_building = threading.Lock()


def pyiqa_metric(metric: str, name: str = "", *, version: int = 1, **options: Any) -> Metric:
    """Define a metric that pyiqa computes, as in ``harness.pyiqa_metric("lpips")`` in a file of the workspace.

    Which values are better, and whether it takes the reference, comes from pyiqa. It is given the whole image in RGB;
    a gray one as three equal channels.

    Parameters
    ----------
    metric : str
        Its name in pyiqa, such as ``"lpips"``, ``"dists"``, ``"niqe"``, ``"musiq"``.
    name : str
        Its name here; default: the same with hyphens.
    version : int
        Rises when the options change; versions of pyiqa and torch and the hashes of weights are recorded anyway.
    **options
        Passed on to pyiqa.

    Raises
    ------
    InvalidArgumentError
        pyiqa has no such metric, or it is one of a set of images that needs a network of its own (``fid``).
    NotAvailableError
        pyiqa is not installed.

    Examples
    --------
    >>> import harness
    >>> harness.pyiqa_metric("lpips").better  # doctest: +SKIP
    'lower'
    """
    about = _configuration(text(metric, "a metric of pyiqa"))
    if metric.startswith("fid") or metric == "inception_score":
        raise InvalidArgumentError(
            f"pyiqa's '{metric}' is of a whole set, not per image, and reads folders; write a function under "
            "harness.metric(..., of='set') that calls it"
        )
    made = _Model(metric, options)
    full = about.get("metric_mode") == "FR"
    return define_metric(
        Metric(
            name or metric.replace("_", "-"),
            made.of_pair if full else made.of_image,
            version,
            "lower" if about.get("lower_better", False) else "higher",
            title=metric.upper().replace("_", "-"),
            reference=full,
            luma=False,
            packages=("pyiqa", "torch"),
            facts=made.facts,
        ),
        2,
    )


def _configuration(metric: str) -> dict[str, Any]:
    """Read what pyiqa says of a metric, from its file and without its import, which takes seconds."""
    from importlib.util import find_spec, module_from_spec, spec_from_file_location

    found = find_spec("pyiqa")
    if found is None or found.origin is None:
        raise NotAvailableError(
            "pyiqa is not installed; pip install 'restoration-harness[iqa]'", Missing("package", "pyiqa")
        )
    spec = spec_from_file_location("_pyiqa_configs", Path(found.origin).with_name("default_model_configs.py"))
    if spec is None or spec.loader is None:
        raise HarnessError("pyiqa's list of metrics cannot be read; install pyiqa again")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    if metric not in module.DEFAULT_CONFIGS:
        from harness.errors import unknown_name

        raise unknown_name("metric of pyiqa", metric, module.DEFAULT_CONFIGS)
    about: dict[str, Any] = module.DEFAULT_CONFIGS[metric]
    return about


def weights_here(name: str) -> Path | None:
    """Find a file of weights in the folders that pyiqa and torch read; torch itself is not imported."""
    home = os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "torch")
    hub = Path(home).expanduser() / "hub"
    return next((path for folder in ("pyiqa", "checkpoints") if (path := hub / folder / name).is_file()), None)


class _Model:
    """A metric of pyiqa, built at its first image."""

    def __init__(self, metric: str, options: dict[str, Any]) -> None:
        self._metric, self._options = metric, options
        self._network: Any = None
        self._files: dict[str, str] = {}

    def of_pair(self, reference: Any, restored: Any) -> float:
        return self._run(restored, reference)

    def of_image(self, restored: Any) -> float:
        return self._run(restored)

    def facts(self) -> dict[str, str]:
        """Hashes of the files that were read."""
        return dict(self._files)

    def _run(self, *images: Any) -> float:
        import torch

        if self._network is None:
            with _building:
                self._network = self._build()
        with torch.inference_mode():
            return float(self._network(*map(_tensor, images)))

    def _build(self) -> Any:
        from harness.networks.recognition import _declare_operators

        _declare_operators()
        try:
            from pyiqa.models.inference_model import InferenceModel
        except ImportError as error:
            raise NotAvailableError(f"pyiqa cannot be imported: {error}", missing_package(error)) from None
        files: dict[str, str] = {}
        with _only_files_here(self._metric, files), contextlib.redirect_stdout(sys.stderr):
            made = InferenceModel(self._metric, device="cpu", **self._options)
        self._files = files
        return made


def _tensor(image: Any) -> Any:
    import torch

    colour = image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)
    return torch.from_numpy(colour.transpose(2, 0, 1)[None].astype(np.float32) / 255)


@contextlib.contextmanager
def _only_files_here(metric: str, files: dict[str, str]) -> Iterator[None]:
    """Let libraries read weights that are here, as plain tensors, note their hashes, and download nothing."""
    import torch

    load = torch.load

    def noted(file: Any) -> Any:
        if isinstance(file, str | os.PathLike):
            files[f"file {Path(file).name}"] = file_sha256(Path(file), "absent")
        return file

    def load_tensors(file: Any, *arguments: Any, **options: Any) -> Any:
        # A pickle that is more than tensors could run anything.
        return load(noted(file), *arguments, **{**options, "weights_only": True})

    def refuse(url: str, target: Any = "", *_: Any, **__: Any) -> None:
        place = Path(target)
        raise NotAvailableError(
            f"pyiqa's '{metric}' needs the file {place.name}, which is never downloaded here: get it from {url} and "
            f"put it into {place.parent}",
            Missing("weights", metric, place.name),
        )

    def here(url: str, model_dir: Any = None, progress: bool = True, file_name: str | None = None, **_: Any) -> str:
        folder = Path(model_dir or Path(torch.hub.get_dir()) / "pyiqa")
        path = folder / (file_name or url.partition("?")[0].rpartition("/")[2])
        if not path.exists():
            refuse(url, path)
        noted(path)
        return str(path)

    replaced: list[tuple[Any, str, Any]] = [(torch, "load", load_tensors), (torch.hub, "download_url_to_file", refuse)]
    for module in [m for key, m in sys.modules.items() if key.startswith("pyiqa") and m is not None]:
        for name, function in (("load_file_from_url", here), ("download_url_to_file", refuse)):
            if hasattr(module, name):
                replaced.append((module, name, function))
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in replaced]
    offline = os.environ.get("HF_HUB_OFFLINE")
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        for owner, name, function in replaced:
            setattr(owner, name, function)
        yield
    finally:
        for owner, name, function in before:
            setattr(owner, name, function)
        if offline is None:
            del os.environ["HF_HUB_OFFLINE"]
        else:
            os.environ["HF_HUB_OFFLINE"] = offline
