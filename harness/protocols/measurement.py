"""Measuring one restored image under many protocols, with the work that they share done once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from numpy.typing import NDArray

from harness.errors import HarnessError
from harness.metrics.alignment import Aligned, align, aligned_psnr, aligned_ssim
from harness.metrics.checks import check_image
from harness.metrics.signal_noise import crop_border, psnr
from harness.metrics.structural import ssim_within
from harness.protocols.definitions import ALIGNED, Protocol, protocol


def measure_many(
    protocols: Iterable[str | Protocol], reference: NDArray[Any], restored: NDArray[Any], scale: int = 1
) -> dict[str, float]:
    """Measure one restored image under several protocols; each luma and each SSIM map is computed once.

    Parameters
    ----------
    protocols : iterable of str or Protocol
        Names or objects.
    reference, restored, scale
        As for `Protocol.measure`.

    Returns
    -------
    dict
        Protocol name → value, in the order given; equal to the last bit to what `Protocol.measure` gives.

    Raises
    ------
    HarnessError
        As `Protocol.measure` and `protocol`.
    """
    wanted = [protocol(item) if isinstance(item, str) else item for item in protocols]
    check_image(reference, "reference")
    check_image(restored, "restored image")
    _check_sizes(reference, restored, scale)
    values: dict[str, float] = {}
    planes: dict[str, tuple[NDArray[Any], NDArray[Any]]] = {}
    groups: dict[tuple[str, str], list[Protocol]] = {}
    for item in wanted:
        groups.setdefault((item.luma, item.metric), []).append(item)
    aligned: Aligned | None = None
    for (luma, metric), members in groups.items():
        if metric in ALIGNED:
            aligned = aligned or align(*_planes(members[0], reference, restored))
            value = aligned_psnr(aligned) if metric.startswith("psnr") else aligned_ssim(aligned)
            values |= {member.name: value for member in members}
            continue
        if luma not in planes:
            planes[luma] = _planes(members[0], reference, restored)
        x, y = planes[luma]
        borders = sorted({member.border(scale) for member in members})
        if metric == "psnr":
            found = [psnr(crop_border(x, border), crop_border(y, border)) for border in borders]
        else:
            found = ssim_within(x, y, metric.removeprefix("ssim-"), borders)
        of_border = dict(zip(borders, found, strict=True))
        values |= {member.name: of_border[member.border(scale)] for member in members}
    return {item.name: values[item.name] for item in wanted}


def _check_sizes(reference: NDArray[Any], restored: NDArray[Any], scale: int) -> None:
    if isinstance(scale, bool) or scale != int(scale) or scale < 1:
        raise HarnessError(f"scale {scale} is not a whole number of 1 or more")
    height, width = reference.shape[:2]
    if restored.shape[:2] == (height, width):
        return
    hint = "restore it from the right input"
    if scale > 1 and restored.shape[:2] == (height // scale * scale, width // scale * scale):
        hint = f"crop the reference to a multiple of {scale} first"
    raise HarnessError(
        f"the restored image is {restored.shape[0]}x{restored.shape[1]} pixels, the reference {height}x{width}; {hint}"
    )


def _planes(of: Protocol, reference: NDArray[Any], restored: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Make the two arrays that are compared, or say why these two images cannot be."""
    if reference.ndim == restored.ndim:
        return of.plane(reference), of.plane(restored)
    if not of.luma:
        kinds = {2: "one channel", 3: "three channels"}
        # No luma protocol is named: one of 16..235 gives 1.32 dB more, or compares two ranges.
        raise HarnessError(
            f"the restored image has {kinds[restored.ndim]} and the reference {kinds[reference.ndim]}; '{of.name}' "
            f"compares all channels: store the result as the {'gray' if reference.ndim == 2 else 'colour'} image that "
            "the reference is"
        )
    if reference.ndim == 2:
        # A gray ground truth that a colour network restored: both are RGB, or their lumas would differ in range.
        reference = reference[:, :, None].repeat(3, axis=2)
    return of.plane(reference), of.plane(restored)
