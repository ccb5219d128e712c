"""Archives of owners: nothing unasked, resumed, verified, unpacked safely, whole and once, from a local server."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from release_folders import gopro, packed_as_mprnet, realblur, sidd_blocks, sidd_validation
from synthetic_datasets import Registry, Server, encode, picture

from harness.assets.datasets import dataset, extracting, fetch, open_dataset
from harness.assets.datasets.archives import archive_note
from harness.assets.datasets.registry import Archive, datasets
from harness.assets.kinds import KINDS
from harness.assets.places import REGISTRIES
from harness.cli.assets import datasets as command
from harness.cli.assets import weights as weights_command
from harness.errors import HarnessError

IMAGES = {f"DIV2K_train_HR/000{number}.png": encode(picture(number)) for number in (1, 2, 3)}
Member = tuple[tarfile.TarInfo, bytes]


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(files: dict[str, bytes], *others: tarfile.TarInfo, mode: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
        for header in others:
            archive.addfile(header)
    return buffer.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.type, header.linkname = kind, target
    return header


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def offer(registry: Registry, server: Server) -> Callable[..., None]:
    """Register the set `large` of three images, and serve its archive."""

    def make(content: bytes, name: str = "large.zip", record: dict[str, Any] | None = None, **known: Any) -> None:
        server.files[f"/{name}"] = content
        archive = {"name": name, "holds": "all", "source": "A test.", "urls": [f"{server.url}/{name}"], **known}
        layouts = [{"target": "DIV2K_train_HR/{id}.*"}, {"target": "{id}.*"}]
        plain = {"supply": "user", "count": 3, "layouts": layouts, "archives": [archive], **(record or {})}
        registry.add("large", **plain)

    return make


@pytest.fixture
def get(data: Path) -> Callable[..., Any]:
    return lambda **options: fetch("large", data, **{"archives": True, "say": lambda _: None, **options})


def known(content: bytes) -> dict[str, Any]:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def left(data: Path) -> list[str]:
    """Whatever lies in the folder of archives, hidden files too."""
    return sorted(path.name for path in (data / "archives").iterdir())


def test_nothing_is_downloaded_unasked(offer, get, server, data):
    offer(zipped(IMAGES), bytes=3_530_603_713, sha256="0" * 64)
    manifest = get(archives=False)
    assert server.requests == [] and not (data / "archives").exists()
    assert "run `harness datasets fetch large --archives`, which downloads large.zip (3.5 GB) from" in manifest.reason
    assert manifest.reason.startswith("it is downloaded only when asked for; run ")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("large.zip", zipped(IMAGES)),
        ("Large.ZIP", zipped({f"a folder/{name}": image for name, image in IMAGES.items()})),
        ("large.tar.gz", tarred(IMAGES)),
        ("large.tgz", tarred({f"./{name}": image for name, image in IMAGES.items()})),
        ("large.tar", tarred(IMAGES, mode="w")),
        ("large.tar.xz", tarred(IMAGES, mode="w:xz")),
    ],
)
@pytest.mark.parametrize("pinned", [True, False])
def test_an_archive_is_fetched_once(name, content, pinned, offer, get, server, data, tmp_path):
    offer(content, name, **(known(content) if pinned else {}))
    manifest = get()
    assert manifest.complete and manifest.images == 3
    assert server.names() == [name]
    assert left(data) == [name.split(".")[0]], "what was downloaded is deleted when it is unpacked"
    np.testing.assert_array_equal(open_dataset("large", data).read("0002"), picture(2))
    # Neither the next fetch, nor one that remembers nothing of the set, asks again.
    shutil.rmtree(data / "state" / "datasets")
    assert get() == get(archives=False) == manifest
    assert server.names() == [name]
    # The manifest does not say where the files came from.
    shutil.copytree(data / "archives", tmp_path / "copy")
    assert fetch("large", tmp_path / "other", folder=tmp_path / "copy").text() == manifest.text()


def test_two_sets_share_an_archive(registry, server, data, tmp_path):
    """GoPro's layout, below a folder of another name and with spaces in the names of the sequences."""
    for part in ("test", "train"):
        gopro(tmp_path / "release", picture, lambda n: picture(1000 + n), part)
    os.rename(tmp_path / "release/GOPRO_Large", tmp_path / "release/GOPRO Large (1)")
    for part in ("test", "train"):
        holder = tmp_path / "release/GOPRO Large (1)" / part
        os.rename(holder / "GOPR0384_11_00", holder / "GOPR 0384 11")
    content = zipped(tree(tmp_path / "release"))
    server.files["/GOPRO_Large.zip"] = content
    archive = {
        "name": "GOPRO_Large.zip",
        "holds": "both",
        "source": "A test.",
        "urls": [f"{server.url}/GOPRO_Large.zip"],
    }
    for name in ("gopro-test", "gopro-train"):
        record = json.loads((REGISTRIES["datasets"] / f"{name}.json").read_text())
        record |= {"name": f"small-{name}", "count": 3, "sizes": [[40, 60]], "aliases": [], "archives": [archive]}
        registry.write(record)
        manifest = fetch(f"small-{name}", data, archives=True)
        assert manifest.complete, manifest.reason
        assert {file.image for file in manifest.files} == {"GOPR 0384 11-000001", "GOPR 0384 11-000002", "G2-000001"}
    assert server.names() == ["GOPRO_Large.zip"]


def test_realblur_is_put_there_by_hand(registry, server, data, tmp_path):
    """The owners' archive is behind a page: the reason names it, and the file is taken and kept."""
    for kind in ("J", "R"):
        realblur(tmp_path / "release", kind, picture, lambda n: picture(1000 + n))
    record = json.loads((REGISTRIES["datasets"] / "realblur-r.json").read_text())
    registry.write(record | {"name": "small", "count": 3})
    first = fetch("small", data, archives=True)
    assert "fetch RealBlur.tar.gz (size not known) from cgdata.postech.ac.kr with a browser" in first.reason
    assert "RealBlur.tar.gz has to be fetched by a browser, from https://cgdata.postech.ac.kr/" in first.reason
    path = data / "archives/RealBlur.tar.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"<!DOCTYPE html><html>")
    with pytest.raises(HarnessError, match=r"RealBlur\.tar\.gz: is no file of the kind that its name says; delete it"):
        fetch("small", data, archives=True)
    path.write_bytes(tarred(tree(tmp_path / "release")))
    assert fetch("small", data, archives=True).complete
    assert path.is_file() and server.requests == []


def test_files_that_are_no_archives_lie_in_one_folder(registry, server, data, tmp_path):
    """SIDD's validation blocks: two MATLAB files without a checksum."""
    blocks = {"Gt": sidd_blocks(seed=1), "Noisy": sidd_blocks(seed=2)}
    sidd_validation(tmp_path / "release", blocks["Gt"], blocks["Noisy"])
    record = json.loads((REGISTRIES["datasets"] / "sidd-validation.json").read_text())
    for archive in record["archives"]:
        archive["urls"] = [f"{server.url}/{archive['name']}"]
    for name, content in tree(tmp_path / "release").items():
        server.files[f"/{name}"] = content
    registry.write(record | {"name": "small", "count": 6, "sizes": [[16, 16]], "aliases": []})
    gone = server.files.pop("/ValidationGtBlocksSrgb.mat")
    assert "ValidationGtBlocksSrgb.mat from 127.0.0.1: status 404" in fetch("small", data, archives=True).reason
    server.files["/ValidationGtBlocksSrgb.mat"] = gone
    assert fetch("small", data, archives=True).complete
    assert server.counts["/ValidationNoisyBlocksSrgb.mat"] == 1
    np.testing.assert_array_equal(open_dataset("small", data).read("02-03"), blocks["Gt"][1, 2])
    assert left(data) == ["SIDD_Blocks"] and len(tree(data / "archives")) == 2


def test_a_download_is_resumed(offer, get, server):
    content = zipped(IMAGES)
    offer(content, **known(content))
    server.cut["/large.zip"] = [5000, 3000]
    assert get().complete
    assert [asked for _, asked in server.requests] == ["", "bytes=5000-", "bytes=8000-"]


@pytest.mark.parametrize("pinned", [True, False])
def test_the_next_run_goes_on(pinned, offer, get, server, data):
    content = zipped(IMAGES)
    offer(content, **(known(content) if pinned else {}))
    server.cut["/large.zip"] = [5000, 0, 0, 0, 0, 0]
    manifest = get()
    assert not manifest.complete and "large.zip from 127.0.0.1: broken off again and again" in manifest.reason
    assert left(data) == [".large.zip.part"]
    server.cut.clear()
    server.requests.clear()
    assert get().complete
    assert server.requests == [("/large.zip", "bytes=5000-")]


def test_an_archive_of_unknown_size_may_be_larger_than_weights(offer, get, monkeypatch):
    monkeypatch.setattr("harness.assets.download.MOST_BYTES", 5000)
    offer(zipped(IMAGES))
    assert get().complete


@pytest.mark.parametrize("wrong", [{"sha256": "0" * 64}, {"sha1": "0" * 40}])
def test_a_wrong_checksum(wrong, offer, get, data):
    content = zipped(IMAGES)
    offer(content, bytes=len(content), **wrong)
    manifest = get()
    assert "large.zip from 127.0.0.1: what it sends has a wrong checksum" in manifest.reason
    assert left(data) == []


def test_a_published_sha1_is_enough(offer, get, data):
    content = zipped(IMAGES)
    offer(content, sha1=hashlib.sha1(content).hexdigest())
    assert get().complete
    assert archive_note(data, dataset("large").archives[0])["sha256"] == hashlib.sha256(content).hexdigest()


def test_a_checksum_that_nobody_published_is_recorded_and_held(offer, get, server, data):
    content = zipped(IMAGES)
    offer(content)
    assert get().complete
    sha256 = hashlib.sha256(content).hexdigest()
    show = KINDS["datasets"].show
    assert f"large.zip: SHA-256 {sha256}, recorded when fetched\n" in show(dataset("large"), data)
    assert "SHA-256 recorded when fetched) from" in show(dataset("large"), data)
    # Another file at the same address is not taken for it.
    shutil.rmtree(data / "archives")
    other = zipped(IMAGES | {"more.png": encode(picture(9))})
    server.files["/large.zip"] = other
    assert "another SHA-256 than at the first fetch, which state/archives/large.zip.json holds" in get().reason
    (data / "state/archives/large.zip.json").unlink()
    offer(content, **known(content))
    assert get().complete
    assert f"large.zip: SHA-256 {sha256}, published\n" in show(dataset("large"), data)


def test_a_page_is_no_archive(offer, get, data):
    offer(b"\n<!DOCTYPE html><title>Can't scan file for viruses</title>" + bytes(9999))
    assert "what it sends is no file of the kind that its name says" in get().reason
    assert left(data) == []


def test_the_next_address_is_asked(offer, get, server):
    content = zipped(IMAGES)
    offer(content, urls=[f"{server.url}/gone.zip", f"{server.url}/large.zip"])
    said: list[str] = []
    assert get(say=said.append).complete
    assert said == ["large: large.zip: from 127.0.0.1: status 404"]


@pytest.mark.parametrize("by_address", [True, False])
def test_a_mirror_comes_first(by_address, offer, get, server, tmp_path, monkeypatch):
    content = zipped(IMAGES)
    offer(content, **known(content))
    server.files["/archives/large.zip"] = content
    mirror = tmp_path / "mirror"
    (mirror / "archives").mkdir(parents=True)
    (mirror / "archives/large.zip").write_bytes(content)
    monkeypatch.setenv("HARNESS_MIRROR", server.url if by_address else str(mirror))
    assert get().complete
    assert [path for path, _ in server.requests] == (["/archives/large.zip"] if by_address else [])
    assert (mirror / "archives/large.zip").is_file()


def test_only_what_a_set_is_made_of_is_unpacked(offer, get, data):
    more = {"README.md": b"x", "run.sh": b"x", "list.txt": b"x", ".hidden/0001.png": b"x", "../out.sh": b"x"}
    offer(zipped(IMAGES | more | {"__MACOSX/DIV2K_train_HR/._0001.png": b"x", "empty/": b""}))
    assert get().complete
    assert sorted(tree(data / "archives/large")) == [*IMAGES, "list.txt"]


MOST = "would unpack to more than"
LEAVES = "is a name that leaves the folder"
LINK = "is a link or a device instead of a file"
ZEROS = bytes(30_000_000)


def link_in_zip() -> bytes:
    buffer = io.BytesIO(zipped(IMAGES))
    with zipfile.ZipFile(buffer, "a") as archive:
        info = zipfile.ZipInfo("DIV2K_train_HR/0004.png")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    return buffer.getvalue()


def encrypted() -> bytes:
    content = bytearray(zipped({"1.png": b"x"}))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


def huge_header() -> bytes:
    """A header of 20 MB of text about the next one, in 20 kB."""
    header = special("x", tarfile.GNUTYPE_LONGNAME)
    header.size = 20_000_000
    return tarred({}, header)


def endless() -> bytes:
    """A tar file behind whose end 20 MB of zeros follow."""
    buffer = io.BytesIO()
    with gzip.open(buffer, "w") as file:
        file.write(tarred(IMAGES, mode="w") + bytes(20_000_000))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.zip", lambda: zipped(IMAGES | {"4.png": ZEROS}), MOST),
        ("a.zip", lambda: zipped(IMAGES | {"4.bin": ZEROS}), MOST),
        ("a.tar.gz", lambda: tarred(IMAGES | {"4.png": ZEROS}), MOST),
        ("a.tar.gz", huge_header, "a header of an impossible size"),
        ("a.tar.gz", endless, "goes on and on behind its end"),
        ("a.zip", lambda: zipped(IMAGES | {"../4.png": b"x"}), LEAVES),
        ("a.zip", lambda: zipped(IMAGES | {"/tmp/4.png": b"x"}), LEAVES),
        ("a.zip", lambda: zipped(IMAGES | {"a/../../4.png": b"x"}), LEAVES),
        ("a.zip", lambda: zipped(IMAGES | {"C:4.png": b"x"}), LEAVES),
        ("a.zip", lambda: zipped(IMAGES | {"a\\4.png": b"x"}), LEAVES),
        ("a.tar.gz", lambda: tarred(IMAGES | {"../4.png": b"x"}), LEAVES),
        ("a.tar.gz", lambda: tarred(IMAGES, special("/4.png", tarfile.SYMTYPE, "/etc/passwd")), LEAVES),
        ("a.zip", link_in_zip, LINK),
        ("a.tar.gz", lambda: tarred(IMAGES, special("4.png", tarfile.SYMTYPE, "/etc/passwd")), LINK),
        ("a.tar.gz", lambda: tarred(IMAGES, special("4.png", tarfile.LNKTYPE, next(iter(IMAGES)))), LINK),
        ("a.tar.gz", lambda: tarred(IMAGES, special("4.png", tarfile.FIFOTYPE)), LINK),
        ("a.tar.gz", lambda: tarred(IMAGES, special("4.png", tarfile.CHRTYPE)), LINK),
        ("a.tar", lambda: tarred({"1.png": b"x", "./1.png": b"y"}, mode="w"), "'1.png' is in it twice"),
        ("a.zip", encrypted, "cannot be unpacked .*password required"),
        ("a.zip", lambda: zipped(IMAGES)[:-40], "is no file of the kind|cannot be unpacked"),
        ("a.tar.gz", lambda: tarred(IMAGES)[:-3000], "cannot be unpacked"),
        ("a.tar", lambda: tarred(IMAGES, mode="w")[:15000], "cannot be unpacked"),
    ],
)
def test_what_may_not_be_unpacked(name, content, told, offer, get, data, tmp_path):
    """Nothing is written, the set is as before, and the archive stays for whoever wants to look at it."""
    content = content()
    offer(content, name, **known(content))
    outside = tree(tmp_path)
    with pytest.raises(HarnessError, match=told) as error:
        get()
    assert f"{data / 'archives' / name}" in str(error.value)
    assert left(data) == [name]
    state = {path for path in tree(tmp_path) if "data/" in path and "/state/" not in path}
    assert state == {f"data/archives/{name}"} and outside.keys() <= tree(tmp_path).keys()


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "a.tar.xz"])
def test_a_damaged_archive_that_has_the_recorded_checksum(name, offer, get, data):
    """No checksum is published, so the first sign of a bad byte is the archive's own check."""
    intact = zipped(IMAGES) if name == "a.zip" else tarred(IMAGES, mode=f"w:{name[-2:]}")
    content = bytearray(intact)
    content[len(content) // 2] ^= 0xFF
    offer(bytes(content), name)
    with pytest.raises(HarnessError, match=r"cannot be unpacked \(.*\); delete it and fetch it again, or unpack it"):
        get()
    assert left(data) == [name]


@pytest.mark.parametrize(("free", "told"), [(10_000, "downloading and unpacking it takes"), (64 << 20, "are free")])
def test_a_disk_without_room(free, told, offer, get, data, monkeypatch, server):
    content = zipped(IMAGES)
    offer(content, **known(content))
    usage = shutil.disk_usage("/")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage._replace(free=free))
    with pytest.raises(HarnessError, match=f"{told}.*; make room or name another folder with --data"):
        get()
    assert not (data / "archives/large").exists()
    assert bool(server.requests) == (free > 10_000)


def test_two_runs_at_once(offer, get, server):
    content = zipped(IMAGES)
    offer(content, **known(content))
    with ThreadPoolExecutor(2) as pool:
        manifests = [future.result() for future in [pool.submit(get) for _ in range(2)]]
    assert all(manifest.complete for manifest in manifests)
    assert server.names() == ["large.zip"]


def test_what_was_unpacked_and_changed_is_fetched_again(offer, get, server, data):
    content = zipped(IMAGES)
    offer(content, **known(content))
    get()
    (data / "archives/large/DIV2K_train_HR/0002.png").unlink()
    said: list[str] = []
    assert get(say=said.append, archives=False).status == "missing"
    assert get(say=said.append).complete and len(server.requests) == 2
    assert any("is not what was unpacked from large.zip any more" in text for text in said)


def test_killed_while_unpacking(offer, get, server, data, tmp_path):
    """kill -9 on the way: the next run unpacks anew, from the archive that is there."""
    content = zipped(IMAGES)
    offer(content, **known(content))
    code = (
        "import shutil, time\n"
        "from harness.assets.datasets import fetch\n"
        "copy = shutil.copyfileobj\n"
        "def slowly(source, file, length):\n"
        "    copy(source, file, length)\n"
        "    file.flush()\n"
        "    time.sleep(60)\n"
        "shutil.copyfileobj = slowly\n"
        f"fetch('large', {str(data)!r}, archives=True)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], env={**os.environ})
    part = data / "archives/.large.part"
    try:
        end = time.monotonic() + 60
        while not any(path.stat().st_size for path in part.rglob("*.png")) and time.monotonic() < end:
            time.sleep(0.02)
        assert any(part.rglob("*.png"))
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    assert left(data) == [".large.part", "large.zip"]
    (part / "of another run.png").write_bytes(b"x")
    assert get(archives=False).status == "missing"
    assert get().complete
    assert left(data) == ["large"] and sorted(tree(data / "archives/large")) == sorted(IMAGES)
    assert server.names() == ["large.zip"]


def test_a_downloaded_archive_that_was_damaged_on_the_disk(offer, get, server, data, monkeypatch):
    content = zipped(IMAGES)
    offer(content, **known(content))
    with monkeypatch.context() as patched, pytest.raises(HarnessError, match="are free"):
        patched.setattr(extracting, "_SPARE", 1 << 60)
        get()
    (data / "archives/large.zip").write_bytes(content[:-1])
    assert get().complete and len(server.requests) == 2


def test_other_numbers_of_images(registry, tmp_path, data):
    """MPRNet packs 98 of Test100's pairs, and the papers' numbers come from those."""
    record = json.loads((REGISTRIES["datasets"] / "test100.json").read_text())
    assert (record["count"], record["also_counts"]) == (100, [98])
    packed_as_mprnet(tmp_path / "copy", picture, lambda n: picture(1000 + n))
    for count, also, status in ((4, [3], "complete"), (4, [2], None)):
        registry.write(record | {"name": "small", "count": count, "also_counts": also})
        if status:
            assert fetch("small", data, folder=tmp_path / "copy").images == 3
        else:
            with pytest.raises(HarnessError, match="has 3 pairs of 4"):
                fetch("small", data, folder=tmp_path / "copy")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": "../a.zip"}, "is no plain name of a file"),
        ({"name": "a/b.zip"}, "is no plain name of a file"),
        ({"name": ".a.zip"}, "is no plain name of a file"),
        ({"folder": ".."}, "is no plain name of a file"),
        ({"urls": ["ftp://host/a.zip"]}, "an address that is no plain http"),
        ({"urls": ["file:///etc/passwd"]}, "an address that is no plain http"),
        ({"urls": ["https://me:secret@host/a.zip"]}, "an address that is no plain http"),
        ({"urls": ["https://host/a b.zip"]}, "an address that is no plain http"),
        ({"page": "javascript:x"}, "an address that is no plain http"),
        ({"urls": []}, "neither an address nor a page"),
        ({"sha256": "0" * 63}, "a size or checksum that cannot be one"),
        ({"sha256": "A" * 64}, "a size or checksum that cannot be one"),
        ({"sha1": "0" * 64}, "a size or checksum that cannot be one"),
        ({"bytes": -1}, "a size or checksum that cannot be one"),
        ({"size": 3}, "unknown key 'size'"),
    ],
)
def test_a_bad_record_is_refused(change, told, offer):
    offer(b"", **change)
    with pytest.raises(HarnessError, match=told):
        dataset("large")


def test_archives_may_not_share_a_folder(offer, registry):
    offer(b"")
    record = json.loads((registry.folder / "large.json").read_text())
    registry.write(record | {"archives": record["archives"] * 2})
    with pytest.raises(HarnessError, match="shares its name or its folder with another one"):
        dataset("large")
    registry.write(record | {"supply": "pinned"})
    with pytest.raises(HarnessError, match="a set has archives only where the user supplies it"):
        dataset("large")


def test_the_command(offer, server, data, tmp_path):
    content = zipped(IMAGES)
    offer(content, **known(content))

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(command, [*arguments, "--data", str(data)])

    assert "large: missing: it is downloaded only when asked for" in run("fetch", "large").stdout
    asked = run("fetch", "large", "--archives", "--from", str(tmp_path))
    assert isinstance(asked.exception, HarnessError) and "leave out either it or --archives" in str(asked.exception)
    assert run("fetch", "large", "--archives").stdout == "large: complete, 3 images\n"
    assert run("fetch", "large").stdout == "large: complete, 3 images\n"
    assert "--archives" not in CliRunner().invoke(weights_command, ["fetch", "--help"]).stdout


def test_the_registered_archives():
    """What the sets of the papers say: one file is described in one way, and says where all of it is stated."""
    archives: dict[str, Archive] = {}
    for record in datasets():
        for archive in record.archives:
            assert archives.setdefault(archive.name, archive) == archive
            assert archive.holds and archive.source.endswith(".") and archive.source.startswith(("Address", "Page"))
            assert "google.com" not in " ".join(archive.urls), "a person has to answer"
    assert sorted(archives) == [
        "DIV2K_train_HR.zip",
        "DIV2K_valid_HR.zip",
        "GOPRO_Large.zip",
        "HIDE_dataset.zip",
        "Rain13K-test.zip",
        "Rain13K-train.zip",
        "RealBlur.tar.gz",
        "SIDD_Medium_Srgb.zip",
        "ValidationGtBlocksSrgb.mat",
        "ValidationNoisyBlocksSrgb.mat",
    ]
    folders = [archive.unpacked_into for archive in archives.values()]
    assert sorted(set(folders)) == sorted({*folders}) and folders.count("SIDD_Blocks") == 2
    assert not {archive.name for archive in archives.values()} & set(folders)
