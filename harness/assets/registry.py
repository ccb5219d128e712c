"""What the records of datasets and weights share: names, licence, files with checksums, and public sources of them.

A record is a JSON file named like what it describes. What is particular to a kind stands in its own `registry`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import msgspec

from harness.assets import places
from harness.assets.verified import Hashes
from harness.errors import HarnessError
from harness.names import is_name, is_safe
from harness.records.loading import load_json
from harness.registries import REGISTRIES

# Serves the files of GitHub repositories at a commit.
SOURCE_HOST = "https://raw.githubusercontent.com"
# Serves what Git LFS keeps of them; at the other address there is a pointer of three lines in its place.
LFS_HOST = "https://media.githubusercontent.com/media"
# A mirror's folder of files of public repositories, each under its own path: ``extra/<owner>+<name>/<path>``.
COPIES = "extra"

SHA256 = re.compile(r"[0-9a-f]{64}")
_GIT_BLOB = re.compile(r"[0-9a-f]{40}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REPOSITORY = re.compile(r"[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+")


class Repository(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A public repository at one commit: its files can never change.

    `repo`: ``owner/name`` on GitHub.
    `lfs`: Its files lie in Git LFS.
    """

    repo: str
    commit: str
    lfs: bool = False

    def url(self, path: str) -> str:
        """Give the address of a file."""
        return f"{LFS_HOST if self.lfs else SOURCE_HOST}/{self.repo}/{self.commit}/{quote(path)}"


class AssetFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    r"""One file of a dataset or weight set.

    `name`: Relative name inside the set's folder.
    `bytes`: Size of the file; 0 where it is not known.
    `sha256`: SHA-256 of its bytes; empty where it is not known. Such a file is downloaded only if its `git_blob` is.
    `git_blob`: The id that git gives its bytes: SHA-1 of ``"blob <bytes>\0"`` and the bytes. What holds a file of which
        nobody has seen the content yet; the SHA-256 that it turns out to have is held from then on.
    `at`: Where the same bytes are public, in the order in which they are asked: index of the source, path in it.
    """

    name: str
    bytes: int = 0
    sha256: str = ""
    git_blob: str = ""
    at: tuple[tuple[int, str], ...] = ()

    @property
    def pinned(self) -> bool:
        """Whether a checksum is known."""
        return bool(self.sha256 or self.git_blob)

    def is_at(self, path: Path, hashes: Hashes) -> bool:
        """Return whether a path holds this file, as far as its checksums say; OSError where it cannot be read."""
        if hashes.sha256(path) != self.sha256 and self.sha256:
            return False
        return not self.git_blob or hashes.git_blob(path) == self.git_blob


class AssetRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the record of a dataset and that of a weight set have in common.

    `title`: Name as the papers print it.
    `licence`, `licence_note`, `homepage`, `citation`: For readers; `licence` is short, the note says what is allowed.
    """

    name: str
    title: str
    licence: str
    licence_note: str
    homepage: str
    citation: str
    note: str = ""
    sources: tuple[Repository, ...] = ()
    files: Sequence[AssetFile] = ()

    @property
    def mirror_paths(self) -> tuple[str, ...]:
        """Folders of a mirror that may hold the files, the likeliest first."""
        raise NotImplementedError

    def in_mirror(self, file: AssetFile) -> list[str]:
        """List the paths at which a mirror may hold a file: in a folder of the set, or as a copy of a public source."""
        own = [f"{folder}/{file.name}" for folder in self.mirror_paths]
        return own + [f"{COPIES}/{self.sources[index].repo.replace('/', '+')}/{path}" for index, path in file.at]

    @property
    def bytes(self) -> int:
        """Sum of the file sizes; 0 where they are not known."""
        return sum(file.bytes for file in self.files)

    @property
    def repositories(self) -> list[str]:
        """Names of the public repositories, each once."""
        return list(dict.fromkeys(source.repo for source in self.sources))


Record = TypeVar("Record", bound=AssetRecord)


def read_asset_record(path: Path, kind: type[Record], subject: str) -> Record:
    """Read a record and check what all records have in common.

    `subject`: Begins a sentence about it, such as ``dataset is``.
    Raises HarnessError: Not a record: unknown keys, names that leave the folder, invalid checksums.
    """
    record = load_json(path, kind)
    if record.name != path.stem or not is_name(record.name):
        raise HarnessError(f"{path}: the {subject} named '{record.name}'; name record and file alike, as in 'my-set'")
    for source in record.sources:
        if not (_REPOSITORY.fullmatch(source.repo) and _COMMIT.fullmatch(source.commit)):
            raise HarnessError(f"{path}: '{source.repo}' at '{source.commit}' is not owner/name and a full commit hash")
    for file in record.files:
        if not is_safe(file.name):
            raise HarnessError(f"{path}: the file name '{file.name}' leaves the set's folder; take it out")
        if (file.sha256 and not (file.bytes and SHA256.fullmatch(file.sha256))) or (file.bytes and not file.pinned):
            raise HarnessError(
                f"{path}: '{file.name}' needs both its size and a checksum of 64 lower-case hex digits, or neither"
            )
        if file.git_blob and not _GIT_BLOB.fullmatch(file.git_blob):
            raise HarnessError(f"{path}: the git_blob of '{file.name}' is not 40 lower-case hex digits; correct it")
        if file.at and not file.pinned:
            raise HarnessError(f"{path}: '{file.name}' has a source and no checksum to hold it to; take the source out")
        for index, at in file.at:
            if not 0 <= index < len(record.sources) or not is_safe(at):
                raise HarnessError(f"{path}: '{file.name}' has an unknown source ({index}, '{at}'); correct it")
    return record


def asset_names(kind: places.Kind) -> list[str]:
    """List the canonical names of all datasets or weight sets, sorted."""
    names: dict[str, Path] = {}
    for folder in places.record_folders(kind):
        if not folder.is_dir():
            raise HarnessError(f"{places.RECORDS_VARIABLE} names {folder}, which is not a folder; correct it")
        for path in folder.glob("*.json"):
            if path.stem in names:
                raise HarnessError(f"{path}: a dataset '{path.stem}' is also in {names[path.stem]}; rename one")
            names[path.stem] = path
    return sorted({*names, *(REGISTRIES.get("dataset", ()) if kind == "datasets" else ())})
