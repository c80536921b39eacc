"""Names of files that are URLs, and how they are shown: without what lets somebody in."""

from __future__ import annotations

import re

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.:-]{0,200}://")
_PORT = re.compile(r"[0-9]{0,5}\Z")
_USER = re.compile(r"://[^/\s@]{1,2000}@")
_QUERY = re.compile(r"\?[^\s'\"<>)\]]+")
MAX_SAID = 300


def is_url(path: str) -> bool:
    """Whether a name is the URL of something elsewhere and not that of a file of this machine."""
    return _URL.match(path) is not None


def shown(path: str) -> str:
    """A name for people: of a URL without user, password, query and fragment; any other as it is.

    A password with a slash in it is no URL any more, and is taken off as well, up to the last ``@``.
    """
    if not is_url(path):
        return path
    scheme, _, rest = path.partition("://")
    rest = re.split(r"[?#]", rest, maxsplit=1)[0]
    authority = rest.partition("/")[0]
    _, colon, port = authority.rpartition(":")
    if "@" in authority:
        rest = rest[authority.rindex("@") + 1 :]
    elif colon and not _PORT.match(port) and "@" in rest:
        rest = rest.rpartition("@")[2]
    return f"{scheme}://{rest}"


def said_safely(text: str, url: str) -> str:
    """What a library says about a URL, without what :func:`shown` leaves out, in one line."""
    text = text.replace(url, shown(url))
    before, _, query = url.partition("?")
    if query:
        text = text.replace(query, "…")
    user = before.partition("://")[2].rpartition("@")[0]
    for secret in sorted({user, *user.split(":")}, key=len, reverse=True):
        if len(secret) > 2:
            text = text.replace(secret, "…")
    return " ".join(_QUERY.sub("", _USER.sub("://", text)).split())[:MAX_SAID]
