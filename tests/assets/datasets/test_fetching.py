"""Fetching: mirrors, sources, own folders, what goes wrong on the way, and what is remembered."""

from __future__ import annotations

import errno
import gzip
import json
import os
import re
import shutil
import threading
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from synthetic_datasets import encode, picture

from harness.assets import download, fetching, hosts
from harness.assets import registry as records
from harness.assets.datasets import fetch, folders, open_dataset
from harness.assets.manifest import DatasetManifest
from harness.assets.places import AssetPaths
from harness.assets.verified import still_complete
from harness.errors import HarnessError, NotAvailableError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def said():
    return []


@pytest.fixture
def get(data, said):
    """Fetch a set and give its manifest; what is said goes to `said`."""

    def run(name="tiny", **options):
        return fetch(name, data, say=said.append, **options)

    return run


def manifest_text(data, name="tiny"):
    return AssetPaths(data, "datasets", name).manifest.read_text()


def parts(data):
    return sorted(path.name for path in (data / "datasets").rglob(".*") if ".part" in path.name or ".new" in path.name)


# Mirrors -------------------------------------------------------------------------------------------------------------


def test_folder_mirror_is_used_in_place(registry, data, get, tmp_path, monkeypatch):
    holder = registry.fill("tiny", tmp_path / "mirror" / "datasets" / "tiny")
    monkeypatch.setenv("HARNESS_MIRROR", str(tmp_path / "mirror"))
    manifest = get()
    assert manifest.complete and manifest.images == 3
    for name in registry.content["tiny"]:
        assert os.readlink(data / "datasets" / "tiny" / name) == str(holder / name)
    assert [file.name for file in manifest.files] == ["1.png", "10.png", "2.png"]
    assert DatasetManifest.read(AssetPaths(data, "datasets", "tiny").manifest) == manifest


@pytest.mark.parametrize(("held", "told"), [(0, "holds none of its 3 files"), (1, "holds 1 of its 3 files"), (3, "")])
def test_a_folder_that_does_not_hold_the_set_is_told(registry, get, said, tmp_path, monkeypatch, held, told):
    """Also where a mirror has everything: the user believes that the own copy is used."""
    registry.fill("tiny", tmp_path / "mirror" / "datasets" / "tiny")
    monkeypatch.setenv("HARNESS_MIRROR", str(tmp_path / "mirror"))
    own = registry.fill("tiny", tmp_path / "own")
    for file in sorted(own.iterdir())[held:]:
        file.unlink()
    assert get(folder=own).complete
    assert any(told in line for line in said) if told else not any("holds" in line for line in said)


def test_copies_where_links_cannot_be_made(registry, data, get, tmp_path, monkeypatch):
    registry.fill("tiny", tmp_path / "mirror" / "datasets" / "tiny")
    monkeypatch.setenv("HARNESS_MIRROR", str(tmp_path / "mirror"))

    def no_links(*_):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(fetching.os, "symlink", no_links)
    assert get().complete
    assert not (data / "datasets" / "tiny" / "1.png").is_symlink()
    assert still_complete(AssetPaths(data, "datasets", "tiny")) is not None, "the copies' own stats are remembered"


def test_several_mirrors(registry, data, get, tmp_path, monkeypatch, server):
    """What one mirror lacks comes from the next."""
    holder = registry.fill("tiny", tmp_path / "mirror" / "datasets" / "tiny")
    (holder / "2.png").unlink()
    registry.serve("tiny", server)
    monkeypatch.setenv("HARNESS_MIRROR", f"{tmp_path / 'none'}{os.pathsep}{tmp_path / 'mirror'},{server.url}")
    assert get().complete
    assert server.names() == ["2.png"]


def test_alias_finds_the_mirrors_folder(registry, data, get, tmp_path, monkeypatch):
    registry.add("tiny", registry.content["tiny"], aliases=["small"])
    registry.fill("tiny", tmp_path / "mirror" / "datasets" / "small")
    monkeypatch.setenv("HARNESS_MIRROR", str(tmp_path / "mirror"))
    assert get("small").complete
    assert open_dataset("small", data).name == "tiny"


@pytest.mark.parametrize("address", ["ftp://example.org", "file:///etc", "FILE:///etc"])
def test_other_schemes_are_refused(registry, get, monkeypatch, address):
    monkeypatch.setenv("HARNESS_MIRROR", address)
    with pytest.raises(HarnessError, match="only http and https addresses and folders"):
        get()


def test_wrong_checksum_in_a_mirror_is_named(registry, data, get, said, tmp_path, monkeypatch):
    holder = registry.fill("tiny", tmp_path / "mirror" / "datasets" / "tiny")
    flipped = bytearray((holder / "2.png").read_bytes())
    flipped[-20] ^= 1
    (holder / "2.png").write_bytes(flipped)
    monkeypatch.setenv("HARNESS_MIRROR", str(tmp_path / "mirror"))
    manifest = get()
    assert manifest.status == "missing"
    assert manifest.reason.startswith(
        "1 of its 3 files could not be obtained (2.png has a wrong checksum in the mirror)"
    )
    assert any(str(holder / "2.png") in text and "wrong checksum" in text for text in said)
    assert not (data / "datasets" / "tiny" / "2.png").exists()
    registry.fill("tiny", holder)
    assert get().complete


def test_wrong_checksum_in_a_mirror_is_healed_by_a_source(registry, get, tmp_path, monkeypatch, server):
    holder = registry.fill("tiny", tmp_path / "mirror" / "datasets" / "tiny")
    (holder / "2.png").write_bytes(b"nonsense")
    registry.serve("tiny", server)
    monkeypatch.setenv("HARNESS_MIRROR", f"{tmp_path / 'mirror'},{server.url}")
    assert get().complete
    assert server.names() == ["2.png"]


# Public sources ------------------------------------------------------------------------------------------------------


def pin(registry, repos=("one/first", "two/second"), name="tiny"):
    """Give every file of a set a source in every repository, under a path that must be quoted."""
    record = registry.add(name, registry.content[name], sources=[{"repo": repo, "commit": COMMIT} for repo in repos])
    for file in record["files"]:
        file["at"] = [[index, f"test set/{file['name']}"] for index in range(len(repos))]
    registry.write(record)


def source(repo, name):
    return f"/sources/{repo}/{COMMIT}/test set/{name}"


def serve_sources(registry, server, repo, name="tiny"):
    for key, content in registry.content[name].items():
        server.files[source(repo, key)] = content


def test_source(registry, get, server):
    pin(registry)
    serve_sources(registry, server, "one/first")
    assert get().complete
    assert all("one/first" in path for path, _ in server.requests)


def test_no_source_has_it(registry, get, server):
    pin(registry)
    serve_sources(registry, server, "one/first")
    del server.files[source("one/first", "2.png")]
    manifest = get()
    assert manifest.status == "missing"
    assert manifest.reason == (
        "1 of its 3 files could not be obtained (HARNESS_MIRROR is not set, 2.png from 127.0.0.1: status 404); connect "
        "to the network, set HARNESS_MIRROR, or run `harness datasets fetch tiny --from FOLDER` with a copy of your own"
    )


# Strange answers: each is a sentence for its source, and the next source is asked ------------------------------------

OK = b"HTTP/1.1 200 OK\r\n"
MOVED = b"HTTP/1.1 302 Found\r\nConnection: close\r\nContent-Length: 0\r\nLocation: "
NOT_UNDERSTOOD = "no answer that can be understood"


def gzip_bomb(layers):
    """A few kB that unpack to 50 MB; each further layer packs the one below."""
    body = b"\0" * 50_000_000
    for _ in range(layers):
        body = gzip.compress(body)
    return body


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda: MOVED + b"http://[::1\r\n\r\n", "redirects to an address of an inner network|" + NOT_UNDERSTOOD),
        (lambda: MOVED + b"http://a:99999999/x\r\n\r\n", NOT_UNDERSTOOD),
        (lambda: MOVED + b"http://a:b/x\r\n\r\n", NOT_UNDERSTOOD),
        (lambda: MOVED + b"/\xff\xfe\r\n\r\n", NOT_UNDERSTOOD),
        (lambda: MOVED + b"http://" + b"a" * 70 + b".example/\r\n\r\n", NOT_UNDERSTOOD),
        (lambda: MOVED + b"http://a..b/\r\n\r\n", NOT_UNDERSTOOD),
        (lambda: MOVED + b"file:///etc/passwd\r\n\r\n", NOT_UNDERSTOOD),
        (lambda: OK + "Content-Length: ²\r\n\r\n".encode("latin-1"), "wrong size"),
        (lambda: OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", "wrong size"),
        (lambda: OK + b"Content-Length: -1\r\n\r\n", "wrong size"),
        (lambda: OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", "broken off again and again"),
        (lambda: OK + b"X: 1\r\n" * 200 + b"\r\n", "broken off again and again"),
        (lambda: b"HTTP/1.1 2x0 OK\r\n\r\n", "broken off again and again"),
        (lambda: b"SSH-2.0-OpenSSH_9.6\r\n", "broken off again and again"),
        (lambda: OK + b"Content-Encoding: gzip\r\n\r\n" + gzip_bomb(1), "sends it compressed"),
        (lambda: OK + b"Content-Encoding: gzip, gzip\r\n\r\n" + gzip_bomb(2), "sends it compressed"),
        (lambda: MOVED[:-10] + b"Content-Encoding: gzip\r\nLocation: /no\r\n\r\n" + gzip_bomb(1), "status 404"),
        (lambda: OK + b"\r\n" + b"x" * 100_000, "wrong size"),
    ],
)
def test_strange_answers(registry, get, server, said, answer, told):
    pin(registry)
    serve_sources(registry, server, "one/first")
    serve_sources(registry, server, "two/second")
    sent = answer()
    server.raw[source("one/first", "1.png")] = [sent]
    tracemalloc.start()
    try:
        manifest = get()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert manifest.complete
    assert peak < 20_000_000
    assert re.search(f"1.png from 127.0.0.1: ({told})", " ".join(said))


@pytest.mark.parametrize(
    "pieces",
    [
        [OK + b"\r\n", *[b"x"] * 1000],  # a body
        [OK, *[b"X"] * 1000],  # a header
        [b"HTTP/1.1 100 Continue\r\n\r\n"] * 1000,  # one that never comes
        [OK + b"Transfer-Encoding: chunked\r\n\r\n", *[b"0"] * 1000],  # the length of a chunk
        [b"HTTP/1.1 503 Busy\r\n\r\n", *[b"x"] * 1000],  # an answer that nobody reads
    ],
)
def test_an_answer_that_trickles(registry, get, server, said, monkeypatch, pieces):
    """No wait between two bytes is long, and all of them together have no end."""
    pin(registry)
    serve_sources(registry, server, "two/second")
    for name in registry.content["tiny"]:
        server.raw[source("one/first", name)] = pieces
    server.slow = 0.1
    monkeypatch.setattr(download, "SLOW_SECONDS", 0.5)
    began = time.monotonic()
    assert get().complete
    assert time.monotonic() - began < 30
    assert re.search("from 127.0.0.1: (sends too slowly|status 503)", " ".join(said))


@pytest.mark.parametrize(("host", "told"), [("127.0.0.1", True), ("localhost", False)])
def test_a_mirrors_password_goes_to_its_host_alone(registry, get, monkeypatch, server, host, told):
    monkeypatch.setenv("HARNESS_MIRROR", server.url.replace("//", "//me:geheim@"))
    registry.add("one", {"1.png": encode(picture(5))})
    elsewhere = server.url.replace("127.0.0.1", host)
    server.raw["/datasets/one/1.png"] = [MOVED + f"{elsewhere}/moved\r\n\r\n".encode()]
    server.files["/moved"] = registry.content["one"]["1.png"]
    assert get("one").complete
    assert [bool(user) for user in server.users] == [True, told]


@pytest.mark.parametrize("address", ["http://[::1", "http://me:geheim@host:port", "https://", "https://a:0"])
def test_a_mirror_that_is_no_address(registry, get, monkeypatch, address):
    monkeypatch.setenv("HARNESS_MIRROR", address)
    with pytest.raises(HarnessError, match="holds an address that cannot be understood") as refused:
        get()
    assert "geheim" not in str(refused.value)


# No network ----------------------------------------------------------------------------------------------------------


def test_slow_name_lookup_ends_with_the_probe(registry, data, get, monkeypatch):
    """Looking a name up has no time limit of its own."""
    pin(registry)
    monkeypatch.setattr(records, "SOURCE_HOST", "https://slow.invalid")
    monkeypatch.setattr(hosts, "PROBE_SECONDS", 0.2)

    answer, answered = threading.Event(), threading.Event()

    def slow(*_, **__):
        answer.wait(60)
        answered.set()
        raise OSError("no such name")

    monkeypatch.setattr(hosts.socket, "create_connection", slow)
    assert "slow.invalid could not be reached" in get().reason
    assert not answered.is_set(), "the probe ended before the lookup did"
    answer.set()


def test_host_that_breaks_down_after_the_probe(registry, data, get, monkeypatch):
    """It takes connections and hangs up: after a few tries it counts as unreachable for all files."""
    import socket

    pin(registry)
    listener = socket.create_server(("127.0.0.1", 0))
    closing = threading.Event()

    def hang_up():
        while not closing.is_set():
            try:
                listener.accept()[0].close()
            except OSError:
                return

    thread = threading.Thread(target=hang_up, daemon=True)
    thread.start()
    monkeypatch.setattr(records, "SOURCE_HOST", f"http://127.0.0.1:{listener.getsockname()[1]}")
    try:
        assert "127.0.0.1 could not be reached" in get(jobs=1).reason
    finally:
        closing.set()
        listener.close()


def test_user_set_says_what_it_wants(registry, get):
    registry.add("pair", kind="pairs", supply="user", count=2, layouts=[{"target": "gt/{id}.*", "input": "in/{id}.*"}])
    assert get("pair").reason == (
        "it has no public source with checksums; get it from https://example.org and run `harness datasets fetch pair "
        "--from FOLDER`; the folder must hold in/{id}.* and gt/{id}.*"
    )


# Own folders ---------------------------------------------------------------------------------------------------------


def test_own_folder_is_remembered(registry, data, get, tmp_path):
    own = registry.fill("tiny", tmp_path / "own copy")
    assert get(folder=own).complete
    shutil.rmtree(data / "datasets")
    assert get().complete
    (tmp_path / "own copy").rename(tmp_path / "moved")
    manifest = get()
    assert manifest.status == "missing" and "the own folder is gone" in manifest.reason
    assert str(tmp_path) not in manifest.reason


def test_default_own_folder(registry, data, get):
    registry.fill("tiny", data / "own" / "tiny")
    assert get().complete


def test_own_folder_that_is_none(registry, get, tmp_path):
    with pytest.raises(HarnessError, match=r"nowhere: no such folder; name the one that holds your copy of 'tiny'"):
        get(folder=tmp_path / "nowhere")


def test_reencoded_images_are_accepted_by_their_pixels(registry, data, get, said, tmp_path):
    own = tmp_path / "own"
    (own / "sub").mkdir(parents=True)
    (own / "1.bmp").write_bytes(encode(picture(1), "BMP"))
    (own / "sub" / "2.png").write_bytes(encode(picture(2), compress_level=0))
    (own / "other name.tif").write_bytes(encode(picture(10), "TIFF"))
    (own / "more.png").write_bytes(encode(picture(99)))
    (own / "broken.png").write_bytes(b"nonsense")
    manifest = get(folder=own)
    assert manifest.complete
    assert any("1.png and 2 more are encoded otherwise than registered" in text for text in said)
    fetched = open_dataset("tiny", data)
    for image in ("1", "2", "10"):
        np.testing.assert_array_equal(fetched.read(image), picture(int(image)))
    said.clear()
    assert get().complete and still_complete(AssetPaths(data, "datasets", "tiny"))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (encode(picture(77)), "has a wrong checksum and other pixels"),
        (encode(picture(2, 41, 60)), "is 60x41 colour instead of 60x40 colour"),
        (encode(picture(2, gray=True)), "is 60x40 gray instead of 60x40 colour"),
        (encode(picture(2))[:2_000], "is damaged"),
        (b"nonsense", "is damaged"),
        (b"", "is damaged"),
        (encode(np.zeros((40, 60, 4), np.uint8)), "is of a wrong mode"),
    ],
    ids=["other pixels", "size", "gray", "truncated", "nonsense", "empty", "mode"],
)
def test_wrong_image_in_an_own_folder_is_named(registry, data, get, said, tmp_path, content, problem):
    own = registry.fill("tiny", tmp_path / "own")
    (own / "2.png").write_bytes(content)
    manifest = get(folder=own)
    assert manifest.status == "missing"
    assert f"in the own folder 2.png {problem}" in manifest.reason
    assert any(f"2.png {problem}" in text for text in said)
    assert not (data / "datasets" / "tiny" / "2.png").exists()


def test_own_folder_comes_before_the_network_when_it_is_given(registry, get, server, tmp_path):
    pin(registry)
    serve_sources(registry, server, "one/first")
    assert get(folder=registry.fill("tiny", tmp_path / "own")).complete
    assert server.requests == []


# Sets without checksums ----------------------------------------------------------------------------------------------


@pytest.fixture
def pairs(registry, tmp_path):
    """A set of 3 pairs that the user supplies, and a folder with it."""
    layout = {"target": "test/{sequence}/sharp/{frame}.*", "input": "test/{sequence}/blur/{frame}.*"}
    normal = {"target": "target/{id}.*", "input": "input/{id}.*"}
    registry.add("pair", kind="pairs", supply="user", count=3, layouts=[layout, normal])
    own = tmp_path / "pair copy"
    for number in (1, 2, 10):
        for seed, role in ((100, "sharp"), (200, "blur")):
            path = own / "test" / "a" / role / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode(picture(seed + number)))
    return own


def test_supplied_pairs(pairs, data, get):
    manifest = get("pair", folder=pairs)
    assert manifest.complete and manifest.images == 3
    assert [(file.name, file.image, file.role) for file in manifest.files][:2] == [
        ("input/a-1.png", "a-1", "input"),
        ("input/a-10.png", "a-10", "input"),
    ]
    fetched = open_dataset("pair", data)
    assert fetched.image_ids == ["a-1", "a-2", "a-10"]
    np.testing.assert_array_equal(fetched.read("a-10"), picture(110))
    np.testing.assert_array_equal(fetched.read_input("a-10"), picture(210))
    assert still_complete(AssetPaths(data, "datasets", "pair"))


def test_supplied_manifest_does_not_depend_on_the_layout(pairs, data, get, tmp_path):
    get("pair", folder=pairs)
    text = manifest_text(data, "pair")
    other = tmp_path / "flat"
    for role, name in (("sharp", "target"), ("blur", "input")):
        (other / name).mkdir(parents=True)
        for path in (pairs / "test" / "a" / role).iterdir():
            shutil.copy(path, other / name / f"a-{path.name}")
    get("pair", folder=other)
    assert manifest_text(data, "pair") == text


def test_supplied_set_in_a_mirror_folder(pairs, data, get, tmp_path, monkeypatch):
    (tmp_path / "mirror" / "datasets").mkdir(parents=True)
    pairs.rename(tmp_path / "mirror" / "datasets" / "pair")
    monkeypatch.setenv("HARNESS_MIRROR", str(tmp_path / "mirror"))
    assert get("pair").complete


def test_supplied_set_with_too_few_pairs(pairs, data, get, tmp_path):
    (pairs / "test" / "a" / "blur" / "2.png").unlink()
    with pytest.raises(HarnessError, match=r"is no copy of 'pair': the folder has 2 pairs of 3; the folder must hold"):
        get("pair", folder=pairs)
    pairs.rename(data.parent / "x")
    (data / "own").mkdir(parents=True)
    (data.parent / "x").rename(data / "own" / "pair")
    assert "(the own folder has 2 pairs of 3)" in get("pair").reason


def test_supplied_pair_of_two_sizes(pairs, get):
    (pairs / "test" / "a" / "blur" / "2.png").write_bytes(encode(picture(1, 8, 8)))
    with pytest.raises(HarnessError, match=r"test/a/sharp/2\.png is 60x40 colour, its partner 8x8 colour"):
        get("pair", folder=pairs)


@pytest.mark.parametrize("keep", [0, 100, 2_000])
def test_supplied_damaged_image_is_named(pairs, get, keep):
    path = pairs / "test" / "a" / "blur" / "2.png"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(HarnessError, match=r"test/a/blur/2\.png not a readable image"):
        get("pair", folder=pairs)


def test_supplied_wrong_mode_is_named(pairs, get):
    (pairs / "test" / "a" / "blur" / "2.png").write_bytes(encode(np.zeros((40, 60), np.uint16)))
    with pytest.raises(HarnessError, match=r"test/a/blur/2\.png has 16 bits a sample; store it with 8"):
        get("pair", folder=pairs)


def test_refused_folder_changes_nothing(pairs, data, get, tmp_path):
    get("pair", folder=pairs)
    text = manifest_text(data, "pair")
    (tmp_path / "empty").mkdir()
    with pytest.raises(HarnessError, match="has 0 pairs of 3"):
        get("pair", folder=tmp_path / "empty")
    assert get("pair").complete and manifest_text(data, "pair") == text


def test_changed_supplied_image_is_noticed(pairs, data, get):
    """Without registered checksums a changed file is a changed dataset: the manifest follows."""
    get("pair", folder=pairs)
    text = manifest_text(data, "pair")
    (pairs / "test" / "a" / "blur" / "2.png").write_bytes(encode(picture(3)))
    assert get("pair").complete
    assert manifest_text(data, "pair") != text
    np.testing.assert_array_equal(open_dataset("pair", data).read_input("a-2"), picture(3))


def test_sidd_blocks_are_unpacked(registry, data, get, tmp_path):
    from scipy.io import savemat

    normal = {"target": "target/{id}.*", "input": "input/{id}.*"}
    registry.add("blocks", kind="pairs", supply="user", count=6, layouts=[normal], unpack="sidd-blocks")
    clean = np.stack([[picture(10 * a + b, 16, 16) for b in range(3)] for a in range(2)])
    own = tmp_path / "sidd"
    own.mkdir()
    savemat(own / "ValidationGtBlocksSrgb.mat", {"ValidationGtBlocksSrgb": clean})
    savemat(own / "ValidationNoisyBlocksSrgb.mat", {"ValidationNoisyBlocksSrgb": 255 - clean})
    assert get("blocks", folder=own).complete
    fetched = open_dataset("blocks", data)
    assert fetched.image_ids == ["01-01", "01-02", "01-03", "02-01", "02-02", "02-03"]
    np.testing.assert_array_equal(fetched.read("02-03"), clean[1, 2])
    np.testing.assert_array_equal(fetched.read_input("01-02"), 255 - clean[0, 1])
    (own / "ValidationGtBlocksSrgb.mat").write_bytes(b"nonsense")
    with pytest.raises(HarnessError, match=r"ValidationGtBlocksSrgb\.mat: cannot be read"):
        get("blocks", folder=own)


# What is there already -----------------------------------------------------------------------------------------------


@pytest.fixture
def fetched(registry, data, get, tmp_path):
    """`tiny`, fetched from an own folder that is then forgotten: regular files."""
    registry.fill("tiny", AssetPaths(data, "datasets", "tiny").folder)
    assert get().complete
    return data


def test_damaged_manifest_is_rewritten(fetched, get):
    AssetPaths(fetched, "datasets", "tiny").manifest.write_text("{")
    with pytest.raises(HarnessError, match="not valid JSON"):
        open_dataset("tiny", fetched)
    assert get().complete
    assert open_dataset("tiny", fetched).image_ids == ["1", "2", "10"]


# Derived and embedded sets -------------------------------------------------------------------------------------------


@pytest.fixture
def derived(registry):
    from harness.assets.datasets.reading import crop
    from harness.assets.datasets.registry import LandscapeCrop

    registry.add("land", {"1.png": encode(picture(1, 40, 60)), "2.png": encode(picture(2, 60, 40))})
    which = LandscapeCrop(height=20, width=30, top=3, left=7)
    files = []
    for name, content in registry.content["land"].items():
        entry = registry.file(name, content)
        cut = registry.file(name, encode(crop(picture(int(name[0]), *entry["shape"][:2]), which)))
        files.append({**entry, "shape": cut["shape"], "pixels_sha256": cut["pixels_sha256"]})
    registry.add(
        "land-crop",
        supply="derived",
        base="land",
        crop={"height": 20, "width": 30, "top": 3, "left": 7},
        entries=files,
        count=2,
    )


def test_derived_set(derived, registry, data, get):
    manifest = get("land-crop")
    assert manifest.status == "missing" and manifest.reason.startswith("it is made from 'land': none of its 2 files")
    registry.fill("land", data / "own" / "land")
    assert get("land-crop").complete
    fetched = open_dataset("land-crop", data)
    np.testing.assert_array_equal(fetched.read("1"), picture(1, 40, 60)[3:23, 7:37])
    np.testing.assert_array_equal(fetched.read("2"), picture(2, 60, 40)[7:37, 3:23])
    assert still_complete(AssetPaths(data, "datasets", "land-crop"))
    AssetPaths(data, "datasets", "land-crop").manifest.unlink()
    assert (
        still_complete(AssetPaths(data, "datasets", "land-crop"))
        and AssetPaths(data, "datasets", "land-crop").manifest.is_file()
    )
    (data / "datasets" / "land" / "1.png").unlink()
    assert still_complete(AssetPaths(data, "datasets", "land-crop")) is None


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("embedded", {"astronaut": (512, 512, 3), "chelsea": (300, 451, 3), "coffee": (400, 600, 3)}),
        ("embedded-gray", {"camera": (512, 512)}),
    ],
)
def test_embedded_sets_need_no_network(registry, data, get, monkeypatch, name, shapes):
    """The pixels are those that the registry pins, whatever version of scikit-image brings them."""
    from harness.images import pixels_sha256

    monkeypatch.setattr(hosts, "_connects", lambda url: pytest.fail(f"asked for {url}"))
    assert get(name).complete
    fetched = open_dataset(name, data)
    assert {image: fetched.read(image).shape for image in fetched.image_ids} == shapes
    for file in fetched.record.files:
        assert pixels_sha256(fetched.read(Path(file.name).stem)) == file.pixels_sha256


def test_embedded_set_without_scikit_image(registry, get, monkeypatch):
    monkeypatch.setattr(folders, "embedded_folder", lambda: None)
    reason = get("embedded").reason
    assert "scikit-image is not installed" in reason and "install scikit-image again" in reason


# The mirror of real images -------------------------------------------------------------------------------------------


def test_real_sets(mirror, data, monkeypatch):
    """Every mirrored set is complete, in place; the pixels of a sample of images are the registered ones."""
    from harness.images import pixels_sha256

    monkeypatch.setenv("HARNESS_MIRROR", str(mirror))
    monkeypatch.delenv("HARNESS_DATASETS", raising=False)
    index = json.loads((mirror / "datasets.json").read_text())
    mirrored = [name for name, described in index.items() if described["in_mirror"]]
    assert len(mirrored) >= 11
    for name in [*mirrored, "kodak24-crop500"]:
        manifest = fetch(name, data)
        assert manifest.complete, manifest.reason
        opened = open_dataset(name, data)
        assert len(opened.image_ids) == opened.record.count
        for image in opened.image_ids[:: max(1, len(opened.image_ids) // 3)]:
            pixels = opened.read(image)
            assert pixels_sha256(pixels) == opened.pixels_sha256(image)
            assert pixels.shape == opened.shape(image)
            if opened.record.kind == "pairs":
                degraded = opened.read_input(image)
                assert degraded.shape == pixels.shape and (degraded != pixels).any()
                assert degraded.mean() > pixels.mean(), (
                    "rain makes an image brighter: input and target are not mixed up"
                )
    assert all((data / "datasets" / name).is_dir() for name in mirrored)
    assert not [path for path in (data / "datasets").rglob("*.png") if not path.is_symlink()]
    assert open_dataset("kodak24", data).image_ids[:3] == ["kodim01", "kodim02", "kodim03"]
    assert open_dataset("rain100l", data).image_ids[8:11] == ["9", "10", "11"]


def test_missing_set_is_not_available(registry, data, get):
    with pytest.raises(
        NotAvailableError, match=r"dataset 'tiny' was not fetched into .*; run `harness datasets fetch tiny`"
    ):
        open_dataset("tiny", data)
    manifest = get()
    with pytest.raises(NotAvailableError) as caught:
        open_dataset("tiny", data)
    assert str(caught.value) == f"dataset 'tiny' is not here: {manifest.reason}"
