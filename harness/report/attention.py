"""Attention maps as arrays and pictures: PANet Figures 1 and 8, KiT Figure 7; and reading them back for the site."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.assets.datasets.reading import open_dataset
from harness.assets.inputs import make_input
from harness.degradations import degradation
from harness.errors import HarnessError, NotAvailableError, unknown_name
from harness.files import whole_file, write_json
from harness.images import pixels_sha256, read_image, write_png
from harness.methods import Method, build_method
from harness.records.cells import InputId
from harness.records.loading import load_json
from harness.records.tasks import task as task_of
from harness.tables.workspace import Workspace

RECORD = "attention.json"
ARRAYS = "maps.npz"
FOLDER = "attention"

GENERATED = "generated"
SEED = 0

# How many of the strongest matches are drawn into the image.
MATCHES = 12

# More pixels than this take minutes and gigabytes in a network with attention.
MOST_PIXELS = 512 * 512

_WHITE = (255, 255, 255)
_COLOURS = {
    **{"red": (220, 40, 40), "orange": (255, 170, 0), "green": (40, 190, 80)},
    **{"blue": (60, 130, 255), "violet": (200, 80, 220), "teal": (20, 190, 190)},
}


class Panel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One picture: its file, what it shows, and the query pixel it belongs to (row, column of the image)."""

    file: str
    caption: str
    query: tuple[int, int] | None


class AttentionRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a folder of attention maps shows and what made it.

    `kind`: ``pyramid`` (correlation over the levels) or ``groups`` (patches that hash alike).
    `index`: Which attention of the network, in its order.
    `image`, `input`: Dataset and image, or the name of a file; and how the input was made.
    `crop`: Top, left, height, width of what the network saw, in pixels of its input.
    `pixels`: SHA-256 of the input's samples.
    `weights`, `weights_source`: ``released``, ``trained`` or ``generated`` (the last shows how maps are made and is no
        result); and where they come from.
    `queries`: Row and column of each query, in pixels of the network's whole input.
    `panels`: Pictures.
    """

    method: str
    title: str
    task: str
    level: int
    kind: Literal["pyramid", "groups"]
    index: int
    image: str
    input: str
    crop: tuple[int, int, int, int]
    pixels: str
    weights: str
    weights_source: str
    queries: tuple[tuple[int, int], ...]
    panels: tuple[Panel, ...]


class AttentionPage(msgspec.Struct, frozen=True):
    """A folder of maps found in a workspace."""

    name: str
    folder: Path
    record: AttentionRecord

    @property
    def files(self) -> list[str]:
        """Pictures and arrays to copy."""
        return [*(panel.file for panel in self.record.panels), ARRAYS]


def read_attention_pages(workspace: Workspace) -> list[AttentionPage]:
    """Find the attention maps of a workspace.

    Raises HarnessError: A record is damaged, or names a file outside its folder.
    """
    pages = []
    for path in sorted((workspace.work / FOLDER).glob(f"*/{RECORD}")):
        record = load_json(path, AttentionRecord)
        page = AttentionPage(path.parent.name, path.parent, record)
        for file in page.files:
            if not re.fullmatch(r"[A-Za-z0-9_-]+\.(png|npz)", file) or not (path.parent / file).is_file():
                raise HarnessError(f"{path}: names the file '{file}', which is not here; make the maps again")
        pages.append(page)
    return pages


def _input(workspace: Workspace, image: str, task_name: str, level: int) -> tuple[NDArray[np.float64], str, str]:
    """Find the input of a network: an image file as it is, or ``DATASET/IMAGE`` degraded as the task says.

    Returns its pixels, ``(H, W)`` or ``(H, W, 3)`` in units of 0..255, what it is, and how it was made.
    """
    path = Path(image)
    if path.is_file():
        return read_image(path).astype(np.float64), path.name, "the image file as it is"
    dataset, _, name = image.partition("/")
    if not name:
        raise HarnessError(f"'{image}' is no image file; name a file, or DATASET/IMAGE such as set5/butterfly_GT")
    fetched = open_dataset(dataset, workspace.data)
    if name not in fetched.image_ids:
        raise unknown_name(f"image of {fetched.name}", name, fetched.image_ids)
    task = task_of(task_name)
    degrade = degradation(task.degradation)
    if degrade.name == "pairs" and fetched.record.kind == "images":
        raise HarnessError(f"'{fetched.name}' has no inputs for {task_name}; name an image file, or a set of pairs")
    _, degraded = make_input(fetched, degrade, InputId(level, 0, name), fetched.read(name))
    made = f"{degrade.name} {task.level_label(level)}".strip()
    return np.asarray(degraded, dtype=np.float64), f"{fetched.name}/{name}", made


def make_attention_maps(
    workspace: Workspace,
    method: Method,
    image: str,
    queries: Sequence[tuple[int, int]],
    *,
    task_name: str = "",
    level: int | None = None,
    index: int = 0,
    crop: tuple[int, int, int, int] | None = None,
    generated: bool = False,
    target: Path | None = None,
) -> Path:
    """Apply a network to an image and write what its attention compares for some pixels.

    `workspace`: Where the maps go (work/attention) and weights and images are looked for.
    `method`: One whose network has pyramid attention or k-NN local attention.
    `image`: An image file, or ``DATASET/IMAGE``.
    `queries`: Row and column of each query pixel in the network's input.
    `task_name`, `level`: What the network is for; the method's first task and that task's first level by default.
    `index`: Which attention, in the order of the network.
    `crop`: Top, left, height and width of the part that the network sees; the whole input by default.
    `generated`: Fill the network with seeded random weights: a demonstration of the maps, marked as such in every file.
    `target`: Folder to write; by default one below work/attention named after all of the above.
    Returns: The folder: maps.npz, PNG pictures, attention.json.
    Raises NotAvailableError: The network's weights are not here.
    Raises HarnessError: The method has no such attention, a query lies outside, the image is too large.
    """
    import torch

    from harness.networks.attention_maps import patch_groups, pyramid_attention_maps
    from harness.networks.knn_attention import KNNLocalAttention
    from harness.networks.pyramid_attention import PyramidAttention
    from harness.networks.ranges import to_network

    task_name = task_name or method.tasks[0]
    if task_name not in method.tasks:
        raise HarnessError(f"method '{method.name}' does not do '{task_name}'; it does {', '.join(method.tasks)}")
    task = task_of(task_name)
    level = task.levels[0] if level is None else level
    pixels, name, made = _input(workspace, image, task_name, level)
    if not queries:
        raise HarnessError("no query pixel was given; add --at ROW,COLUMN")
    network, weights, source = _network(method, task_name, level, generated)
    kinds = [m for m in network.modules() if isinstance(m, PyramidAttention | KNNLocalAttention)]
    if not kinds:
        raise HarnessError(
            f"the network of '{method.name}' has neither pyramid attention nor k-NN local attention, so there is no map"
        )
    pyramid = isinstance(kinds[0], PyramidAttention)
    top, left, height, width = _checked_crop(pixels, crop, int(getattr(network, "size_multiple", 1)), queries)
    seen = pixels[top : top + height, left : left + width]
    if task.channels == 3 and seen.ndim == 2:
        seen = np.repeat(seen[:, :, None], 3, axis=2)
    if task.channels == 1 and seen.ndim == 3:
        raise HarnessError(f"'{method.name}' for {task_name} takes gray images, '{name}' is in colour")
    inside = [(row - top, column - left) for row, column in queries]
    planes = seen[None] if seen.ndim == 2 else seen.transpose(2, 0, 1)
    batch = to_network(network, torch.from_numpy(np.ascontiguousarray(planes, dtype=np.float32))[None] / 255)
    shown = np.clip(np.rint(seen), 0, 255).astype(np.uint8)
    picture = np.repeat(shown[:, :, None], 3, axis=2) if shown.ndim == 2 else shown
    make_panels = _pyramid_panels if pyramid else _group_panels
    compared = pyramid_attention_maps(network, batch, inside, index) if pyramid else patch_groups(network, batch, index)
    drawn, arrays = make_panels(compared, picture, inside, queries)
    if target is None:
        plain = re.sub("[^A-Za-z0-9_-]+", "-", name).strip("-")
        parts = [method.name, f"{task_name}-{level}", plain, "-".join(f"{row}x{column}" for row, column in queries)]
        parts += [f"attention{index}"] if index else []
        parts += ["demonstration"] if weights == GENERATED else []
        target = workspace.work / FOLDER / "--".join(parts)
    record = AttentionRecord(
        method=method.name,
        title=method.title,
        task=task_name,
        level=level,
        kind="pyramid" if pyramid else "groups",
        index=index,
        image=name,
        input=made,
        crop=(top, left, height, width),
        pixels=pixels_sha256(seen),
        weights=weights,
        weights_source=source,
        queries=tuple((int(row), int(column)) for row, column in queries),
        panels=tuple(panel for panel, _ in drawn),
    )
    _write(target, record, drawn, arrays)
    return target


def _network(method: Method, task: str, level: int, generated: bool) -> tuple[Any, str, str]:
    """Give the network, and what its weights are."""
    import torch

    from harness.networks.checkpoints import require_ready

    if generated:
        if method.network is None:
            raise HarnessError(f"method '{method.name}' names no network")
        # A fork of the generator: the caller's random numbers stay as they are.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            network = method.network(task, level).eval()
        return network, GENERATED, f"random numbers, seed {SEED}: a demonstration of the maps, no result of the paper"
    try:
        built = build_method(method, task, level)
    except NotAvailableError as missing:
        raise NotAvailableError(
            f"{missing}; or add --generated-weights for a demonstration that is marked as one"
        ) from None
    if not isinstance(built, torch.nn.Module):
        raise HarnessError(f"method '{method.name}' is no single network, so its attention cannot be looked into")
    origin = require_ready(built)
    return built, origin.kind, origin.source


def _checked_crop(
    pixels: NDArray[np.float64],
    crop: tuple[int, int, int, int] | None,
    multiple: int,
    queries: Sequence[tuple[int, int]],
) -> tuple[int, int, int, int]:
    """Give the part that a network sees, of a size that it takes; every query must lie in it."""
    top, left, height, width = crop or (0, 0, *pixels.shape[:2])
    if top < 0 or left < 0 or height < 1 or width < 1 or top + height > len(pixels) or left + width > pixels.shape[1]:
        raise HarnessError(
            f"the part {left},{top},{width}x{height} leaves the input of {pixels.shape[1]}x{pixels.shape[0]} pixels"
        )
    height, width = height - height % multiple, width - width % multiple
    if not height or not width:
        raise HarnessError(f"this network needs a width and height of at least {multiple} pixels")
    if height * width > MOST_PIXELS:
        raise HarnessError(
            f"{width}x{height} pixels are more than maps are made for ({MOST_PIXELS}); choose a part with "
            "--region LEFT,TOP,WIDTHxHEIGHT"
        )
    for row, column in queries:
        if not (top <= row < top + height and left <= column < left + width):
            raise HarnessError(
                f"query {row},{column} is outside the input: rows {top} to {top + height - 1}, "
                f"columns {left} to {left + width - 1}"
            )
    return top, left, height, width


Drawn = list[tuple[Panel, NDArray[np.uint8]]]


def _pyramid_panels(
    maps: Any, picture: NDArray[np.uint8], inside: Sequence[tuple[int, int]], queries: Sequence[tuple[int, int]]
) -> tuple[Drawn, dict[str, NDArray[Any]]]:
    from harness.networks.attention_maps import heat_map

    drawn: Drawn = []
    size = picture.shape[:2]
    for number, (place, query) in enumerate(zip(inside, queries, strict=True)):
        name = f"query{number + 1}"
        matches = _draw_matches(picture, maps, number, place)
        colours = ", ".join(f"{name} {s:.1f}" for name, s in zip(itertools.cycle(_COLOURS), maps.scales, strict=False))
        caption = (
            f"input, the query (white) and the {MATCHES} pixels with the largest weights over all levels; "
            f"frames are 3x3 patches of their level ({colours}) at the image's size"
        )
        drawn.append((Panel(f"{name}-matches.png", caption, query), matches))
        values = [level[number] for level in maps.correlation]
        span = (min(float(v.min()) for v in values), max(float(v.max()) for v in values))
        for scale, level, weights in zip(maps.scales, values, maps.weights, strict=True):
            share = float(weights[number].sum())
            text = (
                f"correlation, scale {scale:.1f} ({level.shape[1]}x{level.shape[0]}); {100 * share:.1f} % of the weight"
            )
            file = f"{name}-scale{round(scale * 10):02d}.png"
            drawn.append((Panel(file, text, query), heat_map(level, size, span)))
    arrays: dict[str, NDArray[Any]] = {"scales": np.array(maps.scales)}
    for scale, correlation, weights in zip(maps.scales, maps.correlation, maps.weights, strict=True):
        arrays[f"correlation_{scale:.1f}"] = correlation
        arrays[f"weights_{scale:.1f}"] = weights
    return drawn, arrays


def _draw_matches(picture: NDArray[np.uint8], maps: Any, number: int, place: tuple[int, int]) -> NDArray[np.uint8]:
    """Draw the query and the pixels that weigh most, each with its patch as large as it is in the image."""
    found = []
    for level, weights in enumerate(maps.weights):
        values = weights[number]
        for flat in np.argsort(values, axis=None)[::-1][:MATCHES]:
            row, column = divmod(int(flat), values.shape[1])
            found.append((float(values[row, column]), level, row, column))
    result = picture.copy()
    height, width = picture.shape[:2]
    for _, level, row, column in sorted(found, reverse=True)[:MATCHES]:
        values = maps.weights[level][number]
        y, x = (row + 0.5) * height / values.shape[0], (column + 0.5) * width / values.shape[1]
        half = 1.5 / maps.scales[level] + 1
        _frame(result, y, x, half, tuple(_COLOURS.values())[level % len(_COLOURS)])
    _frame(result, place[0] + 0.5, place[1] + 0.5, 2.5, _WHITE)
    return result


def _frame(picture: NDArray[np.uint8], y: float, x: float, half: float, colour: tuple[int, int, int]) -> None:
    top, left = max(0, round(y - half)), max(0, round(x - half))
    bottom, right = min(picture.shape[0] - 1, round(y + half)), min(picture.shape[1] - 1, round(x + half))
    picture[top, left : right + 1] = colour
    picture[bottom, left : right + 1] = colour
    picture[top : bottom + 1, left] = colour
    picture[top : bottom + 1, right] = colour


def _group_panels(
    groups: Any, picture: NDArray[np.uint8], inside: Sequence[tuple[int, int]], queries: Sequence[tuple[int, int]]
) -> tuple[Drawn, dict[str, NDArray[Any]]]:
    from harness.networks.attention_maps import draw_groups

    height, width = groups.patch_size
    patches = [int(row // height) * groups.grid[1] + int(column // width) for row, column in inside]
    rounds = groups.partners.shape[0]
    drawn: Drawn = []
    for number in range(rounds):
        drawing = draw_groups(picture, groups, patches, number)
        for patch in patches:
            top, left, bottom, right = groups.box(patch)
            _frame(drawing, (top + bottom - 1) / 2, (left + right - 1) / 2, (bottom - top - 1) / 2, _WHITE)
        words = f"hash round {number + 1} of {rounds}: patches grouped with each query's (white), a colour a query"
        drawn.append((Panel(f"round{number + 1}.png", words, None), drawing))
    arrays = {
        "query_patches": np.array(patches),
        "partners": groups.partners,
        "grid": np.array(groups.grid),
        "patch_size": np.array(groups.patch_size),
    }
    return drawn, arrays


def _write(folder: Path, record: AttentionRecord, drawn: Drawn, arrays: dict[str, NDArray[Any]]) -> None:
    for panel, picture in drawn:
        write_png(folder / panel.file, _labelled(picture) if record.weights == GENERATED else picture)
    # The arrays say themselves what made them: they are read without the record sometimes.
    about = {"weights": np.array(record.weights), "weights_source": np.array(record.weights_source)}
    with whole_file(folder / ARRAYS) as part, open(part, "wb") as file:
        np.savez_compressed(file, queries=np.array(record.queries), **arrays, **about)  # type: ignore[arg-type]
    write_json(folder / RECORD, record)


def _labelled(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Put a strip with words above a picture that was made with generated weights."""
    from PIL import Image, ImageDraw

    strip = Image.new("RGB", (picture.shape[1], 12), _WHITE)
    text = "generated weights" if picture.shape[1] >= 100 else "gen."
    ImageDraw.Draw(strip).text((1, 0), text, fill=(160, 0, 0))
    return np.concatenate([np.asarray(strip, dtype=np.uint8), picture])
