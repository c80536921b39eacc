"""The state of the git working tree that a command was started from.

The repository belongs to somebody else and may be hostile: git is run without hooks, fsmonitor, external
diff, textconv, filters, pager, network or submodules, with an environment of its own, for a bounded time and
output.
Author names and dates are not read: whoever commits may write there what he likes.
"""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import time
from dataclasses import dataclass

SECONDS = 10.0
MAX_OUTPUT = 4 << 20
MAX_DIFF_LINES = 5_000
MAX_LINE = 1_000
MAX_FILES = 2_000

_SAFE = (
    *("-c", "core.fsmonitor=false"),
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "core.attributesFile=/dev/null"),
    *("-c", "core.untrackedCache=false"),
    *("-c", "core.sshCommand=false"),
    *("-c", "core.quotePath=false"),
    *("-c", "diff.external="),
    *("-c", "diff.trustExitCode=false"),
    *("-c", "protocol.allow=never"),
    # Reading another account's repository is the use; what its configuration could run is off.
    *("-c", "safe.directory=*"),
)
_DIFF = ("diff", "--no-ext-diff", "--no-textconv", "--no-color", "--ignore-submodules=all", "--no-renames")


@dataclass(frozen=True, slots=True)
class GitState:
    """``commit`` is empty before the first one, ``branch`` when HEAD is detached.

    ``dirty``: tracked files that differ from the commit; ``untracked``: Python files not under version
    control and not ignored; ``diff``: unified diff lines of the tracked changes, cut when ``truncated``.
    ``remotes`` are URLs as configured, with any credentials in them.
    """

    root: str
    commit: str
    branch: str
    dirty: list[str]
    untracked: list[str]
    diff: list[str]
    truncated: bool
    remotes: list[str]


@dataclass(frozen=True, slots=True)
class _Output:
    code: int
    data: bytes
    truncated: bool


def read_git(directory: str) -> GitState | str:
    """State of the repository that holds ``directory``, or a sentence saying why there is none."""
    program = shutil.which("git", path=os.environ.get("PATH", os.defpath))
    if program is None:
        return "git is not installed"
    if not os.path.isdir(directory):
        return f"{directory} is not a folder"
    git = _Git(program, directory)
    top = git.run("rev-parse", "--show-toplevel")
    if isinstance(top, str):
        return top
    if top.code != 0 or not top.data.strip():
        return "not in a git working tree"
    git = _Git(program, os.fsdecode(top.data.rstrip(b"\n")))
    refused = git.refuse_filters()
    if refused:
        return refused
    return _state(git)


def _state(git: _Git) -> GitState | str:
    commit = git.text("rev-parse", "--verify", "-q", "HEAD")
    # Before the first commit everything is compared with the empty tree.
    since = commit or git.text("hash-object", "-t", "tree", "/dev/null")
    dirty = git.names(*_DIFF, "--name-only", "-z", since, "--")
    untracked = git.names("ls-files", "-z", "--others", "--exclude-standard", "--", "*.py")
    diff = git.run(*_DIFF, "--unified=3", since, "--")
    if isinstance(diff, str):
        return diff
    if diff.code != 0:
        return "git could not compare the working tree with its commit"
    lines = diff.data.decode("utf-8", "replace").splitlines()
    remotes = git.text("config", "--get-regexp", r"^remote\..*\.url$").splitlines()
    return GitState(
        root=git.directory,
        commit=commit,
        branch=git.text("symbolic-ref", "-q", "--short", "HEAD"),
        dirty=dirty[:MAX_FILES],
        untracked=untracked[:MAX_FILES],
        diff=[line[:MAX_LINE] for line in lines[:MAX_DIFF_LINES]],
        truncated=diff.truncated
        or len(lines) > MAX_DIFF_LINES
        or max(len(dirty), len(untracked)) > MAX_FILES,
        remotes=[line.partition(" ")[2] for line in remotes[:100]],
    )


class _Git:
    """Runs git in one directory."""

    def __init__(self, program: str, directory: str) -> None:
        self._program = program
        self._filters: list[str] = []
        self.directory = directory

    def refuse_filters(self) -> str:
        """Switch off the content filters of the repository's configuration, which git diff would run.

        A sentence when the configuration cannot be read; else empty.
        """
        found = self.run("config", "-z", "--name-only", "--get-regexp", r"^filter\.")
        if isinstance(found, str):
            return found
        if found.truncated:
            return "the repository's configuration is too large"
        for name in sorted({key.rpartition(".")[0] for key in os.fsdecode(found.data).split("\0") if key}):
            if "=" in name:
                return "the repository configures a filter whose name cannot be switched off"
            for key, value in (("clean", ""), ("smudge", ""), ("process", ""), ("required", "false")):
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

    def run(self, *arguments: str) -> _Output | str:
        """One command: its output, cut at ``MAX_OUTPUT``, or why there is none."""
        command = [self._program, "--no-pager", *_SAFE, *self._filters, *arguments]
        try:
            process = subprocess.Popen(
                command,
                cwd=self.directory,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            return f"git could not be started: {error.strerror}"
        return _collect(process)


def _collect(process: subprocess.Popen[bytes]) -> _Output | str:
    data = bytearray()
    deadline = time.monotonic() + SECONDS
    with process:
        pipe = process.stdout
        while pipe is not None and len(data) <= MAX_OUTPUT:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([pipe], [], [], left)[0]:
                process.kill()
                return f"git took longer than {SECONDS:.0f} s"
            part = os.read(pipe.fileno(), 1 << 16)
            if not part:
                break
            data += part
        if len(data) > MAX_OUTPUT:
            process.kill()
            return _Output(0, bytes(data[:MAX_OUTPUT]), True)
        try:
            code = process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            return f"git took longer than {SECONDS:.0f} s"
    return _Output(code, bytes(data), False)


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
    }
