"""Downloading one file over HTTP: retries, resuming, and no byte more than registered."""

from __future__ import annotations

import contextlib
import http.client
import json
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from harness import __version__
from harness.assets.datasets import places
from harness.assets.datasets.hosts import Hosts, without_user
from harness.assets.datasets.inner import leads_inside
from harness.assets.datasets.verified import file_sha256

if TYPE_CHECKING:
    import requests

CONNECT_SECONDS = 3.0
READ_SECONDS = 20.0
# An answer must begin, and then bring each `_CHUNK`, within this time: 550 bytes a second at least.
SLOW_SECONDS = 30.0
# Attempts in a row that bring no byte; the waits between them are 0.5, 1 and 2 s.
ATTEMPTS = 4
BACKOFF_SECONDS = 0.5
_MOST_ATTEMPTS = 50
# What a broken connection loses at most of what had arrived.
_CHUNK = 1 << 14
# Answers that a server gives when it is busy: worth asking again.
_BUSY = (429, 500, 502, 503, 504)
_MOST_REDIRECTS = 5


class DownloadError(Exception):
    """A file could not be had from one address; says why in a few words that hold for any file and machine."""


class UnreachableError(DownloadError):
    """The host does not answer at all."""


class CancelledError(DownloadError):
    """The user or another thread's failure stopped it; what was downloaded stays for the next run."""


class _BusyError(Exception):
    """The server asks to be asked again later; says how."""


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

            # Whoever tries again reads the refused answer to its end, which need not have one; `download` does not.
            retry = Retry(total=None, connect=0, read=0, redirect=0, status=0, respect_retry_after_header=False)
            session = requests.Session()
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
        from urllib3.exceptions import HTTPError, ProtocolError, ReadTimeoutError

        idle, busy = 0, ""
        for _ in range(_MOST_ATTEMPTS):
            if self.cancelled.is_set():
                raise CancelledError("stopped")
            before, busy = _size(part), ""
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
            except _BusyError as error:
                busy = str(error)
            except requests.ConnectionError as error:
                if _found_nobody(error) and self.hosts.failed(url):
                    raise UnreachableError("could not be reached") from None
            except (requests.Timeout, ProtocolError, ReadTimeoutError):
                pass
            # What a server sends can fail anywhere in the libraries below, with whatever exception is at hand there.
            except (requests.RequestException, HTTPError, http.client.HTTPException, ValueError) as error:
                raise DownloadError(f"no answer that can be understood ({type(error).__name__})") from None
            idle = 0 if _size(part) > before else idle + 1
            if idle == ATTEMPTS:
                break
            self.cancelled.wait(BACKOFF_SECONDS * 2 ** max(idle - 1, 0) if idle else 0)
        if self.hosts.failed(url):
            raise UnreachableError("could not be reached")
        raise DownloadError(busy or "broken off again and again")

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
            if note.get("url") == without_user(url) and note.get("etag"):
                headers["If-Range"] = str(note["etag"])
        with self._answer(url, headers) as (response, chunks):
            self.hosts.answered(url)
            if response.status_code == 416:
                raise _StartOverError
            if response.status_code in _BUSY:
                raise _BusyError(f"status {response.status_code}")
            if response.status_code not in (200, 206):
                raise DownloadError(f"status {response.status_code}")
            # Unpacking could make any number of bytes out of a few.
            if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
                raise DownloadError("sends it compressed, which was not asked for")
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
            # Compared as text: what Python takes for digits, `int` does not always take.
            if announced is not None and announced.strip() != str(size - offset):
                raise DownloadError("wrong size")
            _write_note(part, url, response.headers.get("ETag", ""))
            self._receive(chunks, part, size - offset)

    @contextlib.contextmanager
    def _answer(self, url: str, headers: dict[str, str]) -> Iterator[tuple[requests.Response, Iterator[bytes]]]:
        """Give an answer and its bytes; a thread that may be left behind reads them, so that every wait has an end."""
        session = self._session()
        arrived: queue.Queue[Any] = queue.Queue(maxsize=8)
        left = threading.Event()

        def put(item: object) -> bool:
            while not left.is_set():
                with contextlib.suppress(queue.Full):
                    arrived.put(item, timeout=0.5)
                    return True
            return False

        def read() -> None:
            try:
                with _ask(session, url, headers) as response:
                    wanted = put(response)
                    # Not decoded: a compressed answer is refused as it is.
                    while wanted and (chunk := response.raw.read(_CHUNK, decode_content=False)):
                        wanted = put(chunk)
                put(None)
            except Exception as error:  # it is for the thread that waits
                put(error)

        def take() -> Any:
            try:
                item = arrived.get(timeout=SLOW_SECONDS)
            except queue.Empty:
                del self._local.session  # the thread left behind still uses it
                raise DownloadError("sends too slowly") from None
            if isinstance(item, Exception):
                raise item
            return item

        threading.Thread(target=read, daemon=True).start()
        try:
            yield take(), iter(take, None)
        finally:
            left.set()

    def _receive(self, chunks: Iterator[bytes], part: Path, wanted: int) -> None:
        try:
            file = open(part, "ab")  # noqa: SIM115 (opening is what may fail; it is closed below)
        except OSError as error:
            raise places.cannot_write(part, error) from error
        with file:
            for chunk in chunks:
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


def _ask(session: requests.Session, url: str, headers: dict[str, str]) -> requests.Response:
    """Ask for a file and follow redirects by hand: `requests` would read the body of each, however long, into memory.

    A user and a password in the address go to their own host only.
    """
    from requests.utils import get_auth_from_url

    user, password = get_auth_from_url(url)
    auth = (user, password) if user or password else None
    for _ in range(_MOST_REDIRECTS + 1):
        timeout = (CONNECT_SECONDS, READ_SECONDS)
        response = session.get(url, headers=headers, auth=auth, stream=True, timeout=timeout, allow_redirects=False)
        target = session.get_redirect_target(response)
        if target is None:
            return response
        response.close()
        where = urljoin(url, target)
        # Only an address that is inside itself (a mirror of one's own) may lead inside.
        if leads_inside(where) and not leads_inside(url):
            raise DownloadError("redirects to an address of an inner network")
        if session.should_strip_auth(url, where):  # type: ignore[no-untyped-call]
            auth = None
        url = where
    raise DownloadError("redirects again and again")


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
    places.write_whole(_note_path(part), json.dumps({"url": without_user(url), "etag": strong}))


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
