"""The gate: all plausible readings, the worst verdict, and nothing unread that is called clean."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import ClassVar

import pytest

from veracity.core.coverage import Coverage
from veracity.core.errors import EvidenceError
from veracity.core.finding import Finding, finding_of
from veracity.core.observation import ArtifactRead, LimitReached, Observation
from veracity.core.rule import Confidence, Rule, Severity
from veracity.observe.artifact.budget import Budget
from veracity.observe.artifact.input import Input
from veracity.observe.artifact.reading import Found, Nested, Packed
from veracity.observe.pickle.reader import PickleReader
from veracity.scan.gate import examine as module
from veracity.scan.gate.examine import MAX_GAPS, examine


class Boxes:
    """A format of boxes: ``[`` begins one, and all that follows lies in it."""

    name: ClassVar[str] = "box"
    has_signature: ClassVar[bool] = True

    def claims(self, head: bytes, whole: Input) -> bool:
        return head.startswith(b"[")

    def read(self, whole: Input, budget: Budget) -> Iterator[Observation | Nested]:
        budget.spend_members(1, whole.name)
        yield Nested(whole.part("inside", 1, whole.size - 1))
        if whole.read(0, 2) == b"[?":
            raise EvidenceError("breaks off", where=whole.name)


class Anything:
    """A format without a signature, which every input might be."""

    name: ClassVar[str] = "anything"
    has_signature: ClassVar[bool] = False

    def claims(self, head: bytes, whole: Input) -> bool:
        return True

    def read(self, whole: Input, budget: Budget) -> Iterator[Observation | Nested]:
        yield from ()


class Bad:
    """Finds inputs whose size is four, and every bound."""

    rule: ClassVar[Rule] = Rule("checkpoint-bad", "load", "bad", Severity.ERROR, Confidence.HIGH)
    takes: ClassVar[tuple[type[Observation], ...]] = (ArtifactRead, LimitReached)

    def observe(self, observation: Observation) -> Iterator[Finding]:
        if isinstance(observation, LimitReached):
            yield finding_of(self.rule, observation.name, "limit")
        if isinstance(observation, ArtifactRead) and observation.size == 4:
            yield finding_of(self.rule, observation.name, "four")

    def finish(self) -> Iterator[Finding]:
        return iter(())

    def coverage(self) -> Coverage:
        return Coverage("load", "files")


def test_what_lies_inside_is_judged_and_named_by_the_way_to_it() -> None:
    result = examine(Input.of_bytes("f", b"[[bad!"), (Boxes(),), (Bad,))

    assert result.status == "findings"
    assert [one.subject for one in result.findings] == ["f!inside!inside"]
    assert result.inputs == 3


def test_each_reader_that_claims_an_input_reads_it() -> None:
    result = examine(Input.of_bytes("f", b"[good"), (Boxes(), Anything()), ())

    assert result.status == "clean"
    assert result.formats == ["box", "anything"]


def test_what_broke_off_is_never_clean_and_the_rest_is_still_read() -> None:
    result = examine(Input.of_bytes("f", b"[?"), (Boxes(), Anything()), (Bad,))

    assert result.status == "incomplete"
    assert "breaks off" in result.gaps[0].reason
    assert result.inputs == 1  # what lies inside the box


def test_depth_members_and_time_are_bounded_and_said() -> None:
    deep = examine(Input.of_bytes("f", b"[" * 50), (Boxes(),), (Bad,), Budget(depth=3))
    many = examine(Input.of_bytes("f", b"[" * 50), (Boxes(),), (Bad,), Budget(depth=99, members=5))
    slow = examine(Input.of_bytes("f", b"[" * 50), (Boxes(),), (Bad,), Budget(seconds=-1))

    for result in (deep, many, slow):
        assert result.status == "findings"
        assert result.gaps
    assert "more than 3 containers" in deep.gaps[0].reason


def test_what_is_packed_is_unpacked_when_its_turn_comes() -> None:
    asked: list[str] = []

    class Packing:
        name: ClassVar[str] = "packing"
        has_signature: ClassVar[bool] = True

        def claims(self, head: bytes, whole: Input) -> bool:
            return head.startswith(b"[")

        def read(self, whole: Input, budget: Budget) -> Iterator[Found]:
            for name in ("one", "two"):
                yield Packed(f"{whole.name}!{name}", whole.depth + 1, partial(self.unpack, whole, name))
            asked.append("all were named")

        def unpack(self, whole: Input, name: str, budget: Budget) -> Iterator[Found]:
            asked.append(name)
            yield Nested(Input.of_bytes(f"{whole.name}!{name}", b"bad!", whole.depth + 1))
            if name == "two":
                raise EvidenceError("breaks off")

    result = examine(Input.of_bytes("f", b"["), (Packing(), Anything()), (Bad,))

    assert asked == ["all were named", "one", "two"]
    assert [one.subject for one in result.findings] == ["f!one", "f!two"]
    assert [one.what for one in result.gaps] == ["f!two was not read to its end"]


def test_gaps_are_bounded() -> None:
    class Broken:
        name: ClassVar[str] = "broken"
        has_signature: ClassVar[bool] = True

        def claims(self, head: bytes, whole: Input) -> bool:
            return True

        def read(self, whole: Input, budget: Budget) -> Iterator[Found]:
            for number in range(MAX_GAPS + 5):
                yield Packed(str(number), 1, self.unpack)

        def unpack(self, budget: Budget) -> Iterator[Found]:
            raise EvidenceError("breaks off")
            yield

    result = examine(Input.of_bytes("f", b"["), (Broken(),), ())

    assert len(result.gaps) == MAX_GAPS
    assert result.more_gaps == 5


def test_plain_numbers_are_claimed_by_signature_alone() -> None:
    class Raw(Boxes):
        def read(self, whole: Input, budget: Budget) -> Iterator[Observation | Nested]:
            yield Nested(whole.part("storage", 1, whole.size - 1), raw=True)

    result = examine(Input.of_bytes("f", b"[1234"), (Raw(), Anything()), ())

    assert result.inputs == 2
    assert result.formats == ["box", "anything"]
    hidden = examine(Input.of_bytes("f", b"[[bad!"), (Raw(), Anything()), (Bad,))
    assert hidden.status == "findings"


def test_globals_are_kept_when_asked_for_and_too_many_are_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_NAMED", 3)
    few = b"".join(b"cm%d\nC\n0" % number for number in range(3)) + b"N."
    many = b"".join(b"cm%d\nC\n0" % number for number in range(9)) + b"N."
    read = [PickleReader()]
    assert list(examine(Input.of_bytes("a", few), read, [], names=True).named) == [
        ("m0", "C"),
        ("m1", "C"),
        ("m2", "C"),
    ]
    assert examine(Input.of_bytes("a", few), read, []).named == {}
    said = examine(Input.of_bytes("a", many + many), read, [], names=True)
    assert [one.reason for one in said.gaps] == ["the bound is 3"]
