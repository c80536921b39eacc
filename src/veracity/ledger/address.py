"""Whether a text is the address of a service of others."""

from __future__ import annotations

import urllib.parse


def is_address(url: str) -> bool:
    """Whether it is an http or https address with a host, in printable characters without blanks."""
    try:
        parts = urllib.parse.urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return fits and url.isprintable() and " " not in url
