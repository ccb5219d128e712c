"""Building a site: its parts in order, into a folder that takes the place of the last one only when it is whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from harness.errors import HarnessError
from harness.files import write_text
from harness.report.site.cells import write_cells
from harness.report.site.contents import gather
from harness.report.site.front import write_attention, write_index, write_plots, write_training
from harness.report.site.pages import Pages, revision
from harness.report.site.scenes import (
    in_turn,
    make_views,
    scenes_to_show,
    shown_scenes,
    within,
    write_scenes,
    write_views,
)
from harness.report.site.tables import write_table
from harness.workspace import Workspace

MARKER = "site.json"
"""A folder that holds this file was written here and may be replaced."""

PICTURE_BUDGET = 7_000_000
"""Bytes of pictures on pages of scenes, so that the whole site stays below 20 MB."""


class SiteSummary(msgspec.Struct, frozen=True):
    """What was written.

    Attributes
    ----------
    folder : path
        Where.
    pages, bytes : int
        Number of HTML pages and size of all files.
    scenes_shown, images_shown, images_left_out : int
        Scenes with pictures, images on pages, images for which the budget did not suffice.
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
    budget: int = PICTURE_BUDGET,
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
    budget : int
        Bytes of pictures on pages of scenes.
    all_images : bool
        Show every image of every scene whole, whatever it takes.
    progress : callable
        Called with a few words now and then.

    Raises
    ------
    HarnessError
        `target` holds something else, a file is damaged, or the disk is full.
    """
    _check_replaceable(target)
    building = target.with_name(f".{target.name}.{os.getpid()}.part")
    shutil.rmtree(building, ignore_errors=True)
    try:
        building.mkdir(parents=True)
        shown = _write(workspace, building, names, budget, all_images, progress)
        if target.exists():
            shutil.rmtree(target)
        os.replace(building, target)
    except OSError as error:
        raise HarnessError(f"{target}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return msgspec.structs.replace(shown, folder=target)


def _check_replaceable(target: Path) -> None:
    if target.is_file() or (target.is_dir() and any(target.iterdir()) and not (target / MARKER).is_file()):
        raise HarnessError(f"{target}: holds something else than a site written by harness report; name another folder")


def _write(
    workspace: Workspace,
    folder: Path,
    names: Sequence[str],
    budget: int,
    all_images: bool,
    progress: Callable[[str], None],
) -> SiteSummary:
    contents = gather(workspace, names)
    progress("scenes")
    scenes, notes = scenes_to_show(contents)
    wishes = in_turn(scenes, whole_sets=all_images)
    # Pages name each other, so the choice is made first; the pictures of a budget fit into memory, all do not.
    chosen = [] if all_images else within(make_views(contents, wishes, notes), budget)
    announced = wishes if all_images else [(view.scene, view.image) for view in chosen]
    shown = shown_scenes(scenes, announced, len(wishes) - len(announced))
    pages = Pages(
        folder,
        revision(workspace.root),
        has_scenes=bool(shown.scenes),
        has_attention=bool(contents.attention),
        has_training=bool(contents.training),
    )
    pages.write_static()
    write_views(pages, shown, make_views(contents, wishes, notes, whole=True) if all_images else chosen)
    write_scenes(pages, shown, list(dict.fromkeys(notes)))
    progress("cells")
    write_cells(pages, contents, shown)
    progress("tables")
    for item in contents.tables:
        notes += write_table(pages, contents, item)
    notes = list(dict.fromkeys(notes))
    write_plots(pages, contents, shown)
    write_attention(pages, contents)
    write_training(pages, contents)
    write_index(pages, contents, shown, notes)
    made = SiteSummary(
        folder,
        pages.count,
        pages.bytes(),
        len(shown.images),
        sum(map(len, shown.images.values())),
        shown.left_out,
        tuple(notes),
    )
    plain = {name: getattr(made, name) for name in made.__struct_fields__ if name != "folder"}
    write_text(folder / MARKER, msgspec.json.format(msgspec.json.encode(plain), indent=1).decode() + "\n")
    return made
