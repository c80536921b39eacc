"""Levels of verification: how they are written, which one is weaker, and what they say of themselves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veracity.core.errors import UsageError
from veracity.core.level import FULL, KERNEL, STAT, Level, Looked, level_of, missed, percent, together


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("full", FULL),
        ("kernel", KERNEL),
        ("kernel-verified", KERNEL),
        ("stat", STAT),
        ("sample", Level("sample", 10_000)),
        ("sample=1%", Level("sample", 10_000)),
        ("sample=0.0001", Level("sample", 1)),
        ("sample=100%", Level("sample", 1_000_000)),
    ],
)
def test_each_level_has_its_word(text: str, level: Level) -> None:
    assert level_of(text) == level
    assert level_of(str(level)) == level


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Full",
        "stat=1%",
        "sample=",
        "sample=0%",
        "sample=101%",
        "sample=-1",
        "sample=1e9",
        "x" * 999,
        None,
        7,
    ],
)
def test_what_is_no_level_is_refused(text: object) -> None:
    with pytest.raises(UsageError, match="no level"):
        level_of(text)


@given(st.integers(1, 1_000_000))
def test_every_share_is_read_as_it_is_written(share: int) -> None:
    assert level_of(f"sample={percent(share)}") == Level("sample", share)


def test_levels_are_ordered() -> None:
    levels = [STAT, level_of("sample=1%"), level_of("sample=2%"), KERNEL, FULL]
    for at, one in enumerate(levels):
        assert [one.is_weaker_than(other) for other in levels] == [at < place for place in range(len(levels))]


def test_a_look_says_its_level_and_what_it_cannot_see() -> None:
    assert list(Looked(FULL, 3, 0, 0, 9).sentences()) == ["level full: every byte was read"]
    stat, unseen, reason = Looked(STAT, 1, 0, 9_999, 7, ("the clock was set",)).sentences()
    assert (
        stat
        == "level stat: 1 of 10,000 files read (7 bytes), 9,999 look as they did when they were last read"
    )
    assert unseen.startswith("not seen: ")
    assert reason == "read all the same: the clock was set"
    sample = list(Looked(level_of("sample=1%"), 100, 0, 9_900, 7).sentences())
    assert sample[2].endswith("1: 0.99, 10: 0.904, 100: 0.366")
    assert next(Looked(KERNEL, 0, 5, 0, 0).sentences()).endswith(
        "5 measured by the kernel (fs-verity) and not read"
    )


def test_odds_of_a_sample() -> None:
    assert missed(10_000, 0) == 1
    assert missed(1_000_000, 1) == 0
    assert missed(500_000, 3) == pytest.approx(1 / 8)


def test_looks_at_several_parts_are_one() -> None:
    looks = [Looked(STAT, 1, 2, 3, 4, ("a", "b")), Looked(STAT, 10, 20, 30, 40, ("b",))]
    assert together(looks) == Looked(STAT, 11, 22, 33, 44, ("a", "b"))
    assert together(looks).files == 66
