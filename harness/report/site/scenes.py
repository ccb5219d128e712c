"""Pages of images: which views of which scenes are shown, the page of each, and the lists that lead there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from harness.assets.datasets.reading import open_dataset
from harness.errors import NotAvailableError
from harness.records.tasks import TASKS
from harness.report.pictures import in_threads
from harness.report.scenes import Scene, SceneId, find_scenes
from harness.report.site.contents import Contents, scene_title
from harness.report.site.pages import Pages, cell_page, scene_page, view_page
from harness.report.views import View, make_view
from harness.tables.measurements import Measurement

# From this share on a budget counts as used up: pages of the last scenes are small and would fit for long.
_FULL = 0.95

# Images that a scene shows in which no methods are compared.
_SEVERAL = 4

SceneImage = tuple[Scene, str]
"""A scene and the name of one of its images."""


class ShownScenes(msgspec.Struct, frozen=True):
    """Scenes with pictures.

    Attributes
    ----------
    scenes : list of Scene
        In the order in which they are listed.
    images : dict
        Names of the images that have pages, by scene.
    left_out : int
        How many images have none for want of room.
    overviews : dict
        Path below the site of an image's ground truth made smaller, width and height; by scene and image, known once
        the image's page is written.
    """

    scenes: list[Scene]
    images: dict[SceneId, list[str]]
    left_out: int
    overviews: dict[tuple[SceneId, str], tuple[str, int, int]] = {}

    @property
    def count(self) -> int:
        """Number of images that have pages."""
        return sum(map(len, self.images.values()))

    def page(self, scene: SceneId, image: str) -> str:
        """Path of an image's page below the site; empty where it has none."""
        return view_page(scene, image) if image in self.images.get(scene, ()) else ""

    def links(self) -> list[dict[str, Any]]:
        """Describe every scene for a list that leads to it."""
        return [
            {
                "task": TASKS[scene.task].title,
                "title": scene_title(scene.id),
                "methods": [member.title for member in scene.members],
                "images": [
                    {
                        "name": image,
                        "page": page,
                        "about": scene.about(image),
                        "overview": self.overviews[scene.id, image],
                    }
                    for image in scene.images
                    if (page := self.page(scene.id, image)) and (scene.id, image) in self.overviews
                ],
                "order": scene.order,
                "page": scene_page(scene.id),
                "total": len(scene.images),
            }
            for scene in self.scenes
        ]


def scenes_to_show(contents: Contents) -> tuple[list[Scene], list[str]]:
    """Find the scenes whose restored images and ground truths are here; and notes on those without ground truths."""
    restored = (
        (*cell, result.request.protocol)
        for cell, asked in contents.asked.items()
        for _, result in asked
        if result.request.metric == "psnr" and isinstance(result.measured, Measurement)
    )
    scenes, notes = [], []
    for scene in find_scenes(contents.workspace, restored, contents.methods, contents.measurements):
        try:
            open_dataset(scene.dataset, contents.workspace.data)
        except NotAvailableError as missing:
            notes.append(f"{scene_title(scene.id)}: no pictures, because the {missing}")
        else:
            scenes.append(scene)
    return scenes, notes


def in_turn(scenes: Sequence[Scene], *, whole_sets: bool) -> list[SceneImage]:
    """List images of scenes: the first of each, the second of each that compares methods, and so on; then the others'.

    A scene that compares nothing shows `_SEVERAL` images, unless whole sets are asked for.
    """
    most = max((len(scene.images) for scene in scenes), default=0)
    turns = [(scene, number) for number in range(most) for scene in scenes if number < len(scene.images)]
    if not whole_sets:
        turns = [(scene, number) for scene, number in turns if scene.restoring > 1 or number < _SEVERAL]
        turns.sort(key=lambda turn: turn[1] > 0 and turn[0].restoring < 2)
    return [(scene, scene.images[number]) for scene, number in turns]


def make_views(
    contents: Contents, scene_images: Iterable[SceneImage], notes: list[str], *, whole: bool = False
) -> Iterator[View]:
    """Make the views of images; those that cannot be made are noted."""

    def make(scene_image: SceneImage) -> View | str:
        scene, image = scene_image
        try:
            return make_view(contents.workspace, scene, image, whole=whole)
        except NotAvailableError as missing:
            return f"{scene_title(scene.id)}: no pictures of {image}, because {missing}"

    for _, view in in_threads(make, scene_images):
        if isinstance(view, str):
            notes.append(view)
        else:
            yield view


def within(views: Iterator[View], budget: int) -> list[View]:
    """Take views in order as long as their pictures fit a number of bytes."""
    taken = []
    used = 0
    for view in views:
        if used + view.bytes <= budget:
            used += view.bytes
            taken.append(view)
        elif used > _FULL * budget:
            break
    return taken


def fewer_views(pages: Pages, views: Sequence[View], excess: int, least: int) -> list[View]:
    """Leave out the last views until their pages free so many bytes, or pictures of `least` bytes are left."""
    kept = list(views)
    left = sum(view.bytes for view in views)
    while excess > 0 and kept and left - kept[-1].bytes >= least:
        view = kept.pop()
        left -= view.bytes
        excess -= pages.size(view_page(view.scene.id, view.image))
    return kept


def shown_scenes(scenes: Iterable[Scene], chosen: Sequence[SceneImage], wanted: int) -> ShownScenes:
    """Gather which of so many wanted images of scenes are shown; scenes without any are left out."""
    images: dict[SceneId, list[str]] = defaultdict(list)
    for scene, image in chosen:
        images[scene.id].append(image)
    return ShownScenes([scene for scene in scenes if scene.id in images], dict(images), wanted - len(chosen))


def write_views(pages: Pages, shown: ShownScenes, views: Iterable[View]) -> None:
    """Write the page of every view."""
    for view in views:
        scene = view.scene.id
        images = shown.images[scene]
        at = images.index(view.image)
        # The same photograph at other levels and in other tasks has one file.
        shown.overviews[scene, view.image] = (pages.write_picture(view.overview, "overviews"), *view.overview_size)
        pages.write(
            view_page(scene, view.image),
            "view.html.j2",
            view=view,
            scene=view.scene,
            title=f"{view.image}: {scene_title(scene)}",
            task=TASKS[view.scene.task].title,
            pages={index: cell_page((p.group, view.scene.level)) for index, p in enumerate(view.pictures) if p.group},
            meta={
                "name": Path(view_page(scene, view.image)).stem,
                "origin": [view.top, view.left],
                "size": [view.region_height, view.region_width],
                "crops": [msgspec.to_builtins(crop) for crop in view.crops],
                "pictures": [
                    {
                        "title": picture.title,
                        "kind": picture.kind,
                        "reference": picture.reference,
                        "luma": msgspec.to_builtins(picture.luma),
                        "measure": picture.measure,
                    }
                    for picture in view.pictures
                ],
            },
            overview=shown.overviews[scene, view.image],
            others=[(image, Path(view_page(scene, image)).name) for image in images],
            before=Path(view_page(scene, images[at - 1])).name if at else "",
            after=Path(view_page(scene, images[at + 1])).name if at + 1 < len(images) else "",
            levels=_other_levels(shown, scene, view.image),
        )


def _other_levels(shown: ShownScenes, scene: SceneId, image: str) -> list[tuple[str, str, str]]:
    """List a scene's other levels: title, page, and a word for those next to it."""
    others = sorted((other for other in shown.images if other[:2] == scene[:2]), key=lambda other: other[2])
    at = others.index(scene)
    words = {at - 1: "lower", at + 1: "higher"}
    return [
        (scene_title(other), shown.page(other, image) or scene_page(other), words.get(number, ""))
        for number, other in enumerate(others)
        if other != scene
    ]


def write_scenes(pages: Pages, shown: ShownScenes, notes: Sequence[str]) -> None:
    """Write the page of every scene with pictures, and the list of them."""
    links = shown.links()
    for scene, link in zip(shown.scenes, links, strict=True):
        best = {image: max(scene.values[m.group][image] for m in scene.members) for image in scene.images}
        pages.write(
            scene_page(scene.id),
            "scene.html.j2",
            scene=scene,
            title=scene_title(scene.id),
            task=TASKS[scene.task].title,
            link=link,
            members=[(member, cell_page((member.group, scene.level))) for member in scene.members],
            best=best,
            lines=[
                {
                    "image": image,
                    "page": Path(shown.page(scene.id, image)).name,
                    "values": [scene.values[member.group][image] for member in scene.members],
                }
                for image in scene.images
            ],
        )
    if shown.scenes:
        pages.write(
            "compare/index.html",
            "compare.html.j2",
            scenes=links,
            left_out=shown.left_out,
            notes=list(dict.fromkeys(notes)),
        )
