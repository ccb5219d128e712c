"""k-NN local attention (KiT section 3.3): patches attend, pixel by pixel, to patches that hash alike.

No code of KiT is known, and the paper leaves much open. What it states is fixed here; what it does not is a
field of ``KiTAssumptions`` with a default. docs/networks.md says why each default was chosen.
"""

from __future__ import annotations

import math

import msgspec
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

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

    def chunks(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Sort the patches by their hashes and cut the order into chunks.

        Parameters
        ----------
        patches : Tensor
            ``(B, N, r^2 C)``.

        Returns
        -------
        members : Tensor
            ``(B, h, chunks, 2k) int64``: the k patches of each chunk, then those of the chunk before it. Where k does
            not divide N, the last chunk is filled up from the front of the order, so that every patch has the same
            number of partners.
        place : Tensor
            ``(B, h, N) int64``: where each patch stands in the order.
        """
        n = patches.shape[1]
        k = min(self.k, n)
        half = max(1, min(round(n / k / 2), self.assumptions.max_buckets // 2))
        order = self.hash(patches, 2 * half).argsort(dim=2, stable=True)  # eq. 6
        count = math.ceil(n / k)
        filled = torch.arange(count * k, device=order.device) % n
        members = order[:, :, filled].unflatten(2, (count, k))  # eq. 7
        # The previous chunk contributes too; the first one's is the last, as in Reformer.
        members = torch.cat([members, members.roll(1, dims=2)], dim=3)
        return members, torch.empty_like(order).scatter_(
            2, order, torch.arange(n, device=order.device).expand_as(order)
        )

    def group(self, patches: Tensor) -> Tensor:
        """Find the partners of each patch ``(B, N, r^2 C)`` by hashing: ``(B, h, N, 2k) int64``."""
        members, place = self.chunks(patches)
        chosen = (place // (members.shape[3] // 2)).unsqueeze(3).expand(-1, -1, -1, members.shape[3])
        return members.gather(2, chosen)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)``, H and W multiples of r, to the same shape."""
        r, grid = self.r, (x.shape[2] // self.r, x.shape[3] // self.r)
        patches = to_patches(x, r)
        members, place = self.chunks(patches.flatten(2))
        query, key, value = self.phi(patches), self.theta(patches), self.psi(patches)
        batch, _, pixels, channels = query.shape
        count, partners = members.shape[2:]
        # Per chunk: its matrix of pixels by partners' pixels, thrice, and the gathered patches.
        area = partners // 2 * pixels
        row_bytes = area * (6 * partners * pixels + 5 * channels) * x.element_size()
        step = max(1, self.memory_budget // (batch * row_bytes))
        merging, outs, totals = self.assumptions.round_merge != "mean", [], []
        for round_members, round_place in zip(members.unbind(1), place.unbind(1), strict=True):
            parts = []
            for start in range(0, count, step):
                arguments = (query, key, value, round_members[:, start : start + step])
                if torch.is_grad_enabled() and step < count:
                    # Nothing random is in it, and saving a GPU's generator would wait for the GPU.
                    parts.append(checkpoint(self._attend, *arguments, use_reentrant=False, preserve_rng_state=False))
                else:
                    parts.append(self._attend(*arguments))
            # From the order of the hashes back to the order of the map.
            out = torch.cat([part[0] for part in parts], dim=1).flatten(1, 2)
            outs.append(_patches_at(out, round_place))
            if merging:
                totals.append(torch.cat([part[1] for part in parts], dim=1).flatten(1).gather(1, round_place))
        rounds = torch.stack(outs)
        if not merging:
            return from_patches(rounds.mean(dim=0), grid, r)
        merge = torch.stack(totals).softmax(dim=0)
        return from_patches(torch.einsum("hbn,hbnic->bnic", merge.to(rounds.dtype), rounds), grid, r)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, members: Tensor) -> tuple[Tensor, Tensor]:
        """Pair-wise local attention (eq. 8 to 10) of the patches of some chunks ``(B, c, 2k)`` of one round.

        A chunk's patches share their partners, so the products of a chunk are one matrix product, and the weighted sum
        over the partners' pixels another. Returns ``(B, c, k, r^2, C)`` and the log of the total similarity
        ``(B, c, k)``.
        """
        pixels, channels = query.shape[2:]
        k = members.shape[2] // 2
        queries = _patches_at(query, members[:, :, :k])
        keys, values = _patches_at(key, members), _patches_at(value, members)
        scores = queries.flatten(2, 3) @ keys.flatten(2, 3).transpose(2, 3) / math.sqrt(channels)
        within = scores.unflatten(3, (2 * k, pixels)).softmax(dim=4).unflatten(2, (k, pixels))
        # The denominator of eq. 10 decides by its sign: in float32 as well.
        with without_autocast(query.device):
            digits = torch.promote_types(query.dtype, torch.float32)
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


def _patches_at(patches: Tensor, index: Tensor) -> Tensor:
    """Take whole patches: ``(B, N, r^2, C)`` at ``(B, ...) int64`` gives ``(B, ..., r^2, C)``."""
    batch, count = patches.shape[:2]
    first = torch.arange(0, batch * count, count, device=index.device).view(-1, *[1] * (index.ndim - 1))
    # As rows of a table, whose gradient sorts the indices: no expanded index, and a fixed order of every sum.
    rows = functional.embedding(index + first, patches.flatten(2).flatten(0, 1))
    return rows.unflatten(-1, patches.shape[2:])


def to_patches(x: Tensor, r: int) -> Tensor:
    """Split ``(B, C, H, W)`` into non-overlapping patches ``(B, N, r^2, C)``, row by row."""
    x = x.unflatten(3, (-1, r)).unflatten(2, (-1, r))
    return x.permute(0, 2, 4, 3, 5, 1).flatten(3, 4).flatten(1, 2)


def from_patches(patches: Tensor, grid: tuple[int, int], r: int) -> Tensor:
    """Put patches ``(B, N, r^2, C)`` back into a map ``(B, C, H, W)``."""
    x = patches.unflatten(2, (r, r)).unflatten(1, grid)
    return x.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)
