"""Every parser of foreign bytes, with small files to start from: for hypothesis (in the tests) and for atheris."""

from __future__ import annotations

import io
import json
import pickle
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
import scipy.io
import torch
from PIL import Image
from safetensors.numpy import save as save_safetensors

from harness.errors import HarnessError
from harness.images import decode_image

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from foreign_formats import Torch7, caffe_layer, caffemodel, mxnet_params, tf1_checkpoint

Parse = Callable[[bytes], object]


def _written(write: Callable[[io.BytesIO], object]) -> bytes:
    stream = io.BytesIO()
    write(stream)
    return stream.getvalue()


def _through_file(suffix: str, read: Callable[[Path], object]) -> Parse:
    """Make a parser of bytes from one of files."""

    def parse(data: bytes) -> object:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"file{suffix}"
            path.write_bytes(data)
            return read(path)

    return parse


def _weights(format_name: str) -> Parse:
    from harness.assets.weights.importers import import_weights

    return _through_file(".weights", lambda path: import_weights(path, format_name))


def _checkpoint_index(numbers: bytes) -> Parse:
    """Make a parser of a checkpoint's table of names, with the numbers of the valid one beside it."""
    from harness.assets.weights.importers import import_weights

    def read(path: Path) -> object:
        path.with_name("file.data-00000-of-00001").write_bytes(numbers)
        return import_weights(path, "tf1-checkpoint")

    return _through_file(".index", read)


def _matlab_73() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.mat"
        with h5py.File(path, "w", userblock_size=512) as file:
            group = file.create_group("net")
            group.create_dataset("layers", data=np.ones((3, 3), np.float32)).attrs["MATLAB_class"] = np.bytes_("single")
        data = bytearray(path.read_bytes())
    data[:19] = b"MATLAB 7.3 MAT-file"
    return bytes(data)


def _simplenn(compressed: bool) -> bytes:
    layers = np.empty((1, 1), dtype=object)
    weights = np.empty((1, 2), dtype=object)
    weights[0, 0], weights[0, 1] = np.ones((3, 3, 1, 2), np.float32), np.zeros((1, 2), np.float32)
    layers[0, 0] = {"type": "conv", "weights": weights}
    return _written(lambda stream: scipy.io.savemat(stream, {"net": {"layers": layers}}, do_compression=compressed))


def _dagnn() -> bytes:
    layers = np.empty((1, 1), dtype=[("name", object), ("params", object)])
    params = np.empty((1, 1), dtype=[("name", object), ("value", object)])
    layers[0, 0] = ("conv", np.array(["f"], dtype=object)[None])
    params[0, 0] = ("f", np.ones((3, 3, 1, 2), np.float32))
    return _written(lambda stream: scipy.io.savemat(stream, {"net": {"layers": layers, "params": params}}))


def _images() -> list[bytes]:
    pixels = (np.arange(24 * 20 * 3) % 251).astype(np.uint8).reshape(24, 20, 3)
    kinds: list[tuple[str, dict[str, object]]] = [
        ("PNG", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("JPEG", {}),
        ("PPM", {}),
        ("GIF", {}),
    ]
    return [
        _written(lambda stream, k=kind, m=mode, o=options: Image.fromarray(pixels).convert(m).save(stream, k, **o))  # type: ignore[misc]
        for kind, options in kinds
        for mode in ("RGB", "L")
    ]


def _manifest(path: Path) -> object:
    from harness.assets.manifest import DatasetManifest

    return DatasetManifest.read(path)


def _record(path: Path) -> object:
    from harness.assets.datasets.registry import read_record

    return read_record(path)


def _table(path: Path) -> object:
    from harness.tables.published import read_table

    return read_table(path)


def _params(path: Path) -> object:
    from harness.records.loading import load_yaml
    from harness.records.workspace import Params

    return load_yaml(path, Params)


def _rows(path: Path) -> object:
    from harness.records.rows import read_rows

    record = {"group": {"task": "jpeg", "dataset": "a", "degradation": "b", "method": "c", "policy": "whole"}}
    record |= {"origin": "none", "degradation_version": 1, "protocols": {}, "code": "", "reason": "", "levels": {}}
    path.with_suffix(".json").write_text(json.dumps({**record, "images": 1}))
    return read_rows(path)


def _cluster(path: Path) -> object:
    from harness.run.clusters import read_cluster_file

    return read_cluster_file(path)


def _crate(path: Path) -> object:
    from harness.extras.crate import unpack_zip

    target = path.parent / "target"
    target.mkdir()
    unpack_zip(path, target)
    outside = [p for p in path.parent.rglob("*") if p != path and p != target and not p.is_relative_to(target)]
    assert not outside, f"written outside: {outside}"
    return None


def _unpacked(path: Path) -> object:
    from harness.assets.datasets.extracting import unpack_archive

    unpack_archive(path, path.parent / "target")
    outside = [p for p in path.parent.iterdir() if p.name not in (path.name, "target")]
    assert not outside, f"written outside: {outside}"
    assert all(p.is_dir() or (p.is_file() and not p.is_symlink()) for p in (path.parent / "target").rglob("*"))
    return None


def _tar(mode: Literal["w", "w:gz"]) -> bytes:
    import tarfile

    def fill(stream: io.BytesIO) -> None:
        with tarfile.open(fileobj=stream, mode=mode) as archive:
            for name, content in (("a folder/1.png", b"image" * 100), ("x" * 120 + ".txt", b"1.png")):
                header = tarfile.TarInfo(name)
                header.size = len(content)
                archive.addfile(header, io.BytesIO(content))

    return _written(fill)


def _zip() -> bytes:
    import zipfile

    def fill(stream: io.BytesIO) -> None:
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("ro-crate-metadata.json", '{"@graph": []}')
            archive.writestr("results/a.csv", "a,b\n" * 50)

    return _written(fill)


def _array(path: Path) -> object:
    from harness.assets.datasets.arrays import open_array

    with open_array(path, "wanted") as array:
        return array.shape


def _boxes(path: Path) -> object:
    from harness.extras.dnd import read_boxes

    return read_boxes(path, 1)


def _yaml(path: Path) -> object:
    from harness.records.loading import read_yaml

    return read_yaml(path)


def _hdf5(fill: Callable[[h5py.File], object]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.mat"
        with h5py.File(path, "w", userblock_size=512) as file:
            fill(file)
        return path.read_bytes()


def _info(file: h5py.File) -> None:
    boxes = file.create_dataset("#refs#/a", data=np.tile(np.array([[1.0], [1], [4], [4]]), 20))
    file.create_dataset("info/boundingboxes", (1, 1), dtype=h5py.ref_dtype)[0, 0] = boxes.ref


def _training_plans(path: Path) -> object:
    from harness.records.training_runs import PLANS, read_training_plans

    return read_training_plans(path.rename(path.with_name(PLANS)).parent)


def _own_weights(path: Path) -> object:
    from harness.methods.checkpoint import load_weights

    return load_weights(torch.nn.Conv2d(1, 2, 3), path)


def _own_weights_files() -> list[bytes]:
    state = torch.nn.Conv2d(1, 2, 3).state_dict()
    return [
        _written(lambda stream: torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}}, stream)),
        save_safetensors({key: tensor.numpy() for key, tensor in state.items()}),
    ]


def _progress(path: Path) -> object:
    from harness.training.checkpoints import FILE
    from harness.training.standing import progress_of

    return progress_of(path.rename(path.with_name(FILE)).parent)


def _training_checkpoint() -> bytes:
    from harness.training.checkpoints import Progress, write_checkpoint

    network = torch.nn.Conv2d(1, 2, 3)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint"
        write_checkpoint(path, network, torch.optim.Adam(network.parameters()), {}, Progress(3, 1.0))
        return path.read_bytes()


def _checkpoint_tensors(path: Path) -> object:
    from harness.training.checkpoints import read_checkpoint

    return read_checkpoint(path)


def _crate_metadata(path: Path) -> object:
    from harness.extras.crate import check_crate
    from harness.tables.workspace import Workspace

    path.rename(path.with_name("ro-crate-metadata.json"))
    return check_crate(path.parent, Workspace(path.parent))


def _tables() -> list[bytes]:
    from harness.tables.published import table_file

    return [table_file("rnan-table6").read_bytes()]


def _pasted(data: bytes) -> object:
    from harness.tables.headings import understand
    from harness.tables.pasted import read_pasted

    return understand(read_pasted(data.decode("utf-8", errors="replace")), "sr")


def _pasted_tables() -> list[bytes]:
    latex = r"""\begin{tabular}{l|cc} \toprule
      \multirow{2}{*}{Method} & \multicolumn{2}{c}{Set5~\cite{a}} \\ \cmidrule(lr){2-3}
      & $\times2$ & \textcolor{red}{x4} \\[2pt] % comment
      EDSR & \textbf{38.11}/{\bf 0.9602} & N/A \\ \end{tabular}"""
    markdown = "| a | Set5 x2 | <b>Set14</b> x2 |\n|--|:-:|--|\n| EDSR | **38.11**/_0.9602_ | 33.92 (0.9195) |"
    return [latex.encode(), markdown.encode(), b"Method;Set5 x2;Set14 x2\nEDSR;38.11;33.92"]


def _image_header(path: Path) -> object:
    from harness.errors import HarnessError
    from harness.images import look_at_image

    try:
        problem, shape = look_at_image(path)
    except OSError as error:
        problem = f"cannot be read ({error})"
    if problem:
        raise HarnessError(problem)
    return shape


def _photograph(path: Path) -> object:
    from harness.assets.datasets.unpacking import read_dnd_image

    return read_dnd_image(path)


def _recipe(path: Path) -> object:
    from harness.training.recipe import read_recipe

    return read_recipe(path.rename(path.with_name("panet-jpeg.yaml")))


def _log(path: Path) -> object:
    from harness.report.training_curves import read_curves
    from harness.training.logs import read_log

    return read_log(path), read_curves(path)


def _results(path: Path) -> object:
    """Read a table's results, as the report and a comparison with another run read them."""
    from harness.report.changes import _read_results
    from harness.tables.collected import recorded_cells

    _read_results("a run", path.read_bytes(), {}, {})
    return recorded_cells(path, [], {})


def _other_rows(path: Path) -> object:
    from harness.report.changes import _samples

    group = {"task": "jpeg", "dataset": "a", "degradation": "b", "method": "c", "policy": "whole"}
    return _samples("a run", json.dumps({"group": group, "protocols": {"psnr": "psnr.1"}}).encode(), path.read_bytes())


_BOX = (1, 1, 4, 4)


def _submission(path: Path) -> object:
    """Read one file of a DND submission, or a zip of them, as somebody else's program wrote it."""
    from harness.errors import HarnessError
    from harness.extras.dnd import Release, check_submission

    if problems := check_submission(path, Release((Path("0001.mat"),), ((_BOX,),), "")):
        raise HarnessError(problems[0])
    return None


def _submission_file() -> bytes:
    cell = np.empty((1, 1), dtype=object)
    cell[0, 0] = np.full((4, 4, 3), 0.5, np.float32)
    held = {"Idenoised": cell, "israw": False, "eval_version": "1.0"}
    return _written(lambda stream: scipy.io.savemat(stream, held))


def _submission_zip(mode: int) -> bytes:
    import zipfile

    def fill(stream: io.BytesIO) -> None:
        with zipfile.ZipFile(stream, "w", mode) as archive:
            archive.writestr("0001.mat", _submission_file())

    return _written(fill)


def _result_cells() -> bytes:
    made = {"table": "t", "row": "a", "dataset": "set5", "level": 10, "metric": "psnr", "printed": "29.03"}
    made |= {"measured": 29.031, "verdict": "match", "reason": "", "method": "jpeg", "protocol": "psnr"}
    return json.dumps([{**made, "degradation": "jpeg-y8", "policy": "whole", "saving": "round"}]).encode()


def _recipe_file() -> bytes:
    from harness.training.recipe import recipe_file

    return recipe_file("panet-jpeg").read_bytes()


def _log_file() -> bytes:
    from harness.training.logs import FIELDS

    return (",".join(FIELDS) + "\n" + ("1" + ",0.5" * (len(FIELDS) - 1) + "\n") * 3).encode()


def parsers() -> dict[str, tuple[Parse, list[bytes]]]:
    """Parsers by name, each with valid files."""
    weights = np.ones((2, 1, 3, 3), np.float32)
    file = {"name": "x.png", "image": "x", "role": "target", "bytes": 1, "sha256": "0", "pixels_sha256": "0"}
    manifest = {"dataset": "a", "status": "complete", "reason": "", "base": "", "images": 1}
    manifest_text = json.dumps({**manifest, "files": [{**file, "shape": [1, 1]}]}).encode()
    from harness.assets.places import record_path

    record = record_path("datasets", "set5")
    assert record is not None
    biases = np.zeros(2, np.float32)
    index, numbers = tf1_checkpoint({"c/w": weights, "c/b": biases})
    torch7 = Torch7()
    caffe = {"weights_conv1": np.zeros((1, 9, 4)), "biases_conv1": np.zeros((4, 1))}
    return {
        "image": (lambda data: decode_image(data, "fuzz"), _images()),
        "matlab 5": (_weights("matconvnet"), [_simplenn(False), _simplenn(True)]),
        "matlab caffe": (_weights("caffe-mat"), [_written(lambda stream: scipy.io.savemat(stream, caffe))]),
        "matlab 7.3": (_weights("dagnn"), [_matlab_73()]),
        "npz": (_weights("npz"), [_written(lambda stream: np.savez(stream, a_weight=weights, a_bias=np.zeros(2)))]),
        "state dict": (_weights("state-dict"), [_written(lambda stream: torch.save({"a": torch.ones(3)}, stream))]),
        "safetensors": (_weights("safetensors"), [save_safetensors({"a": weights})]),
        "checkpoint": (
            _weights("checkpoint"),
            [_written(lambda stream: torch.save({"params": {"module.a": torch.ones(3)}}, stream))],
        ),
        "matconvnet layers": (_weights("dagnn-layers"), [_dagnn()]),
        "megengine": (_weights("megengine"), [pickle.dumps({"state_dict": {"a.bias": weights}}, 4)]),
        "mxnet": (_weights("mxnet-params"), [mxnet_params({"arg:a_weight": weights}, version) for version in range(4)]),
        "caffe": (
            _weights("caffemodel"),
            [
                caffemodel(caffe_layer("a", "Convolution", weights, np.zeros(2, np.float32), old=old))
                for old in (False, True)
            ],
        ),
        "torch7": (_weights("torch7"), [torch7.chain(torch7.convolution(weights, biases, rows=True))]),
        "tensorflow 1": (_checkpoint_index(numbers), [index]),
        "matlab 7.3 array": (
            _through_file(".mat", _array),
            [_hdf5(lambda file: file.create_dataset("wanted", data=weights))],
        ),
        "DND's boxes": (_through_file(".mat", _boxes), [_hdf5(_info)]),
        "DND's photograph": (
            _through_file(".mat", _photograph),
            [_hdf5(lambda file: file.create_dataset("InoisySRGB", data=np.full((3, 5, 4), 0.5, np.float32)))],
        ),
        "DND's submission": (
            _through_file(".zip", _submission),
            [_submission_zip(0), _submission_zip(8)],
        ),
        "image's header": (_through_file(".png", _image_header), _images()),
        "recipe": (_through_file(".yaml", _recipe), [_recipe_file()]),
        "training's log": (_through_file(".csv", _log), [_log_file()]),
        "a table's results": (_through_file(".json", _results), [_result_cells()]),
        "another run's rows": (
            _through_file(".csv", _other_rows),
            [
                b"level,draw,image,protocol,value\n10,0,a,psnr.1,28.5\n10,0,b,psnr.1,inf\n",
            ],
        ),
        "yaml": (_through_file(".yaml", _yaml), [b"a: &a [1, 2026-11-20]\nb: {c: *a, d: [[1.5e3], 0x1f]}\n"]),
        "manifest": (_through_file(".json", _manifest), [manifest_text]),
        "dataset record": (_through_file(".json", _record), [record.read_bytes()]),
        "published numbers": (_through_file(".yaml", _table), _tables()),
        "pasted table": (_pasted, _pasted_tables()),
        "parameters": (_through_file(".yaml", _params), [b"methods: []\ntables: []\nnoise: {images: 6}\n"]),
        "training plans": (
            _through_file(".yaml", _training_plans),
            [b"runs:\n  edsr-trained--sr-2: {budget: smoke, recipe: {rate: 0.1}, options: {ema: 0.9}}\n"],
        ),
        "weights of one's own": (_through_file(".pth", _own_weights), _own_weights_files()),
        "training's progress": (_through_file(".safetensors", _progress), [_training_checkpoint()]),
        "training's checkpoint": (_through_file(".safetensors", _checkpoint_tensors), [_training_checkpoint()]),
        "crate's metadata": (
            _through_file(".json", _crate_metadata),
            [b'{"@graph": [{"@id": "./", "harnessTable": "a"}, {"@id": "b", "@type": "File", "sha256": "0"}]}'],
        ),
        "rows": (_through_file(".csv", _rows), [b"level,draw,image,protocol,value\n10,0,a,psnr.1,28.5\n"]),
        "cluster": (
            _through_file(".yaml", _cluster),
            [b"cluster: distributed.LocalCluster\noptions: {n: 2}\n"],
        ),
        "archive": (_through_file(".zip", _crate), [_zip()]),
        "owners' zip": (_through_file(".zip", _unpacked), [_zip()]),
        "owners' tar": (_through_file(".tar", _unpacked), [_tar("w")]),
        "owners' tar.gz": (_through_file(".tar.gz", _unpacked), [_tar("w:gz")]),
    }


def attempt(parse: Parse, data: bytes) -> bool:
    """Parse; True where it went well, False where it was refused in a sentence. Anything else is a finding."""
    try:
        parse(data)
    except HarnessError as error:
        assert str(error), "refused without a word"
        return False
    return True
