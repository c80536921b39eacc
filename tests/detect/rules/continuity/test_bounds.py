"""What the rules keep stays bounded however long a run or hostile its records."""

from __future__ import annotations

from typing import Any

from tests.detect.rules.continuity.made import Story, digest, judge, sample, tensor
from veracity.core.coverage import Coverage
from veracity.core.observation import FileDigested
from veracity.detect.rules.continuity.checkpoint_edited import CheckpointEdited
from veracity.detect.rules.continuity.checkpoint_unknown_origin import MAX_FILES, CheckpointUnknownOrigin
from veracity.detect.rules.continuity.files import MAX_KEPT, Files
from veracity.detect.rules.continuity.memory import MAX_OPTIMIZERS, Memories
from veracity.detect.rules.continuity.moves import MAX_KEPT as MAX_MOVES
from veracity.detect.rules.continuity.moves import Moves
from veracity.detect.rules.continuity.weights_changed import WeightsChanged


def test_files_of_unknown_origin_are_listed_up_to_a_bound() -> None:
    story = Story()
    for number in range(MAX_FILES + 5):
        story.file("loaded", number, digest=digest(number))
    story.file("loaded", 0, digest=digest(0))
    detector = CheckpointUnknownOrigin()
    assert len(judge(detector, story.seen)) == MAX_FILES
    assert detector.coverage().reasons == {"more loaded files of unknown origin than are listed": 5}


def test_findings_that_wait_are_released_when_too_many_do() -> None:
    story = Story()
    changed: dict[str, Any] = {
        "path_known": True,
        "last_digest": digest("before"),
        "saved_tensors": [tensor("a")],
    }
    for number in range(MAX_KEPT + 3):
        path = f"/data/{number}.pt"
        seq = story.loaded([tensor("a")], path)
        story.file("loaded", seq, path=path, **changed)
    detector = CheckpointEdited()
    live = [finding for seen in story.seen for finding in detector.observe(seen)]
    assert [finding.subject for finding in live] == [f"/data/{number}.pt" for number in range(3)]
    assert len(list(detector.finish())) == MAX_KEPT


def test_only_recent_saves_and_loads_are_kept() -> None:
    files = Files(Coverage("weight-continuity", "steps"))
    story = Story()
    for number in range(2 * MAX_KEPT):
        story.file("saved", story.saved([], f"/data/{number}.pt"))
    for seen in story.seen:
        assert list(files.observe(seen)) == []
    first, last = story.seen[1], story.seen[-1]
    assert isinstance(first, FileDigested)
    assert isinstance(last, FileDigested)
    assert files.spoken(first) is None
    assert files.spoken(last) is story.seen[-2]


def test_memories_and_movements_of_many_processes_are_bounded() -> None:
    story = Story()
    memories, moves = Memories(), Moves()
    for pid in range(MAX_OPTIMIZERS + 1):
        story.pid = pid
        story.declare()
        story.step(0, [sample(0, {}, {"param": [1.0]})])
        story.moved(0)
    for seen in story.seen:
        memories.sequence(seen)
        name = type(seen).__name__
        if name == "OptimizerDeclared":
            memories.declare(seen)  # type: ignore[arg-type]
        elif name == "StepRecord":
            memories.step(seen)  # type: ignore[arg-type]
        else:
            moves.moved(seen, "")  # type: ignore[arg-type]
    assert memories.names(0, 0) == []
    assert memories.class_name(0, 0) == ""
    assert memories.names(MAX_OPTIMIZERS, 0) != []
    assert len(moves.left()) == MAX_MOVES


def test_each_optimizer_is_reported_once() -> None:
    story = Story()
    for number in range(6):
        story.step(
            number,
            [
                sample(0, {"param": [float(number)]}, {"param": [0.5]}, repeated=True),
                sample(0, {}, {"param": [float(number)]}),
            ],
            before=[[0, number]],
            after=[[0, -number]],
        )
    assert len(judge(WeightsChanged(), story.seen)) == 1


def test_a_first_record_that_is_not_the_first_step_is_a_reason() -> None:
    story = Story()
    story.step(7)
    story.step(8)
    detector = WeightsChanged()
    assert judge(detector, story.seen) == []
    assert detector.coverage().reasons == {
        "the record of the step before is missing": 1,
        "no element was read on both sides of two steps": 1,
    }
