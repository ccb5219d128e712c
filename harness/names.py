"""The one rule for names that come to stand in paths, names of stages and command lines.

Nothing here imports more than the standard library's small modules: it runs before every table.
"""

from __future__ import annotations

import re

from harness.errors import HarnessError

# No two hyphens in a row: those stand between a method and its policy, and between a run and its task.
_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
# File names may have 255 bytes, and several names are joined in one.
LONGEST = 80
_DEVICE = re.compile(r"con|prn|aux|nul|com[0-9]|lpt[0-9]", re.IGNORECASE)
# Surrogates stand for bytes that are no UTF-8: names out of archives that were packed under another encoding.
_UNSAFE = re.compile(r'[\x00-\x1f\x7f\\:*?"<>|\ud800-\udfff]')


def is_name(text: str) -> bool:
    """Return whether a text may name a dataset, a method, a table and the like."""
    return isinstance(text, str) and len(text) <= LONGEST and _NAME.fullmatch(text) is not None


def check_name(text: str, kind: str = "name", where: str = "") -> str:
    """Return a name that may stand in a path and a command line as it is.

    `kind`: What it stands for, such as ``"dataset"``.
    `where`: The file that it comes from; begins the error message.
    Raises HarnessError: It has other characters than lower-case letters, digits and single hyphens between them, or is
        too long.
    """
    if not is_name(text):
        text = str(text)  # whatever was given
        shown = text if text.isprintable() and len(text) <= LONGEST else f"{ascii(text[:LONGEST])[1:-1]} …"
        place = f"{where}: " if where else ""
        raise HarnessError(
            f"{place}{kind} '{shown}': use lower-case letters, digits and single '-' between them, such as 'my-net'"
        )
    return text


def is_safe(name: str) -> bool:
    """Return whether a relative file name stays inside the folder it is joined to, on every system."""
    parts = name.split("/")
    return not _UNSAFE.search(name) and all(part not in ("", ".", "..") and not _is_device(part) for part in parts)


def _is_device(part: str) -> bool:
    # What Windows takes for a device under any suffix, and names whose last sign it drops.
    return bool(_DEVICE.fullmatch(part.partition(".")[0].strip())) or part[-1] in ". "
