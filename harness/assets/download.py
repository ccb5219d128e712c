"""Downloading one file over HTTP: retries, resuming, and no byte more than registered or than any file may have."""

from __future__ import annotations

import contextlib
import http.client
import queue
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from harness import __version__
from harness.assets.foreign import MOST_BYTES
from harness.assets.hosts import Hosts, leads_inside, origin
from harness.assets.places import ADVICE
from harness.files import cannot_write

_SECONDS = (3.0, 20.0)  # to connect, and between two bytes
# An answer must begin, and then bring each `_CHUNK`, within this time: 550 bytes a second at least.
SLOW_SECONDS = 30.0
ATTEMPTS = 4  # in a row that bring no byte; the waits between them are 0.5, 1 and 2 s
BACKOFF_SECONDS = 0.5
_MOST_ATTEMPTS = 50
_CHUNK = 1 << 14  # what a broken connection loses at most of what had arrived
_BUSY = (429, 500, 502, 503, 504)  # what a server answers when it is busy: worth asking again
_MOST_REDIRECTS = 5
_MOST_JOBS = 64  # threads that share a session


class DownloadError(Exception):
    """A file could not be obtained from one address; says why in a few words that hold for any file and machine."""


class UnreachableError(DownloadError):
    """The host does not answer at all."""


class CancelledError(DownloadError):
    """The user or another thread's failure stopped it; what was downloaded stays for the next run."""


class _AskAgainError(Exception):
    """An answer was of no use, another may be of some; says why where the server is busy."""


class Downloader:
    """Downloads files into part files; `report` gets the bytes that arrived (negative: that were thrown away)."""

    def __init__(self, hosts: Hosts, report: Callable[[int], None] = lambda _: None) -> None:
        import requests
        from requests.adapters import HTTPAdapter

        self.hosts = hosts
        self.report = report
        self.cancelled = threading.Event()
        self._silent: dict[str, set[str]] = {}
        self._session = requests.Session()
        # It does not try again: it would read the refused answer to its end, which need not have one.
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=_MOST_JOBS))
        self._session.headers["User-Agent"] = f"restoration-harness/{__version__}"

    def download(self, url: str, part: Path, size: int, is_whole: Callable[[Path], bool], most: int = 0) -> None:
        """Download a file; a part that is already there is continued.

        `part`: Where the bytes go; holds the whole, checked file on return.
        `size`, `is_whole`: Bytes that the file must have, 0 where nobody knows, and what compares its checksum.
        `most`: Bytes that a file of unknown size may have; by default those that any file of weights may have.
        Raises DownloadError: It could not be obtained from there, or is another file.
        Raises HarnessError: The part file cannot be written.
        """
        if not self.hosts.reachable(url):
            raise UnreachableError("could not be reached")
        import requests
        from urllib3.exceptions import HTTPError, ProtocolError, ReadTimeoutError

        tag: dict[str, str] = {}
        idle, busy = 0, ""
        for _ in range(_MOST_ATTEMPTS):
            before, busy = _size(part), ""
            try:
                self._continue(url, tag, part, size, size or most or MOST_BYTES)
                if is_whole(part):
                    return
                self._discard(part)
                if before == 0:
                    raise DownloadError("wrong checksum")
            except _AskAgainError as error:
                busy = str(error)
            except (requests.ConnectionError, requests.Timeout) as error:
                if _found_nobody(error) and self.hosts.failed(url):
                    raise UnreachableError("could not be reached") from None
            except (ProtocolError, ReadTimeoutError):
                pass
            # What a server sends can fail anywhere in the libraries below, with whatever exception is at hand there.
            except (requests.RequestException, HTTPError, http.client.HTTPException, ValueError) as error:
                raise DownloadError(f"no answer that can be understood ({type(error).__name__})") from None
            idle = 0 if _size(part) > before else idle + 1
            if idle == ATTEMPTS:
                break
            if self.cancelled.wait(BACKOFF_SECONDS * 2 ** (idle - 1) if idle else 0):
                raise CancelledError("stopped")
        # Of a host that takes connections one address may be broken; no answer at a second one is the host's fault.
        silent = self._silent.setdefault(origin(url), set())
        silent.add(url)
        if len(silent) > 1 and self.hosts.failed(url):
            raise UnreachableError("could not be reached")
        raise DownloadError(busy or "broken off again and again")

    def _continue(self, url: str, tag: dict[str, str], part: Path, size: int, most: int) -> None:
        """Ask for what is not there yet and append it to the part; `tag` keeps the file's ETag for the next time."""
        offset = _size(part)
        if offset == size > 0:
            return
        if offset > most:
            self._discard(part)
            offset = 0
        headers = {"Accept-Encoding": "identity"}
        if offset:
            headers |= {"Range": f"bytes={offset}-", **tag}
        response = _in_time(lambda: _ask(self._session, url, headers, self.hosts))
        try:
            status = response.status_code
            if status not in (200, 206, 416):
                raise (_AskAgainError if status in _BUSY else DownloadError)(f"status {status}")
            # Unpacking could make any number of bytes out of a few.
            if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
                raise DownloadError("sends it compressed, which was not asked for")
            if offset and status == 200:  # no ranges here, or the file changed: this is the whole file
                self._discard(part)
                offset = 0
            if status == 416 and not size:
                return  # nothing comes after what is here: the checksum says whether that is all
            sent = response.headers.get("Content-Range", "").replace(" ", "")
            rest = rf"bytes{offset}-{size - 1}/({size}|\*)" if size else rf"bytes{offset}-\d+/(\d+|\*)"
            if status == 416 or (status == 206 and not re.fullmatch(rest, sent, re.ASCII)):
                self._discard(part)
                raise _AskAgainError
            announced = response.headers.get("Content-Length")
            # Compared as text: what Python takes for digits, `int` does not always take.
            if size and announced is not None and announced.strip() != str(size - offset):
                raise DownloadError("wrong size")
            etag = response.headers.get("ETag", "")
            if etag and not etag.startswith("W/"):
                tag["If-Range"] = etag  # a file that changed is sent whole then
            self._receive(response, part, most - offset)
        finally:
            # In a thread of its own: closing waits for one that was left behind while it reads.
            threading.Thread(target=response.close, daemon=True).start()

    def _receive(self, response: Any, part: Path, wanted: int) -> None:
        with _writing(part):
            file = open(part, "ab")  # noqa: SIM115 (it is closed below)
        with file:
            # Not decoded: a compressed answer is refused as it is.
            while chunk := _in_time(lambda: response.raw.read(_CHUNK, decode_content=False)):
                if self.cancelled.is_set():
                    raise CancelledError("stopped")
                wanted -= len(chunk)
                if wanted < 0:
                    break
                with _writing(part):
                    file.write(chunk)
                    file.flush()
                self.report(len(chunk))
        if wanted < 0:
            self._discard(part)
            raise DownloadError("wrong size")

    def _discard(self, part: Path) -> None:
        self.report(-_size(part))
        with _writing(part):
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error, ADVICE) from error


def _in_time(call: Callable[[], Any]) -> Any:
    """Wait for a call in a thread that may be left behind, so that every wait has an end."""
    outcome: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def run() -> None:
        try:
            outcome.put((call(), None))
        except Exception as error:  # it is for the thread that waits
            outcome.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        result, error = outcome.get(timeout=SLOW_SECONDS)
    except queue.Empty:
        raise DownloadError("sends too slowly") from None
    if error is not None:
        raise error
    return result


def _ask(session: Any, url: str, headers: dict[str, str], hosts: Hosts) -> Any:
    """Ask for a file; follow redirects by hand, because `requests` would read the body of each, however long.

    A user and a password in the address go to their own host only.
    """
    from requests.utils import get_auth_from_url

    user, password = get_auth_from_url(url)
    auth = (user, password) if user or password else None
    for _ in range(_MOST_REDIRECTS + 1):
        response = session.get(url, headers=headers, auth=auth, stream=True, timeout=_SECONDS, allow_redirects=False)
        hosts.answered(url)
        target = session.get_redirect_target(response)
        if target is None:
            return response
        response.close()
        where = urljoin(url, target)
        # Only an address that is inside itself (a mirror of one's own) may lead inside.
        if leads_inside(where) and not leads_inside(url):
            raise DownloadError("redirects to an address of an inner network")
        if session.should_strip_auth(url, where):
            auth = None
        url = where
    raise DownloadError("redirects again and again")


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _found_nobody(error: Exception) -> bool:
    """Distinguish a host that does not answer (or whose certificate is wrong) from a connection that broke later."""
    from requests import exceptions
    from urllib3.exceptions import NewConnectionError

    reason = getattr(error.args[0], "reason", None) if error.args else None
    nobody = (exceptions.Timeout, exceptions.ProxyError, exceptions.SSLError, NewConnectionError)
    return isinstance(error, nobody) or isinstance(reason, nobody)
