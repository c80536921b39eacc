"""How closely sealed files are looked at again, and what each way cannot see.

There are four levels. Whatever is compared says which one it was done at: a reading that trusts times and one
that trusted nothing must not look alike in a record.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from .errors import UsageError
from .quantity import quantity

MILLION = 1_000_000
USUAL_SHARE = 10_000
"""Millionths of the files that ``sample`` reads when nothing else is said: 1 %."""
MISSED_FOR = (1, 10, 100)
_SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,4})?)%?\Z", re.ASCII)
_WORDS = {"full": "full", "kernel": "kernel-verified", "stat": "stat", "sample": "sample"}
_STRENGTH = ("stat", "sample", "kernel-verified", "full")


@dataclass(frozen=True, slots=True)
class Level:
    """One of the levels; ``share``: of ``sample``, the millionths of all files that are read in full."""

    name: str
    share: int = 0

    def __str__(self) -> str:
        return f"{self.name}={percent(self.share)}" if self.share else self.name

    @property
    def trusts_times(self) -> bool:
        """Whether a file can pass because it looks as it did when it was last read."""
        return self.name in ("stat", "sample")

    @property
    def remembers(self) -> bool:
        """Whether anything but reading all bytes can answer for a file."""
        return self.name != "full"

    def is_weaker_than(self, other: Level) -> bool:
        """Whether it may miss something that ``other`` finds."""
        mine, theirs = _STRENGTH.index(self.name), _STRENGTH.index(other.name)
        return mine < theirs or (mine == theirs and self.share < other.share)


FULL, KERNEL, STAT = Level("full"), Level("kernel-verified"), Level("stat")


def level_of(text: object) -> Level:
    """The level that ``full``, ``kernel``, ``stat``, ``sample`` or ``sample=1%`` asks for.

    Raises UsageError for anything else; a share is more than 0 and at most 100 %.
    """
    word, equals, rest = text.partition("=") if isinstance(text, str) else ("", "", "")
    name = _WORDS.get(word, word if word in _STRENGTH else "")
    share = USUAL_SHARE if name == "sample" and not equals else 0
    if equals and (match := _SHARE.match(rest)):
        share = int(Decimal(match[1]) * (MILLION // 100))
    if not name or (name == "sample") != bool(share) or share > MILLION or (equals and name != "sample"):
        shown = text[:80] if isinstance(text, str) else type(text).__name__
        raise UsageError(
            f"no level of verification: {shown!r}",
            remedy="levels are full, kernel, stat and sample=SHARE, a share of the files like 1%",
        )
    return Level(name, share)


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look at a level consisted of, as numbers of files.

    ``read``: all bytes were read. ``by_kernel``: fs-verity vouched for the bytes. ``by_stat``: it looked as
    it did when it was last read. ``size``: bytes that were read. ``because``: why some were read that the
    level would have let pass.
    """

    level: Level
    read: int
    by_kernel: int
    by_stat: int
    size: int
    because: tuple[str, ...] = ()

    @property
    def files(self) -> int:
        """All regular files."""
        return self.read + self.by_kernel + self.by_stat

    def sentences(self) -> Iterator[str]:
        """The level, what was done at it, and what it cannot see, as people read it."""
        if not self.level.remembers:
            yield "level full: every byte was read"
            return
        counted = (
            f"level {self.level}: {self.read:,} of {quantity(self.files, 'file')} read "
            f"({quantity(self.size, 'byte')})"
        )
        if self.level == KERNEL:
            yield f"{counted}, {self.by_kernel:,} measured by the kernel (fs-verity) and not read"
        else:
            yield f"{counted}, {self.by_stat:,} look as they did when they were last read"
            yield (
                "not seen: what was written past the file system (to the block device, into its image), by "
                "who can set the clock, or before the home remembered it"
            )
        if self.level.share:
            odds = ", ".join(f"{count}: {missed(self.level.share, count):.3g}" for count in MISSED_FOR)
            yield (
                f"each file was read with a chance of {percent(self.level.share)}, drawn by a key of this "
                f"look; the odds that none was read, by the number of files changed unseen: {odds}"
            )
        for reason in self.because:
            yield f"read all the same: {reason}"


def together(looks: Sequence[Looked]) -> Looked:
    """What several looks, at least one, consisted of: all in full, or at one other level."""
    return Looked(
        next((one.level for one in looks if one.level.remembers), looks[0].level),
        sum(one.read for one in looks),
        sum(one.by_kernel for one in looks),
        sum(one.by_stat for one in looks),
        sum(one.size for one in looks),
        tuple(dict.fromkeys(reason for one in looks for reason in one.because)),
    )


def missed(share: int, changed: int) -> float:
    """The odds that of so many changed files none is drawn, each with a chance of ``share`` millionths."""
    return float((1 - share / MILLION) ** changed)


def percent(share: int) -> str:
    """Millionths as people write them."""
    return f"{Decimal(share) / (MILLION // 100):f}%"
