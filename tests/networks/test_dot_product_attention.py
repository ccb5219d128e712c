from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness.errors import HarnessError
from harness.networks.dot_product_attention import FORMS, dot_product_attention


def maps(height: int, width: int, batch: int = 1, dtype=torch.float64) -> list[Tensor]:
    return [torch.randn(batch, c, height, width, dtype=dtype) for c in (3, 3, 5)]


@pytest.mark.parametrize("form", FORMS)
def test_definition(form: str) -> None:
    a, b, v = maps(2, 3)
    products = torch.einsum("bcyx,bcuv->yxuv", a, b)
    weights = products.flatten(2).softmax(2) if form == "gather" else products.flatten(0, 1).softmax(0)
    want = torch.einsum("ij,cj->ci", weights.reshape(6, 6), v[0].flatten(1)).view(1, 5, 2, 3)
    for kernel in ("direct", "streamed"):
        torch.testing.assert_close(dot_product_attention(a, b, v, form=form, kernel=kernel), want)


def test_the_forms_differ_in_what_adds_up_to_one() -> None:
    a, b, v = maps(4, 5)
    ones = torch.ones_like(v)
    torch.testing.assert_close(dot_product_attention(a, b, ones, form="gather"), ones)
    scattered = dot_product_attention(a, b, ones, form="scatter")
    assert not torch.allclose(scattered, ones)
    torch.testing.assert_close(scattered.mean(), ones.mean())


@pytest.mark.parametrize("form", FORMS)
def test_values_at_fewer_places_than_outputs(form: str) -> None:
    a = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    b = torch.randn(2, 3, 2, 3, dtype=torch.float64, requires_grad=True)
    v = torch.randn(2, 7, 2, 3, dtype=torch.float64, requires_grad=True)
    results = []
    for kernel in ("streamed", "direct"):
        out = dot_product_attention(a, b, v, form=form, kernel=kernel, memory_budget=100)
        assert out.shape == (2, 7, 4, 5)
        results.append([out, *torch.autograd.grad(out.square().sum(), (a, b, v))])
    for streamed, direct in zip(*results, strict=True):
        torch.testing.assert_close(streamed, direct, rtol=1e-10, atol=1e-10)


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    batch=st.integers(1, 2),
    form=st.sampled_from(FORMS),
    budget=st.sampled_from([1, 1000, 10_000_000]),
)
def test_streamed_is_direct_with_gradients(height, width, batch, form, budget) -> None:
    arguments = [t.requires_grad_() for t in maps(height, width, batch)]
    results = []
    for kernel in ("streamed", "direct"):
        out = dot_product_attention(*arguments, form=form, kernel=kernel, memory_budget=budget)
        weights = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)
        results.append([out, *torch.autograd.grad((out * weights).sum(), arguments)])
    for streamed, direct in zip(*results, strict=True):
        torch.testing.assert_close(streamed, direct, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("form", FORMS)
def test_gradcheck(form: str) -> None:
    arguments = [t.requires_grad_() for t in maps(3, 4)]
    assert torch.autograd.gradcheck(
        lambda a, b, v: dot_product_attention(a, b, v, form=form, memory_budget=400), arguments
    )


@pytest.mark.parametrize("form", FORMS)
def test_float32_and_bfloat16(form: str) -> None:
    a, b, v = maps(20, 24, dtype=torch.float32)
    streamed = dot_product_attention(a, b, v, form=form)
    torch.testing.assert_close(
        streamed, dot_product_attention(a, b, v, form=form, kernel="direct"), rtol=1e-5, atol=1e-5
    )
    half = dot_product_attention(a.bfloat16(), b.bfloat16(), v.bfloat16(), form=form)
    assert half.dtype is torch.bfloat16
    torch.testing.assert_close(half.float(), streamed, rtol=0.1, atol=0.1)


def test_refusals() -> None:
    with pytest.raises(HarnessError, match="attention form"):
        dot_product_attention(*maps(2, 2), form="gathers")
    with pytest.raises(HarnessError, match="attention kernel"):
        dot_product_attention(*maps(2, 2), kernel="flash")
