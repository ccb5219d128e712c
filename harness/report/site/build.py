"""Building a site: its parts in order, into a folder that takes the place of the last one only when it is whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from harness.errors import HarnessError
from harness.files import write_text
from harness.records.runs import git
from harness.report.site.cells import Extremes, fewer_extremes, write_cell, write_extremes
from harness.report.site.contents import Contents, gather
from harness.report.site.front import write_attention, write_index, write_training
from harness.report.site.pages import CellId, Pages, scene_page, view_page
from harness.report.site.plots import write_plots
from harness.report.site.scenes import (
    ShownScenes,
    fewer_views,
    in_turn,
    make_views,
    scenes_to_show,
    shown_scenes,
    within,
    write_scenes,
    write_views,
)
from harness.report.site.tables import write_table
from harness.report.views import View
from harness.tables.workspace import Workspace

MARKER = "site.json"
"""A folder that holds this file was written here and may be replaced."""

# Bytes that a site takes at most, as long as leaving out pictures can make room.
SITE_LIMIT = 20_000_000

# Bytes of pictures on pages of scenes: where the limit allows them, and where the site exceeds its limit with them.
PICTURE_BUDGET, LEAST_PICTURES = 7_000_000, 1_000_000

# What is written when the size is known: the marker, and notes on what was left out.
_RESERVE = 10_000


class SiteSummary(msgspec.Struct, frozen=True):
    """What was written.

    Attributes
    ----------
    folder, pages, bytes : path, int, int
        Where, number of HTML pages, and size of all files.
    scenes_shown, images_shown, images_left_out : int
        Scenes with pictures, images on pages, images for which the room did not suffice.
    notes : tuple of str
        What could not be shown, and why.
    """

    folder: Path
    pages: int
    bytes: int
    scenes_shown: int
    images_shown: int
    images_left_out: int
    notes: tuple[str, ...]


def build_site(
    workspace: Workspace,
    target: Path,
    *,
    names: Sequence[str] = (),
    budget: int | None = None,
    limit: int = SITE_LIMIT,
    all_images: bool = False,
    progress: Callable[[str], None] = lambda text: None,
) -> SiteSummary:
    """Write the site.

    Parameters
    ----------
    workspace : Workspace
        Where results lie; rows, images and ground truths may be missing, pages then say so.
    target : path
        Folder of the site; one that was written before is replaced as a whole.
    names : sequence of str
        Tables; every known one where none is named.
    budget : int, optional
        Bytes of pictures on pages of scenes, whatever the site then takes; by default `PICTURE_BUDGET`, or less where
        the site would exceed its limit.
    limit : int
        Bytes that the site takes at most where no budget is named. Pictures make room: first images of scenes, the
        last in order first, down to `LEAST_PICTURES`; then worst and best images of cells.
    all_images : bool
        Show every image of every scene whole, whatever it takes.
    progress : callable
        Called with a few words now and then.

    Raises
    ------
    HarnessError
        `target` holds something else, a file is damaged, or the disk is full.
    """
    if target.is_file() or (target.is_dir() and any(target.iterdir()) and not (target / MARKER).is_file()):
        raise HarnessError(f"{target}: holds something else than a site written by harness report; name another folder")
    building = target.with_name(f".{target.name}.{os.getpid()}.part")
    shutil.rmtree(building, ignore_errors=True)
    try:
        building.mkdir(parents=True)
        shown = _write(
            gather(workspace, names), building, budget, limit if budget is None else None, all_images, progress
        )
        if target.exists():
            shutil.rmtree(target)
        os.replace(building, target)
    except OSError as error:
        raise HarnessError(f"{target}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return msgspec.structs.replace(shown, folder=target)


def _write(
    contents: Contents,
    folder: Path,
    budget: int | None,
    limit: int | None,
    all_images: bool,
    progress: Callable[[str], None],
) -> SiteSummary:
    progress("scenes")
    scenes, notes = scenes_to_show(contents)
    notes += [text for item in contents.tables for text in item.damaged]
    scene_images = in_turn(scenes, whole_sets=all_images)
    # Pages name each other, so the choice is made first; the pictures of a budget fit into memory, all do not.
    most = PICTURE_BUDGET if budget is None else budget
    chosen = [] if all_images else within(make_views(contents, scene_images, notes), most)
    shown = shown_scenes(
        scenes, scene_images if all_images else [(view.scene, view.image) for view in chosen], len(scene_images)
    )
    # The revision, with ``+`` where files differ from it.
    described = git(contents.workspace.root, "describe", "--always", "--dirty=+", "--abbrev=10", "--exclude=*")
    pages = Pages(
        folder,
        revision=(described or "").strip(),
        has_scenes=bool(shown.scenes),
        has_attention=bool(contents.attention),
        has_training=bool(contents.training),
    )
    pages.write_static()
    progress("tables")
    for item in contents.tables:
        notes += write_table(pages, contents, item)
    write_plots(pages, contents, scenes)
    write_attention(pages, contents)
    write_training(pages, contents)
    progress("cells")
    extremes = write_extremes(pages, contents)
    views = make_views(contents, scene_images, notes, whole=True) if all_images else chosen
    _write_linked(pages, contents, shown, views, extremes, contents.asked, notes)
    if limit is not None and not all_images and (excess := pages.bytes() + _RESERVE - limit) > 0:
        progress("fewer pictures")
        shown = _shrink(pages, contents, shown, chosen, extremes, excess, notes)
        if pages.bytes() + _RESERVE > limit:
            notes.append(
                f"the site takes more than {limit / 1e6:g} MB even with few pictures; "
                "harness report --table NAME writes the pages of one table"
            )
            write_index(pages, contents, shown, notes)
    made = SiteSummary(
        folder, pages.count, pages.bytes(), len(shown.images), shown.count, shown.left_out, tuple(dict.fromkeys(notes))
    )
    plain = {name: value for name, value in msgspec.structs.asdict(made).items() if name != "folder"}
    write_text(folder / MARKER, msgspec.json.format(msgspec.json.encode(plain), indent=1).decode() + "\n")
    return made


def _write_linked(
    pages: Pages,
    contents: Contents,
    shown: ShownScenes,
    views: Iterable[View],
    extremes: Extremes,
    cells: Iterable[CellId],
    notes: list[str],
) -> None:
    """Write the pages that depend on which images are shown."""
    write_views(pages, shown, views)
    write_scenes(pages, shown, notes)
    for cell in cells:
        write_cell(pages, contents, shown, cell, extremes.get(cell, []))
    write_index(pages, contents, shown, notes)


def _shrink(
    pages: Pages,
    contents: Contents,
    shown: ShownScenes,
    views: Sequence[View],
    extremes: Extremes,
    excess: int,
    notes: list[str],
) -> ShownScenes:
    """Leave out pictures until the site is smaller by so many bytes, or few are left; note what was left out."""
    kept = fewer_views(pages, views, excess, LEAST_PICTURES)
    shared = {shown.overviews[view.scene.id, view.image][0] for view in kept}
    overviews = {shown.overviews[view.scene.id, view.image][0] for view in views[len(kept) :]} - shared
    dropped = [view_page(view.scene.id, view.image) for view in views[len(kept) :]]
    excess -= sum(map(pages.size, [*dropped, *overviews]))
    scenes = shown_scenes(shown.scenes, [(view.scene, view.image) for view in kept], shown.count + shown.left_out)
    empty = [scene_page(scene) for scene in shown.images if scene not in scenes.images]
    pages.remove([*dropped, *overviews, *empty])
    fewer = fewer_extremes(pages, extremes, excess)
    if dropped:
        notes.append(
            f"{len(dropped)} images fewer are shown than fit into {PICTURE_BUDGET / 1e6:g} MB of pictures, to keep the "
            f"site small; harness report --megabytes {PICTURE_BUDGET / 1e6:g} shows them"
        )
    if len(fewer) < len(extremes):
        notes.append(f"{len(extremes) - len(fewer)} cells show no worst and best image, to keep the site small")
    changed = [
        (group, level)
        for group, level in contents.asked
        for scene in [(group.task, group.dataset, level)]
        if scenes.images.get(scene) != shown.images.get(scene)
        or ((group, level) in extremes) != ((group, level) in fewer)
    ]
    _write_linked(pages, contents, scenes, kept, fewer, changed, notes)
    return scenes
