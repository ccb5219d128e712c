"""An HTTP server that can be told to misbehave, and sets of both kinds that can be published on it."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest
from synthetic_datasets import Published, Server, encode, picture

from harness.assets import download, hosts
from harness.assets import registry as records
from harness.assets.places import REGISTRIES


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()
    stop = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            path = unquote(self.path)
            asked = self.headers.get("Range", "")
            state.requests.append((path, asked))
            state.users.append(self.headers.get("Authorization", ""))
            state.counts[path] += 1
            if path in state.raw:
                self.close_connection = True
                for piece in state.raw[path]:
                    self.wfile.write(piece)
                    if stop.wait(state.slow):
                        return
                return
            planned = state.status.get(path, [])
            status = planned.pop(0) if planned else 200
            body = state.files.get(path)
            if body is None or status != 200:
                self.send_response(404 if body is None else status)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            tag = state.etag(path) if state.etag else ""
            start = 0
            match = re.fullmatch(r"bytes=(\d+)-", asked)
            if match and state.ranges and self.headers.get("If-Range", tag) == tag:
                start = int(match[1])
                if start >= len(body):
                    self.send_response(416)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            else:
                self.send_response(200)
            if tag:
                self.send_header("ETag", tag)
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            cuts = state.cut.get(path, [])
            end = start + cuts.pop(0) if cuts else len(body)
            if state.slow:
                for at in range(start, end, 512):
                    self.wfile.write(body[at : min(at + 512, end)])
                    self.wfile.flush()
                    if stop.wait(state.slow):
                        return
            else:
                self.wfile.write(body[start:end])
            if end < len(body):
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)

        def handle(self) -> None:
            with contextlib.suppress(OSError, ValueError):
                super().handle()

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    thread = threading.Thread(target=httpd.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{httpd.server_port}"
    yield state
    stop.set()
    httpd.shutdown()
    httpd.server_close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    """No mirror and no proxy; sources are on the test's server; no long waits."""
    monkeypatch.delenv("HARNESS_MIRROR", raising=False)
    for variable in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(records, "SOURCE_HOST", f"{server.url}/sources")
    monkeypatch.setattr(download, "BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(download, "_CHUNK", 1000)
    monkeypatch.setattr(hosts, "PROBE_SECONDS", 1.0)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture(params=["datasets", "weights"])
def published(
    request: pytest.FixtureRequest, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, quick: None
) -> Published:
    """A set with three files, once of each kind."""
    folder = tmp_path / "records"
    folder.mkdir()
    monkeypatch.setenv("HARNESS_DATASETS", str(folder))
    monkeypatch.setitem(REGISTRIES, "weights", folder)
    made = Published(request.param, folder, data)
    made.add({f"{number}.png": encode(picture(number)) for number in (1, 2, 10)})
    return made


@pytest.fixture
def big(published: Published, server: Server, monkeypatch: pytest.MonkeyPatch) -> Published:
    """A set with one file of 120 kB on a URL mirror."""
    published.add({"1.png": encode(picture(5, 200, 200))})
    published.serve(server)
    monkeypatch.setenv("HARNESS_MIRROR", server.url)
    return published
