"""Rows of two protocols: what explains the columns that the best variant leaves open.

A row may be put together from two sources: a first paper's columns, and a later one's for the rest. Then no variant
explains all of it. The columns (dataset and level) where the best one fails are audited again as a row of their own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.audit.description import consistent_variants, of_one_draw, with_one_reading
from harness.audit.grid import Candidate, VariantGrid
from harness.audit.outcomes import MixtureAudit
from harness.audit.ranking import chance, explained_digits
from harness.audit.selection import Variant

FEWEST_CELLS = 2
"""Cells that a second variant must explain whole where the best one does not: one alone is easily an accident."""


UNREAD = 3
"""Candidates whose SSIM was left unread, for they cannot explain the whole row, that may still explain a part of it."""


def find_mixture(
    grid: VariantGrid, candidates: Sequence[Candidate], bounds: Sequence[tuple[Candidate, int]], best: Variant
) -> MixtureAudit | None:
    """Find the variant that explains the most of the columns where the best one fails; None where none gains enough.

    Parameters
    ----------
    grid : VariantGrid
        Of the row.
    candidates : sequence of Candidate
        With scores of every metric.
    bounds : sequence of tuple
        Candidates whose SSIM was not read; it is read under the best variant's reading where their PSNR promises most.
    best : Variant
        The best variant of the whole row.
    """
    vectors, variants = consistent_variants(grid, [*candidates, *_promising(grid, bounds, best)])
    targets = [cell.target for cell in grid.cells]
    loose = grid.stated_tolerance()
    printed = np.array([target.digits for target in targets])
    digits = np.stack([explained_digits(vectors[:, i], t, loose[i]) for i, t in enumerate(targets)], axis=1)
    first = _digits_of(grid, best)
    place = np.array([grid.places.index(cell.place) for cell in grid.cells])
    # By place: what each variant explains beyond the best one.
    gain = np.stack([(digits - first)[:, place == p].sum(axis=1) for p in range(len(grid.places))], axis=1)
    gain = np.maximum(gain, 0)
    if not gain.any():
        return None
    choices = best.choices(grid)
    chosen = min(
        np.flatnonzero(gain.sum(axis=1)),
        key=lambda v: (-int(gain[v].sum()), _differing(variants[v].choices(grid), choices), v),
    )
    places = np.flatnonzero(gain[chosen])
    here = np.isin(place, places)
    explained = digits[chosen, here]
    whole = int((explained == printed[here]).sum())
    if whole - int((first[here] == printed[here]).sum()) < FEWEST_CELLS:
        return None
    together = np.where(here, digits[chosen], first)
    cells = [index for index in range(len(grid.cells)) if here[index]]
    return MixtureAudit(
        places=tuple("/".join(str(part) for part in grid.places[p]) for p in places),
        choices={name: value for name, value in variants[chosen].choices(grid).items() if choices[name] != value},
        measured={grid.cells[i].request.key: round(float(vectors[chosen, i]), 6) for i in cells},
        digits=int(explained.sum()),
        whole=whole,
        row_digits=int(together.sum()),
        row_whole=int((together == printed).sum()),
        chance=chance(
            vectors[of_one_draw(variants)][:, cells],
            [targets[i] for i in cells],
            int(explained.sum()),
            whole,
            [loose[i] for i in cells],
        ),
    )


def _promising(grid: VariantGrid, bounds: Sequence[tuple[Candidate, int]], best: Variant) -> list[Candidate]:
    """Read the SSIM of the candidates whose PSNR explains the most digits beyond the best variant's."""
    known = best.candidate.scores["psnr"].digits[:, best.picks["psnr"]] if "psnr" in best.picks else None
    if known is None or "ssim" not in best.picks:
        return []
    gains = [
        (int(np.maximum(candidate.scores["psnr"].digits - known[:, None], 0).sum(axis=0).max()), -order)
        for order, (candidate, _) in enumerate(bounds)
    ]
    chosen = [bounds[-order][0] for gain, order in sorted(gains, reverse=True)[:UNREAD] if gain]
    return [with_one_reading(grid, candidate, best.picks["ssim"]) for candidate in chosen]


def _digits_of(grid: VariantGrid, variant: Variant) -> np.ndarray:
    """Digits that a variant explains, by cell."""
    found = np.zeros(len(grid.cells), dtype=np.int64)
    for metric, index in variant.picks.items():
        rows = [i for i, cell in enumerate(grid.cells) if cell.metric == metric]
        found[rows] = variant.candidate.scores[metric].digits[:, index]
    return found


def _differing(choices: dict[str, str], others: dict[str, str]) -> int:
    return sum(others.get(name) != value for name, value in choices.items())
