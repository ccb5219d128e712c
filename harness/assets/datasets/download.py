"""Downloading one file over HTTP: retries, resuming, and no byte more than registered."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from harness import __version__
from harness.assets.datasets import places
from harness.assets.datasets.hosts import Hosts
from harness.assets.datasets.inner import leads_inside
from harness.assets.datasets.verified import file_sha256

if TYPE_CHECKING:
    import requests

CONNECT_SECONDS = 3.0
READ_SECONDS = 20.0
# Attempts in a row that bring no byte; the waits between them are 0.5, 1 and 2 s.
ATTEMPTS = 4
BACKOFF_SECONDS = 0.5
_MOST_ATTEMPTS = 50
# What a broken connection loses at most of what had arrived.
_CHUNK = 1 << 14
# Answers that a server gives when it is busy: worth asking again.
_BUSY = (429, 500, 502, 503, 504)


class DownloadError(Exception):
    """A file could not be had from one address; says why in a few words that hold for any file and machine."""


class UnreachableError(DownloadError):
    """The host does not answer at all."""


class CancelledError(DownloadError):
    """The user or another thread's failure stopped it; what was downloaded stays for the next run."""


class _StartOverError(Exception):
    """What lies in the part file cannot be continued."""


def _no_report(_: int) -> None:
    """Report nothing."""


class Downloader:
    """Downloads files into part files beside their final names.

    Parameters
    ----------
    hosts : Hosts
        Hosts that answer and hosts that do not.
    report : callable
        Called with the number of bytes that arrived (negative where they were thrown away).
    """

    def __init__(self, hosts: Hosts, report: Callable[[int], None] = _no_report) -> None:
        self.hosts = hosts
        self.report = report
        self.cancelled = threading.Event()
        self._local = threading.local()

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            import requests
            from requests.adapters import HTTPAdapter
            from urllib3.util.retry import Retry

            retry = Retry(
                total=None,
                connect=0,
                read=0,
                redirect=5,
                status=ATTEMPTS - 1,
                status_forcelist=_BUSY,
                backoff_factor=BACKOFF_SECONDS,
                respect_retry_after_header=False,  # a server may ask for an hour; better to say that it is busy
                raise_on_status=False,
            )

            class Session(requests.Session):
                def get_redirect_target(self, resp: requests.Response) -> str | None:
                    target = super().get_redirect_target(resp)
                    if target is not None:
                        where = urljoin(resp.url, target)
                        # Only an address that is inside itself (a mirror of one's own) may lead inside.
                        if leads_inside(where) and not leads_inside(resp.url):
                            raise DownloadError("redirects to an address of an inner network")
                    return target

            session = Session()
            session.headers["User-Agent"] = f"restoration-harness/{__version__}"
            for scheme in ("http://", "https://"):
                session.mount(scheme, HTTPAdapter(max_retries=retry))
            self._local.session = session
        return session

    def download(self, url: str, part: Path, size: int, sha256: str) -> None:
        """Download a file of known size and checksum; a part that is already there is continued.

        Parameters
        ----------
        url : str
            Where it is, http or https.
        part : path
            Where the bytes go; holds the whole, checked file on return.
        size : int
            Bytes the file must have.
        sha256 : str
            Checksum the file must have.

        Raises
        ------
        DownloadError
            It could not be had from there, or is another file.
        HarnessError
            The part file cannot be written.
        """
        if not self.hosts.reachable(url):
            raise UnreachableError("could not be reached")
        import requests

        idle = 0
        for _ in range(_MOST_ATTEMPTS):
            if self.cancelled.is_set():
                raise CancelledError("stopped")
            before = _size(part)
            try:
                self._continue(url, part, size)
                if file_sha256(part) == sha256:
                    _note_path(part).unlink(missing_ok=True)
                    return
                self._discard(part)
                if before == 0:
                    raise DownloadError("wrong checksum")
            except _StartOverError:
                self._discard(part)
            except requests.ConnectionError as error:
                if _found_nobody(error) and self.hosts.failed(url):
                    raise UnreachableError("could not be reached") from None
            except (requests.Timeout, requests.exceptions.ChunkedEncodingError):
                pass
            except requests.RequestException as error:
                raise DownloadError(f"no answer that can be understood ({type(error).__name__})") from None
            idle = 0 if _size(part) > before else idle + 1
            if idle == ATTEMPTS:
                break
            self.cancelled.wait(BACKOFF_SECONDS * 2 ** max(idle - 1, 0) if idle else 0)
        if self.hosts.failed(url):
            raise UnreachableError("could not be reached")
        raise DownloadError("broken off again and again")

    def _continue(self, url: str, part: Path, size: int) -> None:
        offset = _size(part)
        if offset == size:
            return
        if offset > size:
            raise _StartOverError
        headers = {"Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
            note = _read_note(part)
            if note.get("url") == url and note.get("etag"):
                headers["If-Range"] = str(note["etag"])
        timeout = (CONNECT_SECONDS, READ_SECONDS)
        with self._session().get(url, headers=headers, stream=True, timeout=timeout) as response:
            self.hosts.answered(url)
            if response.status_code == 416:
                raise _StartOverError
            if response.status_code not in (200, 206):
                raise DownloadError(f"status {response.status_code}")
            if response.status_code == 206:
                if response.headers.get("Content-Range", "").replace(" ", "") not in (
                    f"bytes{offset}-{size - 1}/{size}",
                    f"bytes{offset}-{size - 1}/*",
                ):
                    raise _StartOverError
            elif offset:  # the server ignores ranges, or the file changed: this answer is the whole file
                self._discard(part)
                offset = 0
            announced = response.headers.get("Content-Length")
            if announced is not None and announced.isdigit() and offset + int(announced) != size:
                raise DownloadError("wrong size")
            _write_note(part, url, response.headers.get("ETag", ""))
            self._receive(response, part, size - offset)

    def _receive(self, response: requests.Response, part: Path, wanted: int) -> None:
        try:
            file = open(part, "ab")  # noqa: SIM115 (opening is what may fail; it is closed below)
        except OSError as error:
            raise places.cannot_write(part, error) from error
        with file:
            for chunk in response.iter_content(_CHUNK):
                if self.cancelled.is_set():
                    raise CancelledError("stopped")
                wanted -= len(chunk)
                if wanted < 0:
                    break
                try:
                    file.write(chunk)
                    file.flush()
                except OSError as error:
                    raise places.cannot_write(part, error) from error
                self.report(len(chunk))
        if wanted < 0:
            self._discard(part)
            raise DownloadError("wrong size")

    def _discard(self, part: Path) -> None:
        self.report(-_size(part))
        for path in (part, _note_path(part)):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise places.cannot_write(path, error) from error


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _note_path(part: Path) -> Path:
    return part.with_name(f"{part.name}.from")


def _read_note(part: Path) -> dict[str, Any]:
    try:
        note = json.loads(_note_path(part).read_bytes())
        return note if isinstance(note, dict) else {}
    except (OSError, ValueError):
        return {}


def _write_note(part: Path, url: str, etag: str) -> None:
    """Keep the address and its strong ETag beside the part, so that a changed file is not continued."""
    strong = "" if etag.startswith("W/") else etag
    places.write_whole(_note_path(part), json.dumps({"url": url, "etag": strong}))


def _found_nobody(error: Exception) -> bool:
    """Tell a host that does not answer (or whose certificate is wrong) from a connection that broke later."""
    from urllib3 import exceptions

    reason = getattr(error.args[0], "reason", None) if error.args else None
    nobody = (
        exceptions.ConnectTimeoutError,
        exceptions.NewConnectionError,
        exceptions.ProxyError,
        exceptions.ReadTimeoutError,
        exceptions.SSLError,
    )
    return isinstance(reason, nobody)
