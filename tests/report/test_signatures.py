"""Every printed table carries the signatures of its numbers, and each can be read back."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.protocols.signature import from_signature
from harness.report import paper
from harness.report.render import forms
from harness.tables.collected import collect
from harness.tables.workspace import Workspace
from tests.forked import harness

SIGNED = re.compile(r"[a-z0-9+-]+\.[0-9.]+\|b[a-z0-9+]+\|[a-z0-9-]+\|[a-z0-9-]+")


@pytest.fixture(scope="module")
def tables():
    return collect(Workspace("."))


def signed(text):
    plain = text.replace(r"\textbar{}", "|").replace(r"\allowbreak{}", "")
    return {from_signature(found)[0].name for found in SIGNED.findall(plain)}


def test_every_table_in_every_form(tables):
    assert len(tables) >= 23
    for item in tables:
        asked = {r.request.protocol for r in item.results} - {""}
        made = forms(item.table, item.results)
        assert signed(made["md"]) == signed(made["tex"]) == signed(made["json"]) == asked, item.table.name
        for record in json.loads(made["json"]):
            assert bool(record["signature"]) == bool(record["protocol"])


def test_a_caption_of_a_paper_and_the_terminal(tables):
    item = next(item for item in tables if item.table.name == "csnln-table1")
    captions = [line for made in paper.paper_tables(Workspace("."), item.table, item.results) for line in made.caption]
    assert "Measured as psnr-y-crop.1|bscale|bt601-limited|unrounded, " in "\n".join(captions)
    for command in (("table", "csnln-table1"), ("diff", "csnln-table1")):
        assert "measured as psnr-y-crop.1|bscale|bt601-limited|unrounded" in harness(*command, cwd=Path.cwd()).stdout


def test_a_signature_from_a_caption_measures_a_folder(tmp_path):
    texts = ["psnr-y-crop.1|b2|bt601-limited|unrounded", "psnr-y-crop.1|b4|bt601-limited|unrounded"]
    (tmp_path / "mine").mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "mine" / "baby.png")
    words = ("measure", "--task", "sr", "--dataset", "set5", "--level", "2", "--restored", "mine", "--protocol")
    done = harness(*words, texts[1], cwd=tmp_path)
    assert done.returncode == 2 and "cuts the border of scale 4, and this is scale 2" in done.stderr
    assert "scale 4" not in harness(*words, texts[0], cwd=tmp_path).stderr
