"""Code that no package vouches for runs before the program.

## The law

Start-up purity: nothing runs before the program that is neither sealed, nor owned by a distribution or
system package, nor a known file of a virtual environment.

## What breaks it

A line that begins with ``import`` in a ``.pth`` file of the site directory, a ``sitecustomize`` or
``usercustomize``, a class named in ``PYTHONWARNINGS``, an entry point that torch loads as a device back
end: all of them run in every Python of the environment, before the first line of the program, and none is
imported by it.

## How it is checked

The monitor lists what executes at start-up from the site directories and from the variables that the
process was started with, and asks who owns each file: RECORD of a distribution, conda, dpkg. Code without
an owner is read (not executed), with what it imports. The guard names the modules that were there before
it. A warning is given for code without an owner, and a note where it stands as in the last run that held.
It is an error that breaks the run when its text assigns to something inside torch, numpy or random, when it
decodes what it executes, and when an executed ``.pth`` differs from what RECORD says of it. Code that
enters the import system and names one of the three is an error; it breaks the run if it was not there, or
was other, in the last run of this environment that held.

## What fools it

A forged RECORD or ``dist-info`` beside the file. A ``_virtualenv.py`` that does other things in the words of
virtualenv's and uv's alone. Text that is written to be read as harmless: then there is the warning alone.
Libraries that torch opens later, and files that only the standard library's folder holds. Processes that
Veracity's guard did not enter.

## What to do

Look at the lines that are shown and at who can write to the folder. What you wrote yourself belongs into a
distribution (``pip install`` of a small package): then a RECORD vouches for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import Observation, StartupItem
from ....core.rule import Confidence, Rule, Severity

MAX_FINDINGS = 100
CODE = ("pth", "sitecustomize", "usercustomize", "module", "plugin")
_EXACT_INSTALLERS = ("pip", "uv", "poetry", "pdm")
_DOES = {
    "": "",
    "imports": ", and it uses torch, numpy or random",
    "hooks": ", and it puts itself into the import system",
    "targets": ", and it puts itself into the import system and names torch, numpy or random",
    "replaces": ", and it replaces something inside torch, numpy or random",
    "hides": ", and it decodes what it executes",
}
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class StartupUnowned:
    """One finding for each piece of code, once for all processes that start with it."""

    rule: ClassVar[Rule] = Rule(
        "environment-startup-unowned",
        "start-up-purity",
        "Code that no package vouches for runs before the program",
        Severity.WARNING,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (StartupItem,)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "start-up items")
        self._reported: set[tuple[str, int, str]] = set()

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Judge one item."""
        if not isinstance(observation, StartupItem) or observation.kind not in CODE:
            return
        self._coverage.count(checked=True)
        altered = observation.standing == "altered" and observation.kind == "pth"
        if observation.standing != "none" and not altered:
            return
        key = (observation.path, observation.line, observation.sha256)
        if key in self._reported:
            return
        if len(self._reported) >= MAX_FINDINGS:
            self._coverage.skip(
                f"more than {MAX_FINDINGS} pieces of code without an owner: the rest is not listed"
            )
            return
        self._reported.add(key)
        yield self._finding(observation)

    def _finding(self, item: StartupItem) -> Finding:
        severity, confidence = _weight(item)
        who = (
            f"{item.path} is not as the RECORD of {item.owner} says and runs before the program"
            if item.standing == "altered"
            else f"{item.path} belongs to no package and runs before the program ({item.via})"
        )
        does = _DOES.get(item.effect, "")
        return finding_of(
            self.rule,
            item.name,
            f"{who}{does}{_since(item)}",
            rank=item.origin.rank,
            locations=(Location(item.path, item.line or _first_line(item)),),
            evidence=tuple(_evidence(item)),
            severity=severity,
            confidence=confidence,
        )

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        return iter(())

    def coverage(self) -> Coverage:
        """Pieces of code that run at start-up and whose owner was asked for."""
        return self._coverage


def _weight(item: StartupItem) -> tuple[Severity, Confidence]:
    if item.standing == "altered":
        exact = item.installer in _EXACT_INSTALLERS
        return Severity.ERROR, Confidence.HIGH if exact else Confidence.MEDIUM
    # A back end for torch is there to change torch.
    if item.kind != "plugin":
        if item.effect in ("replaces", "hides"):
            return Severity.ERROR, Confidence.HIGH
        if item.effect == "targets":
            moved = item.before in ("new", "changed")
            return Severity.ERROR, Confidence.HIGH if moved else Confidence.MEDIUM
    if item.before == "same":
        return Severity.NOTE, Confidence.HIGH
    return Severity.WARNING, Confidence.HIGH


def _since(item: StartupItem) -> str:
    return {
        "new": "; it was not there in the last run of this environment that held",
        "changed": "; it was other in the last run of this environment that held",
        "same": "; it stands as in the last run of this environment that held",
    }.get(item.before, "")


def _first_line(item: StartupItem) -> int:
    number = item.effects[0].partition(":")[0] if item.effects else ""
    return int(number) if number.isascii() and number.isdigit() and len(number) < 10 else 0


def _evidence(item: StartupItem) -> Iterator[Evidence]:
    if item.text:
        yield Evidence("line" if item.kind == "pth" else "remark", observed=item.text)
    if item.effects and item.kind != "pth":
        yield Evidence("lines", observed=item.path, excerpt=tuple(item.effects))
    yield Evidence("SHA-256", observed=item.sha256)
    if 0 < item.modified_at < 10**20:
        try:
            at = _EPOCH + timedelta(microseconds=item.modified_at // 1000)
        except OverflowError:
            return
        text = at.isoformat(timespec="seconds").replace("+00:00", "Z")
        yield Evidence("modification time by the file system (self-report)", observed=text)
