"""Fetching, as datasets and weights share it: downloads that break off, no network, what is there already."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from synthetic_datasets import encode, picture

from harness.assets import download, hosts, verified
from harness.assets import registry as records
from harness.assets.verified import still_complete
from harness.errors import HarnessError

ROOT = Path(__file__).parents[2]


# Mirrors and sources -------------------------------------------------------------------------------------------------


def test_the_manifest_does_not_depend_on_where_files_came_from(published, tmp_path, monkeypatch, server):
    published.fill(tmp_path / "mirror" / published.kind / "tiny")
    monkeypatch.setenv("HARNESS_MIRROR", str(tmp_path / "mirror"))
    assert published.get().complete
    first = published.text()
    assert all((published.paths.folder / name).is_symlink() for name in published.content)
    published.serve(server, "")
    monkeypatch.setenv("HARNESS_MIRROR", server.url)
    other = published.paths._replace(data=tmp_path / "elsewhere")
    assert published.get(other.data).complete
    assert other.manifest.read_text() == first
    assert str(tmp_path) not in first


def test_url_mirror(published, monkeypatch, server):
    for name, content in published.content.items():
        server.files[f"/some path{published.mirrored(name)}"] = content
    monkeypatch.setenv("HARNESS_MIRROR", f"{server.url}/some%20path/")
    assert published.get().complete
    for name, content in published.content.items():
        assert (published.paths.folder / name).read_bytes() == content
    assert published.parts() == []


@pytest.mark.parametrize("served", [False, True])
def test_a_mirror_holds_copies_of_public_sources(published, tmp_path, monkeypatch, server, served):
    """Under repository and path; a damaged one gives way to nothing that is not held to the checksum."""
    published.add(published.content, ("one/first",))
    copies = "extra/one+first/test set"
    published.fill(tmp_path / "mirror" / copies)
    (tmp_path / "mirror" / copies / "2.png").write_bytes(b"other")
    for name, content in published.content.items():
        server.files[f"/{copies}/{name}"] = content
    mirror = str(tmp_path / "mirror")
    monkeypatch.setenv("HARNESS_MIRROR", f"{mirror},{server.url}" if served else mirror)
    assert published.get().complete == served
    assert (published.paths.folder / "1.png").resolve() == tmp_path / "mirror" / copies / "1.png"
    if served:
        assert (published.paths.folder / "2.png").read_bytes() == published.content["2.png"]
    else:
        assert "2.png" in published.text() and "has a wrong checksum" in published.text()


def test_a_source_with_another_file_gives_way_to_the_next(published, server):
    """Same length, other bytes; and another length, of which nothing is downloaded."""
    published.add(published.content, ("one/first", "two/second"))
    published.serve(server, "one/first")
    published.serve(server, "two/second")
    good = published.content["2.png"]
    server.files[published.source("one/first", "2.png")] = good[:-1] + b"?"
    server.files[published.source("one/first", "1.png")] = good + b"more"
    del server.files[published.source("one/first", "10.png")]
    assert published.get().complete
    said = " ".join(published.said)
    assert "2.png from 127.0.0.1: wrong checksum" in said
    assert "1.png from 127.0.0.1: wrong size" in said
    assert "10.png from 127.0.0.1: status 404" in said
    count = len(server.requests)
    assert published.get().complete and len(server.requests) == count


def test_what_no_source_has(published, server):
    published.add(published.content, ("one/first",))
    published.serve(server, "one/first")
    del server.files[published.source("one/first", "2.png")]
    reason = published.get().reason
    told = "2.png from 127.0.0.1: status 404" if published.kind == "datasets" else "2.png at 127.0.0.1 status 404"
    assert f"could not be obtained (HARNESS_MIRROR is not set, {told}); connect to the network" in reason


def test_busy_server_is_asked_again(published, server):
    published.add(published.content, ("one/first",))
    published.serve(server, "one/first")
    server.status[published.source("one/first", "1.png")] = [503, 429]
    assert published.get().complete
    assert server.counts[published.source("one/first", "1.png")] == 3


def test_a_mirrors_password_is_not_shown(big, data, monkeypatch, server):
    monkeypatch.setenv("HARNESS_MIRROR", server.url.replace("//", "//me:geheim@"))
    server.cut[big.mirrored("1.png")] = [10_000]
    server.status[big.mirrored("1.png")] = [200, 404]
    manifest = big.get()
    assert not manifest.complete
    assert server.requests
    kept = [file for file in data.rglob("*") if file.is_file() and b"geheim" in file.read_bytes()]
    assert (kept, "geheim" in " ".join([*big.said, manifest.text()])) == ([], False)


# Downloads that break off --------------------------------------------------------------------------------------------


def ranges(server):
    return [asked for _, asked in server.requests]


def test_broken_download_is_resumed(big, server):
    server.cut[big.mirrored("1.png")] = [10_000, 5_000]
    assert big.get().complete
    assert ranges(server) == ["", "bytes=10000-", "bytes=15000-"]


def test_server_without_ranges_starts_over(big, server):
    server.ranges = False
    server.cut[big.mirrored("1.png")] = [10_000]
    assert big.get().complete
    assert ranges(server) == ["", "bytes=10000-"]


def test_changed_file_starts_over(big, server):
    """The ETag differs when the download is continued: the server sends the whole file, and the part is dropped."""
    path, good = big.mirrored("1.png"), big.content["1.png"]
    tags = iter(['"old"'])

    def etag(_):
        server.files[path] = good  # from the next request on
        return next(tags, '"new"')

    server.etag = etag
    server.files[path] = b"?" * len(good)
    server.cut[path] = [10_000]
    assert big.get().complete
    assert ranges(server) == ["", "bytes=10000-"]


def leave_part(big, content):
    """Leave a part file as an interrupted run would."""
    big.paths.folder.mkdir(parents=True)
    part = big.paths.folder / f".1.png.{hashlib.sha256(big.content['1.png']).hexdigest()[:12]}.part"
    part.write_bytes(content)


def test_leftover_part_is_continued(big, server):
    leave_part(big, big.content["1.png"][:20_000])
    assert big.get().complete
    assert ranges(server) == ["bytes=20000-"]
    assert big.parts() == []


def test_leftover_part_that_is_whole_needs_no_request(big, server):
    leave_part(big, big.content["1.png"])
    assert big.get().complete
    assert server.requests == []


@pytest.mark.parametrize("size", [20_000, 200_000])
def test_damaged_leftover_part_is_dropped(big, server, size):
    leave_part(big, b"x" * size)
    assert big.get().complete
    assert ranges(server)[-1] == "", "the last request is for the whole file"
    assert (big.paths.folder / "1.png").read_bytes() == big.content["1.png"]


def test_download_that_never_ends_well(big, server):
    path = big.mirrored("1.png")
    server.cut[path] = [0] * 100
    manifest = big.get()
    assert manifest.status == "missing"
    between = "from the mirror:" if big.kind == "datasets" else "at the mirror"
    assert f"1.png {between} broken off again and again" in manifest.reason
    assert server.counts[path] == download.ATTEMPTS


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_download_is_completed_by_the_next_run(big, data, tmp_path, server, how):
    """Killed in the middle: no file under its final name, and the second run asks only for the rest."""
    server.slow = 0.01  # 512 bytes each: more than two seconds in all
    # Tests that were started in the background ignore SIGINT, and so would what they start.
    code = (
        "import pathlib, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from harness.assets.places import REGISTRIES; "
        f"REGISTRIES['weights'] = pathlib.Path({str(tmp_path / 'records')!r}); "
        f"from harness.assets.kinds import KINDS; KINDS[{big.kind!r}].fetch('tiny', {str(data)!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while not any(part.stat().st_size > 30_000 for part in data.rglob(".1.png.*.part")):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.01)
    finally:
        process.send_signal(how)
        process.wait(10)
    assert not (big.paths.folder / "1.png").exists()
    server.slow = 0
    assert big.get().complete
    assert ranges(server)[-1].startswith("bytes="), "the second run continued"
    assert big.parts() == []


def test_two_fetches_at_once(big, server):
    """The second waits for the first and downloads nothing again."""
    server.slow = 0.005
    results = []
    threads = [threading.Thread(target=lambda: results.append(big.get())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result.complete for result in results] == [True, True]
    assert len(server.requests) == 1
    assert any("another process fetches it" in text for text in big.said)


# No network ----------------------------------------------------------------------------------------------------------


def closed_port():
    """Address of a port that nobody listens to."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def offline(published, monkeypatch):
    """The files have sources on a host that does not answer; counts the probes."""
    published.add(published.content, ("one/first", "two/second"))
    monkeypatch.setattr(records, "SOURCE_HOST", closed_port())
    probes = []
    real = hosts._connects
    monkeypatch.setattr(hosts, "_connects", lambda url: probes.append(url) or real(url))
    return probes


def test_offline_is_found_out_once(offline, published):
    manifest = published.get()
    assert manifest.status == "missing" and manifest.files == ()
    assert manifest.reason.startswith(
        "none of its 3 files could be obtained (HARNESS_MIRROR is not set, 127.0.0.1 could not be reached); connect"
    )
    assert len(offline) == 1, "one probe for all files and sources"
    text = published.text()
    published.get()
    assert len(offline) == 1, "the failure is remembered"
    assert published.text() == text
    assert any("--retry asks now" in text for text in published.said)
    published.get(retry=True)
    assert len(offline) == 2


def test_a_new_mirror_is_used_at_once(offline, published, tmp_path, monkeypatch):
    assert published.get().status == "missing"
    published.fill(tmp_path / "mirror" / published.kind / "tiny")
    monkeypatch.setenv("HARNESS_MIRROR", str(tmp_path / "mirror"))
    assert published.get().complete


def test_a_successful_retry_ends_the_memory(offline, published, data, server, monkeypatch):
    assert published.get().status == "missing"
    published.serve(server, "one/first")
    state = data / "state" / "hosts.json"
    monkeypatch.setattr(records, "SOURCE_HOST", f"{server.url}/sources")
    state.write_text(json.dumps({server.url: time.time()}))
    assert published.get().status == "missing"
    assert published.get(retry=True).complete
    assert json.loads(state.read_text()) == {}


@pytest.mark.parametrize("content", ["", "[]", '{"http://x:1": "soon"}', '{"a": 9e99}'])
def test_damaged_memory_is_ignored(offline, published, data, content):
    state = data / "state" / "hosts.json"
    state.parent.mkdir(parents=True)
    state.write_text(content)
    assert published.get().status == "missing"
    assert len(offline) == 1


# What is there already -----------------------------------------------------------------------------------------------


@pytest.fixture
def fetched(published):
    """A set whose files are there, as regular files."""
    published.fill(published.paths.folder)
    assert published.get().complete
    return published


def test_second_fetch_hashes_nothing(fetched, monkeypatch):
    record = json.loads(fetched.paths.state.read_text())["record"]
    monkeypatch.setattr(verified, "_record_sha256", lambda paths: record)
    monkeypatch.setattr(verified, "file_sha256", lambda path: pytest.fail(f"hashed {path}"))
    assert fetched.get().complete


def test_fast_path_imports_nothing_heavy(fetched, tmp_path):
    code = (
        "import sys; from pathlib import Path; from harness.assets.places import REGISTRIES;"
        f"REGISTRIES['weights'] = Path({str(tmp_path / 'records')!r});"
        "from harness.assets.verified import AssetPaths, still_complete;"
        f"assert still_complete(AssetPaths(Path({str(fetched.paths.data)!r}), {fetched.kind!r}, 'tiny'));"
        "print(sorted({'numpy', 'PIL', 'msgspec', 'requests', 'urllib3', 'rich', 'click'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_removed_manifest_comes_back(fetched):
    """DVC removes a stage's outputs before it runs."""
    text = fetched.text()
    fetched.paths.manifest.unlink()
    assert still_complete(fetched.paths)
    assert fetched.text() == text


@pytest.mark.parametrize("damage", ["missing", "truncated", "changed", "dangling"])
def test_damage_is_noticed_and_repaired(fetched, tmp_path, monkeypatch, damage):
    path = fetched.paths.folder / "2.png"
    content = path.read_bytes()
    path.unlink()
    if damage == "truncated":
        path.write_bytes(content[:100])
    elif damage == "changed":
        path.write_bytes(encode(picture(77)))
    elif damage == "dangling":
        path.symlink_to(tmp_path / "nowhere.png")
    assert fetched.get().status == ("missing" if fetched.kind == "datasets" else "partial")
    if damage in ("truncated", "changed"):
        assert any("2.png: is not the registered file; fetching it again" in text for text in fetched.said)
    fetched.fill(tmp_path / "mirror" / fetched.kind / "tiny")
    monkeypatch.setenv("HARNESS_MIRROR", str(tmp_path / "mirror"))
    assert fetched.get().complete
    assert path.read_bytes() == content


# The last is what weights were remembered by before they shared this with datasets.
@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"version": 1}',
        '{"version": 1, "seen": {}, "manifest": "{}"}',
        '{"version": 1, "record": "1-2-3", "manifest": "{}", "seen": {"1.png": "1-2-3"}}',
    ],
)
def test_damaged_state_is_rebuilt(fetched, content):
    fetched.paths.state.write_text(content)
    assert fetched.get().complete
    assert still_complete(fetched.paths)


def test_changed_record_is_noticed(fetched):
    fetched.add({**fetched.content, "11.png": encode(picture(11))})
    assert not fetched.get().complete


def test_own_folder_is_remembered(published, tmp_path):
    own = published.fill(tmp_path / "own copy")
    assert published.get(folder=own).complete
    shutil.rmtree(published.paths.folder)
    assert published.get().complete
    own.rename(tmp_path / "moved")
    manifest = published.get()
    assert manifest.status == "missing"
    assert str(tmp_path) not in manifest.reason


# Files that cannot be written ----------------------------------------------------------------------------------------


def test_full_disk_while_downloading(big, monkeypatch):
    real = open

    class Full:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, _):
            raise OSError(errno.ENOSPC, "No space left on device")

        def flush(self):
            pass

    monkeypatch.setattr(download, "open", lambda path, mode: Full(real(path, mode)), raising=False)
    with pytest.raises(
        HarnessError, match=r"1\.png.*: cannot be written \(No space left on device\); make room or name"
    ):
        big.get()


def test_data_folder_that_cannot_be_made(published, data):
    data.write_text("a file")
    with pytest.raises(HarnessError, match=r"cannot be written \(.+\); make room or name another folder with --data"):
        published.get()


def test_full_disk_while_writing_the_manifest(published, monkeypatch):
    published.fill(published.paths.folder)

    def full(path, text):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(HarnessError, match=r"tiny\.json: cannot be written \(No space left on device\)"):
        published.get()
