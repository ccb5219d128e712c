"""The signature of a measurement: written for a caption, read back into the protocol."""

import itertools

import pytest

from harness.errors import HarnessError
from harness.protocols import LUMAS, protocol, protocol_grid
from harness.protocols import definitions as words
from harness.protocols.signature import from_signature, signature

NAMED = [*protocol_grid(aggregations=("", "pooled")), *map(protocol, ("psnr-aligned", "ssim-aligned", "psnr-crop3"))]


def test_every_named_protocol_comes_back_with_its_scale():
    assert len(protocol_grid()) == 189
    signed = {}
    for of, scale in itertools.product(NAMED, (None, 1, 2, 3, 4, 8)):
        text = signature(of, scale)
        assert from_signature(text) == (of, scale if of.crop_scales else None)
        assert signed.setdefault(text, of) == of
        assert len(text) <= 80, "too long for a caption"


def test_the_form_of_the_manual():
    assert signature(protocol("psnr-y-crop"), 4) == "psnr-y-crop.1|b4|bt601-limited|unrounded"
    assert signature(protocol("psnr-crop3"), 4) == "psnr-crop3.1|b3|all-channels|unrounded"


def test_every_luma_has_words():
    assert len({signature(protocol(f"psnr-{luma}" if luma else "psnr")).split("|", 2)[2] for luma in LUMAS}) == len(
        LUMAS
    )


def test_versions_that_differ_stand_one_by_one(monkeypatch):
    old = signature(protocol("psnr-y-crop"), 4)
    monkeypatch.setattr(words, "CROP_VERSION", 2)
    new = signature(protocol("psnr-y-crop"), 4)
    assert new.startswith("psnr-y-crop.1.1.2|")
    assert from_signature(new) == (protocol("psnr-y-crop"), 4)
    with pytest.raises(HarnessError, match=r"version 1 of psnr-y-crop, and this package has version 1\.1\.2"):
        from_signature(old)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("psnr-y-crop", "no signature"),
        ("psnr-y-crop.1|b4|bt601-limited", "no signature"),
        ("psnr-y-crop.1|b4|bt601-limited|unrounded|more", "no signature"),
        ("psnr-y-crop|b4|bt601-limited|unrounded", "no signature"),
        ("psnr-q.1|b4|bt601-limited|unrounded", "unknown part of protocol"),
        ("psnr-y-crop.7|b4|bt601-limited|unrounded", "version 7"),
        ("psnr-y-crop.1|4|bt601-limited|unrounded", "no border"),
        ("psnr-y-crop.1|b04|bt601-limited|unrounded", "no border"),
        ("psnr-y-crop.1|b0|bt601-limited|unrounded", "the border of psnr-y-crop is bscale, not b0"),
        ("psnr-y-crop+6.1|b6|bt601-limited|unrounded", "the border of"),
        ("psnr-y.1|b4|bt601-limited|unrounded", "the border of psnr-y is b0, not b4"),
        ("psnr-y-crop.1|b4|bt601|unrounded", "unknown luma"),
        ("psnr-y-crop.1|b4|bt601-full|unrounded", "the luma bt601-limited, not bt601-full"),
        ("psnr-y-crop.1|b4|bt601-limited|8-bit", "the rounding unrounded, not 8-bit"),
        ("psnr-y-crop.1|b4|bt601-limited|floor", "unknown rounding"),
    ],
)
def test_what_is_no_signature_is_refused_with_a_sentence(text, said):
    with pytest.raises(HarnessError, match=said):
        from_signature(text)


def test_a_scale_is_a_whole_number():
    with pytest.raises(HarnessError, match="scale 0"):
        signature(protocol("psnr-y-crop"), 0)
