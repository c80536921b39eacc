"""A notebook has the shell do what no experiment needs.

## The law

Load: nothing that can execute is loaded unseen.

## What breaks it

A cell that decodes a text and runs it, opens a shell to another host, sends keys and credentials away,
changes the installed libraries in place, or deletes a home. Nobody who runs all cells reads each line.

## How it is checked

Commands are those that IPython would hand to the shell: lines with ``!``, ``%system``, cells with
``%%bash`` and their like. Installing packages, fetching data, looking at the machine are what notebooks are
for, and nothing. What decodes and runs, connects a shell, sends or reads credentials, changes what starts
by itself or deletes everything is an error; what fetches a script and runs it, or changes libraries in
place, is a warning.

## What fools it

A script that is fetched in one cell and run in another; a program of the notebook's own. Cells in languages
other than Python and the shell are not read.

## What to do

Do not run the cell. Ask who wrote it, and what it was for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import CommandAsked, Observation
from ....core.rule import Confidence, Rule, Severity

_SHELL = r"(sudo\s+)?(env\s+)?(/\S*/)?(ba|z|da|k|a)?sh\b"
# With -m or a file of its own, a program reads what it is fed as data.
_PROGRAM = r"(sudo\s+)?(env\s+)?(/\S*/)?(python|perl|ruby|node)[\d.]*(\s+-)?\s*(?=$|[;&|)'\"])"
_RUNS = rf"{_SHELL}|{_PROGRAM}"
_CREDENTIALS = (
    r"(\.ssh/|id_rsa|id_ed25519|\.aws/|\.netrc|\.kube/config|\.git-credentials|\.huggingface/|\.pypirc"
    r"|\.cache/huggingface/token|\.docker/config|\.config/gcloud|/etc/shadow)"
)
_DECODES = (
    rf"\b(base64|openssl\s+(enc|base64)|xxd|uudecode)\b[^|\n]*(-d|-D|--decode|-r)\b[^|\n]*\|\s*({_RUNS})"
    r"|\b(python|perl|ruby)[\d.]*\s+-[ce]\s+[^\n]*\b(b64decode|fromhex|decompress|exec\s*\(\s*\w*\(|marshal)"
)
_CONNECTS = (
    r"/dev/(tcp|udp)/|\b(nc|ncat|netcat)\b[^\n]*\s(-\w*[ec]\b|--exec|--sh-exec)"
    r"|\bmkfifo\b[^\n]*\b(nc|ncat|telnet)\b|\bsocat\b[^\n]*\bexec:"
)
_SENDS = (
    rf"\b(curl|wget|nc|ncat|scp|rsync|ftp)\b[^\n]*{_CREDENTIALS}|{_CREDENTIALS}[^\n]*\|\s*(curl|nc|ncat)\b"
)
_STARTS = (
    r"(>|\btee\b|\bcp\b|\bmv\b|\bln\b)[^\n|]*(authorized_keys|/etc/ld\.so\.preload|/etc/cron"
    r"|sitecustomize\.py|usercustomize\.py|-packages/\S*\.pth)|\bcrontab\s+(-\s|[^-\s])|\|\s*crontab\b"
)
_DELETES = (
    r"\brm\s+(-\w+\s+)*-\w*[rR]\w*\s+(-\S+\s+)*['\"]?(/|~|\$HOME|\$\{HOME\}|/root|/home)/?\*?['\"]?(\s|$|;|&)"
    r"|\bmkfs\b|\bdd\b[^\n]*\bof=/dev/(sd|nvme|vd|hd)"
)
_FETCHES = rf"\b(curl|wget)\b[^|\n]*\|\s*({_RUNS})|({_SHELL})\s+(-c\s+)?[\"']?[<$]\(\s*(curl|wget)\b"
_CHANGES = (
    r"\b(sed\s+(-\S+\s+)*-\w*i|patch\b|tee\b|cp\b|mv\b)[^\n|]*(site|dist)-packages/\S+"
    r"|>\s*\S*(site|dist)-packages/\S+"
)
_RULES = tuple(
    (re.compile(pattern), why, severity)
    for pattern, why, severity in (
        (_DECODES, "decodes a text and runs it", Severity.ERROR),
        (_CONNECTS, "connects a shell to another host", Severity.ERROR),
        (_SENDS, "sends credentials away", Severity.ERROR),
        (_STARTS, "changes what starts by itself", Severity.ERROR),
        (_DELETES, "deletes everything", Severity.ERROR),
        (_FETCHES, "fetches a script and runs it", Severity.WARNING),
        (_CHANGES, "changes installed libraries in place", Severity.WARNING),
    )
)
MAX_TEXT = 50_000
PIECE = 1_000


class NotebookCommand:
    """One finding for each command."""

    rule: ClassVar[Rule] = Rule(
        "checkpoint-notebook-command",
        "load",
        "A notebook has the shell do what no experiment needs",
        Severity.ERROR,
        Confidence.MEDIUM,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (CommandAsked,)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "commands of notebooks")

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Judge one command."""
        if not isinstance(observation, CommandAsked):
            return
        one = observation
        self._coverage.count(checked=True)
        why, severity = _why(one)
        if why:
            yield finding_of(
                self.rule,
                one.name,
                f"{one.where} of {one.name} {why}",
                locations=(Location(one.name),),
                evidence=(Evidence(f"{one.where}, line {one.line}", observed=one.text[:300]),),
                severity=severity,
            )

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        return iter(())

    def coverage(self) -> Coverage:
        """Commands that notebooks hand to the shell."""
        return self._coverage


def _why(one: CommandAsked) -> tuple[str, Severity]:
    if one.how in ("run", "load", "loadpy"):
        return "runs a script from another host", Severity.WARNING
    if one.how == "cell" or len(one.text) > MAX_TEXT:
        return "is longer than what is read of a cell", Severity.WARNING
    lines = list(_lines(one.text))
    for pattern, why, severity in _RULES:
        if any(pattern.search(line) for line in lines):
            return why, severity
    return "", Severity.NOTE


def _lines(text: str) -> Iterator[str]:
    """Lines with those that go on joined; long ones in pieces that overlap, since time grows with length."""
    for line in text.replace("\\\n", " ").split("\n"):
        for at in range(0, max(1, len(line)), PIECE // 2):
            yield line[at : at + PIECE]
