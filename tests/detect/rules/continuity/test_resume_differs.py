from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.detect.rules.continuity.made import NAMES, Story, judge, tensor
from tests.examples import examples
from veracity.core.contract import SchedulerDeclaration
from veracity.core.observation import SchedulerDeclared, TensorDigest
from veracity.core.rule import Severity
from veracity.detect.rules.continuity.naming import bare
from veracity.detect.rules.continuity.resume_differs import ResumeDiffers


def named(prefix: str, content: str = "", names: list[str] = NAMES) -> list[TensorDigest]:
    return [tensor(f"{prefix}{name}", f"{name}{content}") for name in names]


def state(prefix: str, content: str = "") -> list[TensorDigest]:
    return [
        tensor(f"{prefix}{place}.{name}", f"{place}{name}{content}")
        for place in range(4)
        for name in ("m", "v")
    ]


CHECKPOINT = [*named("model."), *state("optimizer.state.")]


def resume(now: list[TensorDigest], kept: list[TensorDigest], **options: Any) -> Story:
    story = Story(rank=3)
    story.declare()
    story.loaded(options.pop("loaded", CHECKPOINT))
    story.restored(0, now, kept, **options)
    return story


def test_a_clean_resume_holds() -> None:
    detector = ResumeDiffers()
    assert judge(detector, resume(named(""), state("")).seen) == []
    assert detector.coverage().reasons == {}


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
@pytest.mark.parametrize("stored", ["model.", "model.module.", "", "state.net._orig_mod."])
def test_prefixes_of_wrappers_do_not_matter(prefix: str, stored: str) -> None:
    loaded = [*named(stored), *state("state.")]
    detector = ResumeDiffers()
    assert judge(detector, resume(named(prefix), state(""), loaded=loaded).seen) == []
    assert detector.coverage().reasons == {}
    assert len(judge(ResumeDiffers(), resume(named(prefix, "x"), state(""), loaded=loaded).seen)) == 1


def test_weights_scaled_after_the_load_are_found() -> None:
    (finding,) = judge(ResumeDiffers(), resume(named("", "x0.9"), state("")).seen)
    assert finding.breaks
    assert (finding.rank, finding.first_step) == (3, 0)
    assert "4 parameters" in finding.message
    assert "layers.0.weight" in finding.message


def test_one_altered_tensor_is_found() -> None:
    now = [*named("")[:3], tensor(NAMES[3], "altered")]
    (finding,) = judge(ResumeDiffers(), resume(now, state("")).seen)
    assert finding.breaks
    assert "1 parameters (head.bias)" in finding.message


def test_optimizer_state_altered_after_the_load_is_found() -> None:
    (finding,) = judge(ResumeDiffers(), resume(named(""), state("", "zeroed")).seen)
    assert finding.breaks
    assert "8 optimizer state tensors" in finding.message


def test_surgery_on_a_module_alone_is_a_warning() -> None:
    now = [*named("")[:3], tensor(NAMES[3], "new head")]
    (finding,) = judge(ResumeDiffers(), resume(now, [], own=False).seen)
    assert finding.severity is Severity.WARNING
    assert not finding.breaks


@pytest.mark.parametrize("files", [1, 2, 3])
@pytest.mark.parametrize("of_it", ["module", "both"])
def test_an_average_of_several_checkpoints_is_a_note(files: int, of_it: str) -> None:
    story = Story(rank=3)
    story.declare()
    for number in range(files):
        # The last tensor never moved, so that its average is what each file holds.
        story.loaded([*named("model.", str(number), NAMES[:3]), tensor(f"model.{NAMES[3]}", "same")])
    now = [*named("", "mean", NAMES[:3]), tensor(NAMES[3], "same")]
    story.restored(0, now, [], own=of_it == "both")
    (finding,) = judge(ResumeDiffers(), story.seen)
    if of_it == "both":
        assert finding.breaks
    else:
        assert finding.severity is (Severity.WARNING if files == 1 else Severity.NOTE)


def test_what_one_of_two_files_alone_holds_is_no_average() -> None:
    story = Story(rank=3)
    story.declare()
    story.loaded(named("model.", "first"))
    story.loaded(named("model.", "second", NAMES[:2]))
    story.restored(0, [*named("", "first", NAMES[:3]), tensor(NAMES[3], "altered")], [], own=False)
    (finding,) = judge(ResumeDiffers(), story.seen)
    assert finding.severity is Severity.WARNING


def scheduler_loaded(story: Story) -> SchedulerDeclared:
    declaration = SchedulerDeclaration(0, 0, "torch.optim.lr_scheduler.StepLR", {}, [0.1], [0.1], 9)
    return SchedulerDeclared(story.origin(), declaration, reloaded=True)


@pytest.mark.parametrize("scheduled", [True, False])
@pytest.mark.parametrize("held", [True, False])
def test_state_left_behind_on_a_schedule_that_goes_on_is_a_warning(scheduled: bool, held: bool) -> None:
    story = Story(rank=3)
    story.declare()
    story.loaded(CHECKPOINT if held else named("model."))
    if scheduled:
        story.seen.append(scheduler_loaded(story))
    story.restored(0, named(""), [], own=False)
    found = judge(ResumeDiffers(), story.seen)
    assert [one.severity for one in found] == ([Severity.WARNING] if scheduled and held else [])


def test_a_module_none_of_whose_tensors_arrived_is_another_one() -> None:
    assert judge(ResumeDiffers(), resume(named("", "student"), [], own=False).seen) == []


def test_an_average_beside_the_weights_is_a_namesake_that_may_agree() -> None:
    loaded = [*CHECKPOINT, *named("ema.", "average")]
    assert judge(ResumeDiffers(), resume(named("", "average"), state(""), loaded=loaded).seen) == []
    assert judge(ResumeDiffers(), resume(named(""), state(""), loaded=loaded).seen) == []


def test_other_shapes_and_types_are_not_compared() -> None:
    now = [tensor(name, "resized", shape=(9,)) for name in NAMES]
    own = [tensor(one.key, "cast", dtype="bfloat16") for one in state("")]
    detector = ResumeDiffers()
    assert judge(detector, resume(now, own).seen) == []
    assert "restored tensors have another shape or type than those loaded" in detector.coverage().reasons


def test_without_a_load_or_a_name_in_common_there_is_a_reason() -> None:
    detector = ResumeDiffers()
    story = Story()
    story.restored(0, named(""), state(""))
    story.loaded([tensor("elsewhere")])
    story.restored(5, named(""), state(""))
    assert judge(detector, story.seen) == []
    assert set(detector.coverage().reasons) == {
        "state was restored, but not from a file that torch.load read",
        "no restored tensor could be matched with a loaded one by name",
    }


def test_model_and_optimizer_may_come_from_two_files() -> None:
    def told(content: str) -> Story:
        story = Story()
        story.loaded(named("", ""), "/data/model.pt")
        story.loaded(state("state."), "/data/optimizer.pt")
        story.restored(0, named("", content), state(""))
        return story

    assert judge(ResumeDiffers(), told("").seen) == []
    (finding,) = judge(ResumeDiffers(), told("x").seen)
    assert [place.path for place in finding.locations] == ["/data/model.pt", "/data/optimizer.pt"]


def test_an_earlier_checkpoint_does_not_excuse_a_later_resume() -> None:
    story = resume(named(""), state(""))
    story.loaded([*named("model.", "later"), *state("optimizer.state.", "later")])
    story.restored(50, named("", "later"), state("", "later"))
    story.loaded([*named("model.", "last"), *state("optimizer.state.", "last")])
    story.restored(90, named(""), state(""))
    (finding,) = judge(ResumeDiffers(), story.seen)
    assert finding.first_step == 90


def test_two_optimizers_of_one_load() -> None:
    story = Story()
    story.declare(0, NAMES[:2])
    story.declare(1, NAMES[2:])
    first = [tensor("d.state.0.m", "d")]
    story.loaded([*named("model."), *first, tensor("g.state.0.m", "g")])
    story.restored(0, named("")[:2], [tensor("0.m", "d")], optimizer=0)
    story.step(0, optimizer=0)
    # the guard reports the module with the first of them only
    story.restored(0, named("")[2:], [tensor("0.m", "g")], optimizer=1, module=False)
    assert judge(ResumeDiffers(), story.seen) == []
    story.seen.pop()
    story.restored(0, named("", "x")[2:], [tensor("0.m", "g")], optimizer=1, module=False)
    (finding,) = judge(ResumeDiffers(), story.seen)
    assert finding.breaks
    assert finding.subject == "optimizer 1"


def test_parameters_another_optimizer_has_stepped_on_are_left_out() -> None:
    story = Story()
    story.declare(0)
    story.declare(1)
    story.loaded(CHECKPOINT)
    story.restored(0, named(""), state(""), optimizer=0)
    story.step(0, optimizer=0)
    story.restored(0, named("", "stepped"), state(""), optimizer=1)
    assert judge(ResumeDiffers(), story.seen) == []


def test_going_back_to_a_state_kept_in_memory_is_not_compared_with_an_older_file() -> None:
    story = Story()
    story.declare(0)
    story.loaded(CHECKPOINT)
    story.restored(0, named(""), state(""), optimizer=0)
    story.declare(1)
    story.step(0, optimizer=1)
    story.restored(1, named("", "kept"), state("", "kept"), optimizer=1)
    assert judge(ResumeDiffers(), story.seen) == []
    # A file read after that step is compared again.
    story.loaded(CHECKPOINT)
    story.restored(1, named("", "kept"), state("", "kept"), optimizer=1)
    assert len(judge(ResumeDiffers(), story.seen)) == 1


@given(data=st.data())
@settings(max_examples=examples(60))
def test_clean_resumes_never_alarm_however_records_are_lost_or_mixed(data: st.DataObject) -> None:
    stories = []
    for pid in range(3):
        story = Story(pid=pid)
        for step in range(3):
            content = str(step)
            story.loaded([*named("model.", content), *state("optimizer.state.", content)])
            story.restored(step * 10, named("module.", content), state("", content))
            story.step(step * 10)
        lost = data.draw(st.sampled_from(["StepRecord", "StateRestored", "OptimizerDeclared"]))
        keep = [seen for seen in story.seen if type(seen).__name__ != lost or data.draw(st.booleans())]
        stories.append(keep)
    mixed = []
    while any(stories):
        mixed.append(data.draw(st.sampled_from([story for story in stories if story])).pop(0))
    assert judge(ResumeDiffers(), mixed) == []


@given(st.text("ab._modulerig", max_size=30))
def test_bare_names_are_stable(name: str) -> None:
    assert bare(bare(name)) == bare(name)
