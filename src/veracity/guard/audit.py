"""The interpreter's audit events (PEP 578), for all who need one of them.

An audit hook stays for the life of the process and is called for every event, ``id()`` included: about
0.25 us each, of which 0.2 us are the interpreter's own; a training step of 50 parameter tensors raises about
150. So there is one hook, which looks the event up and does nothing else; laws register a handler for the
events they need. A handler gets the event's arguments, runs within whatever raised the event, and must be
quick.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .shield import Shield

Handler = Callable[[tuple[object, ...]], None]

_handlers: dict[str, Handler] = {}
_installed = False


def watch(event: str, handler: Handler, shield: Shield, site: str) -> None:
    """Call ``handler(arguments)`` at each audit event ``event``; what it raises, ``shield`` takes.

    A second handler of one event is called after the first.
    """
    earlier = _handlers.get(event)

    def call(arguments: tuple[object, ...]) -> None:
        if earlier is not None:
            earlier(arguments)
        shield.run(site, handler, arguments)

    _handlers[event] = call
    _install()


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
