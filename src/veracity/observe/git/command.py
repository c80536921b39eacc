"""Runs git in a repository that belongs to somebody else and may be hostile.

Hooks, fsmonitor, external diff, textconv, filters, pager, network, lazy fetching and submodules are switched
off; signatures are never checked by git, since it would start the program that the repository names for that.
The environment is our own, time and output are bounded.
"""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass

from ...core.errors import EvidenceError, ResourceLimitError

SECONDS = 10.0
MAX_OUTPUT = 4 << 20
MAX_LISTING = 256 << 20
"""Bytes: of a list of all files of a repository."""

_SAFE = (
    *("-c", "core.fsmonitor=false"),
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "core.attributesFile=/dev/null"),
    *("-c", "core.untrackedCache=false"),
    *("-c", "core.commitGraph=false"),
    *("-c", "core.splitIndex=false"),
    *("-c", "core.sshCommand=false"),
    *("-c", "core.quotePath=false"),
    *("-c", "diff.external="),
    *("-c", "diff.trustExitCode=false"),
    *("-c", "log.showSignature=false"),
    *("-c", "protocol.allow=never"),
    # Reading another account's repository is the use; what its configuration could run is off.
    *("-c", "safe.directory=*"),
)
_OFF_FILTER = (("clean", ""), ("smudge", ""), ("process", ""), ("required", "false"))
_OFF_HOOK = (("event", ""), ("enabled", "false"))
_ACCOUNT = ("HOME", "XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM")
"""What leads git to the settings of an account and of the system."""
DIFF = ("diff", "--no-ext-diff", "--no-textconv", "--no-color", "--ignore-submodules=all", "--no-renames")


@dataclass(frozen=True, slots=True)
class Output:
    """What a command wrote, cut at its limit when ``truncated``."""

    code: int
    data: bytes
    truncated: bool


def program() -> str | None:
    """The git on this process' PATH."""
    return shutil.which("git", path=os.environ.get("PATH", os.defpath))


class Git:
    """Runs git in one directory."""

    def __init__(self, program: str, directory: str) -> None:
        self._program = program
        self._filters: list[str] = []
        self.directory = directory

    def refuse_filters(self) -> str:
        """Switch off the content filters of the repository's configuration, which git diff would run.

        And hooks that are settings, which newer versions know beside those in the folder. A sentence when the
        configuration cannot be read; else empty.
        """
        found = self.run("config", "-z", "--name-only", "--get-regexp", r"^(filter|hook)\.")
        if isinstance(found, str):
            return found
        if found.truncated:
            return "the repository's configuration is too large"
        for name in sorted({key.rpartition(".")[0] for key in os.fsdecode(found.data).split("\0") if key}):
            if "=" in name:
                return "the repository configures a filter whose name cannot be switched off"
            for key, value in _OFF_FILTER if name.startswith("filter.") else _OFF_HOOK:
                self._filters += ["-c", f"{name}.{key}={value}"]
        return ""

    def text(self, *arguments: str) -> str:
        """Output of a command as text; empty when it fails."""
        output = self.run(*arguments)
        if isinstance(output, str) or output.code != 0:
            return ""
        return output.data.decode("utf-8", "replace").strip()

    def names(self, *arguments: str) -> list[str]:
        """File names, separated by NUL in the output."""
        output = self.run(*arguments)
        if isinstance(output, str) or output.code != 0:
            return []
        return [name for name in output.data.decode("utf-8", "surrogateescape").split("\0") if name]

    def required(
        self,
        *arguments: str,
        stdin: bytes = b"",
        account: bool = False,
        replaced: bool = False,
        index: str = "",
        cut_at: int = 0,
    ) -> bytes:
        """All that a command writes, or its first ``cut_at`` bytes.

        ``account``: with the settings of the account and the system, which :meth:`run` leaves out.
        ``replaced``: with other objects where the repository has them stand for the real ones. ``index``: a
        file to use in the index's place. Raises EvidenceError when the command fails or is too slow,
        ResourceLimitError when it writes more than :data:`MAX_LISTING`.
        """
        environment = {**_environment(), "GIT_LITERAL_PATHSPECS": "1"}
        if account:
            environment = {name: value for name, value in environment.items() if name not in _ACCOUNT}
            environment |= {name: os.environ[name] for name in _ACCOUNT if name in os.environ}
        if replaced:
            del environment["GIT_NO_REPLACE_OBJECTS"]
        if index:
            environment["GIT_INDEX_FILE"] = index
        output = self._run(arguments, stdin, environment, cut_at or MAX_LISTING)
        if isinstance(output, str):
            raise EvidenceError(output, where=self.directory)
        if output.truncated and not cut_at:
            raise ResourceLimitError(f"git {arguments[0]} writes too much", where=self.directory)
        if output.code != 0:
            raise EvidenceError(f"git {arguments[0]} fails in this repository", where=self.directory)
        return output.data

    def run(self, *arguments: str) -> Output | str:
        """One command: its output, cut at ``MAX_OUTPUT``, or why there is none."""
        return self._run(arguments, b"", _environment(), MAX_OUTPUT)

    def _run(
        self, arguments: tuple[str, ...], stdin: bytes, environment: dict[str, str], limit: int
    ) -> Output | str:
        command = [self._program, "--no-pager", *_SAFE, *self._filters, *arguments]
        try:
            # A file and no pipe: who writes into a pipe while the other end writes, too, may wait forever.
            with tempfile.TemporaryFile() as given:
                given.write(stdin)
                given.seek(0)
                process = subprocess.Popen(
                    command,
                    cwd=self.directory,
                    env=environment,
                    stdin=given if stdin else subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
        except OSError as error:
            return f"git could not be started: {error.strerror}"
        return _collect(process, limit)


def _collect(process: subprocess.Popen[bytes], limit: int) -> Output | str:
    data = bytearray()
    deadline = time.monotonic() + SECONDS
    with process:
        pipe = process.stdout
        while pipe is not None and len(data) <= limit:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([pipe], [], [], left)[0]:
                process.kill()
                return f"git took longer than {SECONDS:.0f} s"
            part = os.read(pipe.fileno(), 1 << 16)
            if not part:
                break
            data += part
        if len(data) > limit:
            process.kill()
            return Output(0, bytes(data[:limit]), True)
        try:
            code = process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            return f"git took longer than {SECONDS:.0f} s"
    return Output(code, bytes(data), False)


def _environment() -> dict[str, str]:
    """Nothing of ours but PATH: no GIT_*, no HOME with its configuration."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C",
        "HOME": "/nonexistent",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_ALLOW_PROTOCOL": "none",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_GRAFT_FILE": "/dev/null",
        # Settings of the system may ask for traces: into files of their choice, or to a program's socket.
        "GIT_TRACE2": "0",
        "GIT_TRACE2_EVENT": "0",
        "GIT_TRACE2_PERF": "0",
    }
