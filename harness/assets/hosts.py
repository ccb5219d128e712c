"""Addresses of mirrors and sources, and which hosts can be reached.

Each host is probed once, quickly, and failures are remembered, so that working offline costs seconds.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import re
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from harness.errors import HarnessError
from harness.files import update_text

MIRROR_VARIABLE = "HARNESS_MIRROR"
PROBE_SECONDS = 3.0
# How long a host that could not be reached is left alone by later runs; `--retry` asks again at once.
MEMORY_SECONDS = 600.0
_PORTS = {"http": 80, "https": 443}
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def mirrors() -> tuple[list[Path], list[str]]:
    """Read HARNESS_MIRROR: folders and URLs, separated by commas (folders also as in PATH).

    Raises HarnessError: A URL that is neither http nor https, or none that can be understood.
    """
    folders: list[Path] = []
    urls: list[str] = []
    for part in (part.strip() for part in os.environ.get(MIRROR_VARIABLE, "").split(",")):
        if part.lower().startswith(("http://", "https://")):
            if not _is_address(part):
                # Not shown: what cannot be taken apart may hold a password anywhere.
                raise HarnessError(f"{MIRROR_VARIABLE} holds an address that cannot be understood; correct it")
            urls.append(part.rstrip("/"))
        elif _SCHEME.match(part):
            raise HarnessError(
                f"{MIRROR_VARIABLE}={without_user(part)}: only http and https addresses and folders are understood"
            )
        else:
            folders += [Path(folder).expanduser() for folder in part.split(os.pathsep) if folder]
    return folders, urls


def origin(url: str) -> str:
    """Give scheme, host and port of a URL, such as ``https://raw.githubusercontent.com:443``."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}:{parts.port or _PORTS[parts.scheme]}"


def host_name(url: str) -> str:
    """Give the host of a URL for readers, without its port."""
    return origin(url).split("//")[1].rsplit(":", 1)[0]


def _is_address(url: str) -> bool:
    """Return whether a URL names a host, and a port that there can be if any."""
    try:
        return bool(urlsplit(url).hostname) and urlsplit(url).port != 0
    except ValueError:
        return False


def is_plain_address(url: str) -> bool:
    """Return whether a URL is http or https, names a host, and holds no user and no password."""
    plain = url.startswith(("http://", "https://")) and not re.search(r"\s", url)
    return plain and _is_address(url) and "@" not in urlsplit(url).netloc


def without_user(url: str) -> str:
    """Give a URL without the user and the password that it may hold: so it is printed and written to files."""
    return re.sub(r"(?<=://)[^/?#]*@", "", url)


def leads_inside(url: str) -> bool:
    """Return whether a URL names this machine, a private network, or a cloud's metadata service, or is no http(s)."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return True
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return True
    try:
        entries = socket.getaddrinfo(parts.hostname, parts.port or 443, proto=socket.IPPROTO_TCP)
    except (OSError, UnicodeError, ValueError):
        # A name that only a proxy can look up; a number is never such a name.
        return False
    return any(not ipaddress.ip_address(str(entry[4][0]).split("%")[0]).is_global for entry in entries)


class Hosts:
    """Hosts that answer and hosts that do not.

    `data`: Folder of fetched files; failures are remembered in it for `MEMORY_SECONDS`.
    `retry`: Whether to ask the hosts again that an earlier run could not reach.
    """

    def __init__(self, data: Path, retry: bool = False) -> None:
        self._path = data / "state" / "hosts.json"
        self._known: dict[str, bool] = {}
        self._answered: set[str] = set()
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()
        self._retry = retry
        self.remembered = {} if retry else self._read()

    def _read(self) -> dict[str, float]:
        try:
            plain = json.loads(self._path.read_bytes())
            now = time.time()
            return {str(host): when for host, when in plain.items() if 0 <= now - when < MEMORY_SECONDS}
        except (OSError, ValueError, AttributeError, TypeError):
            return {}

    def reachable(self, url: str) -> bool:
        """Return whether the host of a URL takes connections; the first question takes up to `PROBE_SECONDS`."""
        host = origin(url)
        with self._lock:
            lock = self._locks.setdefault(host, threading.Lock())
        with lock:
            if host not in self._known:
                self._known[host] = host not in self.remembered and _connects(url)
                if self._known[host] and self._retry:
                    self._write(lambda hosts: hosts.pop(host, None))
                elif not self._known[host] and host not in self.remembered:
                    self._write(lambda hosts: hosts.update({host: time.time()}))
            return self._known[host]

    def answered(self, url: str) -> None:
        """Note that the host sent an answer: later failures of single requests do not make it unreachable."""
        self._answered.add(origin(url))

    def failed(self, url: str) -> bool:
        """Note that a request found no answer; True where the host is now taken for unreachable."""
        host = origin(url)
        if host in self._answered:
            return False
        with self._lock:
            self._known[host] = False
        self._write(lambda hosts: hosts.update({host: time.time()}))
        return True

    def _write(self, change: Callable[[dict[str, float]], object]) -> None:
        with self._lock:
            hosts = self._read()
            change(hosts)
            with contextlib.suppress(HarnessError):  # a read-only folder: the next run probes again
                update_text(self._path, json.dumps(hosts, sort_keys=True))


def _connects(url: str) -> bool:
    """Open and close a TCP connection to the host, or to the proxy that serves it."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    names = [f"{scheme}_proxy" for scheme in ("http", "https", "all")]
    if any(os.environ.get(name) for name in (*names, *map(str.upper, names))):
        from urllib.request import getproxies, proxy_bypass

        proxies = getproxies()
        proxy = proxies.get(parts.scheme) or proxies.get("all")
        if proxy and not proxy_bypass(host):
            split = urlsplit(proxy if "//" in proxy else f"//{proxy}")
            host, port = split.hostname or "", split.port or _PORTS.get(split.scheme, 80)
    connected: list[bool] = []

    def connect() -> None:
        try:
            socket.create_connection((host, port), timeout=PROBE_SECONDS).close()
            connected.append(True)
        except (OSError, UnicodeError):
            pass

    # Looking a name up has no time limit of its own: a thread that may be left behind gives it one.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return bool(connected)
