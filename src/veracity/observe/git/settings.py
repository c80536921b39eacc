"""Settings of git that start a program, or lead git to another place.

Listing settings starts nothing. Those of the account and of the system are read, too: they count for whoever
uses git in this repository under this account. What a setting does is from git-config(1) of git 2.51 and, for
large files, from git-lfs-config(5).
"""

from __future__ import annotations

import hashlib
import os
import re

from ...core.errors import EvidenceError
from ...core.repository import Setting
from ...core.tree import escaped
from .command import Git

MAX_SETTINGS = 2_000
MAX_VALUE = 2_000
HOOKS_PATH = "core.hookspath"
OURS = "command"
"""The scope of what :class:`Git` itself sets, and of nothing else, since its environment has no settings."""

# Names as git lists them: first and last word in small letters, what is between as it was written.
_STARTS = re.compile(
    r"""(?x)
      core\.(?:askpass|editor|fsmonitor|gitproxy|hookspath|pager|sshcommand|alternaterefscommand)
    | sequence\.editor | interactive\.difffilter | gc\.recentobjectshook | imap\.tunnel
    | uploadpack\.packobjectshook | hook\..*\.command | instaweb\.httpd
    | diff\.external | diff\..*\.(?:command|textconv) | filter\..*\.(?:clean|smudge|process)
    | merge\..*\.driver | (?:diff|merge)tool\..*\.(?:cmd|path) | guitool\..*\.cmd
    | (?:browser|man)\..*\.(?:cmd|path) | pager\..*
    | credential\.(?:.*\.)?helper
    | gpg\.(?:.*\.)?program | gpg\.ssh\.defaultkeycommand
    | remote\..*\.(?:uploadpack|receivepack|vcs) | submodule\..*\.update
    | sendemail\.(?:.*\.)?(?:smtpserver|sendmailcmd|tocmd|cccmd|headercmd)
    | tar\..*\.command | trailer\..*\.(?:command|cmd)
    | lfs\.(?:extension\..*\.(?:clean|smudge)|customtransfer\..*\.path)
    | include\.path | includeif\..*\.path
    | core\.(?:worktree|attributesfile|excludesfile) | init\.templatedir | gpg\.ssh\.allowedsignersfile
    """
)
_ALIAS = re.compile(r"alias\..*")
_HARMLESS = re.compile(r"(?i)(?:true|false|yes|no|on|off|[01]|checkout|merge|rebase|none)?")
"""Of settings that may name a program: values that only switch something that git brings itself."""
_SWITCHES = re.compile(r"core\.fsmonitor|pager\..*|submodule\..*\.update")


class Settings:
    """All settings that count for a repository, in git's order: the last one of a name counts."""

    def __init__(self, git: Git) -> None:
        """Raises EvidenceError when they cannot be read."""
        listed = git.required("config", "--list", "--show-scope", "--show-origin", "-z", account=True)
        fields = listed.split(b"\0")[:-1]
        if len(fields) % 3:
            raise EvidenceError("git lists its settings in a form that is not known here")
        self._all: list[tuple[str, str, str, str]] = []
        for at in range(0, len(fields), 3):
            scope, origin, pair = map(os.fsdecode, fields[at : at + 3])
            if scope != OURS:
                # Without an equals sign a setting is true, and no newline follows its name.
                key, _, value = pair.partition("\n")
                self._all.append((scope, origin.removeprefix("file:"), key, value))

    def last(self, key: str) -> tuple[str, str]:
        """Scope and value of what counts under a name; two empty texts when it is not set."""
        found = [(scope, value) for scope, _, name, value in self._all if name == key]
        return found[-1] if found else ("", "")

    def is_true(self, key: str, otherwise: bool) -> bool:
        """Whether a switch is on. One without a value is on, as git has it."""
        scope, value = self.last(key)
        return otherwise if not scope else value.lower() in ("true", "yes", "on", "1", "", "input")

    def attributes(self) -> str:
        """The account's file of attributes, as git would take it."""
        _, named = self.last("core.attributesfile")
        above = os.environ.get("XDG_CONFIG_HOME") or os.path.join("~", ".config")
        return os.path.expanduser(named or os.path.join(above, "git", "attributes"))

    def starting(self) -> list[Setting]:
        """Those that start a program or lead elsewhere, in their order."""
        return [
            Setting(scope, escaped(os.fsencode(origin)), _text(key), _shown(_text(value)))
            for scope, origin, key, value in self._all
            if _starts(key, value)
        ]


def _starts(key: str, value: str) -> bool:
    if _ALIAS.fullmatch(key):
        # Without the mark it is a command of git's own; with an option, one that may bring settings along.
        return value.lstrip().startswith(("!", "-"))
    if _SWITCHES.fullmatch(key) and _HARMLESS.fullmatch(value):
        return False
    return _STARTS.fullmatch(key) is not None


def _text(value: str) -> str:
    """As it can be shown and signed: what is no text is spelled out."""
    return os.fsencode(value).decode("utf-8", "backslashreplace")


def _shown(value: str) -> str:
    if len(value) <= MAX_VALUE:
        return value
    digest = hashlib.sha256(os.fsencode(value)).hexdigest()
    return f"{value[:MAX_VALUE]}… and more, in all sha256 {digest}"
