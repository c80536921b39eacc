"""What is said of one document: observations with the same name and origin."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from ...core.observation import CodeCarried, CommandAsked, FileAsked, NameAsked
from ...core.origin import Origin, monitor_origin
from .value import Path, Value, path_text

MAX_TEXT = 300
MAX_COMMAND = 200_000


def _now() -> Origin:
    return monitor_origin(time.time_ns(), source="scan")


@dataclass(frozen=True, slots=True)
class Saying:
    """Makes observations of the document ``name``; ``inside`` is where in it the values lie.

    ``depth``: out of how many containers the document was taken. ``root``: all of its values, where a loader
    puts one in the place of another.
    """

    name: str
    inside: str = ""
    depth: int = 0
    root: Value = None
    origin: Origin = field(default_factory=_now)

    def where(self, path: Path, *more: str | int) -> str:
        """A place in the document."""
        text = path_text(path, *more)
        return f"{self.inside}{'.' if self.inside and text else ''}{text}"

    def asks(self, where: str, loader: str, way: str, target: str, repository: str = "") -> NameAsked:
        """The loader imports ``target``, ``module.attribute``."""
        module, _, attribute = target[:MAX_TEXT].rpartition(".")
        return self.asks_of(where, loader, way, module, attribute, repository)

    def asks_of(
        self, where: str, loader: str, way: str, module: str, attribute: str, repository: str = ""
    ) -> NameAsked:
        """The loader imports ``attribute`` of ``module``."""
        return NameAsked(
            self.origin,
            self.name,
            where,
            loader,
            way,
            module[:MAX_TEXT],
            attribute[:MAX_TEXT],
            repository[:MAX_TEXT],
        )

    def carries(self, where: str, loader: str, form: str, text: str = "") -> CodeCarried:
        """The document brings code with it."""
        return CodeCarried(self.origin, self.name, where, loader, form, text[:MAX_TEXT])

    def file(self, where: str, loader: str, path: str) -> FileAsked:
        """The loader opens another file."""
        return FileAsked(self.origin, self.name, where, loader, path[:MAX_TEXT])

    def command(self, where: str, line: int, how: str, text: str) -> CommandAsked:
        """The document hands a command to the shell."""
        return CommandAsked(self.origin, self.name, where, line, how, text[:MAX_COMMAND])
