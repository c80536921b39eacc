"""A monitor's side of the socket, for tests of who asks: it hears questions and says what it is told to."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from veracity.core.wire import unpack

Question = dict[str, object]
Say = Callable[[Question], bytes | None]


def allows(question: Question) -> bytes:
    """Yes."""
    return _answer(question, allowed=True, why="")


def refuses(question: Question) -> bytes:
    """No, with a reason."""
    return _answer(question, allowed=False, why="checkpoint-marked: holds a mark. Take it out")


def _answer(question: Question, *, allowed: bool, why: str) -> bytes:
    told = {"identity": question["identity"], "offset": question["offset"], "allowed": allowed, "why": why}
    return json.dumps(told).encode("ascii")


@contextmanager
def listening(path: Path, say: Say) -> Iterator[list[Question]]:
    """Answers by ``say``, which may say nothing (None); the questions so far."""
    heard: list[Question] = []
    server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    server.bind(str(path))
    server.listen(8)
    kept: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            kept.append(connection)
            found = unpack(connection.recv(1 << 20))
            if found is None:
                continue  # it went without asking
            header = json.loads(found[0].header)
            assert header["k"] == "ask"
            heard.append(header["b"])
            answer = say(header["b"])
            if answer is not None:
                connection.send(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield heard
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()
        for connection in kept:
            connection.close()
        path.unlink()
