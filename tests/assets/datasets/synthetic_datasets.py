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
