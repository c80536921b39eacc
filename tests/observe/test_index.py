"""A package index on this machine: what it names, what it serves, and what it would have us believe."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from veracity.core.errors import TransportError, UsageError, VerificationError
from veracity.observe import index
from veracity.observe.index import Index, fetch
from veracity.observe.lockfile import LockedArchive

DATA = b"an archive"
SHA = hashlib.sha256(DATA).hexdigest()
WHEEL = "Some_Name-1.0-py3-none-any.whl"
JSON_TYPE = "application/vnd.pypi.simple.v1+json"


class Handler(BaseHTTPRequestHandler):
    """Serves ``pages``: path → status, type, bytes."""

    pages: ClassVar[dict[str, tuple[int, str, bytes]]] = {}

    def do_GET(self) -> None:
        status, kind, data = self.pages.get(self.path, (404, "text/plain", b""))
        self.send_response(status)
        self.send_header("Location" if status in (301, 302) else "Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    Handler.pages = {}
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()
        thread.join()


def named(url: str, sha256: str = SHA) -> LockedArchive:
    return LockedArchive("some-name", "1.0", WHEEL, sha256, url, -1, "lock")


def test_an_index_that_answers_json(server: str) -> None:
    files = [
        {"filename": WHEEL, "url": f"../../files/{WHEEL}", "hashes": {"sha256": SHA.upper()}},
        {"filename": "some-name-1.0.tar.gz", "url": "x", "hashes": {"sha256": SHA}},
        {"filename": "other-1.0-py3-none-any.whl", "url": "x", "hashes": {"sha256": SHA}},
        {"filename": WHEEL, "url": "x", "hashes": {"md5": "1"}},
        {"filename": WHEEL, "url": "x", "hashes": {"sha256": "short"}},
        {"filename": 1, "url": "x", "hashes": {"sha256": SHA}},
        "nonsense",
    ]
    Handler.pages["/simple/some-name/"] = (200, JSON_TYPE, json.dumps({"files": files}).encode())
    page = f"{server}/simple/some-name/"
    assert Index(f"{server}/simple/").archives("Some.Name") == [
        LockedArchive("some-name", "1.0", WHEEL, SHA, f"{server}/files/{WHEEL}", -1, page)
    ]


def test_an_index_that_answers_html(server: str) -> None:
    text = f'<a href="/f/{WHEEL}#sha256={SHA}">x</a><a href="/f/{WHEEL}#md5=1">y</a><a>z</a>'
    Handler.pages["/some-name/"] = (200, "text/html", text.encode())
    found = Index(server).archives("some_name")
    assert [(one.url, one.sha256) for one in found] == [(f"{server}/f/{WHEEL}", SHA)]


def test_what_the_index_does_not_know_has_no_archives(server: str) -> None:
    assert Index(server).archives("nothing") == []


@pytest.mark.parametrize("status", [403, 500])
def test_a_refusal_is_no_empty_answer(server: str, status: int) -> None:
    Handler.pages["/some-name/"] = (status, "text/html", b"")
    with pytest.raises(TransportError):
        Index(server).archives("some-name")


def test_json_that_is_none_is_an_error(server: str) -> None:
    Handler.pages["/some-name/"] = (200, JSON_TYPE, b"<html>")
    with pytest.raises(TransportError):
        Index(server).archives("some-name")


@pytest.mark.parametrize(
    "url", ["http://index.example/simple", "file:///x", "ftp://127.0.0.1/x", "https://", "x"]
)
def test_an_index_that_anybody_could_answer_for_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        Index(url)


def test_an_index_that_leads_away_from_tls_is_refused(server: str) -> None:
    Handler.pages["/some-name/"] = (302, "http://index.example/simple/", b"")
    with pytest.raises(TransportError, match="not https"):
        Index(server).archives("some-name")


def test_an_archive_is_the_one_that_was_named(server: str) -> None:
    Handler.pages["/x.whl"] = (200, "application/zip", DATA)
    Handler.pages["/moved.whl"] = (302, "/x.whl", b"")
    for name in ("x", "moved"):
        with fetch(named(f"{server}/{name}.whl")) as file:
            assert file.read() == DATA
    with pytest.raises(VerificationError, match="not 0000"):
        fetch(named(f"{server}/x.whl", "0" * 64))


@pytest.mark.parametrize("url", ["", "file:///etc/passwd", "/x.whl", "http://127.0.0.1:1/x.whl"])
def test_an_archive_that_cannot_be_had_is_an_error(url: str) -> None:
    with pytest.raises(TransportError):
        fetch(named(url))


def test_an_archive_that_is_gone_is_an_error(server: str) -> None:
    with pytest.raises(TransportError, match="404"):
        fetch(named(f"{server}/gone.whl"))


@pytest.mark.parametrize("kind", [JSON_TYPE, "text/html"])
@pytest.mark.parametrize("url", ["http://[x", "//[::1", "http://a:99999999/x"])
def test_an_address_that_is_none_is_passed_over_or_an_error(server: str, kind: str, url: str) -> None:
    files = [{"filename": WHEEL, "url": url, "hashes": {"sha256": SHA}}]
    text = (
        json.dumps({"files": files}) if kind == JSON_TYPE else f'<a href="{url}/{WHEEL}#sha256={SHA}">x</a>'
    )
    Handler.pages["/some-name/"] = (200, kind, text.encode())
    for one in Index(server).archives("some-name"):
        with pytest.raises(TransportError):
            fetch(one)
    with pytest.raises(UsageError):
        Index("http://[x")
    with pytest.raises(TransportError):
        fetch(named("http://[x"))


def test_an_answer_that_drips_is_given_up(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "AFTER", 0.0)
    monkeypatch.setattr(index, "SLOWEST", 1 << 60)
    Handler.pages["/some-name/"] = (200, "text/html", b"<a>x</a>")
    with pytest.raises(TransportError, match="bytes come in a second"):
        Index(server).archives("some-name")
    with pytest.raises(TransportError, match="bytes come in a second"):
        fetch(named(f"{server}/some-name/"))
