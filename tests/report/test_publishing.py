"""The site away from the disk: served to this machine, and published with an address for every revision."""

from __future__ import annotations

import http.client
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from harness.errors import HarnessError
from harness.report.site.serving import server

ROOT = Path(__file__).parents[2]


@pytest.fixture
def site_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    (folder / "tables").mkdir(parents=True)
    (folder / "site.json").write_text("{}")
    (folder / "index.html").write_text("front")
    (folder / "tables" / "a.html").write_text("a table")
    (tmp_path / "secret").write_text("secret")
    return folder


@pytest.fixture
def port(site_folder: Path) -> Iterator[int]:
    with server(site_folder, 0) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield serving.server_port
        serving.shutdown()
        thread.join()


def ask(port: int, path: str, host: str = "localhost") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers={"Host": f"{host}:{port}"})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_the_served_site_is_its_files_and_nothing_else(port: int) -> None:
    assert ask(port, "/") == (200, "front")
    assert ask(port, "/tables/a.html") == (200, "a table")
    assert ask(port, "/tables/")[0] == 404
    for path in ("/../secret", "/%2e%2e/secret", "/tables/../../secret"):
        assert ask(port, path)[0] == 404
    # The name of another site that was made to mean this machine.
    assert ask(port, "/", host="attacker.example")[0] == 403


def test_a_port_that_is_taken_is_told(port: int, site_folder: Path) -> None:
    with pytest.raises(HarnessError, match=f"port {port} cannot be used.*--port"):
        server(site_folder, port)


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=Doe", "-c", "user.email=doe@example.org"]
    return subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    git(tmp_path, "init", "--quiet", "--bare", "remote.git")
    git(tmp_path, "init", "--quiet", "checkout")
    git(folder, "remote", "add", "origin", str(tmp_path / "remote.git"))
    git(folder, "config", "user.name", "Doe")
    git(folder, "config", "user.email", "doe@example.org")
    shutil.copytree(ROOT / ".ci", folder / ".ci")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "first")
    return folder


def publish(checkout: Path, site: Path) -> str:
    done = subprocess.run([".ci/publish", str(site)], cwd=checkout, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_revision_keeps_its_address(checkout: Path, site_folder: Path, tmp_path: Path) -> None:
    remote = tmp_path / "remote.git"

    def shown(path: str) -> str:
        return git(remote, "show", f"gh-pages:{path}")

    first = git(checkout, "rev-parse", "--short=12", "HEAD")
    assert f"published: r/{first}/" in publish(checkout, site_folder)
    assert shown(f"r/{first}/index.html") == "front" and shown(f"r/{first}/tables/a.html") == "a table"
    # The same revision once more leaves what is there, whatever the site now says.
    (site_folder / "index.html").write_text("another front")
    assert "stays as it is" in publish(checkout, site_folder)
    git(checkout, "commit", "--quiet", "--allow-empty", "-m", "second")
    second = git(checkout, "rev-parse", "--short=12", "HEAD")
    publish(checkout, site_folder)
    assert shown(f"r/{first}/index.html") == "front"
    assert shown(f"r/{second}/index.html") == "another front"
    front = shown("index.html")
    assert f"url=r/{second}/index.html" in front
    assert front.index(f'href="r/{second}/') < front.index(f'href="r/{first}/')
    # The checkout itself is as it was.
    assert git(checkout, "status", "--porcelain") == "" and git(checkout, "branch", "--list", "gh-pages") == ""


def test_only_a_site_is_published(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    done = subprocess.run([".ci/publish", str(tmp_path / "thesis")], cwd=checkout, capture_output=True, text=True)
    assert done.returncode == 1 and "no site" in done.stderr


def test_the_workflow_publishes_what_the_report_writes() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/site.yml").read_text())
    runs = [step["run"] for step in workflow["jobs"]["publish"]["steps"] if "run" in step]
    assert runs[-2:][0].endswith("harness report") and ".ci/publish results/site" in runs[-1]
    # A shallow clone would name one revision for every recorded number.
    checkout = next(step for step in workflow["jobs"]["publish"]["steps"] if "checkout" in step.get("uses", ""))
    assert checkout["with"]["fetch-depth"] == 0
