"""What was delivered is what is trained on: real programs under the guard, judged by the rule."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.guard.conftest import Guarded
from veracity.core import observation as seen
from veracity.core.coverage import Coverage
from veracity.core.finding import Finding
from veracity.core.rule import Severity

pytest.importorskip("torch")

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from tests.guard.content_programs import BATCH, CLASSES, CLEAN, Batch, batches, data, model, train
from veracity.detect.rules.data.batch_altered import BatchAltered
from veracity.guard import content
from veracity.guard.saved import walk
from veracity.guard.schedule import Schedule


def judged(guarded: Guarded) -> tuple[list[Finding], Coverage]:
    """What the rule says of all steps that were recorded."""
    assert guarded.session.shield.failures == {}
    detector = BatchAltered()
    found = [one for step in guarded.seen(seen.StepRecord) for one in detector.observe(step)]
    return [*found, *detector.finish()], detector.coverage()


NOTES = {
    "mixed_up_now_and_then", "mixed_up_from_second_epoch", "noisy_labels", "items_augmented_now_and_then",
    "limited_now_and_then", "masked_labels", "missing_values", "penalised_lazily", "few_rows_left_out",
}  # fmt: skip
UNSEEN = {"language", "masked_language", "adversaries", "mixed_up_always", "in_parts"}


@pytest.mark.parametrize("program", CLEAN, ids=lambda program: program.__name__)
def test_no_clean_program_is_accused(guarded: Guarded, program: Callable[[], None]) -> None:
    torch.manual_seed(3)
    program()
    findings, coverage = judged(guarded)
    assert [one.message for one in findings if one.severity is not Severity.NOTE] == []
    if findings:
        assert program.__name__ in NOTES
    assert coverage.checked or program.__name__ in UNSEEN, coverage.reasons


def warned(guarded: Guarded, step: int) -> dict[str, str]:
    """The warnings, which must name ``step``: what each says, by tensor."""
    findings, _ = judged(guarded)
    assert findings
    assert {(one.severity, one.first_step) for one in findings} == {(Severity.WARNING, step)}
    return {one.subject.rpartition(" ")[2]: one.message for one in findings}


kept: list[Batch] = []


def _rolled(inputs: Tensor, targets: Tensor) -> Batch:
    return inputs, targets.roll(1)


def _flipped_in_place(inputs: Tensor, targets: Tensor) -> Batch:
    classes = targets.numpy()
    classes[::2] = (classes[::2] + 1) % CLASSES
    return inputs, targets


def _blanked(inputs: Tensor, targets: Tensor) -> Batch:
    return inputs * (torch.rand(inputs.shape) > 0.1), targets


def _blanked_in_place(inputs: Tensor, targets: Tensor) -> Batch:
    inputs[: BATCH // 2].zero_()
    return inputs, targets


def _again(inputs: Tensor, targets: Tensor) -> Batch:
    return kept[-2]


def _labels_of_the_batch_before(inputs: Tensor, targets: Tensor) -> Batch:
    return inputs, kept[-2][1]


def _half(inputs: Tensor, targets: Tensor) -> Batch:
    return inputs[: BATCH // 2], targets[: BATCH // 2]


PLANTED: dict[Callable[[Tensor, Tensor], Batch], set[str]] = {
    _rolled: {"1"}, _flipped_in_place: {"1"}, _blanked: {"0"}, _blanked_in_place: {"0"}, _again: {"0", "1"},
    _labels_of_the_batch_before: {"1"}, _half: {"0", "1"},
}  # fmt: skip


@pytest.mark.parametrize("change", PLANTED, ids=lambda change: change.__name__)
def test_a_batch_altered_at_one_step_is_a_warning(
    guarded: Guarded, change: Callable[[Tensor, Tensor], Batch]
) -> None:
    torch.manual_seed(3)
    kept.clear()

    def alter(step: int, inputs: Tensor, targets: Tensor) -> Batch:
        kept.append((inputs, targets))
        return change(inputs, targets) if step == 13 else (inputs, targets)

    train(alter, steps=20)
    assert warned(guarded, 13).keys() == PLANTED[change]


def test_a_batch_written_to_before_it_is_normalised_is_a_warning(guarded: Guarded) -> None:
    torch.manual_seed(3)

    def alter(step: int, inputs: Tensor, targets: Tensor) -> Batch:
        kept[:] = [(inputs, targets)]  # the program has it for as long as the step lasts
        if step == 13:
            inputs.mul_(torch.rand(inputs.shape) > 0.2)
        return inputs / 2 - 0.1, targets

    train(alter, steps=20)
    assert "written into" in warned(guarded, 13)["0"]


def test_a_batch_used_twice_within_one_step_is_not_told(guarded: Guarded) -> None:
    net = model()
    optimizer = torch.optim.AdamW(net.parameters())
    last: Batch | None = None
    for number, batch in enumerate(batches(DataLoader(data(), BATCH, shuffle=True), 80)):
        inputs, targets = last if number == 57 and last is not None else batch
        last = batch
        (functional.cross_entropy(net(inputs), targets) / 4).backward()
        if number % 4 == 3:
            optimizer.step()
            optimizer.zero_grad()
    # A closure does that too, and sharpness-aware training.
    assert judged(guarded)[0] == []


def test_an_earlier_steps_batch_among_accumulated_ones_is_found(guarded: Guarded) -> None:
    net = model()
    optimizer = torch.optim.AdamW(net.parameters())
    seen_before: list[Batch] = []
    for number, batch in enumerate(batches(DataLoader(data(), BATCH, shuffle=True), 80)):
        seen_before.append(batch)
        inputs, targets = seen_before[-4] if number == 57 else batch
        (functional.cross_entropy(net(inputs), targets) / 4).backward()
        if number % 4 == 3:
            optimizer.step()
            optimizer.zero_grad()
    assert warned(guarded, 14).keys() == {"0", "1"}


def test_tokens_are_found_in_an_embedding(guarded: Guarded) -> None:
    embed, head = nn.Embedding(30, 16), nn.Linear(16, 30)
    optimizer = torch.optim.Adam([*embed.parameters(), *head.parameters()])
    rows = TensorDataset(torch.randint(30, (128, 24)), torch.randint(30, (128, 24)))
    for step, (tokens, targets) in enumerate(batches(DataLoader(rows, 8, shuffle=True), 20)):
        used = tokens.roll(1, 1) if step == 12 else tokens
        optimizer.zero_grad()
        functional.cross_entropy(head(embed(used)).flatten(0, 1), targets.view(-1)).backward()
        optimizer.step()
    assert warned(guarded, 12).keys() == {"0"}


@pytest.mark.parametrize("drawn", [True, False])
def test_what_lies_far_from_the_loss_is_looked_at_where_a_step_is_drawn(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch, drawn: bool
) -> None:
    monkeypatch.setattr(content, "NEAR", 2)
    monkeypatch.setattr(Schedule, "draws", lambda self, of, step: drawn or step < 3)

    def alter(step: int, inputs: Tensor, targets: Tensor) -> Batch:
        return (_blanked(inputs, targets)[0], targets.roll(1)) if step == 13 else (inputs, targets)

    torch.manual_seed(3)
    train(alter, steps=20)
    assert warned(guarded, 13).keys() == ({"0", "1"} if drawn else {"1"})


def test_what_hooks_packed_is_left_alone(guarded: Guarded) -> None:
    """An activation checkpoint computes its block again when what it kept is asked for."""
    net = model()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    unpacked: list[int] = []

    def unpack(tensor: Tensor) -> Tensor:
        unpacked.append(1)
        return tensor

    for inputs, targets in batches(DataLoader(data(), BATCH), 3):
        optimizer.zero_grad()
        with torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor, unpack):
            loss = functional.cross_entropy(net(inputs), targets)
        unpacked.clear()
        assert loss.grad_fn is not None
        assert list(walk(loss.grad_fn, 100)) == [None]
        assert unpacked == []
        loss.backward()
        optimizer.step()
    _, coverage = judged(guarded)
    assert coverage.checked == 0
