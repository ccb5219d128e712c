"""What strangers could put into files: refused in a sentence, and nothing of it is run or written outside."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import psutil
import pytest
import torch
from PIL import Image

import harness.cli
from harness.assets.datasets.arrays import look_at_array
from harness.assets.datasets.registry import read_record
from harness.assets.datasets.unpacking import read_dnd_image
from harness.assets.download import Downloader, DownloadError
from harness.assets.hosts import Hosts, leads_inside
from harness.assets.manifest import DatasetManifest
from harness.assets.weights.importers import import_weights
from harness.errors import HarnessError
from harness.extras.crate import check_crate, unpack_zip
from harness.extras.dnd import Release, check_submission, read_boxes
from harness.files import file_sha256, git_blob
from harness.images import decode_image
from harness.methods.checkpoint import load_weights
from harness.names import check_name
from harness.records.loading import load_json, read_yaml
from harness.records.rows import read_rows
from harness.report.render import csv_text, csv_value, latex, markdown
from harness.tables.diff import diff_table
from harness.tables.measurements import Measurements
from harness.tables.published import read_table
from harness.tables.workspace import Workspace


class Harm:
    """Unpickled, this would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.path),))


def zipped(path: Path, fill: Callable[[zipfile.ZipFile], None]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        fill(archive)
    return path


def link(archive: zipfile.ZipFile) -> None:
    member = zipfile.ZipInfo("inside")
    member.external_attr = 0o120777 << 16
    archive.writestr(member, "/etc/passwd")


@pytest.mark.parametrize(
    ("fill", "said"),
    [
        (lambda z: z.writestr("../outside", "x"), "leaves the folder"),
        (lambda z: z.writestr("a/../../outside", "x"), "leaves the folder"),
        (lambda z: z.writestr("/outside", "x"), "leaves the folder"),
        (lambda z: z.writestr("a\\..\\..\\outside", "x"), "leaves the folder"),
        (lambda z: z.writestr("C:outside", "x"), "leaves the folder"),
        (link, "is a link"),
    ],
)
def test_archives_that_leave_their_folder(tmp_path: Path, fill: Callable[[zipfile.ZipFile], None], said: str) -> None:
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(HarnessError, match=said):
        unpack_zip(zipped(tmp_path / "a.zip", fill), target)
    assert list(target.iterdir()) == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zip", "target"]


def test_archives_that_unpack_to_more_than_they_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = zipped(tmp_path / "bomb.zip", lambda z: z.writestr("zeros", bytes(20_000_000)))
    assert bomb.stat().st_size < 40_000
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(HarnessError, match="would unpack to more"):  # less than a crate may hold, packed too tightly
        unpack_zip(bomb, target)
    assert not list(target.iterdir())
    bomb = zipped(tmp_path / "bomb.zip", lambda z: z.writestr("zeros", bytes(10_000_000)))
    monkeypatch.setattr("harness.extras.crate.MOST_BYTES", 1_000_000)
    with pytest.raises(HarnessError, match="would unpack to more"):
        unpack_zip(bomb, target)
    # One that lies about its size: the directory says 1,000 bytes.
    data = bytearray(bomb.read_bytes())
    size = (10_000_000).to_bytes(4, "little")
    lying = bytes(data).replace(size, (1_000).to_bytes(4, "little"))
    (tmp_path / "lying.zip").write_bytes(lying)
    with pytest.raises(HarnessError, match=r"larger than it says|not a readable zip"):
        unpack_zip(tmp_path / "lying.zip", target)
    assert sum(p.stat().st_size for p in target.rglob("*") if p.is_file()) < 2_000_000


@pytest.mark.parametrize("format_name", ["npz", "state-dict"])
def test_weights_that_unpack_to_more_than_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format_name: str
) -> None:
    monkeypatch.setattr("harness.assets.foreign.MOST_BYTES", 1_000_000)
    path = zipped(tmp_path / "w", lambda z: z.writestr("conv1_weight.npy", bytes(10_000_000)))
    with pytest.raises(HarnessError, match="more than weights have"):
        import_weights(path, format_name)


def test_matlab_files_that_unpack_to_more_than_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import scipy.io

    monkeypatch.setattr("harness.assets.weights.matlab.MOST_BYTES", 1_000_000)
    monkeypatch.setattr("harness.assets.foreign.MOST_BYTES", 1_000_000)
    scipy.io.savemat(tmp_path / "a.mat", {"net": np.zeros((2000, 2000))}, do_compression=True)
    with pytest.raises(HarnessError, match="unpacks to more than 1000000 bytes"):
        import_weights(tmp_path / "a.mat", "matconvnet")
    with h5py.File(tmp_path / "b.mat", "w") as file:
        file.create_dataset("net", (2000, 2000), compression="gzip", fillvalue=0)
    with pytest.raises(HarnessError, match="unpacks to more than 1000000 bytes"):
        import_weights(tmp_path / "b.mat", "dagnn")


@pytest.mark.parametrize("kind", ["state-dict", "npz", "legacy"])
def test_checkpoints_with_code(tmp_path: Path, kind: str) -> None:
    harm, path = Harm(tmp_path / "harm"), tmp_path / "weights"
    if kind == "npz":
        with open(path, "wb") as file:
            np.savez(file, conv1_weight=np.array([harm], dtype=object))
    else:
        torch.save({"a": harm}, path, _use_new_zipfile_serialization=kind == "state-dict")
    with pytest.raises(HarnessError, match="could run code"):
        import_weights(path, "npz" if kind == "npz" else "state-dict")
    assert not (tmp_path / "harm").exists()
    # The test can fail: plain unpickling does run it.
    pickle.loads(pickle.dumps(harm))
    assert (tmp_path / "harm").is_dir()


# Every reader of HDF5, with the name of the variable that it asks for.
HDF5_READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "weights": ("net", lambda path: import_weights(path, "dagnn")),
    "SIDD's blocks": ("ValidationGtBlocksSrgb", lambda path: look_at_array(path, "ValidationGtBlocksSrgb")),
    "DND's photographs": ("InoisySRGB", read_dnd_image),
    "DND's boxes": ("info/boundingboxes", lambda path: read_boxes(path, 1)),
}


HDF5_FAULTS = (
    *("external link", "soft link", "external storage", "virtual", "swollen", "swollen chunk"),
    *("samples of any length", "reference to what no group holds"),
)


def hdf5_faults(folder: Path) -> dict[str, tuple[Callable[[h5py.File, str], object], str]]:
    """What leads out of a file, or out of proportion, by the name of the variable that does."""
    other = folder / "other.h5"
    with h5py.File(other, "w") as file:
        file["secret"] = np.arange(4.0)

    def virtual(file: h5py.File, name: str) -> None:
        layout = h5py.VirtualLayout((4,), dtype="f8")
        layout[:] = h5py.VirtualSource(str(other), "secret", shape=(4,))
        file.create_virtual_dataset(name, layout)

    def unlinked(file: h5py.File, name: str) -> None:
        hidden = file.create_dataset("zzz", (4,), dtype="f8", external=[(str(other), 0, 32)])
        references = file.create_dataset(name, (1,), dtype=h5py.ref_dtype)
        references[0] = hidden.ref

    return {
        "external link": (lambda file, name: file.__setitem__(name, h5py.ExternalLink("other.h5", "secret")), "a link"),
        "soft link": (lambda file, name: file.__setitem__(name, h5py.SoftLink("/elsewhere")), "a link"),
        "external storage": (
            lambda file, name: file.create_dataset(name, (4,), dtype="f8", external=[(str(other), 0, 32)]),
            "lies in another file",
        ),
        "virtual": (virtual, "lies in another file"),
        "swollen": (
            lambda file, name: file.create_dataset(name, (30_000, 30_000), dtype="f8", chunks=(100, 100)),
            "unpacks to more than",
        ),
        "swollen chunk": (
            lambda file, name: file.create_dataset(
                name, (2, 2), dtype="f8", chunks=(10_000, 10_000), maxshape=(None, None)
            ),
            "unpacks to more than",
        ),
        "samples of any length": (
            lambda file, name: file.create_dataset(name, data=["a", "b"], dtype=h5py.string_dtype()),
            "of any length",
        ),
        "reference to what no group holds": (unlinked, "refers to an object that no group holds|no array"),
    }


@pytest.mark.parametrize("reader", list(HDF5_READERS))
@pytest.mark.parametrize("fault", HDF5_FAULTS)
def test_hdf5_files_that_lead_elsewhere(tmp_path: Path, reader: str, fault: str) -> None:
    """Also beside what is asked for: a file that holds such a thing is not what it should be."""
    (name, read), (make, told) = HDF5_READERS[reader], hdf5_faults(tmp_path)[fault]
    path = tmp_path / "a.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        make(file, name)
    if fault == "reference to what no group holds":  # the root's table of two names says that it has one
        data = path.read_bytes()
        assert data.count(b"SNOD\x01\x00\x02\x00") == 1
        path.write_bytes(data.replace(b"SNOD\x01\x00\x02\x00", b"SNOD\x01\x00\x01\x00"))
    assert path.stat().st_size < 20_000
    with pytest.raises(HarnessError, match=told):
        read(path)


def test_references_that_multiply(tmp_path: Path) -> None:
    """Ten levels of ten references each, all to the level below: ten thousand million values in 30 kB."""
    path = tmp_path / "a.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        below = file.create_dataset("#refs#/0", data=np.ones((1, 1)))
        for level in range(1, 11):
            where = "net" if level == 10 else f"#refs#/{level}"
            cell = file.create_dataset(where, (10,), dtype=h5py.ref_dtype)
            cell[:] = [below.ref] * 10
            cell.attrs["MATLAB_class"] = np.bytes_("cell")
            below = cell
    began = time.process_time()
    with pytest.raises(HarnessError, match="nested too deeply"):
        import_weights(path, "dagnn")
    assert time.process_time() - began < 30


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.mkdir [{target}]",
        "a: !!python/name:os.system",
        "!!python/module:os",
        "a: !include /etc/passwd",
    ],
)
def test_yaml_with_tags(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text.replace("{target}", str(tmp_path / "harm")))
    with pytest.raises(HarnessError, match="not valid YAML"):
        read_yaml(path)
    assert not (tmp_path / "harm").exists()


def test_yaml_that_grows(tmp_path: Path) -> None:
    """Nine lists of nine of the one before: what is read stays small, and a table of it is refused."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    path = tmp_path / "a.yaml"
    path.write_text("\n".join(lines))
    with pytest.raises(HarnessError):
        read_table(path)


@pytest.mark.parametrize(("kind", "name"), [("methods", "../outside"), ("tables", "/etc"), ("methods", "a/../../b")])
def test_parameters_stay_in_the_project(tmp_path: Path, kind: str, name: str) -> None:
    (tmp_path / "params.yaml").write_text(f"{kind}: ['{name}']\n")
    workspace = Workspace(tmp_path)
    with pytest.raises(HarnessError, match="leaves the project"):
        workspace.table_files if kind == "tables" else workspace.method_folders  # noqa: B018


def test_manifests_stay_in_their_folder(tmp_path: Path) -> None:
    file = {"name": "../../x.png", "image": "x", "role": "target", "bytes": 1, "sha256": "0", "pixels_sha256": "0"}
    record = {"dataset": "a", "status": "complete", "reason": "", "base": "", "images": 1}
    path = tmp_path / "a.json"
    path.write_text(json.dumps({**record, "files": [{**file, "shape": [1, 1]}]}))
    with pytest.raises(HarnessError, match="leaves the set's folder"):
        DatasetManifest.read(path)


@pytest.mark.parametrize(
    "source",
    [
        {"repo": "file:///etc", "commit": "0" * 40},
        {"repo": "169.254.169.254/latest/meta-data", "commit": "0" * 40},
        {"repo": "a/b@inner.host", "commit": "0" * 40},
        {"repo": "a/b", "commit": "main"},
        {"repo": "a/../b", "commit": "0" * 40},
    ],
)
def test_registries_of_third_parties_name_no_other_hosts(tmp_path: Path, source: dict[str, str]) -> None:
    """A source is an owner, a repository and a commit at one host: there is no place for a URL."""
    record = {"name": "mine", "title": "", "kind": "images", "count": 1, "supply": "pinned", "description": ""}
    record |= {"licence": "", "licence_note": "", "homepage": "", "citation": ""}
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({**record, "sources": [source]}))
    with pytest.raises(HarnessError, match="is not owner/name and a full commit hash"):
        read_record(path)


@pytest.mark.parametrize(
    ("url", "inside"),
    [
        ("http://127.0.0.1/x", True),
        ("http://localhost:8080/x", True),
        ("http://10.1.2.3/", True),
        ("http://192.168.0.1/", True),
        ("http://169.254.169.254/latest/meta-data", True),
        ("http://[::1]/", True),
        ("http://[fe80::1]/", True),
        ("http://2130706433/", True),
        ("http://0x7f.1/", True),
        ("file:///etc/passwd", True),
        ("ftp://example.org/", True),
        ("https://140.82.112.3/", False),
    ],
)
def test_inner_addresses(url: str, inside: bool) -> None:
    assert leads_inside(url) is inside


def test_a_public_address_must_not_lead_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            if self.path == "/public":
                self.send_response(302)
                self.send_header("Location", f"http://127.0.0.1:{self.server.server_address[1]}/secret")
                self.end_headers()
            else:
                self.send_response(200)
                self.send_header("Content-Length", "6")
                self.end_headers()
                self.wfile.write(b"secret")

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/public"
    try:
        # The first address is taken for a public one; the one it leads to is what it is.
        monkeypatch.setattr(
            "harness.assets.download.leads_inside",
            lambda where: "/public" not in where and leads_inside(where),
        )
        for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.delenv(variable, raising=False)
        with pytest.raises(DownloadError, match="redirects to an address of an inner network"):
            Downloader(Hosts(tmp_path)).download(url, tmp_path / "part", 6, lambda part: True)
        assert asked == ["/public"]
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "a b", "A", "-x", "x;rm", "$(x)", "x\n", "<svg>", "", "é", "a--b", "a-", "a" * 200]
)
def test_names_that_would_stand_in_commands(name: str) -> None:
    """A method's name stands in a path, a stage and a command line that a shell reads."""
    with pytest.raises(HarnessError):
        check_name(name)


SCRIPT = '<svg onload="alert(1)">'
TABLE = """
name: mine
title: T <img src=x onerror=alert(1)>
paper: P
source: S
parts:
  - task: jpeg
    degradation: jpeg-y8
    protocol: {psnr: psnr}
    columns:
      - {dataset: classic5, metric: psnr}
    rows:
      - {level: 10, name: 'R <svg onload="alert(1)">', values: ['29.03'], not_run: 'why <script>alert(1)</script>'}
"""


def test_markup_in_names_stays_text(tmp_path: Path) -> None:
    from harness.methods import methods

    path = tmp_path / "mine.yaml"
    path.write_text(TABLE)
    table = read_table(path)
    results = diff_table(table, methods(), Measurements(tmp_path))
    text = markdown(table, results)
    for harm in ("<svg", "<img", "<script"):
        assert harm not in text
    assert "\\input" not in latex(table, results)


# Sets the window's title, clears the screen, turns the order of letters; and is a file name of no encoding.
CODES = "\x1b]0;title\x07 \x1b[2J \x9b31m \u202e \udc80"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one table, `mine`, in whose words are terminal codes and formulas."""
    table = {
        "name": "mine",
        "title": f"T {CODES[:-2]}",
        "paper": "P",
        "source": "S",
        "parts": [
            {
                "task": "jpeg",
                "protocol": {"psnr": "psnr"},
                "degradation": "jpeg-y8",
                "columns": [{"dataset": "classic5", "metric": "psnr"}],
                "rows": [
                    {
                        "name": f"=cmd|' /C calc'!A0 {CODES[:-2]}",
                        "level": 10,
                        "values": ["29.03"],
                        "not_run": f"@why {CODES[:-2]}",
                    }
                ],
            }
        ],
    }
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "mine.yaml").write_text(json.dumps(table))
    (tmp_path / "params.yaml").write_text("tables: [tables]\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", ["table mine", "diff mine", "diff mine --format csv", "diff mine --format md"])
def test_terminal_codes_in_names_are_shown(
    project: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    from harness.cli.main import main

    monkeypatch.setenv("COLUMNS", "400")
    with contextlib.suppress(SystemExit):
        main(command.split())
    out = "".join(capfd.readouterr())
    assert set(out) & set(CODES) <= set(" ];0title[2J31mudc")
    assert "x1b" in out


def test_terminal_codes_in_pages(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.methods import methods
    from harness.report.site.pages import environment

    table = read_table(project / "tables" / "mine.yaml")
    assert "\x1b" in table.parts[0].rows[0].name  # the test can fail
    text = markdown(table, diff_table(table, methods(), Measurements(project)))
    page = environment().from_string("<p>{{ name }}</p>").render(name=table.parts[0].rows[0].name)
    for made in (text, page):
        assert "x1b" in made
        assert "\x1b" not in made


def test_checkpoint_keys_with_terminal_codes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from harness.cli.main import main

    path = tmp_path / "a.pth"
    torch.save({"weight\x1b]0;title\x07": torch.tensor([float("nan")])}, path)
    with pytest.raises(HarnessError, match=r"'weight\\x1b\]0;title\\x07' holds NaN"):
        import_weights(path, "state-dict")
    with pytest.raises(SystemExit):
        main(["datasets", "fetch", "a\x1b[2Jb"])
    assert r"a\x1b[2Jb" in capfd.readouterr().err


def test_every_command_prints_through_one_place() -> None:
    """So no command can print a stranger's names as they are."""
    folder = Path(harness.cli.__file__).parent
    printing = [path.name for path in folder.glob("*.py") if re.search(r"click\.echo\(|\bprint\(", path.read_text())]
    assert printing == ["printing.py"]


@pytest.mark.parametrize("text", ["=cmd", "+1+1", "-cmd", "@SUM(A1)", "\t=1", "\r=1", "-", "=1.5"])
def test_formulas_in_csv_are_text(text: str) -> None:
    assert csv_value(text) == f"'{text}"


@pytest.mark.parametrize("value", ["-0.02", "+0.3", -0.5, 3, None, "FFDNet", "29.03", "", "a=b"])
def test_other_values_in_csv_stay(value: object) -> None:
    assert csv_value(value) == ("" if value is None else value)


def test_formulas_in_rendered_csv(project: Path) -> None:
    from harness.methods import methods

    table = read_table(project / "tables" / "mine.yaml")
    (line,) = csv.DictReader(io.StringIO(csv_text(diff_table(table, methods(), Measurements(project)))))
    assert line["row"].startswith("'=cmd")
    assert line["reason"].startswith("'@why")
    assert line["printed"] == "29.03"


def laughs(anchors: int, aliases: int) -> str:
    """Anchors of lists that hold aliases to the one before."""
    lines = ["a0: &a0 [x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * aliases)}]" for n in range(1, anchors)]
    return "\n".join(lines)


YAML_FAULTS = [
    ("methods: 2026-99-99", "a date or number in it is none"),
    ("methods: 2026-11-20", "expected"),
    ("2026-11-20: 1", "."),
    ("methods: 0b_", "a date or number in it is none"),
    ("methods: !!float _", "a date or number in it is none"),
    ("methods: !!timestamp x", "a date or number in it is none"),
    ("methods: " + "9" * 5000, "a date or number in it is none"),
    ("methods: .nan", "expected"),
    ("[" * 100_000, "nests deeper than 50|not valid YAML"),
    ("[" * 100_000 + "]" * 100_000, "nests deeper than 50"),
    ("{a: " * 100_000, "nests deeper than 50"),
    ("- " * 100_000, "nests deeper than 50"),
    ("a: &a [*a]", "inside itself"),
    (laughs(30, 10), "over 200000 values"),
    ("a: &a [" + "x, " * 1500 + "]\nb: [" + "*a, " * 1500 + "]", "over 200000 values"),
    ("? [a]\n: b", "not valid YAML"),
    ("a: !!python/object/apply:os.system [ls]", "not valid YAML"),
]


def test_yaml_that_is_no_record(tmp_path: Path) -> None:
    """In a process of its own: what is read here has ended interpreters."""
    for number, (text, _) in enumerate(YAML_FAULTS):
        (tmp_path / f"{number}.yaml").write_text(text)
    code = (
        "from harness.records.loading import load_yaml; from harness.records.workspace import Params\n"
        "from harness.errors import HarnessError\n"
        f"for number in range({len(YAML_FAULTS)}):\n"
        "    try: load_yaml(f'{number}.yaml', Params)\n"
        "    except HarnessError as error: print(error)\n"
        "    except BaseException as error: print(f'{number}.yaml: traceback of {error!r}')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    for (_, told), line in zip(YAML_FAULTS, done.stdout.splitlines(), strict=True):
        assert re.match(rf"\d+\.yaml(?!: traceback).*({told})", line)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "[" * 900 + "]" * 900, "1" * 5000, "\ud800"])
def test_json_that_is_no_record(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(HarnessError, match=r"a\.json"):
        load_json(tmp_path / "a.json", DatasetManifest)


@pytest.mark.parametrize("read", [read_yaml, DatasetManifest.read])
def test_records_that_are_no_files(tmp_path: Path, read: Callable[[Path], object]) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(HarnessError, match="is no file"):
            read(path)


@pytest.mark.parametrize(
    "read",
    [
        file_sha256,
        git_blob,
        lambda path: import_weights(path, "checkpoint"),
        lambda path: load_weights(torch.nn.Conv2d(1, 1, 1), path),
        lambda path: check_submission(path, Release((), (), "")),
        lambda path: check_crate(path, Workspace(path.parent)),
    ],
    ids=["hash", "git's hash", "weights", "weights of one's own", "submission", "crate"],
)
def test_a_pipe_where_a_file_should_be(tmp_path: Path, read: Callable[[Path], object]) -> None:
    """Nobody writes into it: whoever reads would wait without end."""
    os.mkfifo(tmp_path / "a.zip")
    before = signal.signal(signal.SIGALRM, lambda *_: pytest.fail("waits for somebody to write"))
    signal.alarm(20)
    try:
        with pytest.raises(HarnessError, match=r"no file, but a pipe|no such crate"):
            read(tmp_path / "a.zip")
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def test_rows_with_a_word_that_is_too_long(tmp_path: Path) -> None:
    record = {"group": {"task": "jpeg", "dataset": "a", "degradation": "b", "method": "c", "policy": "whole"}}
    record |= {"origin": "none", "degradation_version": 1, "protocols": {}, "code": "", "reason": "", "levels": {}}
    (tmp_path / "a.json").write_text(json.dumps({**record, "images": 1}))
    (tmp_path / "a.csv").write_text("level,draw,image,protocol,value\n10,0," + "x" * 200_000 + ",psnr.1,1\n")
    with pytest.raises(HarnessError, match="damaged"):
        read_rows(tmp_path / "a.csv")


def test_records_that_are_too_large(tmp_path: Path) -> None:
    with open(tmp_path / "a", "wb") as file:
        file.truncate(10 << 30)  # takes no room on the disk
    with pytest.raises(HarnessError, match="larger than"):
        read_yaml(tmp_path / "a")


# Weights that are small files and large tensors.


@pytest.mark.parametrize("form", ["state-dict", "checkpoint"])
def test_tensors_that_repeat_one_number(tmp_path: Path, form: str) -> None:
    """A trillion numbers in a kilobyte: all strides are 0."""
    torch.save({"weight": torch.zeros(1).expand(1_000_000, 1_000_000)}, tmp_path / "a.pth")
    with pytest.raises(HarnessError, match="unpacks to 4000000000000 bytes"):
        import_weights(tmp_path / "a.pth", form)


def test_gigabytes_of_zeros(tmp_path: Path) -> None:
    """Three gigabytes in three megabytes."""
    path, block = tmp_path / "a.pth", bytes(1 << 20)
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("a/data/0", "w", force_zip64=True) as inside,
    ):
        for _ in range(3 << 10):
            inside.write(block)
    began = time.process_time()
    with pytest.raises(HarnessError, match="unpacks to 3221225472 bytes"):
        import_weights(path, "npz")
    assert time.process_time() - began < 5


def test_checkpoints_of_nested_references(tmp_path: Path) -> None:
    """Each tuple holds the one below twice: as text it would be 2 to the 60 numbers."""
    nested: Any = (1,)
    for _ in range(60):
        nested = (nested, nested)
    torch.save([nested], tmp_path / "a.pth")
    torch.save({"a": nested}, tmp_path / "b.pth")
    for name in "ab":
        with pytest.raises(HarnessError, match="no state dictionary"):
            import_weights(tmp_path / f"{name}.pth", "checkpoint")


@pytest.mark.parametrize(
    "tensor", [torch.zeros(3).to_sparse(), torch.zeros(3, dtype=torch.complex64)], ids=["sparse", "complex"]
)
def test_tensors_that_are_no_arrays(tmp_path: Path, tensor: torch.Tensor) -> None:
    torch.save({"a": tensor}, tmp_path / "a.pth")
    with pytest.raises(HarnessError, match="'a' is no plain tensor"):
        import_weights(tmp_path / "a.pth", "checkpoint")


@pytest.mark.parametrize("kind", ["EPS", "ICO", "PCX", "PDF"])
def test_image_formats_that_no_dataset_uses(kind: str) -> None:
    """Pillow would call a PostScript interpreter for EPS."""
    data = io.BytesIO()
    Image.new("RGB", (16, 16)).save(data, kind)
    with pytest.raises(HarnessError, match="no known image format"):
        decode_image(data.getvalue(), "x")


def test_an_image_that_would_fill_the_memory() -> None:
    """60,000 x 60,000 pixels in a few kilobytes."""
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    with pytest.raises(HarnessError, match="not a readable image"):
        decode_image(data, "x")


def test_dask_listens_to_this_machine_only() -> None:
    """And, where it has to listen, to nobody without the certificate of this run."""
    from harness.run.clusters import local_place

    def listening() -> set[str]:
        family = [psutil.Process(), *psutil.Process().children(recursive=True)]
        found = [c for process in family for c in process.net_connections() if c.status == psutil.CONN_LISTEN]
        return {connection.laddr.ip for connection in found}

    with local_place([10**9], []) as (client, _):
        assert client.scheduler.address.startswith("inproc://")
        assert listening() <= {"127.0.0.1"}
    with local_place([10**9, 10**9], []) as (client, _):
        address = client.scheduler.address
        assert address.startswith("tls://127.0.0.1:")
        assert listening() == {"127.0.0.1"}
        for stranger in (address, address.replace("tls:", "tcp:")):
            connect = f"import distributed; distributed.Client({stranger!r}, timeout=2)"
            done = subprocess.run([sys.executable, "-c", connect], capture_output=True, text=True, check=False)
            assert done.returncode == 1 and "Error" in done.stderr
