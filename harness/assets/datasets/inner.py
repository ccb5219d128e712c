"""Addresses of a machine's own network, where a public address must not lead."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit


def leads_inside(url: str) -> bool:
    """Tell whether a URL names this machine, a private network, or a cloud's metadata service, or is no http(s).

    Parameters
    ----------
    url : str
        Absolute URL.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return True
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return True
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or 443, proto=socket.IPPROTO_TCP)
    except (OSError, UnicodeError, ValueError):
        # A name that only a proxy can look up; a number is never such a name.
        return False
    return any(not ipaddress.ip_address(str(entry[4][0]).split("%")[0]).is_global for entry in found)
