"""A witness over HTTP: one address, ``POST /add-checkpoint``, small bodies, and little time for each."""

from __future__ import annotations

import contextlib
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from .record import TEXT, Answer, Witness
from .requests import MAX_BODY

SECONDS = 10.0
"""After which a connection that says nothing is closed."""
WHOLE_SECONDS = 60.0
"""After which a connection is closed, whatever it says: one that drips would take a place for ever."""
MAX_CONNECTIONS = 64
PATH = "/add-checkpoint"


class WitnessServer(ThreadingHTTPServer):
    """Serves a witness until ``shutdown``. Connections beyond :data:`MAX_CONNECTIONS` wait a little while."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], witness: Witness) -> None:
        self.witness = witness
        self._room = threading.BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__(address, _Handler)

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client: object) -> None:
        """Start a thread for a connection, when there is room for one more; else let it go.

        It waits for no longer than ``SECONDS``: whoever took all room could keep the witness from ending.
        """
        if not self._room.acquire(timeout=SECONDS):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client)
        except BaseException:
            self._room.release()
            raise

    def process_request_thread(
        self, request: socket.socket | tuple[bytes, socket.socket], client: object
    ) -> None:
        """Serve one connection, for no longer than ``WHOLE_SECONDS``."""
        connection = request[1] if isinstance(request, tuple) else request
        ending = threading.Timer(WHOLE_SECONDS, _cut, (connection,))
        ending.daemon = True
        ending.start()
        try:
            super().process_request_thread(request, client)
        finally:
            ending.cancel()
            self._room.release()

    def handle_error(self, request: object, client: object) -> None:
        """A client that went away or sent nonsense is no event."""


def _cut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    server: WitnessServer
    protocol_version = "HTTP/1.1"
    server_version = "veracity-witness"
    sys_version = ""
    timeout = SECONDS

    def do_POST(self) -> None:
        """Answer ``add-checkpoint``."""
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdecimal() and len(length) < 8) or int(length) > MAX_BODY:
            self.close_connection = True
            self._say(
                Answer(413 if length.isdecimal() else 411, "the body must say its length, which is small\n")
            )
            return
        body = self.rfile.read(int(length))
        if self.path.split("?")[0] != PATH:
            self._say(Answer(404, f"there is {PATH} here and nothing else\n"))
            return
        self._say(self.server.witness.add_checkpoint(body))

    def do_GET(self) -> None:
        """Nothing is to be read here."""
        self._say(Answer(404 if self.path != PATH else 405, f"there is POST {PATH} here and nothing else\n"))

    def log_message(self, format: str, *words: object) -> None:
        """Be silent: what was answered is in the state."""

    def _say(self, answer: Answer) -> None:
        data = answer.body.encode("utf-8")
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind or TEXT)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
