"""Witnesses that are really asked over HTTP, and histories that they would not cosign."""

from __future__ import annotations

import contextlib
import http.client
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from tests.ledger.witness.test_record import Log
from veracity.core.errors import EvidenceError, TransportError, UsageError, VerificationError
from veracity.ledger.keys import SigningKey
from veracity.ledger.note import parse_note
from veracity.ledger.witness.asking import KnownWitness, ask
from veracity.ledger.witness.cosignature import WitnessKey, cosign, verify_cosignature
from veracity.ledger.witness.record import Witness
from veracity.ledger.witness.serving import WitnessServer


@dataclass
class Served:
    """A witness at work."""

    folder: Path
    key: SigningKey
    log: Log
    known: KnownWitness | None = None
    server: WitnessServer | None = None
    witness: Witness | None = None

    def start(self, name: str) -> Served:
        self.witness = Witness(self.folder, self.key, [self.log.key.verifier])
        self.server = WitnessServer(("127.0.0.1", 0), self.witness)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.known = KnownWitness(url, WitnessKey(self.key.verifier))
        return self

    def stop(self) -> None:
        assert self.server is not None
        assert self.witness is not None
        self.server.shutdown()
        self.server.server_close()
        self.witness.close()

    @property
    def address(self) -> KnownWitness:
        assert self.known is not None
        return self.known


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def two(log: Log, tmp_path: Path) -> Iterator[tuple[Served, Served]]:
    made = tuple(Served(tmp_path / name, SigningKey.generate(name), log).start(name) for name in ("w1", "w2"))
    yield made[0], made[1]
    for one in made:
        one.stop()


def test_a_head_is_cosigned_by_both(log: Log, two: tuple[Served, Served]) -> None:
    for size in (7, 7, 90, 200):
        head = log.head(size)
        for one in two:
            head = ask(one.address, head, log.leaves)  # the size it knows is asked for when it is another
        for one in two:
            assert verify_cosignature(parse_note(head.signed), one.address.key) > 0
        head.verify(log.key.verifier)


def test_a_forked_log_shown_to_two_witnesses(log: Log, two: tuple[Served, Served]) -> None:
    """Each sees one history; neither cosigns the other's, and a reader who wants both has neither."""
    other = Log(log.key, salt=b"other")
    ask(two[0].address, log.head(50), log.leaves)
    ask(two[1].address, other.head(50), other.leaves)
    for served, wrong in ((two[0], other), (two[1], log)):
        with pytest.raises(VerificationError, match="another tree of 50 entries"):
            ask(served.address, wrong.head(50), wrong.leaves)
        with pytest.raises(VerificationError, match="another history"):
            ask(served.address, wrong.head(80), wrong.leaves)


def test_a_log_that_was_cut_back(log: Log, two: tuple[Served, Served]) -> None:
    ask(two[0].address, log.head(50), log.leaves)
    with pytest.raises(VerificationError, match="has seen 50 entries"):
        ask(two[0].address, log.head(40), log.leaves)


def test_a_witness_that_was_set_back_cosigns_what_continues(
    log: Log, two: tuple[Served, Served], tmp_path: Path
) -> None:
    """Its owner restored an old state: it cosigns a second history of later entries, the other does not."""
    served = two[0]
    ask(served.address, log.head(50), log.leaves)
    shutil.copytree(served.folder, tmp_path / "old")
    for one in two:
        ask(one.address, log.head(60), log.leaves)
    served.stop()
    shutil.rmtree(served.folder)
    (tmp_path / "old").rename(served.folder)
    served.start("w1")
    with pytest.raises(VerificationError, match="was set back: it cosigned 60 entries"):
        ask(served.address, log.head(70), log.leaves, old=60, signed=60)
    other = Log(log.key, salt=b"other")
    other.leaves[:50] = log.leaves[:50]
    ask(served.address, other.head(60), other.leaves)
    with pytest.raises(VerificationError):
        ask(two[1].address, other.head(60), other.leaves)


def test_an_answer_signed_by_another_key_is_not_taken(log: Log, two: tuple[Served, Served]) -> None:
    wrong = KnownWitness(two[0].address.url, two[1].address.key)
    with pytest.raises(VerificationError, match="not cosigned by w2"):
        ask(wrong, log.head(5), log.leaves)


class _Saying(BaseHTTPRequestHandler):
    """Answers whatever is asked with what the test wants."""

    answer: ClassVar[bytes] = b""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, format: str, *words: object) -> None:
        pass


def test_odd_answers_are_errors_and_nothing_else(log: Log) -> None:
    """Lines that other readers would split, other names, none at all: an error of ours, or the one line."""
    signer = SigningKey.generate("w")
    head = log.head(5)
    good = cosign(parse_note(head.signed).text, 7, signer).encode()
    with HTTPServer(("127.0.0.1", 0), _Saying) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        known = KnownWitness(f"http://127.0.0.1:{server.server_address[1]}", WitnessKey(signer.verifier))
        for answer in (
            b"",
            b"\n",
            good[:-1],
            good.replace(b"\n", b"\xe2\x80\xa8\n"),
            b"\xff",
            good * 100,
            b"\n" + good,
        ):
            _Saying.answer = answer
            with pytest.raises((EvidenceError, VerificationError)):
                ask(known, head, log.leaves)
        stranger = cosign(parse_note(head.signed).text, 7, SigningKey.generate("other")).encode()
        odd = good.replace(b" w ", b" w\xe2\x80\xa8x ")
        for answer in (good, stranger + good, good + stranger):
            _Saying.answer = answer
            assert ask(known, head, log.leaves).signed == head.signed + good
        _Saying.answer = good + odd
        with pytest.raises(EvidenceError):
            ask(known, head, log.leaves)
        server.shutdown()


def test_a_witness_that_cannot_be_reached(log: Log) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    known = KnownWitness(url, WitnessKey(SigningKey.generate("w").verifier))
    with pytest.raises(TransportError, match="cannot be reached"):
        ask(known, log.head(5), log.leaves)


def test_a_log_that_is_not_known(two: tuple[Served, Served]) -> None:
    stranger = Log(origin="stranger.example")
    with pytest.raises(TransportError, match="refused with 404"):
        ask(two[0].address, stranger.head(5), stranger.leaves)


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/add-checkpoint", {}, 405),
        ("GET", "/", {}, 404),
        ("POST", "/other", {}, 404),
        ("POST", "/add-checkpoint", {"Content-Length": "9999999"}, 413),
        ("POST", "/add-checkpoint", {"Content-Length": "-1"}, 411),
    ],
)
def test_other_requests(
    two: tuple[Served, Served], method: str, path: str, headers: dict[str, str], status: int
) -> None:
    host = two[0].address.url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=10)
    connection.putrequest(method, path)
    for name, value in (headers or {"Content-Length": "0"}).items():
        connection.putheader(name, value)
    connection.endheaders()
    assert connection.getresponse().status == status
    connection.close()


def test_one_connection_serves_many_requests(log: Log, two: tuple[Served, Served]) -> None:
    connection = http.client.HTTPConnection(two[0].address.url.removeprefix("http://"), timeout=10)
    for old, size in ((0, 5), (5, 9), (9, 100)):
        connection.request("POST", "/add-checkpoint", log.request(old, size))
        response = connection.getresponse()
        assert (response.status, response.read()[:3]) == (200, "\u2014".encode())
    connection.close()


def test_how_a_witness_is_named() -> None:
    key = WitnessKey(SigningKey.generate("w").verifier)
    assert KnownWitness.parse(f"http://h:1/p/={key.vkey}") == KnownWitness("http://h:1/p", key)
    for text in ("http://h", f"ftp://h={key.vkey}", f"={key.vkey}"):
        with pytest.raises(UsageError):
            KnownWitness.parse(text)


def test_connections_that_drip_do_not_keep_others_away(
    log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They take all room for a while; then one that asks is answered, and the witness can still end."""
    monkeypatch.setattr("veracity.ledger.witness.serving.MAX_CONNECTIONS", 2)
    monkeypatch.setattr("veracity.ledger.witness.serving.WHOLE_SECONDS", 1.0)
    monkeypatch.setattr("veracity.ledger.witness.serving.SECONDS", 0.3)
    served = Served(tmp_path / "w", SigningKey.generate("w"), log).start("w")
    assert served.server is not None
    ended = threading.Event()
    place = ("127.0.0.1", served.server.server_address[1])
    held = [socket.create_connection(place) for _ in range(4)]

    def drip() -> None:
        while not ended.wait(0.05):
            for one in held:
                with contextlib.suppress(OSError):
                    one.send(b"x")

    threading.Thread(target=drip, daemon=True).start()
    for _ in range(40):
        try:
            ask(served.address, log.head(5), log.leaves)
        except TransportError:
            time.sleep(0.1)
        else:
            break
    else:
        pytest.fail("it was never answered")
    served.stop()
    ended.set()
    for one in held:
        one.close()
