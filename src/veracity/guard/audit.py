"""The interpreter's audit events (PEP 578), for all who need one of them.

An audit hook stays for the life of the process and is called for every event, ``id()`` included: about
0.25 us each, of which 0.2 us are the interpreter's own; a training step of 50 parameter tensors raises about
150. So there is one hook, which looks the event up and does nothing else; laws register a handler for the
events they need. A handler gets the event's arguments, runs within whatever raised the event, and must be
quick.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from threading import get_ident
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .shield import Shield

Handler = Callable[[tuple[object, ...]], None]
WRITES = os.O_WRONLY | os.O_RDWR
"""Flags of the event ``open`` that tell of writing."""

_handlers: dict[str, Handler] = {}
_installed = False


def watch(
    event: str,
    handler: Handler,
    shield: Shield,
    site: str,
    passes: Callable[[tuple[object, ...]], bool] | None = None,
) -> None:
    """Call ``handler(arguments)`` at each audit event ``event``; what it raises, ``shield`` takes.

    A second handler of one event is called after the first. ``passes(arguments)`` is true of what does not
    concern the handler, and must not raise.
    """
    earlier = _handlers.get(event)

    def call(arguments: tuple[object, ...]) -> None:
        if earlier is not None:
            earlier(arguments)
        if passes is None or not passes(arguments):
            shield.run(site, handler, arguments)

    _handlers[event] = call
    _install()


class Audit:
    """Handlers of one law; what one does itself calls none, and ``failed`` hears what it raises."""

    def __init__(self, failed: Callable[[str, Exception], None]) -> None:
        self._busy: set[int] = set()
        self._failed = failed

    def on(self, event: str, handler: Handler) -> None:
        """Call ``handler(arguments)`` at each ``event`` from now on."""
        earlier, busy, failed = _handlers.get(event), self._busy, self._failed

        def call(arguments: tuple[object, ...]) -> None:
            if earlier is not None:
                earlier(arguments)
            thread = get_ident()
            if thread in busy:
                return
            busy.add(thread)
            try:
                handler(arguments)
            except Exception as error:
                failed(event, error)
            finally:
                busy.discard(thread)

        _handlers[event] = call

    def install(self) -> None:
        """See to it that the hook is there. It stays for the life of the process."""
        _install()


def raised_by(frame: FrameType | None, file: str) -> FrameType | None:
    """What raised the event: the first frame outwards that is neither the dispatcher's nor of ``file``."""
    while frame is not None and frame.f_code.co_filename in (__file__, file):
        frame = frame.f_back
    return frame


def forget(event: str) -> None:
    """Take all handlers of ``event`` off; the hook itself cannot be taken off."""
    _handlers.pop(event, None)


def _install() -> None:
    global _installed
    if _installed:
        return
    find = _handlers.get

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        handler = find(event)
        if handler is not None:
            handler(arguments)

    sys.addaudithook(hook)
    _installed = True
