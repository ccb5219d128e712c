"""k-NN local attention (KiT section 3.3): patches attend, pixel by pixel, to patches that hash alike.

No code of KiT is known, and the paper leaves much open. What it states is fixed here; what it does not is a
field of ``KiTAssumptions`` with a default. docs/networks.md says why each default was chosen.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from harness.networks.batched_attention import device_budget
from harness.networks.patch_attention import MEMORY_BUDGET
from harness.networks.precision import without_autocast


class KiTAssumptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything KiT needs that its paper does not state.

    Attributes
    ----------
    width : int
        Features of the first stage; they double at every interpolation layer.
    stem_stride : int
        Stride of the first of the three first convolutions. With 3 stages that each halve the map, 2 gives
        the bottleneck of 4x4 patches for 256x256 that section 4.1 mentions.
    mlp_ratio : int
        Hidden features of the feed-forward network, relative to its input.
    max_buckets : int
        Upper bound of m, the number of hash buckets; m is the even number nearest to patches / k below it.
    hash_seed : int
        Seed of the random rotations (eq. 5), drawn once for ``max_buckets`` and kept with the weights.
    pair_weight : str
        Combination of the pair-wise outputs: ``softmax`` of phi . theta / sqrt(r^2 C) over the partners, or
        ``ratio``, eq. 10 as printed, whose denominator can vanish: its magnitude is kept above ``ratio_floor``.
    ratio_floor : float
        See ``pair_weight``.
    round_merge : str
        Combination of the hash rounds: ``mean``, or ``logsumexp`` (weights by the rounds' total similarity,
        as Reformer does; needs ``pair_weight`` ``softmax``).
    edge_lambda : float
        lambda of the edge loss (eq. 11); used by the training recipe only.
    """

    width: int = 32
    stem_stride: int = 2
    mlp_ratio: int = 4
    max_buckets: int = 128
    hash_seed: int = 0
    pair_weight: str = "softmax"
    ratio_floor: float = 1e-2
    round_merge: str = "mean"
    edge_lambda: float = 0.05


class KNNLocalAttention(nn.Module):
    """k-NN local attention, KLA (section 3.3): hash, sort, cut into chunks, attend patch by patch.

    Parameters
    ----------
    channels : int
        C.
    k : int
        Patches in a chunk; each patch attends to the 2k of its own and the previous chunk.
    h : int
        Hash rounds.
    r : int
        Side of a patch.
    shared : bool
        KiT_S: one projection for query and key.
    assumptions : KiTAssumptions
        What the paper leaves open.
    index : int
        Number of the block: every block has its own rotations.

    Attributes
    ----------
    rotations : Tensor
        ``(h, r^2 C, max_buckets / 2) float32``: R of eq. 5 for every hash round, a part of the state.
    """

    def __init__(
        self, channels: int, k: int, h: int, r: int, shared: bool, assumptions: KiTAssumptions, index: int = 0
    ) -> None:
        super().__init__()
        self.k, self.h, self.r = k, h, r
        self.assumptions = assumptions
        self.memory_budget = MEMORY_BUDGET
        self.phi = nn.Linear(channels, channels)
        self.theta = self.phi if shared else nn.Linear(channels, channels)
        self.psi = nn.Linear(channels, channels)
        shape = (h, r * r * channels, max(1, assumptions.max_buckets // 2))
        rotations = torch.empty(shape, dtype=torch.float32)
        if not rotations.is_meta:  # a network that is only counted has no values
            generator = torch.Generator().manual_seed(assumptions.hash_seed + index)
            # Drawn on the CPU: the same on every machine and device.
            rotations.copy_(torch.randn(shape, dtype=torch.float32, generator=generator, device="cpu"))
        self.rotations: Tensor
        self.register_buffer("rotations", rotations)

    def hash(self, patches: Tensor, buckets: int) -> Tensor:
        """Hash patches ``(B, N, r^2 C)`` into an even number of buckets: ``(B, h, N) int64`` (eq. 5).

        Maps of all sizes share the rotations: fewer buckets use their first columns. Between two numbers of buckets a
        patch either keeps its direction (column and sign), or the larger number has a nearer one among its further
        columns.
        """
        # A choice between near equals, so float32 whatever the network computes in.
        with without_autocast(patches.device):
            unit = functional.normalize(patches.detach().float(), dim=2)
            projected = torch.einsum("bnl,hlm->bhnm", unit, self.rotations[:, :, : buckets // 2].float())
            return torch.cat([projected, -projected], dim=3).argmax(dim=3)

    def sort(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Sort patches ``(B, N, r^2 C)`` by their hashes.

        Returns
        -------
        order : Tensor
            ``(B, h, N) int64``: the patches of each round, one after the other (eq. 6).
        place : Tensor
            ``(B, h, N) int64``: where each patch stands in the order.
        """
        n = patches.shape[1]
        half = max(1, min(round(n / min(self.k, n) / 2), self.assumptions.max_buckets // 2))
        order = self.hash(patches, 2 * half).argsort(dim=2, stable=True)
        return order, order.argsort(dim=2)

    def chunks(self, ordered: Tensor) -> Tensor:
        """Cut what is in order, ``(B, h, N, ...)``, into chunks ``(B, h, chunks, k, ...)`` (eq. 7).

        Where k does not divide N, the last chunk is filled up from the front of the order, so that every patch has the
        same number of partners.
        """
        k = min(self.k, ordered.shape[2])
        missing = -ordered.shape[2] % k
        filled = torch.cat([ordered, ordered[:, :, :missing]], dim=2) if missing else ordered
        return filled.unflatten(2, (-1, k))

    def group(self, patches: Tensor) -> Tensor:
        """Find the partners of each patch ``(B, N, r^2 C)`` by hashing: ``(B, h, N, 2k) int64``.

        The k patches of its own chunk are followed by those of the chunk before it.
        """
        order, place = self.sort(patches)
        members = _with_previous(self.chunks(order))
        chosen = (place // (members.shape[3] // 2)).unsqueeze(3).expand(-1, -1, -1, members.shape[3])
        return members.gather(2, chosen)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)``, H and W multiples of r, to the same shape."""
        r, grid = self.r, (x.shape[2] // self.r, x.shape[3] // self.r)
        patches = to_patches(x, r)
        batch, count, pixels, channels = patches.shape
        order, place = self.sort(patches.flatten(2))
        query, key, value = self.phi(patches), self.theta(patches), self.psi(patches)
        k = min(self.k, count)
        # Per chunk: its matrix of pixels by partners' pixels, thrice, and the patches.
        row_bytes = k * pixels * (12 * k * pixels + 5 * channels) * x.element_size()
        step = max(1, device_budget(self.memory_budget, x.device) // (batch * row_bytes))
        # A CPU's caches hold the chunks of one round at best.
        rounds = max(1, step // math.ceil(count / k)) if x.device.type != "cpu" else 1
        outs, totals = [], []
        for index, position in zip(order.split(rounds, dim=1), place.split(rounds, dim=1), strict=True):
            own, keys, values = (self.chunks(_sorted(part, index, position)) for part in (query, key, value))
            arguments = own.flatten(1, 2), _with_previous(keys).flatten(1, 2), _with_previous(values).flatten(1, 2)
            parts = []
            for some in zip(*(part.split(step, dim=1) for part in arguments), strict=True):
                if torch.is_grad_enabled() and step < arguments[0].shape[1]:
                    # Nothing random is in it, and saving a GPU's generator would wait for the GPU.
                    parts.append(checkpoint(self._attend, *some, use_reentrant=False, preserve_rng_state=False))
                else:
                    parts.append(self._attend(*some))
            # From the order of the hashes back to the order of the map.
            shape = index.shape[1], -1
            out, total = (torch.cat(each, dim=1) if len(parts) > 1 else each[0] for each in zip(*parts, strict=True))
            outs.append(_restored(out.flatten(1, 2).unflatten(1, shape)[:, :, :count], index, position))
            if self.assumptions.round_merge != "mean":
                totals.append(total.flatten(1).unflatten(1, shape).gather(2, position))
        found = torch.cat(outs, dim=1) if len(outs) > 1 else outs[0]
        if not totals:
            return from_patches(found.mean(dim=1), grid, r)
        merge = torch.cat(totals, dim=1).softmax(dim=1)
        return from_patches(torch.einsum("bhn,bhnic->bnic", merge.to(found.dtype), found), grid, r)

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Pair-wise local attention (eq. 8 to 10) of chunks ``(B, c, k, r^2, C)`` to ``(B, c, 2k, r^2, C)``.

        A chunk's patches share their partners, so the products of a chunk are one matrix product, and the weighted sum
        over the partners' pixels another. Returns ``(B, c, k, r^2, C)`` and the log of the total similarity
        ``(B, c, k)``.
        """
        k, pixels, channels = queries.shape[2:]
        rows, columns = queries.flatten(2, 3), keys.flatten(2, 3).transpose(2, 3)
        if queries.device.type == "cpu":
            scores = rows @ columns / math.sqrt(channels)
        else:
            # The same without a pass over all products; a CPU's bits stay as they were.
            scores = rows / math.sqrt(channels) @ columns
        within = scores.unflatten(3, (2 * k, pixels)).softmax(dim=4).unflatten(2, (k, pixels))
        # The denominator of eq. 10 decides by its sign: in float32 as well.
        with without_autocast(queries.device):
            digits = torch.promote_types(queries.dtype, torch.float32)
            similarity = queries.flatten(3).to(digits) @ keys.flatten(3).to(digits).transpose(2, 3)
        if self.assumptions.pair_weight == "softmax":
            similarity = similarity / math.sqrt(pixels * channels)
            weights = similarity.softmax(dim=3)
        else:
            total = similarity.sum(dim=3, keepdim=True)
            floor = self.assumptions.ratio_floor
            weights = similarity / torch.where(total < 0, total.clamp_max(-floor), total.clamp_min(floor))
        shares = within * weights.to(within.dtype)[:, :, :, None, :, None]
        out = shares.flatten(2, 3).flatten(3, 4) @ values.flatten(2, 3)
        return out.unflatten(2, (k, pixels)), similarity.logsumexp(dim=3)


def _with_previous(chunks: Tensor) -> Tensor:
    """Add to each chunk the one before it: ``(B, h, chunks, k, ...)`` gives ``(B, h, chunks, 2k, ...)``."""
    # The first one's is the last, as in Reformer.
    return torch.cat([chunks, chunks.roll(1, dims=2)], dim=3)


def _taken(x: Tensor, index: Tensor) -> Tensor:
    """Take whole patches: ``(B, N, r^2, C)`` at ``(B, M) int64`` gives ``(B, M, r^2, C)``."""
    first = torch.arange(0, x.shape[0] * x.shape[1], x.shape[1], device=index.device).unsqueeze(1)
    return x.flatten(0, 1).index_select(0, (index + first).flatten()).unflatten(0, index.shape)


def _in_order(x: Tensor, order: Tensor) -> Tensor:
    """Take whole patches ``(B, N, r^2, C)`` in the order of some rounds, ``(B, h, N)``: ``(B, h, N, r^2, C)``."""
    return _taken(x, order.flatten(1)).unflatten(1, order.shape[1:])


def _put_back(x: Tensor, place: Tensor) -> Tensor:
    """Take whole patches ``(B, h, N, r^2, C)``, of each round in an order of its own."""
    return _taken(x.flatten(0, 1), place.flatten(0, 1)).unflatten(0, place.shape[:2])


class _Sorted(torch.autograd.Function):
    """Patches ``(B, N, r^2, C)`` in the order of some rounds: ``(B, h, N, r^2, C)``.

    An order has each patch once, so its gradient takes whole patches too: nothing is scattered, and every sum has a
    fixed order.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, order: Tensor, place: Tensor) -> Tensor:
        ctx.save_for_backward(place)
        return _in_order(x, order)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (place,) = ctx.saved_tensors
        return _put_back(grad, place).sum(dim=1), None, None


class _Restored(torch.autograd.Function):
    """The other way: ``(B, h, N, r^2, C)`` in the orders of the rounds, put back to where the patches lie."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, order: Tensor, place: Tensor) -> Tensor:
        ctx.save_for_backward(order)
        return _put_back(x, place)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (order,) = ctx.saved_tensors
        return _put_back(grad, order), None, None


def _sorted(x: Tensor, order: Tensor, place: Tensor) -> Tensor:
    # Exporters know no Function; without a gradient there is none.
    return _Sorted.apply(x, order, place) if x.requires_grad else _in_order(x, order)


def _restored(x: Tensor, order: Tensor, place: Tensor) -> Tensor:
    return _Restored.apply(x, order, place) if x.requires_grad else _put_back(x, place)


def to_patches(x: Tensor, r: int) -> Tensor:
    """Split ``(B, C, H, W)`` into non-overlapping patches ``(B, N, r^2, C)``, row by row."""
    x = x.unflatten(3, (-1, r)).unflatten(2, (-1, r))
    return x.permute(0, 2, 4, 3, 5, 1).flatten(3, 4).flatten(1, 2)


def from_patches(patches: Tensor, grid: tuple[int, int], r: int) -> Tensor:
    """Put patches ``(B, N, r^2, C)`` back into a map ``(B, C, H, W)``."""
    x = patches.unflatten(2, (r, r)).unflatten(1, grid)
    return x.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)
