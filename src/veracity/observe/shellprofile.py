"""Which files a shell executes before the command that it is given: bash(1), dash(1), zsh(1).

What these files execute in their turn (``. file``) is not followed, apart from ``/etc/profile.d``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import dropwhile

from .pyenv import read_small

SHELLS = ("bash", "sh", "dash", "ash", "ksh", "zsh")
PROFILES = "/etc/profile.d"
MAX_SCRIPT = 64 << 10
MAX_WORDS = 200
_WITH_VALUE = ("-o", "+o", "-O", "+O")
_FIRST_LINE = re.compile(rb"#![ \t]*(\S+)([^\r\n]*)")


def profiles_of(command: Sequence[str], variables: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """File and what brings it in, for the first shell that a command names or whose script it starts."""
    words = list(command[:MAX_WORDS])
    for at, word in enumerate(words):
        if os.path.basename(word).lstrip("-") in SHELLS:
            yield from _of_shell(word, words[at + 1 :], variables)
            return
        if at == 0 and (first := _shebang(word)):
            yield from _of_shell(first[0], first[1:], variables)
            return


def _shebang(path: str) -> list[str]:
    """The interpreter of a script, if it is a shell, and its options."""
    match = _FIRST_LINE.match(read_small(path, MAX_SCRIPT, cut=True) or b"")
    if match is None:
        return []
    words = [os.fsdecode(match[1]), *os.fsdecode(match[2]).split()]
    if os.path.basename(words[0]) == "env":
        words = list(dropwhile(lambda word: word.startswith("-"), words[1:]))
    return words if words and os.path.basename(words[0]) in SHELLS else []


def _of_shell(shell: str, words: Sequence[str], variables: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    name = os.path.basename(shell).lstrip("-")
    login, interactive, off, own = _options(shell, words)
    home = variables.get("HOME", "")
    via = f"{name}{' -l' if login else ''}{' -i' if interactive else ''}"
    if name == "zsh":
        folder = variables.get("ZDOTDIR") or home
        for stem, when in (("zshenv", True), ("zprofile", login), ("zshrc", interactive), ("zlogin", login)):
            if when:
                yield from ((path, via) for path in (f"/etc/zsh/{stem}", f"/etc/{stem}"))
                yield from _at_home(folder, (f".{stem}",), via)
        return
    if login and "--noprofile" not in off:
        yield "/etc/profile", via
        yield from ((path, via) for path in _scripts(PROFILES))
        first = (".bash_profile", ".bash_login", ".profile") if name == "bash" else (".profile",)
        yield from _at_home(home, first, via)
    if name != "bash":
        if interactive and variables.get("ENV"):
            yield variables["ENV"], "ENV"
    elif not interactive:
        if variables.get("BASH_ENV"):
            yield variables["BASH_ENV"], "BASH_ENV"
    elif not login and "--norc" not in off:
        yield "/etc/bash.bashrc", via
        yield from [(own, via)] if own else _at_home(home, (".bashrc",), via)


def _options(shell: str, words: Sequence[str]) -> tuple[bool, bool, set[str], str]:
    """Whether it is a login shell and an interactive one, what it is told to leave out, and its own file."""
    login, interactive = os.path.basename(shell).startswith("-"), False
    off: set[str] = set()
    own = ""
    rest = list(words)
    while rest and rest[0][:1] in ("-", "+") and len(rest[0]) > 1:
        word = rest.pop(0)
        if word == "--":
            break
        if word in ("--rcfile", "--init-file"):
            own = rest.pop(0) if rest else ""
        elif word.startswith("--"):
            login = login or word == "--login"
            off.add(word)
        elif word in _WITH_VALUE:
            rest[:1] = []
        elif word.startswith("-"):
            login, interactive = login or "l" in word, interactive or "i" in word
            if "c" in word:
                break
    return login, interactive, off, own


def _at_home(home: str, names: Sequence[str], via: str) -> Iterator[tuple[str, str]]:
    """The first of these files that is there."""
    for name in names:
        if home and os.path.isfile(os.path.join(home, name)):
            yield os.path.join(home, name), via
            return


def _scripts(folder: str) -> list[str]:
    try:
        return [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if name.endswith(".sh")]
    except OSError:
        return []
