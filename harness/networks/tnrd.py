"""TNRD: a few steps of a trained nonlinear diffusion.

Chen, Pock, "Trainable Nonlinear Reaction Diffusion: A Flexible Framework for Fast and Effective Image Restoration",
IEEE TPAMI 2017: a step is u ← u - Σ_i k̄_i * φ_i(k_i * u) - λ (u - f) for denoising (equation 8). For JPEG the last
term is replaced by a projection onto the images that quantise to the given coefficients (equation 21).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from harness.errors import HarnessError

# The luma quantisation table of the JPEG standard, ITU-T T.81 table K.1.
LUMA_QUANTISATION = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
BLOCK = 8
SIDE = 7  # of the filters of the released 7x7 models


def quantisation_table(quality: int) -> NDArray[np.float64]:
    """Scale the standard's luma table to a quality, as the Independent JPEG Group's encoder does (``jcparam.c``).

    Returns
    -------
    ndarray
        (8, 8) float64, rows are vertical frequencies.
    """
    factor = 5000 // quality if quality < 50 else 200 - 2 * quality
    scaled = (np.array(LUMA_QUANTISATION) * factor + 50) // 100
    return np.clip(scaled, 1, 255).astype(np.float64)


def dct_matrix(size: int) -> NDArray[np.float64]:
    """Make the orthonormal DCT-II matrix (size, size), MATLAB's ``dctmtx``: rows are basis functions."""
    frequency, sample = np.arange(size)[:, None], np.arange(size)[None, :]
    matrix = np.sqrt(2 / size) * np.cos(np.pi * frequency * (2 * sample + 1) / (2 * size))
    matrix[0] = np.sqrt(1 / size)
    return matrix


def dct_filters(coefficients: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """Build unit-norm filters from coefficients in the 2-D DCT basis without its constant.

    Parameters
    ----------
    coefficients : ndarray
        (filters, side² - 1) float64; the basis functions run down the vertical frequencies first (column order).
    side : int
        Side of a filter.

    Returns
    -------
    ndarray
        (filters, side, side) float64.
    """
    count = len(coefficients)
    spectrum = np.concatenate([np.zeros((count, 1)), coefficients], axis=1)
    spectrum = spectrum.reshape(count, side, side).transpose(0, 2, 1)  # column order → (vertical, horizontal)
    matrix = dct_matrix(side)
    filters: NDArray[np.float64] = matrix.T @ spectrum @ matrix
    norm = np.sqrt((filters**2).sum(axis=(1, 2), keepdims=True))
    return filters / (norm + np.finfo(np.float64).eps)


def influence_tables(
    weights: NDArray[np.float64], means: NDArray[np.float64], precision: float, grid: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Tabulate influence functions, mixtures of Gaussians Σ_j w_j exp(-precision/2 (x - mean_j)²).

    Parameters
    ----------
    weights : ndarray
        (functions, mixtures) float64.
    means : ndarray
        (mixtures,) float64.
    precision : float
        Inverse variance of each Gaussian.
    grid : ndarray
        (N,) float64, evenly spaced.

    Returns
    -------
    ndarray
        (functions, N) float64.
    """
    return np.asarray(weights @ np.exp(-0.5 * precision * (grid[None, :] - means[:, None]) ** 2))


class Diffusion(nn.Module):
    """One step's reaction: Σ_i k̄_i * φ_i(k_i * u).

    Parameters
    ----------
    filters, side, samples : int
        Number of filters, their side, and samples of each influence function's table.
    origin, step : float
        First grid point of the tables and their spacing, in grey levels.
    """

    CHUNK = 8  # filters at a time: memory stays at a few images, whatever their number

    def __init__(self, filters: int, side: int, samples: int, origin: float, step: float) -> None:
        super().__init__()
        self.origin, self.step = origin, step
        self.filters = nn.Parameter(torch.zeros(filters, 1, side, side))
        self.influence = nn.Parameter(torch.zeros(filters, samples))

    def forward(self, image: Tensor) -> Tensor:
        """(B, 1, H, W) float32 in grey levels 0..255 → the same; borders are mirrored."""
        margin = self.filters.shape[-1] // 2
        reaction = torch.zeros_like(image)
        mirrored = symmetric_pad(image, margin)
        for kernels, tables in zip(self.filters.split(self.CHUNK), self.influence.split(self.CHUNK), strict=True):
            response = self._influence(functional.conv2d(mirrored, kernels), tables)
            adjoint = kernels.flip(-1, -2).transpose(0, 1)
            reaction = reaction + functional.conv2d(symmetric_pad(response, margin), adjoint)
        return reaction

    def _influence(self, response: Tensor, tables: Tensor) -> Tensor:
        """Look φ_i up by linear interpolation; beyond the grid its last value holds, as in the authors' program."""
        count, samples = tables.shape
        position = ((response - self.origin) / self.step).clamp(0, samples - 1)
        low = position.floor().clamp(max=samples - 2)
        start = torch.arange(count, device=response.device).view(1, -1, 1, 1) * samples
        index = (low.int() + start.int()).flatten()
        flat = tables.flatten()
        below = flat.index_select(0, index).view_as(response)
        above = flat.index_select(0, index + 1).view_as(response)
        return torch.lerp(below, above, position - low)


class TNRDDenoiser(nn.Module):
    """Diffusion for Gaussian noise: every step is also drawn to the noisy image.

    Parameters
    ----------
    stages : int
        Steps, 5 in the released models.
    filters, side, samples, origin, step
        Those of `Diffusion`.
    """

    rgb_range = 255.0

    BORDER = 8  # of the mirrored frame, renewed after every step (the authors' test program)

    def __init__(self, stages: int, filters: int, side: int, samples: int, origin: float, step: float) -> None:
        super().__init__()
        self.stages = nn.ModuleList(Diffusion(filters, side, samples, origin, step) for _ in range(stages))
        self.attraction = nn.Parameter(torch.zeros(stages))

    def forward(self, noisy: Tensor) -> Tensor:
        """Denoise (B, 1, H, W) float32 in 0..255; unclipped noise may leave that range."""
        image = noisy
        for stage, attraction in zip(self.stages, self.attraction, strict=True):
            framed = symmetric_pad(image, self.BORDER)
            reaction = stage(framed)[..., self.BORDER : -self.BORDER, self.BORDER : -self.BORDER]
            image = image - attraction * (image - noisy) - reaction
        return image


class TNRDDeblocker(nn.Module):
    """Diffusion for JPEG: after every step the DCT coefficients are drawn back towards their quantisation cells.

    The coefficients are recovered from the decoded image, see `recover_coefficients`.

    Parameters
    ----------
    stages, filters, side, samples, origin, step
        As in `TNRDDenoiser`; 4 stages in the released models.
    table : ndarray
        (8, 8) quantisation table of the JPEG files.
    """

    rgb_range = 255.0

    BORDER = 5  # of the mirrored frame (the authors' test program)
    # The authors' program narrows the cells to 0.8 of the quantisation step.
    NARROWING = 0.8

    def __init__(
        self,
        stages: int,
        filters: int,
        side: int,
        samples: int,
        origin: float,
        step: float,
        table: NDArray[np.float64],
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList(Diffusion(filters, side, samples, origin, step) for _ in range(stages))
        self.register_buffer("table", torch.as_tensor(table, dtype=torch.float32), persistent=False)
        self.register_buffer("dct", torch.as_tensor(dct_matrix(BLOCK), dtype=torch.float32), persistent=False)

    def forward(self, decoded: Tensor) -> Tensor:
        """Restore luma (B, 1, H, W) float32 in 0..255, a decoded JPEG."""
        height, width = decoded.shape[-2:]
        table, dct = self.get_buffer("table"), self.get_buffer("dct")
        coefficients = recover_coefficients(decoded - 128, table, dct)
        reach = 0.5 * self.NARROWING * table
        low, high = coefficients - reach, coefficients + reach
        image = inverse_dct(coefficients, dct).clamp(-128, 127)
        for stage in self.stages:
            framed = symmetric_pad(image, self.BORDER)
            reaction = stage(framed)[..., self.BORDER : -self.BORDER, self.BORDER : -self.BORDER]
            projected = torch.minimum(torch.maximum(forward_dct(image - reaction, dct), low), high)
            image = inverse_dct(projected, dct).clamp(-128, 127)
        return image[..., :height, :width] + 128


def forward_dct(image: Tensor, dct: Tensor) -> Tensor:
    """Transform the 8x8 blocks of (B, 1, H, W), H and W multiples of 8, to (B, H/8, W/8, 8, 8)."""
    batch, _, height, width = image.shape
    blocks = image.reshape(batch, height // BLOCK, BLOCK, width // BLOCK, BLOCK).transpose(2, 3)
    return dct @ blocks @ dct.T


def inverse_dct(coefficients: Tensor, dct: Tensor) -> Tensor:
    """Undo `forward_dct`."""
    blocks = (dct.T @ coefficients @ dct).transpose(2, 3)
    batch, rows, _, columns, _ = blocks.shape
    return blocks.reshape(batch, 1, rows * BLOCK, columns * BLOCK)


def recover_coefficients(decoded: Tensor, table: Tensor, dct: Tensor, rounds: int = 100) -> Tensor:
    """Find the dequantised coefficients of a JPEG from its decoded image.

    Inside the image the block DCT, rounded to multiples of the quantisation table, undoes the decoder's rounding to
    8 bits. Of the last blocks of an image whose size is no multiple of 8 only a part is seen; the encoder had filled
    them by repeating the original's last row and column. They are found by encoding a guess of the original, decoding
    it, and adding half of what is still missing to the guess; the coefficients that fit each block best are kept.

    Parameters
    ----------
    decoded : Tensor
        (B, 1, H, W) grey levels less 128.
    table, dct : Tensor
        (8, 8) quantisation table and DCT matrix.
    rounds : int
        Guesses for the last blocks.

    Returns
    -------
    Tensor
        (B, ceil(H/8), ceil(W/8), 8, 8).
    """
    height, width = decoded.shape[-2:]
    down, right = -height % BLOCK, -width % BLOCK
    coefficients = (forward_dct(_fill(decoded, down, right), dct) / table).round() * table
    if down:
        strip = decoded[..., height + down - BLOCK :, :]
        coefficients[:, -1:] = _recover_cut(strip, down, right, table, dct, rounds)
    if right:
        strip = decoded[..., : height + down - (BLOCK if down else 0), width + right - BLOCK :]
        if strip.shape[-2]:
            rows = strip.shape[-2] // BLOCK
            coefficients[:, :rows, -1:] = _recover_cut(strip, 0, right, table, dct, rounds)
    return coefficients


def _fill(image: Tensor, down: int, right: int) -> Tensor:
    return functional.pad(image, (0, right, 0, down), mode="replicate")


def _recover_cut(seen: Tensor, down: int, right: int, table: Tensor, dct: Tensor, rounds: int) -> Tensor:
    height, width = seen.shape[-2:]
    guess = seen
    best = misfit = None
    for _ in range(rounds):
        coefficients = (forward_dct(_fill(guess, down, right), dct) / table).round() * table
        missing = seen - inverse_dct(coefficients, dct).clamp(-128, 127)[..., :height, :width]
        blocks = functional.max_pool2d(functional.pad(missing.abs(), (0, right, 0, down)), BLOCK)[
            :, 0, :, :, None, None
        ]
        if best is None or misfit is None:
            best, misfit = coefficients, blocks
        else:
            best = torch.where(blocks < misfit, coefficients, best)
            misfit = torch.minimum(blocks, misfit)
        guess = guess + 0.5 * missing
    if best is None:
        raise ValueError("rounds must be positive")
    return best


def symmetric_pad(image: Tensor, border: int) -> Tensor:
    """Mirror the last two axes with the edge sample repeated, MATLAB's ``padarray(…, 'symmetric')``.

    PyTorch's "reflect" leaves the edge sample out. Images thinner than the border are mirrored again and again.
    """
    return image[..., _mirrored(image.shape[-2], border), :][..., _mirrored(image.shape[-1], border)]


def _mirrored(size: int, border: int) -> Tensor:
    index = torch.arange(-border, size + border) % (2 * size)
    return torch.where(index < size, index, 2 * size - 1 - index)


def released_tnrd(arrays: Mapping[str, NDArray[np.float64]], where: str, quality: int | None = None) -> nn.Module:
    """Build a diffusion network from a released model.

    Parameters
    ----------
    arrays : mapping
        ``cof`` (parameters, stages), ``means``, ``precision`` and ``grid``, as `harness.assets.weights.importers` reads
        them. A stage's parameters are the DCT coefficients of its filters, for denoising log λ, and the mixture
        weights.
    where : str
        What the arrays are, for the error.
    quality : int, optional
        JPEG quality; without it the model is a denoiser.

    Returns
    -------
    Module
        `TNRDDenoiser` or `TNRDDeblocker`.

    Raises
    ------
    HarnessError
        The arrays are not those of such a model.
    """
    cof, means, grid = arrays["cof"], arrays["means"], arrays["grid"]
    lines, stages = cof.shape
    logarithm = 0 if quality is not None else 1
    per_filter = SIDE**2 - 1 + len(means)
    filters = (lines - logarithm) // per_filter
    if filters < 1 or filters * per_filter + logarithm != lines or len(grid) < 2:
        task = "JPEG" if quality is not None else "denoising"
        raise HarnessError(
            f"{where}: {lines} parameters a stage do not fit a {task} model of {SIDE}x{SIDE} filters; "
            "these are the weights of another model"
        )
    origin, step = float(grid[0]), float(grid[1] - grid[0])
    network: TNRDDenoiser | TNRDDeblocker
    if quality is not None:
        table = quantisation_table(quality)
        network = TNRDDeblocker(stages, filters, SIDE, len(grid), origin, step, table)
    else:
        network = TNRDDenoiser(stages, filters, SIDE, len(grid), origin, step)
    split = filters * (SIDE**2 - 1)
    with torch.no_grad():
        for index, stage in enumerate(network.stages):
            assert isinstance(stage, Diffusion)
            coefficients = cof[:split, index].reshape(filters, SIDE**2 - 1)
            weights = cof[split + logarithm :, index].reshape(filters, len(means))
            stage.filters.copy_(torch.from_numpy(dct_filters(coefficients, SIDE)[:, None]))
            table = influence_tables(weights, means, float(arrays["precision"][0]), grid)
            stage.influence.copy_(torch.from_numpy(table))
            if isinstance(network, TNRDDenoiser):
                network.attraction[index] = float(np.exp(cof[split, index]))
    return network
