"""A package index: which archives it names by their SHA-256, and the archives themselves.

The simple repository API as JSON or as HTML. A digest that an index gives is worth what the connection to it
is, so it is asked over TLS, or on this machine. An archive is compared with the digest that was asked for,
wherever it comes from.

Specification: https://packaging.python.org/en/latest/specifications/simple-repository-api/
"""

from __future__ import annotations

import hashlib
import http.client
import ipaddress
import json
import re
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import IO

from ..core.errors import ResourceLimitError, TransportError, UsageError, VerificationError
from ..core.packagename import normalised
from .lockfile import LockedArchive
from .wheel import MAX_ARCHIVE, wheel_name

SECONDS = 30.0
SLOWEST, AFTER = 1024, 30.0
"""Bytes in a second, asked for after that many seconds: an answer that drips would take for ever."""
MAX_PAGE = 64 << 20
MAX_LINKS = 200_000
_ACCEPTED = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_PART = 1 << 20


class Index:
    """An index by its address, such as ``https://index.example/simple``.

    Raises UsageError for an address that is not asked over TLS and is not of this machine.
    """

    def __init__(self, url: str) -> None:
        if not _is_safe(url):
            raise UsageError(
                "an index is asked over https, since what it says is believed",
                where=url,
                remedy="name its https address, or give a lock file",
            )
        self._url = url.rstrip("/")

    def archives(self, name: str) -> list[LockedArchive]:
        """The wheels of a distribution that the index names with a SHA-256.

        Raises TransportError when it cannot be asked; a distribution that it does not know has none.
        """
        address = f"{self._url}/{urllib.parse.quote(normalised(name))}/"
        try:
            with _opened(address, _ACCEPTED, safe=True) as answer:
                data = b"".join(_parts(answer, MAX_PAGE + 1))
                kind, address = answer.headers.get_content_type(), answer.geturl()
        except urllib.error.HTTPError as error:
            if error.code == http.client.NOT_FOUND:
                return []
            raise TransportError(f"the index refused with {error.code}", where=address) from error
        except (OSError, http.client.HTTPException) as error:
            raise TransportError(f"the index could not be read: {error}", where=address) from error
        if len(data) > MAX_PAGE:
            raise ResourceLimitError(f"the index names more than {MAX_PAGE >> 20} MiB for {name}")
        links = _from_json(data) if kind.endswith("json") else _from_html(data)
        return list(_wheels(normalised(name), address, links))


def fetch(archive: LockedArchive) -> IO[bytes]:
    """An archive from its address: a file that nobody else can write, its SHA-256 as named, read from 0 on.

    Raises TransportError when it cannot be had, VerificationError when it is another one,
    ResourceLimitError when it is larger than anything sensible.
    """
    copy = tempfile.TemporaryFile(prefix="veracity-archive-")  # noqa: SIM115 - it is handed over
    try:
        _copy(archive, copy)
    except BaseException:
        copy.close()
        raise
    copy.seek(0)
    return copy


def _copy(archive: LockedArchive, copy: IO[bytes]) -> None:
    sha, size = hashlib.sha256(), 0
    try:
        with _opened(archive.url, "*/*", safe=False) as answer:
            for part in _parts(answer, MAX_ARCHIVE + 1):
                size += len(part)
                if size > MAX_ARCHIVE:
                    raise ResourceLimitError(f"{archive.filename} is larger than {MAX_ARCHIVE >> 30} GiB")
                sha.update(part)
                copy.write(part)
    except urllib.error.HTTPError as error:
        raise TransportError(
            f"{archive.filename} was refused with {error.code}", where=archive.url
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise TransportError(
            f"{archive.filename} could not be fetched: {error}", where=archive.url
        ) from error
    if sha.hexdigest() != archive.sha256:
        raise VerificationError(
            f"{archive.filename} has the SHA-256 {sha.hexdigest()}, not {archive.sha256}",
            where=archive.url,
            remedy="the archive at this address is not the one that was named: do not install it",
        )


def _parts(answer: http.client.HTTPResponse, limit: int) -> Iterator[bytes]:
    """What is answered, up to ``limit`` bytes; raises TimeoutError for an answer that drips."""
    start, size = time.monotonic(), 0
    while size < limit and (part := answer.read1(min(_PART, limit - size))):
        size += len(part)
        yield part
        if size < SLOWEST * (time.monotonic() - start - AFTER):
            raise TimeoutError(f"less than {SLOWEST} bytes come in a second")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirect that leaves TLS where the answer is believed."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if not _is_safe(newurl):
            raise urllib.error.URLError(f"it leads to {newurl[:200]}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opened(url: str, accept: str, *, safe: bool) -> http.client.HTTPResponse:
    """The answer to a GET; raises TransportError, or HTTPError for a status that is none of success."""
    parts = _split(url)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise TransportError("this is no address of an archive", where=url[:300])
    opener = urllib.request.build_opener(*([_Redirects()] if safe else []))
    request = urllib.request.Request(url, headers={"Accept": accept, "User-Agent": "veracity"})  # noqa: S310
    try:
        answer: http.client.HTTPResponse = opener.open(request, timeout=SECONDS)
    except urllib.error.HTTPError:
        raise
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise TransportError(f"{parts.hostname} cannot be asked: {error}", where=url[:300]) from error
    return answer


def _split(url: str) -> urllib.parse.SplitResult | None:
    try:
        return urllib.parse.urlsplit(url)
    except ValueError:
        return None


def _is_safe(url: str) -> bool:
    """Whether it is asked over TLS, or is of this machine."""
    parts = _split(url)
    if parts is None:
        return False
    if parts.scheme == "https":
        return bool(parts.hostname)
    if parts.scheme != "http":
        return False
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return parts.hostname == "localhost"


def _wheels(name: str, page: str, links: Iterator[tuple[str, str, str]]) -> Iterator[LockedArchive]:
    for filename, url, sha256 in links:
        parsed = wheel_name(filename)
        if parsed is None or normalised(parsed.name) != name or not _SHA256.match(sha256):
            continue
        try:
            absolute = urllib.parse.urljoin(page, url)
        except ValueError:
            continue  # no address: a host in brackets that do not end
        yield LockedArchive(name, parsed.version, filename, sha256, absolute, -1, page)


def _from_json(data: bytes) -> Iterator[tuple[str, str, str]]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise TransportError("the index did not answer with the JSON that it said it would") from error
    files = document.get("files") if isinstance(document, dict) else None
    for one in files[:MAX_LINKS] if isinstance(files, list) else ():
        hashes = one.get("hashes") if isinstance(one, dict) else None
        if isinstance(hashes, dict):
            found = one.get("filename"), one.get("url"), hashes.get("sha256")
            if all(isinstance(part, str) for part in found):
                yield str(found[0]), str(found[1]), str(found[2]).lower()


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a" and len(self.found) < MAX_LINKS:
            self.found += [value for key, value in attrs if key == "href" and value]


def _from_html(data: bytes) -> Iterator[tuple[str, str, str]]:
    parser = _Links()
    parser.feed(data.decode("utf-8", "replace"))
    for link in parser.found:
        url, _, fragment = link.partition("#")
        filename = urllib.parse.unquote(url.partition("?")[0].rpartition("/")[2])
        yield filename, url, fragment.lower().removeprefix("sha256=") if "sha256=" in fragment.lower() else ""
