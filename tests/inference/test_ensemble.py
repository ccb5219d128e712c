from __future__ import annotations

import torch

from harness.inference import self_ensemble


def test_the_eight_orientations_are_all_there_once() -> None:
    x = torch.arange(6.0).view(1, 1, 2, 3)
    seen = []
    self_ensemble(lambda t: seen.append(t) or t, x)
    every = [torch.rot90(x.flip(-1) if flip else x, k, (2, 3)) for flip in (False, True) for k in range(4)]
    assert len(seen) == 8
    for turned in every:
        assert sum(torch.equal(turned, other) for other in seen) == 1


def test_an_equivariant_function_is_unchanged() -> None:
    x = torch.rand(2, 3, 5, 4, dtype=torch.float64)
    torch.testing.assert_close(self_ensemble(lambda t: t.square(), x), x.square())


def test_enlarging_functions_are_turned_back() -> None:
    x = torch.rand(1, 1, 3, 5, dtype=torch.float64)

    def enlarge(t: torch.Tensor) -> torch.Tensor:
        return t.repeat_interleave(2, 2).repeat_interleave(2, 3)

    torch.testing.assert_close(self_ensemble(enlarge, x), enlarge(x))


def test_the_mean_is_over_all_eight() -> None:
    # A function that marks the first pixel of what it gets: every corner is marked by two orientations.
    def mark(t: torch.Tensor) -> torch.Tensor:
        out = torch.zeros_like(t)
        out[..., 0, 0] = 1
        return out

    result = self_ensemble(mark, torch.zeros(1, 1, 3, 3))
    assert result.sum() == 1
    assert result[0, 0, ::2, ::2].tolist() == [[0.25, 0.25], [0.25, 0.25]]
