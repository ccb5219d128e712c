"""Restoring one image by the name of a method, outside any dataset and pipeline."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import InvalidArgumentError, whole_number
from harness.methods import Method, build_method, get_method
from harness.metrics.checks import check_image
from harness.records.tasks import TASKS
from harness.run.apply import array_restorer, seed_random, tensor_restorer


def restore(image: Any, name: str | Method, task: str, level: int = 0, *, dataset: str = "", policy: str = "") -> Any:
    """Restore an image with a method, as the tables do before they keep 8 bits.

    Parameters
    ----------
    image : ndarray or torch.Tensor
        ``(H, W)`` or ``(H, W, 3)``, uint8 or float64 in units of 0..255, such as `harness.degrade` makes; or a
        floating-point tensor ``(B, C, H, W)`` in [0, 1], whose images are restored one after another.
    name : str or Method
        A method, or the name of one that comes with this package, is installed, or was registered in this process.
    task : str
        What it is to do, such as ``"denoise-gray"``.
    level : int
        Sigma in units of 0..255, JPEG quality, or scale; 0 where there is one level only.
    dataset : str
        The dataset whose model is to be taken, for a method with a model for each set.
    policy : str
        How a network is applied: a name of `harness.inference.POLICIES`, such as ``"chop"``; empty: the method's own.

    Returns
    -------
    ndarray or torch.Tensor
        float64 in units of 0..255, neither rounded nor clipped; or a float32 tensor in units of [0, 1] on the CPU. For
        super-resolution larger by the scale. `harness.metrics.to_uint8` makes of an array what tables measure, by the
        rule `Method.saving`.

    Raises
    ------
    NotAvailableError
        The method's weights or a package that it needs are not here.
    HarnessError
        The method is unknown, does not do this task, or returned something that is no image; the image is none.

    Notes
    -----
    A method that draws random numbers is seeded alike at every call, so the global random state is another afterwards.

    Examples
    --------
    >>> import numpy as np
    >>> import harness
    >>> clean = np.full((32, 32), 128, np.uint8)
    >>> noisy = harness.degrade(clean, "awgn-float-gray", 25)
    >>> restored = harness.restore(noisy, "nlm", "denoise-gray", 25)
    >>> restored.shape, restored.dtype
    ((32, 32), dtype('float64'))
    >>> bool(abs(restored - 128).mean() < abs(noisy - 128).mean() / 4)
    True
    """
    chosen = _method(name, task)
    level = whole_number(level, "level")
    if chosen.on == "images":
        raise InvalidArgumentError(
            f"method '{chosen.name}' finds images that were restored elsewhere; it restores no array"
        )
    function = build_method(chosen, task, level, dataset)
    how = policy or chosen.policy
    restorer = (
        array_restorer(function, how)
        if chosen.on == "array"
        else tensor_restorer(function, how, chosen.chop.get(task, ""), TASKS[task].scale(level))
    )

    def one(array: NDArray[Any]) -> NDArray[np.float64]:
        check_image(array)
        if chosen.random:
            seed_random(chosen.name)
        return restorer(array)

    if isinstance(image, np.ndarray):
        return one(image)
    import torch

    if not (isinstance(image, torch.Tensor) and image.ndim == 4 and len(image) and image.is_floating_point()):
        raise InvalidArgumentError(
            "an image is a numpy array (H, W) or (H, W, 3), or a floating-point tensor (B, C, H, W) in [0, 1]"
        )
    # Exact for float32: 255 times a sample fits into float64, and the restorer's division gives the sample back.
    arrays = image.detach().cpu().double().mul(255).permute(0, 2, 3, 1).numpy()
    results = [one(array[:, :, 0] if array.shape[2] == 1 else array) for array in arrays]
    planes = [result[:, :, None] if result.ndim == 2 else result for result in results]
    return torch.from_numpy(np.stack(planes)).div(255).float().permute(0, 3, 1, 2).contiguous()


def _method(name: object, task: object) -> Method:
    """Look the method up; arguments that stand in each other's place are told apart by what they are."""
    if isinstance(name, Method):
        return name
    order = "harness.restore(image, method, task, level)"
    if not isinstance(name, str):
        raise InvalidArgumentError(f"a method is named by a text, not by a {type(name).__name__}: {order}")
    if name in TASKS and task not in TASKS:
        raise InvalidArgumentError(f"'{name}' is a task and no method; the order is {order}")
    return get_method(name)
