from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.detect.rules.continuity.made import PATH, Story, digest, judge, tensor
from tests.examples import examples
from veracity.core.rule import Severity
from veracity.detect.rules.continuity.checkpoint_edited import UNREAD, CheckpointEdited
from veracity.detect.rules.continuity.checkpoint_unknown_origin import CheckpointUnknownOrigin
from veracity.detect.rules.continuity.load_differs import LoadDiffers

HELD = [tensor("model.a"), tensor("model.b"), tensor("optimizer.state.0.exp_avg")]
EDITED = [tensor("model.a", "scaled"), *HELD[1:]]
CHANGED: dict[str, Any] = {
    "path_known": True,
    "last_digest": digest("before"),
    "last_run": "run-1",
    "saved_tensors": HELD,
}
KNOWN: dict[str, Any] = {"known": ["run-1"], "path_known": True, "saved_tensors": HELD}


def loading(tensors: Any, **changes: Any) -> Story:
    story = Story(rank=1)
    seq = story.loaded(tensors)
    story.file("loaded", seq, **changes)
    return story


def test_an_edited_file_is_found_at_once_with_the_tensors_that_changed() -> None:
    story = loading(EDITED, **CHANGED)
    detector = CheckpointEdited()
    (finding,) = [finding for seen in story.seen for finding in detector.observe(seen)]
    assert finding.breaks
    assert (finding.rank, finding.first_step) == (1, 0)
    assert finding.locations[0].path == PATH
    assert "1 of 3 tensors changed (model.a)" in finding.message
    assert "run-1" in finding.message
    first = finding.evidence[0]
    assert (first.expected, first.observed) == (digest("before"), digest("file"))
    assert list(detector.finish()) == []


def test_a_file_whose_last_save_was_not_read_is_not_called_edited() -> None:
    story = loading(EDITED, **{**CHANGED, "last_digest": ""})
    detector = CheckpointEdited()
    assert [finding for seen in story.seen for finding in detector.observe(seen)] == []
    assert list(detector.finish()) == []
    assert detector.coverage().reasons == {UNREAD: 1}


def test_an_edit_of_something_else_waits_for_a_step_after_the_reading() -> None:
    story = loading(HELD, **CHANGED)
    story.step(0)
    detector = CheckpointEdited()
    found = [
        (number, finding) for number, seen in enumerate(story.seen) for finding in detector.observe(seen)
    ]
    assert [number for number, _ in found] == [2]
    assert found[0][1].breaks
    assert "something else in it is not" in found[0][1].message


def test_a_step_made_before_the_reading_proves_nothing_and_a_save_takes_it_back() -> None:
    story = Story()
    seq = story.loaded(HELD)
    story.file("loaded", seq, at=10_000, **CHANGED)
    story.step(0)
    story.saved(HELD)
    story.step(1)
    detector = CheckpointEdited()
    assert judge(detector, story.seen) == []
    assert "a file was written again before it was read" in detector.coverage().reasons


def test_a_save_seen_before_the_reading_takes_it_back_too() -> None:
    story = Story()
    seq = story.loaded(HELD)
    story.step(0)
    story.saved(HELD)
    story.file("loaded", seq, **CHANGED)
    assert judge(CheckpointEdited(), story.seen) == []


def test_a_save_of_another_rank_takes_it_back() -> None:
    story, other = Story(), Story(pid=7, seq=500)
    seq = story.loaded(HELD)
    other.saved(HELD)
    story.file("loaded", seq, **CHANGED)
    assert judge(CheckpointEdited(), [story.seen[0], *other.seen, *story.seen[1:]]) == []


def test_without_tensors_the_digests_alone_are_enough() -> None:
    (finding,) = judge(CheckpointEdited(), loading([], **CHANGED).seen)
    assert finding.breaks


@pytest.mark.parametrize(
    "changes",
    [KNOWN, {}, {**CHANGED, "digest": ""}, {"known": ["run-1"]}],
    ids=["known", "unknown", "unread", "copy"],
)
def test_clean_loads_are_not_edited(changes: dict[str, Any]) -> None:
    assert judge(CheckpointEdited(), loading(HELD, **changes).seen) == []


def test_one_finding_for_each_file() -> None:
    story = loading(EDITED, **CHANGED)
    story.file("loaded", 1, **CHANGED)
    assert len(judge(CheckpointEdited(), story.seen)) == 1


def test_a_file_nobody_recorded_is_a_note_once() -> None:
    story = loading(HELD)
    story.step(4)
    story.file("loaded", 1)
    story.file("loaded", 1, digest=digest("other"))
    found = judge(CheckpointUnknownOrigin(), story.seen)
    assert [finding.severity for finding in found] == [Severity.NOTE] * 2
    assert [finding.first_step for finding in found] == [0, 5]


@pytest.mark.parametrize("changes", [KNOWN, CHANGED, {"digest": ""}], ids=["known", "edited", "unread"])
def test_other_loads_are_not_of_unknown_origin(changes: dict[str, Any]) -> None:
    assert judge(CheckpointUnknownOrigin(), loading(HELD, **changes).seen) == []


def test_a_saved_file_is_neither() -> None:
    story = Story()
    story.file("saved", story.saved(HELD), **CHANGED)
    for detector in (CheckpointEdited(), CheckpointUnknownOrigin(), LoadDiffers()):
        assert judge(detector, story.seen) == []


def test_a_load_that_returns_other_tensors_is_found() -> None:
    (finding,) = judge(LoadDiffers(), loading(EDITED, **KNOWN).seen)
    assert finding.rule == "continuity-load-differs"
    assert finding.breaks
    assert "1 of 3 tensors other than the file holds: model.a" in finding.message


def test_a_load_that_changes_a_type_or_shape_is_found() -> None:
    other = [tensor("model.a", dtype="float16"), tensor("model.b", shape=(12,)), HELD[2]]
    (finding,) = judge(LoadDiffers(), loading(other, **KNOWN).seen)
    assert "2 of 3" in finding.message


def test_a_clean_load_and_parts_of_one_hold() -> None:
    for tensors in (HELD, HELD[:1], [*HELD, tensor("extra")]):
        detector = LoadDiffers()
        assert judge(detector, loading(tensors, **KNOWN).seen) == []
        assert detector.coverage().reasons == {}


def test_a_load_whose_file_was_replaced_since_is_not_compared() -> None:
    story, other = loading(EDITED), Story(pid=8, seq=900)
    other.saved(HELD)
    story.file("loaded", 1, **KNOWN)
    assert judge(LoadDiffers(), [story.seen[0], *other.seen, story.seen[-1]]) == []


def test_what_cannot_be_compared_is_a_reason() -> None:
    detector = LoadDiffers()
    story = loading([tensor("elsewhere")], **KNOWN)
    story.file("loaded", 77, **KNOWN)
    assert judge(detector, story.seen) == []
    assert set(detector.coverage().reasons) == {
        "no tensor of a loaded checkpoint was recorded when it was saved",
        "the record of a load was lost",
    }


@given(data=st.data())
@settings(max_examples=examples(60))
def test_clean_stories_never_alarm_however_records_are_lost_or_mixed(data: st.DataObject) -> None:
    """Save and load to one path again and again; the monitor may be late, records may be missing."""
    story = Story()
    for step in range(4):
        content = [tensor("model.a", step)]
        number = story.saved(content)
        story.file("saved", number, at=story.seq * 10 + data.draw(st.integers(0, 60)), digest=digest(step))
        number = story.loaded(content)
        story.file("loaded", number, digest=digest(step), known=["run-1"], saved_tensors=content)
        story.step(step)
    kept = [seen for seen in story.seen if data.draw(st.integers(0, 4))]
    for detector in (CheckpointEdited(), CheckpointUnknownOrigin(), LoadDiffers()):
        assert judge(detector, kept) == []


def test_the_first_step_is_the_one_after_the_load_however_long_the_reading_took() -> None:
    for detector, expected in ((CheckpointEdited(), CHANGED), (LoadDiffers(), KNOWN)):
        story = Story()
        story.step(0)
        seq = story.loaded(EDITED)
        for number in range(1, 9):
            story.step(number)
        story.file("loaded", seq, **expected)
        (finding,) = judge(detector, story.seen)
        assert finding.first_step == 1
