"""Whether a matched digit lasts: the same weights and inputs under other threads, batches, kernels and precisions.

A network's output is a sum in floating point; its order differs between machines, and a sample that lies beside a
rounding edge then falls on the other side. Each image is restored again in the ways of `WAYS` and in double precision.
What the ways differ by from double precision is the *gap*; a sample is *near an edge* where a change by the gap could
give it another 8-bit value. PSNR has an interval that holds for every choice of those samples: the luma and the
squared error are monotone in each of them, on either side of the reference. SSIM has no such interval here.

For ARCNN double precision itself has an error bound (`bounded_arcnn`), so that the 8-bit pixels of the exact network
are known.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.assets.datasets.reading import open_dataset
from harness.assets.inputs import make_input
from harness.audit.images import finished
from harness.audit.variants import Finish
from harness.degradations import degradation
from harness.errors import HarnessError
from harness.methods import Method, build_method
from harness.metrics.quantization import to_uint8
from harness.metrics.signal_noise import crop_border, psnr_of_mse
from harness.protocols import measure_many, protocol
from harness.records.cells import Group, InputId
from harness.records.in_use import loading_from
from harness.records.runs import library_versions
from harness.records.tasks import TASKS
from harness.run.apply import to_pixels, to_samples
from harness.tables.collected import results_of
from harness.tables.diff import CellResult
from harness.tables.lasting import Lasting
from harness.tables.measurements import Measurement
from harness.tables.published import PublishedNumber, Table
from harness.tables.workspace import Workspace

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.networks.arcnn import ARCNN

DOUBLE = "double precision"

Pixels = NDArray[Any]


Apply = Callable[["Tensor"], "Tensor"]


def _with_threads(apply: Apply, batch: Tensor, count: int) -> Tensor:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        return apply(batch)
    finally:
        torch.set_num_threads(before)


def _in_a_batch(apply: Apply, batch: Tensor, networks: Sequence[nn.Module]) -> Tensor:
    import torch

    return apply(torch.cat([batch, batch.flip(-1)]))[:1]


def _other_layout(apply: Apply, batch: Tensor, networks: Sequence[nn.Module]) -> Tensor:
    import torch

    layouts = torch.contiguous_format, torch.channels_last
    # Filters and images that lie otherwise in memory are given to other kernels.
    was_last = any(p.dim() == 4 and p.is_contiguous(memory_format=layouts[1]) for n in networks for p in n.parameters())
    for network in networks:
        network.to(memory_format=layouts[not was_last])  # type: ignore[call-overload]
    try:
        return apply(batch.contiguous(memory_format=layouts[not was_last]))
    finally:
        for network in networks:
            network.to(memory_format=layouts[was_last])  # type: ignore[call-overload]


WAYS: dict[str, Callable[[Apply, Tensor, Sequence[nn.Module]], Tensor]] = {
    "one thread": lambda apply, batch, networks: _with_threads(apply, batch, 1),
    "two threads": lambda apply, batch, networks: _with_threads(apply, batch, 2),
    "a batch of two": _in_a_batch,
    "another memory layout": _other_layout,
}
"""Ways of computing the same network in single precision; the last takes other kernels."""


def examine(
    workspace: Workspace, table: Table, progress: Callable[[str], None] = lambda text: None
) -> tuple[list[Lasting], dict[str, str]]:
    """Restore the inputs of a table's matched cells again.

    `table`: The table, or what `harness.tables.published.select` left of it.
    Returns `cells`: Those that could be tried.
    Returns `left_out`: Why others could not, by row.
    """
    by_source: dict[tuple[Group, int], list[CellResult]] = defaultdict(list)
    left_out: dict[str, str] = {}
    methods = workspace.methods()
    for result in results_of(workspace, table):
        group = result.request.group
        if result.verdict != "match" or group is None or not isinstance(result.measured, Measurement):
            continue
        method = methods[group.method]
        if method.on != "tensor":
            left_out[result.request.row] = "no network: computed in double precision or read from files"
        elif degradation(group.degradation).random:
            left_out[result.request.row] = "its inputs are random draws, which differ by more than any rounding"
        else:
            by_source[group, result.request.level].append(result)
    found: list[Lasting] = []
    for (group, level), results in by_source.items():
        try:
            source = _Source(workspace, methods[group.method], group, level)
        except HarnessError as error:
            left_out.update({result.request.row: str(error) for result in results})
            continue
        found += source.cells(results, progress)
    return found, left_out


class _Source:
    """One group at one level: its network, and the images it is applied to."""

    def __init__(self, workspace: Workspace, method: Method, group: Group, level: int) -> None:
        from harness.inference.graphs import networks_of
        from harness.networks.arcnn import ARCNN

        if group.policy != "whole":
            raise HarnessError(f"restored under the policy '{group.policy}', which is not tried")
        with loading_from(workspace.root):
            self._single, self._double = (build_method(method, group.task, level, group.dataset) for _ in range(2))
        networks = list(networks_of(self._double))
        if not networks:
            raise HarnessError(f"no network is found in what '{method.name}' builds, so none can be made double")
        for network in networks:
            network.double()
        self._networks = list(networks_of(self._single))
        self._bounded = networks[0] if len(networks) == 1 and isinstance(networks[0], ARCNN) else None
        self._group, self._level, self._finish = group, level, Finish(group.saving)
        self._fetched = open_dataset(group.dataset, workspace.data)

    def cells(self, results: Sequence[CellResult], progress: Callable[[str], None]) -> list[Lasting]:
        scale = TASKS[self._group.task].scale(self._level)
        names = list(dict.fromkeys(result.request.protocol for result in results))
        values: dict[tuple[str, str], list[float]] = defaultdict(list)
        limits: dict[str, list[tuple[float, float]]] = defaultdict(list)
        moved: dict[str, int] = defaultdict(int)
        samples, near, gap = 0, 0, 0.0
        bounds: list[float] = []
        undecided = 0
        for image in self._fetched.image_ids:
            progress(f"{self._group.method} on {self._group.dataset}/{image}, level {self._level}")
            reference, outputs, bound = self._outputs(image)
            exact = outputs[DOUBLE]
            saved = {way: finished(output, self._finish) for way, output in outputs.items()}
            # Of this image: another one's larger gap says nothing of this one.
            here = max(float(np.abs(output - exact).max()) for output in outputs.values())
            low, high = (finished(exact + change, self._finish) for change in (-here, here))
            samples, near, gap = samples + exact.size, near + self._between(exact, here), max(gap, here)
            rounded = self._rounded(exact)
            for way, pixels in saved.items():
                moved[way] += int((self._rounded(outputs[way]) != rounded).sum())
                for name, value in measure_many(names, reference, pixels, scale).items():
                    values[way, name].append(value)
            for name in names:
                if name.startswith("psnr"):
                    limits[name].append(psnr_limits(name, reference, low, high, scale))
            if bound is not None:
                bounds.append(float(bound.max()))
                undecided += self._between(exact, bound)
        return [
            Lasting(
                table=result.request.table,
                row=result.request.row,
                key=result.request.key,
                printed=_printed(result).text,
                protocol=result.request.protocol,
                values={way: _set_value(result, values[way, result.request.protocol]) for way in (*WAYS, DOUBLE)},
                moved={way: moved[way] for way in WAYS},
                samples=samples,
                gap=gap,
                near=near,
                interval=_set_limits(result, limits.get(result.request.protocol)),
                bound=max(bounds) if bounds else None,
                undecided=undecided if bounds else None,
                versions=library_versions(),
            )
            for result in results
        ]

    def _outputs(self, image: str) -> tuple[Pixels, dict[str, NDArray[np.float64]], NDArray[np.float64] | None]:
        """Restore an image in every way: the reference, outputs in units of 0..255, the bound of double precision."""
        import torch

        made = InputId(self._level, 0, image)
        reference, degraded = make_input(
            self._fetched, degradation(self._group.degradation), made, self._fetched.read(image)
        )
        batch = torch.from_numpy(to_samples(degraded))[None]
        bound = None
        with torch.inference_mode():
            outputs = {way: _as_pixels(compute(self._single, batch, self._networks)) for way, compute in WAYS.items()}
            if self._bounded is not None:
                exact, error = bounded_arcnn(self._bounded, batch.double())
                outputs[DOUBLE], bound = _as_pixels(exact), _as_pixels(error)
            else:
                outputs[DOUBLE] = _as_pixels(self._double(batch.double()))
        return reference, outputs, bound

    def _between(self, pixels: NDArray[np.float64], off: float | NDArray[np.float64]) -> int:
        """Count the samples that have an edge of rounding within a distance."""
        return int((self._rounded(pixels - off) != self._rounded(pixels + off)).sum())

    def _rounded(self, pixels: NDArray[np.float64]) -> Pixels:
        """Give the 8-bit samples; where a row keeps unrounded ones, what rounding would make of them."""
        return to_uint8(pixels, "truncate" if self._group.saving == "truncate" else "round")


def _as_pixels(output: Tensor) -> NDArray[np.float64]:
    return to_pixels(output[0].double().numpy())


def _printed(result: CellResult) -> PublishedNumber:
    assert result.request.printed is not None
    return result.request.printed


def _set_value(result: CellResult, values: Sequence[float]) -> float:
    return protocol(result.request.protocol).aggregate(values)


def _set_limits(result: CellResult, limits: Sequence[tuple[float, float]] | None) -> tuple[float, float] | None:
    if not limits:
        return None
    low, high = zip(*limits, strict=True)
    return _set_value(result, low), _set_value(result, high)


def psnr_limits(name: str, reference: Pixels, low: Pixels, high: Pixels, scale: int = 1) -> tuple[float, float]:
    """Bound the PSNR of every image between two, sample by sample.

    Parameters
    ----------
    name : str
        A PSNR protocol.
    reference : ndarray
        ``(H, W)`` or ``(H, W, 3)`` uint8.
    low, high : ndarray
        Of the same shape, uint8 or float64 in units of 0..255; ``low <= high``. Every luma rises with each channel, so
        the lumas of the two bound the luma of what lies between.
    scale : int
        Scale of super-resolution; only the border depends on it.

    Returns
    -------
    (float, float)
        dB. What is reached may be narrower where a luma mixes channels.

    Examples
    --------
    >>> import numpy as np
    >>> gray = np.full((8, 8), 100, np.uint8)
    >>> low, high = psnr_limits("psnr", gray, gray + 1, gray + 2)
    >>> round(low, 2), round(high, 2)
    (42.11, 48.13)
    """
    how = protocol(name)
    border = how.border(scale)
    target, least, most = (crop_border(how.plane(image), border).astype(np.float64) for image in (reference, low, high))
    below, above = target - least, most - target
    largest = np.maximum(np.abs(below), np.abs(above))
    smallest = np.maximum(0.0, np.maximum(-below, -above))
    return psnr_of_mse(float(np.mean(largest**2))), psnr_of_mse(float(np.mean(smallest**2)))


# Half of the distance of 1 from the next larger double: the relative error of one operation.
_UNIT = 2.0**-53


def bounded_arcnn(network: ARCNN, image: Tensor) -> tuple[Tensor, Tensor]:
    """Apply ARCNN in double precision, and bound how far the exact network's output lies from what that gives.

    A sum of n products in any order has an error of at most ``n u / (1 - n u)`` times the sum of their magnitudes (N.
    Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, section 3.1), and each layer passes the error
    of its input on by the magnitudes of its weights. Replicated borders and ReLU add none. Holds for kernels that
    multiply and add; torch has no others in double precision on a CPU.

    Parameters
    ----------
    network : ARCNN
        In double precision.
    image : Tensor
        ``(B, 1, H, W)`` float64 in [0, 1], taken as exact.

    Returns
    -------
    (Tensor, Tensor)
        Output and bound, both ``(B, 1, H, W)`` float64 in the output's unit.
    """
    import torch
    from torch.nn import functional

    layers = [(network.extraction, 4), (network.enhancement, 3), (network.mapping, 0), (network.reconstruction, 2)]
    value, error = image, torch.zeros_like(image)
    with torch.inference_mode():
        for number, (layer, border) in enumerate(layers):
            around = (border,) * 4
            value, error = (functional.pad(x, around, mode="replicate") if border else x for x in (value, error))
            weight, bias = layer.weight, layer.bias
            assert bias is not None
            terms = weight[0].numel() + 2
            growth = terms * _UNIT / (1 - terms * _UNIT)
            magnitude = _by_rows(value.abs(), weight.abs(), bias.abs())
            passed = _by_rows(error, weight.abs(), torch.zeros_like(bias))
            # The bound is itself computed in double precision: enlarged by far more than that costs.
            error = ((1 + growth) * passed + growth * magnitude) * (1 + 1e-9)
            value = _by_rows(value, weight, bias)
            if number < len(layers) - 1:
                value = torch.relu(value)
    return value, error


def _by_rows(image: Tensor, weight: Tensor, bias: Tensor, rows: int = 32) -> Tensor:
    """Convolve some rows at a time: torch unfolds what it convolves in double precision, 25 kB a pixel here."""
    import torch
    from torch.nn import functional

    extra = weight.shape[-2] - 1
    parts = [
        functional.conv2d(image[:, :, top : top + rows + extra], weight, bias)
        for top in range(0, image.shape[-2] - extra, rows)
    ]
    return torch.cat(parts, dim=-2)
