"""Makes the vectors of this folder: small images and what each protocol gives for them, computed from the definitions.

    python vectors/make.py            # writes pairs.json and transforms.json beside this file: always the same bytes
    python vectors/make.py --check    # exit status 1 if the files are not those

It shares no code with the package: whole numbers of any length instead of floating point, and nothing but Python's own
library, save for JPEG, which is libjpeg's through Pillow. README.md says what the files hold, and how exactly.
"""

from __future__ import annotations

import io
import itertools
import json
import sys
from decimal import Context, Decimal
from fractions import Fraction
from math import ceil, floor
from pathlib import Path

VERSION = 1
DIGITS = 50
GUARD = 10**75  # windows and quotients are whole multiples of 1 / GUARD
WIDE = Context(prec=90)

# offset + (red R + green G + blue B) / divisor, and whether the result is rounded to 8 bits, halves up.
LUMAS = {
    "y": (65481, 128553, 24966, 255000, 16, False),
    "y8": (65481, 128553, 24966, 255000, 16, True),
    "yfull": (589399, 1157447, 224810, 1971656, 0, False),
    "yfull8": (589399, 1157447, 224810, 1971656, 0, True),
    "yiq": (299, 587, 114, 1000, 0, False),
    "yiq8": (299, 587, 114, 1000, 0, True),
}
CHROMA = {"cb": (-37797, -74203, 112000, 255000, 128), "cr": (112000, -93786, -18214, 255000, 128)}

# Of each SSIM: the window, whether the border is repeated, whether variances are divided by N - 1, the range L, whether
# the images are thinned first, whether the window spans the channels.
WINDOWS = {
    "gauss": ("gauss", False, False, 255, False, False),
    "8x8": (8, False, False, 255, False, False),
    "skimage": (7, False, True, 255, False, False),
    "skimage-range2": (7, False, True, 510, False, False),
    "gauss-sample": ("gauss", False, True, 255, False, False),
    "toolbox": ("gauss", True, False, 255, False, False),
    "volume": ("gauss", True, False, 255, False, True),
    "downsampled": ("gauss", False, False, 255, True, False),
}

# An image is a list of planes, a plane a list of rows, a row a list of whole numbers; gray images have one plane.


def gaussian():
    """Eleven weights of a Gaussian of sigma 1.5, as whole multiples of about 1 / GUARD."""
    taps = [WIDE.exp(WIDE.divide(Decimal(-(i * i)), Decimal("4.5"))) for i in range(-5, 6)]
    return [int(WIDE.multiply(tap, Decimal(GUARD)).to_integral_value(context=WIDE)) for tap in taps]


GAUSSIAN = gaussian()


def weighted(image, weights):
    """One plane of a colour image: the weighted sum, times the divisor."""
    red, green, blue, divisor, offset = weights[:5]
    return [
        [offset * divisor + red * r + green * g + blue * b for r, g, b in zip(*rows, strict=True)]
        for rows in zip(*image, strict=True)
    ]


def rounded(plane, divisor):
    """To 8 bits, halves up."""
    return [[(2 * sample + divisor) // (2 * divisor) for sample in row] for row in plane]


def of_luma(image, name):
    """The planes that are compared, and the unit that their whole numbers are multiples of: 1 / unit."""
    if not name or len(image) == 1:
        return image, 1
    plane = weighted(image, LUMAS[name])
    divisor = LUMAS[name][3]
    return ([rounded(plane, divisor)], 1) if LUMAS[name][5] else ([plane], divisor)


def compared(reference, restored, luma):
    """The two images as a luma protocol compares them: gray beside colour is explained in README.md."""
    if len(reference) == 1 and len(restored) == 3:
        reference = reference * 3
    x, unit_x = of_luma(reference, luma)
    y, unit_y = of_luma(restored, luma)
    unit = max(unit_x, unit_y)
    return scaled(x, unit // unit_x), scaled(y, unit // unit_y), unit


def scaled(planes, by):
    """Every sample times a whole number."""
    return planes if by == 1 else [[[sample * by for sample in row] for row in plane] for plane in planes]


def cut(image, border):
    """Without a border of so many pixels."""
    return [[row[border : len(row) - border] for row in plane[border : len(plane) - border]] for plane in image]


def digits(number):
    """A fraction as a decimal number of 50 digits."""
    context = Context(prec=DIGITS)
    return str(context.divide(Decimal(number.numerator), Decimal(number.denominator)).normalize(context))


def psnr(x, y, unit):
    """The sum of squared differences in units of 1 / unit², the samples, and PSNR in dB."""
    pairs = [
        (a, b) for p, q in zip(x, y, strict=True) for r, s in zip(p, q, strict=True) for a, b in zip(r, s, strict=True)
    ]
    error = sum((a - b) ** 2 for a, b in pairs)
    return [str(error), len(pairs), decibel(Fraction(error, len(pairs) * unit**2))]


def decibel(mse):
    """10 log10(255² / mse), with 50 digits."""
    if not mse:
        return "inf"
    ratio = WIDE.divide(Decimal(255**2 * mse.denominator), Decimal(mse.numerator))
    return str(Context(prec=DIGITS).plus(WIDE.multiply(Decimal(10), WIDE.log10(ratio))))


def swept(rows, taps):
    """Weighted sums of neighbouring rows, for windows inside the image."""
    size = len(taps)
    return [
        [sum(map(int.__mul__, taps, column)) for column in zip(*rows[top : top + size], strict=True)]
        for top in range(len(rows) - size + 1)
    ]


def local_sums(plane, taps):
    """Weighted sums over all windows of a plane."""
    down = swept(plane, taps)
    return transposed(swept(transposed(down), taps))


def transposed(plane):
    """Rows for columns."""
    return [list(column) for column in zip(*plane, strict=True)]


def padded(image, reach):
    """With border pixels repeated."""
    wide = [[[row[0]] * reach + row + [row[-1]] * reach for row in plane] for plane in image]
    return [[plane[0]] * reach + plane + [plane[-1]] * reach for plane in wide]


def thinned(image):
    """The mean over f x f pixels of every f-th, times f², and f²: f = max(1, round(shorter side / 256))."""
    height, width = len(image[0]), len(image[0][0])
    f = max(1, (2 * min(height, width) + 256) // 512)
    before = (f - 1) // 2

    def mirrored(i, length):
        return -1 - i if i < 0 else 2 * length - 1 - i if i >= length else i

    def at(plane, top, left):
        places = itertools.product(range(top - before, top - before + f), range(left - before, left - before + f))
        return sum(plane[mirrored(i, height)][mirrored(j, width)] for i, j in places)

    if f == 1:
        return image, 1
    return [[[at(p, i, j) for j in range(0, width, f)] for i in range(0, height, f)] for p in image], f * f


def ssim(x, y, unit, name):
    """Mean SSIM (Wang et al. 2004, equation 13); None where the image is smaller than the window."""
    window, repeats, sample, dynamic, thins, spans = WINDOWS[name]
    taps = GAUSSIAN if window == "gauss" else [1] * window
    size = len(taps)
    if min(len(x[0]), len(x[0][0])) < size:
        return None
    if thins:
        (x, by), (y, _) = thinned(x), thinned(y)
        unit *= by
    if repeats:
        x, y = padded(x, size // 2), padded(y, size // 2)
    moments = []
    for p, q in zip(x, y, strict=True):
        both = [list(zip(r, s, strict=True)) for r, s in zip(p, q, strict=True)]
        kinds = (lambda a, b: a, lambda a, b: b, lambda a, b: a * a + b * b, lambda a, b: a * b)
        moments.append([local_sums([[kind(a, b) for a, b in row] for row in both], taps) for kind in kinds])
    total = sum(taps) ** 2
    if spans and len(x) > 1:
        moments = [mixed(moments, channel, taps) for channel in range(len(moments))]
        total *= sum(taps)
    # All sums are whole multiples of 1 / (total unit) or, of squares, 1 / (total unit²); C1 and C2 are (0.01 L)² and
    # (0.03 L)². Numerator and denominator are brought to whole numbers, and divided once.
    whole = total * total * unit * unit
    c1, c2 = dynamic**2 * whole, 9 * dynamic**2 * whole  # times 10000
    n = size * size
    f, g = (n, n - 1) if sample else (1, 1)
    similarity = count = 0
    for planes in moments:
        for rows in zip(*planes, strict=True):
            for a, b, squares, product in zip(*rows, strict=True):
                ab, aabb = a * b, a * a + b * b
                over = (2 * 10000 * ab + c1) * (2 * 10000 * f * (product * total - ab) + g * c2)
                under = (10000 * aabb + c1) * (10000 * f * (squares * total - aabb) + g * c2)
                similarity += (2 * over * GUARD + under) // (2 * under)
                count += 1
    return digits(Fraction(similarity, count * GUARD))


def mixed(moments, channel, taps):
    """Extend the windows over the channels, the outer channels repeated."""
    nearest = [min(max(channel + i - len(taps) // 2, 0), len(moments) - 1) for i in range(len(taps))]
    weights = [sum(tap for tap, c in zip(taps, nearest, strict=True) if c == at) for at in range(len(moments))]
    result = []
    for kind in range(4):
        rows = zip(*(m[kind] for m in moments), strict=True)
        result.append([[sum(map(int.__mul__, weights, s)) for s in zip(*r, strict=True)] for r in rows])
    return result


def values(reference, restored, borders, only=None):
    """What every named protocol gives for a pair, by name; borders by their word in the name."""
    found = {}
    gray = len(reference) == len(restored) == 1
    mixed_kinds = len(reference) != len(restored)
    for luma in [""] if gray else [name for name in ("", *LUMAS) if name or not mixed_kinds]:
        planes = compared(reference, restored, luma)
        for word, border in borders.items():
            x, y, unit = cut(planes[0], border), cut(planes[1], border), planes[2]
            known = {}
            for metric in ("psnr", *(f"ssim-{name}" for name in WINDOWS)):
                if only and metric not in only:
                    continue
                # A gray image is a volume of one channel, and an image below 384 pixels is not thinned.
                alias = {"ssim-volume": "ssim-toolbox"} if len(x) == 1 else {}
                alias |= {"ssim-downsampled": "ssim-gauss"} if min(len(x[0]), len(x[0][0])) < 384 else {}
                same = alias.get(metric)
                if same in known:
                    value = known[same]
                else:
                    value = psnr(x, y, unit) if metric == "psnr" else ssim(x, y, unit, metric[5:])
                known[metric] = value
                if value is not None:
                    found["-".join(part for part in (metric, luma, word) if part)] = value
    return found


# The images ---------------------------------------------------------------------------------------------------------


class Bytes:
    """Whole numbers from Knuth's generator of 64 bits (MMIX): the same in every language."""

    def __init__(self, seed):
        self.state = seed

    def below(self, limit):
        """A number of 0 .. limit - 1."""
        self.state = (6364136223846793005 * self.state + 1442695040888963407) % 2**64
        return (self.state >> 33) * limit >> 31


def clip(value):
    """To 0..255."""
    return min(max(value, 0), 255)


def made(height, width, channels, function):
    """An image of a function of row, column and channel."""
    return [[[clip(function(i, j, c)) for j in range(width)] for i in range(height)] for c in range(channels)]


def smooth(height, width, channels, seed):
    """Blobs: coarse random numbers, bilinear in between, with fine noise; the nearest to a photograph here."""
    draw, step = Bytes(seed), 5
    rows, columns = height // step + 2, width // step + 2
    grid = [[[draw.below(256) for _ in range(columns)] for _ in range(rows)] for _ in range(channels)]

    def at(i, j, c):
        (p, a), (q, b) = divmod(i, step), divmod(j, step)
        corners = (
            (p, q, (step - a) * (step - b)),
            (p + 1, q, a * (step - b)),
            (p, q + 1, (step - a) * b),
            (p + 1, q + 1, a * b),
        )
        return sum(grid[c][m][n] * weight for m, n, weight in corners) // step**2 + draw.below(7) - 3

    return made(height, width, channels, at)


def reference(kind, height, width, channels, seed):
    """A reference image of a kind."""
    draw = Bytes(seed)
    if kind == "smooth":
        return smooth(height, width, channels, seed)
    functions = {
        "flat": lambda i, j, c: (37, 128, 201)[(c + seed) % 3],
        "black": lambda i, j, c: 0,
        "white": lambda i, j, c: 255,
        "ramp": lambda i, j, c: (3 * i + 7 * j + 40 * c) % 256,
        "edge": lambda i, j, c: (20, 60, 10)[c] if 2 * i + 3 * j < height + 2 * width else (230, 200, 250)[c],
        "checker": lambda i, j, c: 255 * ((i + j + c) % 2),
        "stripes": lambda i, j, c: abs((11 * i + 29 * (c + 1) * j) % 256 - 128) * 2,
        "noise": lambda i, j, c: draw.below(256),
        "saturated": lambda i, j, c: (0, 0, 255, 255, draw.below(256))[draw.below(5)],
        "colours": lambda i, j, c: ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0))[(i // 3 + j // 4) % 4][c],
    }
    return made(height, width, channels, functions[kind])


def restored(kind, image, seed):
    """A damaged image of a kind."""
    draw, height, width, channels = Bytes(seed + 1), len(image[0]), len(image[0][0]), len(image)

    def near(i, j, c):
        return image[c][min(max(i, 0), height - 1)][min(max(j, 0), width - 1)]

    def inside(i, j, border):
        return border <= i < height - border and border <= j < width - border

    functions = {
        "equal": near,
        "one": lambda i, j, c: near(i, j, c) ^ (i == height // 2 and j == width // 2 and c == 0),
        "corner": lambda i, j, c: near(i, j, c) ^ (i + j == 0 and c == channels - 1),
        "brighter": lambda i, j, c: near(i, j, c) + 9,
        "contrast": lambda i, j, c: (3 * near(i, j, c) + 2 * 64) // 4,
        "noise3": lambda i, j, c: near(i, j, c) + draw.below(7) - 3,
        "noise60": lambda i, j, c: near(i, j, c) + draw.below(121) - 60,
        "blur": lambda i, j, c: sum(near(i + p, j + q, c) for p in (-1, 0, 1) for q in (-1, 0, 1)) // 9,
        "coarse": lambda i, j, c: near(i, j, c) // 32 * 32 + 16,
        "negative": lambda i, j, c: 255 - near(i, j, c),
        "shifted": lambda i, j, c: near(i, j + 1, c),
        "flipped": lambda i, j, c: near(i, width - 1 - j, c),
        "black": lambda i, j, c: 0,
        "channels": lambda i, j, c: image[(c + 1) % channels][i][j],
        "frame": lambda i, j, c: near(i, j, c) if inside(i, j, 2) else 255 - near(i, j, c),
        "core": lambda i, j, c: near(i, j, c) + draw.below(41) - 20 if inside(i, j, 4) else near(i, j, c),
    }
    return made(height, width, channels, functions[kind])


def tiled(image, height, width):
    """An image repeated to a size."""
    return [[[p[i % len(p)][j % len(p[0])] for j in range(width)] for i in range(height)] for p in image]


def recipes():
    """Kind, damage, height, width, channels and scale of every pair, in their order."""
    references = ("smooth", "flat", "ramp", "edge", "checker", "stripes", "noise", "saturated")
    damages = ("one", "corner", "brighter", "contrast", "noise3", "noise60", "blur", "coarse", "negative", "shifted")
    sizes = ((11, 11), (12, 17), (16, 13), (19, 14), (11, 23))
    for n, (kind, damage) in enumerate(itertools.product(references, damages)):
        yield kind, damage, *sizes[n % 5], (1, 3)[(n + n // 10) % 2], 1
        yield kind, damage, *sizes[(n + 2) % 5], (3, 1)[(n + n // 10) % 2], 1
    for n, kind in enumerate((*references, "black", "white")):
        yield kind, "equal", *sizes[n % 5], (1, 3)[n % 2], 1
    for damage in ("channels", "flipped", "black", "coarse"):
        yield "colours", damage, 13, 14, 3, 1
        yield "saturated", damage, 14, 12, 3, 1
    # At the limit of the windows: 7x7, 8x8 and 11x11 pixels, one less, and fewer still.
    for n, (height, width) in enumerate(
        ((1, 1), (1, 9), (5, 3), (6, 6), (7, 7), (7, 12), (8, 8), (10, 8), (10, 10), (11, 10))
    ):
        for channels in (1, 3):
            yield "smooth", ("noise60", "brighter", "blur")[n % 3], height, width, channels, 1
            yield "noise", "noise3", height, width, channels, 1
    # Borders of super-resolution, from the smallest image that leaves one window.
    for scale in (2, 3, 4, 8):
        for extra, channels in ((0, 1), (0, 3), (scale, 1), (scale, 3)):
            side = 11 + 2 * scale + extra
            for kind, damage in (("smooth", "frame"), ("edge", "core"), ("smooth", "blur"), ("stripes", "noise3")):
                yield kind, damage, side, side + extra, channels, scale
        for channels in (1, 3):
            yield "smooth", "core", 23 + 2 * scale, 25 + 2 * scale, channels, scale
            yield "edge", "noise60", 1 + 2 * scale, 2 + 2 * scale, channels, scale


def stored(image, known):
    """The name of an image among those that the file holds."""
    rows = [
        "".join(f"{plane[i][j]:02x}" for j in range(len(image[0][0])) for plane in image) for i in range(len(image[0]))
    ]
    entry = {"height": len(rows), "width": len(image[0][0]), "channels": len(image), "rows": rows}
    key = json.dumps(entry)
    return known.setdefault(key, (f"image{len(known) + 1:03}", entry))[0]


def pairs(step=1):
    """All pairs and images; values of every step-th pair, for who compares a part of the file."""
    images, found = {}, []

    def add(name, x, y, scale=1, borders=None, size=None, only=None):
        entry = {"id": f"{len(found) + 1:03}-{name}", "reference": stored(x, images), "restored": stored(y, images)}
        if size:
            entry["tiled"] = dict(zip(("height", "width"), size, strict=True))
        entry |= {"scale": scale, "values": {}}
        if len(found) % step == 0:
            x, y = (tiled(image, *size) if size else image for image in (x, y))
            entry["values"] = values(x, y, borders or {"": 0}, only)
        found.append(entry)

    for n, (kind, damage, height, width, channels, scale) in enumerate(recipes()):
        x = reference(kind, height, width, channels, 1000 + n % 40)
        borders = {"": 0} if scale == 1 else {"crop": scale}
        if scale > 1 and min(height, width) > 2 * scale + 12:
            borders["crop+6"] = scale + 6
        add(f"{kind}-{damage}", x, restored(damage, x, 2000 + n), scale, borders)
    # Gray beside colour, under the lumas.
    for n, (kind, damage) in enumerate((("smooth", "noise3"), ("stripes", "blur"), ("smooth", "coarse"))):
        colour = reference(kind, 14, 16, 3, 1100 + n)
        gray = [rounded(weighted(colour, LUMAS["y"]), LUMAS["y"][3])]
        add(f"{kind}-{damage}-gray-of-colour", colour, restored(damage, gray, 2100 + n))
        x = reference(kind, 13, 15, 1, 1150 + n)
        add(f"{kind}-{damage}-colour-of-gray", x, restored(damage, x * 3, 2150 + n))
    # Large enough to be thinned: shorter sides of 383, 384 (1.5 becomes 2) and 640 (2.5 becomes 3), tiled.
    sizes = ((383, 385, 1), (384, 391, 1), (391, 384, 3), (640, 641, 1), (655, 640, 1))
    for n, (height, width, channels) in enumerate(sizes):
        x = reference("smooth", 23, 19, channels, 1200 + n)
        y = restored(("noise60", "blur")[n % 2], x, 2200 + n)
        only = ("psnr", "ssim-gauss", "ssim-downsampled")[:: 1 if channels == 1 else 2]
        add(f"tiled-{min(height, width)}", x, y, size=(height, width), only=only)
    return found, {name: entry for name, entry in images.values()}


def sets(found):
    """What a set of pairs gives under protocols that pool all pixels' errors: each image has the same weight."""
    chosen = [
        pair for pair in found if {"psnr", "psnr-y"} <= pair["values"].keys() and pair["values"]["psnr"][0] != "0"
    ]
    result = []
    for luma, first in itertools.product(("", *LUMAS), (0, 5)):
        members = chosen[first : first + 12 : 3]
        name = "-".join(part for part in ("psnr", luma) if part)
        unit = 1 if not luma or LUMAS[luma][5] else LUMAS[luma][3]
        errors = [Fraction(int(m["values"][name][0]), m["values"][name][1] * unit**2) for m in members]
        result.append(
            {
                "protocol": f"{name}-pooled",
                "pairs": [m["id"] for m in members],
                "value": decibel(sum(errors) / len(errors)),
            }
        )
    return result


# Transforms ---------------------------------------------------------------------------------------------------------


def cubic(x):
    """Keys' kernel, a = -1/2."""
    x = abs(x)
    if x <= 1:
        return Fraction(3, 2) * x**3 - Fraction(5, 2) * x**2 + 1
    return Fraction(-1, 2) * x**3 + Fraction(5, 2) * x**2 - 4 * x + 2 if x <= 2 else Fraction(0)


def resized_axis(rows, length, scale, border, whole):
    """Resize the first axis as MATLAB's imresize; `whole`: round to 8 bits, halves away from zero."""
    shrink, result = min(scale, Fraction(1)), []
    size, reach = len(rows), Fraction(4) / shrink
    exact = scale.numerator.bit_count() == scale.denominator.bit_count() == 1  # weights are exact in floating point too
    for out in range(1, length + 1):
        centre = out / scale + (1 - 1 / scale) / 2
        left = floor(centre - reach / 2)
        taps = range(left, left + ceil(reach) + 2)
        weights = [cubic(shrink * (centre - tap)) for tap in taps]
        line = [Fraction(0)] * len(rows[0])
        for tap, weight in zip(taps, weights, strict=True):
            at = (tap - 1) % (2 * size) if border == "symmetric" else min(max(tap - 1, 0), size - 1)
            row = rows[min(at, 2 * size - 1 - at)]
            line = [done + weight / sum(weights) * sample for done, sample in zip(line, row, strict=True)]
        if whole:
            # Floating point could give an exact half either way.
            assert exact or not any(sample % 1 == Fraction(1, 2) for sample in line), "choose another image"
            line = [clip(floor(sample + Fraction(1, 2))) for sample in line]
        result.append(line)
    return result


def imresize(image, scale, border, whole):
    """Resize an image, rows first."""
    height, width = ceil(len(image[0]) * scale), ceil(len(image[0][0]) * scale)
    down = [resized_axis(plane, height, scale, border, whole) for plane in image]
    return [transposed(resized_axis(transposed(plane), width, scale, border, whole)) for plane in down]


def resizings(images):
    """Vectors of imresize: 8-bit images, and one of double precision for each."""
    scales = ("1/2", "1/3", "1/4", "1/8", "2/1", "3/1", "4/1", "7/10")
    for n, (scale, border) in enumerate(itertools.product(scales, ("symmetric", "replicate"))):
        factor = Fraction(scale)
        height, width = ((24, 48), (25, 32))[n // 2 % 2] if factor < 1 else ((7, 9), (8, 5))[n // 2 % 2]
        for channels, whole in ((1, True), (3, True), (1, False)):
            if whole and scale == "7/10":
                continue
            image = smooth(height, width, channels, 3000 + 10 * n + channels)
            image = image if whole else [[row[:12] for row in plane[:10]] for plane in image]
            result = imresize(image, factor, border, whole)
            entry = {"scale": scale, "border": border, "input": stored(image, images)}
            if whole:
                yield {**entry, "class": "uint8", "output": stored(result, images)}
            else:
                yield {**entry, "class": "double", "output": [[digits(s) for s in row] for row in result[0]]}


def halfway(colour, weights):
    """Whether a colour's weighted sum is an exact half, which floating point may round either way."""
    return 2 * sum(map(int.__mul__, colour, weights)) % (2 * weights[3]) == weights[3]


def colours():
    """Vectors of rgb2ycbcr, rgb2gray and the lumas: colours whose exact values are no halves."""
    draw = Bytes(4000)
    listed = list(itertools.product((0, 255), repeat=3)) + [(v, v, v) for v in (1, 16, 17, 127, 128, 200, 254)]
    while len(listed) < 256:
        colour = tuple(draw.below(256) for _ in range(3))
        if not any(halfway(colour, weights) for weights in (*LUMAS.values(), *CHROMA.values())):
            listed.append(colour)
    for colour in listed:
        entry, exact = {"rgb": list(colour)}, {}
        image = [[[sample]] for sample in colour]
        for name, weights in {**LUMAS, **CHROMA}.items():
            if name.endswith("8"):
                continue
            total, divisor = weighted(image, weights)[0][0], weights[3]
            exact[name] = [total, divisor]
            entry[name + "8"] = rounded([[total]], divisor)[0][0]
        yield entry | {"exact": exact}


def jpegs(images):
    """Vectors of the luma's way through JPEG: libjpeg's, with its accurate integer transform."""
    from PIL import Image

    for n, quality in enumerate((10, 20, 30, 40, 75, 95)):
        for height, width in ((16, 24), (19, 13)):
            colour = smooth(height, width, 3, 5000 + 10 * n + width)
            luma = rounded(weighted(colour, LUMAS["y"]), LUMAS["y"][3])
            buffer = io.BytesIO()
            Image.frombytes("L", (width, height), bytes(itertools.chain(*luma))).save(buffer, "JPEG", quality=quality)
            with Image.open(buffer) as file:
                samples = file.tobytes()
            decoded = [list(samples[i * width : (i + 1) * width]) for i in range(height)]
            yield {
                "quality": quality,
                "input": stored(colour, images),
                "luma": stored([luma], images),
                "file": buffer.getvalue().hex(),
                "output": stored([decoded], images),
            }


def randn(count):
    """MATLAB's randn('seed', 0): the numbers of the generator, and the deviates of Marsaglia's polar method."""
    modulus, state = 2**31 - 1, 1144108930
    states, deviates = [], []
    while len(deviates) < count:
        states += [16807 * state % modulus, 16807**2 * state % modulus]
        state = states[-1]
        u, v = (2 * Fraction(number, modulus) - 1 for number in states[-2:])
        radius = u * u + v * v
        if radius < 1:
            r, x = (WIDE.divide(Decimal(f.numerator), Decimal(f.denominator)) for f in (radius, u))
            root = WIDE.sqrt(WIDE.divide(WIDE.multiply(Decimal(-2), WIDE.ln(r)), r))
            deviates.append(str(Context(prec=DIGITS).plus(WIDE.multiply(x, root))))
    return {"states": states, "deviates": deviates}


RANDN = randn(240)


def noises(images):
    """Vectors of images with that noise, rounded to 8 bits, halves away from zero."""
    for channels, sigma in itertools.product((1, 3), (10, 30, 50, 70)):
        height, width = (12, 16) if channels == 1 else (8, 10)
        image, order = smooth(height, width, channels, 6000 + sigma), map(Fraction, RANDN["deviates"])
        noisy = [[[0] * width for _ in range(height)] for _ in range(channels)]
        for c, j, i in itertools.product(range(channels), range(width), range(height)):  # MATLAB: columns first
            noisy[c][i][j] = clip(floor(image[c][i][j] + sigma * next(order) + Fraction(1, 2)))
        yield {"sigma": sigma, "input": stored(image, images), "output": stored(noisy, images)}


# The files ----------------------------------------------------------------------------------------------------------


def compact(value):
    """JSON without blanks."""
    return json.dumps(value, separators=(",", ":"))


def lines(entries):
    """A list or an object with one entry a line, so that a difference can be read."""
    if isinstance(entries, dict):
        return "{\n" + ",\n".join(f"{compact(k)}:{compact(v)}" for k, v in entries.items()) + "\n}"
    return "[\n" + ",\n".join(map(compact, entries)) + "\n]"


def text_of(**parts):
    """The text of a file: lists and images with a line for each entry."""
    written = (f'"{name}":{lines(part) if name != "lumas" else compact(part)}' for name, part in parts.items())
    return f'{{\n"version":{VERSION},\n' + ",\n".join(written) + "\n}\n"


def pairs_file():
    """The text of pairs.json."""
    found, images = pairs()
    fields = ("red", "green", "blue", "divisor", "offset", "rounded")
    lumas = {name: dict(zip(fields, weights, strict=True)) for name, weights in LUMAS.items()}
    return text_of(lumas=lumas, images=images, pairs=found, sets=sets(found))


def transforms_file():
    """The text of transforms.json."""
    known = {}
    parts = {"imresize": list(resizings(known)), "colours": list(colours()), "jpeg": list(jpegs(known))}
    parts |= {"randn": RANDN, "noise": list(noises(known))}
    return text_of(images={name: entry for name, entry in known.values()}, **parts)


def main():
    """Write the files, or compare them."""
    folder, same = Path(__file__).parent, True
    for name, text in (("pairs.json", pairs_file()), ("transforms.json", transforms_file())):
        file = folder / name
        if "--check" not in sys.argv[1:]:
            file.write_text(text, encoding="utf-8")
        elif file.read_text(encoding="utf-8") != text:
            same = False
            print(f"{name}: not what this program makes")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
