"""The process that compiles and unmarshals for us, under the job's own interpreter."""

from __future__ import annotations

from pathlib import Path

from .lineworker import LineWorker, Share

SECONDS_PER_REQUEST = 60.0

_PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from {package}.guard.codecheck import main; main()"


class CheckWorker(LineWorker):
    """The worker of checks; ``package`` is the guard's name in ``archive``."""

    def __init__(
        self, python: str, archive: Path, package: str, *, share: Share = Share.ITS_STARTERS
    ) -> None:
        command = [python, "-I", "-S", "-B", "-c", _PROGRAM.format(package=package), str(archive)]
        super().__init__(command, "the checker", seconds=SECONDS_PER_REQUEST, share=share)
