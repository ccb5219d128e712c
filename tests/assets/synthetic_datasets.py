"""Synthetic images, a registry of them, and the state of an HTTP server that can be told to misbehave."""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from harness.assets.kinds import KINDS
from harness.assets.places import AssetPaths, Kind
from harness.images import pixels_sha256


def encode(pixels: np.ndarray, form: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format=form, **options)
    return buffer.getvalue()


def picture(seed: int, height: int = 40, width: int = 60, gray: bool = False) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width) if gray else (height, width, 3), dtype=np.uint8)


class Server:
    """Files by path, and what is to go wrong."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.users: list[str] = []  # what each request says who asks
        self.counts: Counter[str] = Counter()
        self.ranges = True
        self.etag: Callable[[str], str] | None = None
        self.cut: dict[str, list[int]] = {}  # path: after how many bytes the first, second ... answer breaks off
        self.status: dict[str, list[int]] = {}  # path: status of the first, second ... answer
        self.raw: dict[str, list[bytes]] = {}  # path: what goes over the line instead of an answer, `slow` between
        self.slow: float = 0.0
        self.url = ""

    def names(self) -> list[str]:
        return [path.rsplit("/", 1)[-1] for path, _ in self.requests]


class Registry:
    """Writes records and knows the bytes of their files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.content: dict[str, dict[str, bytes]] = {}

    def add(self, name: str, files: dict[str, bytes] | None = None, **fields: Any) -> dict[str, Any]:
        record: dict[str, Any] = {
            "name": name,
            "title": name.title(),
            "kind": "images",
            "count": len(files or {}),
            "supply": "pinned",
            "description": "Made for a test.",
            "licence": "none",
            "licence_note": "None.",
            "homepage": "https://example.org",
            "citation": "Nobody, 1900",
        }
        record["files"] = fields.pop("entries", [])
        record.update(fields)
        if files:
            record["files"] = [self.file(key, data) for key, data in files.items()]
            self.content[name] = files
        self.write(record)
        return record

    @staticmethod
    def file(name: str, data: bytes) -> dict[str, Any]:
        with Image.open(io.BytesIO(data)) as image:
            pixels = np.array(image)
        return {
            "name": name,
            "bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            "shape": list(pixels.shape),
            "pixels_sha256": pixels_sha256(pixels),
        }

    def write(self, record: dict[str, Any]) -> None:
        self.folder.mkdir(exist_ok=True)
        (self.folder / f"{record['name']}.json").write_text(json.dumps(record))

    def fill(self, name: str, folder: Path) -> Path:
        """Write the files of a set into a folder."""
        for key, data in self.content[name].items():
            (folder / key).parent.mkdir(parents=True, exist_ok=True)
            (folder / key).write_bytes(data)
        return folder

    def serve(self, name: str, server: Server, prefix: str = "") -> None:
        for key, data in self.content[name].items():
            server.files[f"{prefix}/datasets/{name}/{key}"] = data


COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Published:
    """The set `tiny` of one kind: its record, its files, and where they are served."""

    name = "tiny"

    def __init__(self, kind: Kind, records: Path, data: Path) -> None:
        self.kind = kind
        self.paths = AssetPaths(data, kind, self.name)
        self.said: list[str] = []
        self._records = records

    def add(self, content: dict[str, bytes], repos: tuple[str, ...] = ()) -> None:
        """Register files; every one has a source in every repository, under a path that must be quoted."""
        self.content = content
        files = [Registry.file(key, data) for key, data in content.items()]
        kind = {"kind": "images", "count": len(files), "supply": "pinned", "description": "Made for a test."}
        if self.kind == "weights":
            files = [{key: file[key] for key in ("name", "bytes", "sha256")} for file in files]
            files = [{**file, "format": "npz", "makes": "a test"} for file in files]
            kind = {"obtain": "" if repos else "ask its authors"}
        for file in files:
            file["at"] = [[index, f"test set/{file['name']}"] for index in range(len(repos))]
        record = {
            "name": self.name,
            "title": "Tiny",
            "licence": "none",
            "licence_note": "None.",
            "homepage": "https://example.org",
            "citation": "Nobody, 1900",
            "sources": [{"repo": repo, "commit": COMMIT} for repo in repos],
            "files": files,
            **kind,
        }
        (self._records / f"{self.name}.json").write_text(json.dumps(record))

    def mirrored(self, name: str) -> str:
        """Path of a file on a mirror."""
        return f"/{self.kind}/{self.name}/{name}"

    @staticmethod
    def source(repo: str, name: str) -> str:
        """Path of a file on the host of public sources."""
        return f"/sources/{repo}/{COMMIT}/test set/{name}"

    def serve(self, server: Server, repo: str = "") -> None:
        for name, content in self.content.items():
            server.files[self.source(repo, name) if repo else self.mirrored(name)] = content

    def fill(self, folder: Path) -> Path:
        """Write the files into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.content.items():
            (folder / name).write_bytes(content)
        return folder

    def get(self, data: Path | None = None, **options: Any) -> Any:
        """Fetch the set and give its manifest; what is said goes to `said`."""
        return KINDS[self.kind].fetch(self.name, data or self.paths.data, **{"say": self.said.append, **options})

    def text(self) -> str:
        return self.paths.manifest.read_text()

    def parts(self) -> list[str]:
        return sorted(path.name for path in self.paths.folder.rglob(".*") if ".part" in path.name)
