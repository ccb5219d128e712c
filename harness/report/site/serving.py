"""A site at an address of this machine, for those who would rather not open files; no other machine can reach it."""

from __future__ import annotations

import functools
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from harness.errors import HarnessError


class _Pages(SimpleHTTPRequestHandler):
    def send_head(self) -> Any:
        # A page from elsewhere whose name was made to mean this machine must not read what lies here.
        if self.headers.get("Host", "").rpartition(":")[0] not in ("localhost", "127.0.0.1"):
            self.send_error(HTTPStatus.FORBIDDEN)
            return None
        return super().send_head()

    def list_directory(self, path: Any) -> None:
        self.send_error(HTTPStatus.NOT_FOUND)

    def end_headers(self) -> None:
        # The next `harness report` writes other pages under the same names.
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


def server(folder: Path, port: int) -> ThreadingHTTPServer:
    """Open a port of this machine for the files of a folder; 0 chooses a free one.

    Raises
    ------
    HarnessError
        The port is taken or may not be used.
    """
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), functools.partial(_Pages, directory=str(folder)))
    except OSError as error:
        raise HarnessError(f"port {port} cannot be used ({error.strerror or error}); --port names another") from None
