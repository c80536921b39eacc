"""One record per optimizer step, whatever a program does with its optimizers."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.guard.conftest import Guarded
from veracity.core import observation as seen
from veracity.guard import roster
from veracity.guard.schedule import Schedule

pytest.importorskip("torch")

import torch


def a_model(dtype: Any = None) -> Any:
    torch.manual_seed(3)
    return torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 3)).to(dtype)


def backward(model: Any) -> Any:
    loss = model(torch.ones(2, 5, dtype=next(model.parameters()).dtype)).square().mean()
    loss.backward()
    return loss


def train(model: Any, optimizer: Any, times: int) -> None:
    for _ in range(times):
        optimizer.zero_grad()
        backward(model)
        optimizer.step()


def no_failure(guarded: Guarded) -> None:
    assert guarded.session.shield.failures == {}
    assert guarded.seen(seen.Gap) == []


def test_each_step_gives_one_record_that_goes_on_where_the_last_one_ended(guarded: Guarded) -> None:
    model = a_model()
    train(model, torch.optim.AdamW(model.parameters(), lr=0.1), 4)
    records = guarded.seen(seen.StepRecord)
    assert [record.step for record in records] == [0, 1, 2, 3]
    for before, after in itertools.pairwise(records):
        left = {sample.tensor: sample.after["param"] for sample in before.samples if not sample.repeated}
        found = {sample.tensor: sample.before["param"] for sample in after.samples if sample.repeated}
        assert left == found
        assert len(found) == 4
        assert before.fingerprint_after == after.fingerprint_before
    again, fresh = records[1].samples[0], records[1].samples[-1]
    assert again.before.keys() == {"param", "exp_avg", "exp_avg_sq"}
    assert again.after == {}
    assert fresh.before.keys() == {"param", "grad", "exp_avg", "exp_avg_sq"}
    assert fresh.after.keys() == {"param", "exp_avg", "exp_avg_sq"}
    assert (again.step_before, again.step_after) == (1.0, None)
    assert (fresh.step_before, fresh.step_after) == (1.0, 2.0)
    (declared,) = guarded.seen(seen.OptimizerDeclared)
    assert [tensor.name for tensor in declared.optimizer.tensors] == [
        "0.weight",
        "0.bias",
        "2.weight",
        "2.bias",
    ]
    no_failure(guarded)


@pytest.mark.parametrize("rate", [0.1, 0.02])
def test_a_rate_loaded_without_any_state_is_a_restored_one(guarded: Guarded, rate: float) -> None:
    """Plain SGD keeps no state: a resume of it brings the rate alone. Its own, loaded again, is nothing."""
    model = a_model()
    kept = torch.optim.SGD(model.parameters(), lr=rate).state_dict()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.load_state_dict(kept)
    train(model, optimizer, 2)
    restored = [one for one in guarded.seen(seen.StateRestored) if one.loaded_optimizer]
    assert len(restored) == (rate != 0.1)
    no_failure(guarded)


def test_a_glance_reads_two_tensors_and_says_so(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Schedule, "draws", lambda self, of, step: step % 2 == 0)
    model = a_model()
    train(model, torch.optim.AdamW(model.parameters(), lr=0.1), 4)
    records = guarded.seen(seen.StepRecord)
    assert [record.close for record in records] == [True, False, True, False]
    fresh = [sum(not sample.repeated for sample in record.samples) for record in records]
    again = [sum(sample.repeated for sample in record.samples) for record in records]
    assert fresh == [4, 2, 4, 2]
    assert again == [0, 4, 1, 4]
    no_failure(guarded)


def test_the_loss_is_the_one_backward_was_called_on(guarded: Guarded) -> None:
    model = a_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss = backward(model)
    optimizer.step()
    (record,) = guarded.seen(seen.StepRecord)
    assert record.loss == loss.item()
    assert record.losses == 1
    assert record.loss_sum is None


def test_losses_of_several_backward_passes_are_summed(guarded: Guarded) -> None:
    model = a_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    for _ in range(3):
        loss = backward(model)
        losses.append(loss.item())
        loss.detach().mul_(7)  # what a program goes on to do with the tensor is not the loss any more
    optimizer.step()
    backward(model)
    optimizer.step()
    first, second = guarded.seen(seen.StepRecord)
    assert (first.loss, first.losses, first.loss_sum) == (losses[-1], 3, sum(losses))
    assert (second.losses, second.loss_sum) == (1, None)


def test_sum_of_losses_is_not_told_when_one_is_no_number(guarded: Guarded) -> None:
    model = a_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    backward(model)
    out = model(torch.ones(2, 5))
    out.backward(torch.ones_like(out))
    optimizer.step()
    (record,) = guarded.seen(seen.StepRecord)
    assert (record.losses, record.loss_sum) == (2, None)


def test_a_step_within_a_compiled_function_is_told(guarded: Guarded) -> None:
    model = a_model()
    optimizer = torch.optim.AdamW(model.parameters())
    step = torch.compile(optimizer.step, backend="eager")
    for act in (step, optimizer.step):
        backward(model)
        act()
    assert [record.compiled for record in guarded.seen(seen.StepRecord)] == [True, False]
    no_failure(guarded)


def test_a_step_that_calls_its_parents_is_one_step(guarded: Guarded) -> None:
    class Doubled(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            super().step()
            return super().step(closure)

    class Deeper(Doubled):
        def step(self, closure: Any = None) -> Any:
            return super().step(closure)

    model = a_model()
    train(model, Deeper(model.parameters(), lr=0.1), 3)
    assert [record.step for record in guarded.seen(seen.StepRecord)] == [0, 1, 2]
    no_failure(guarded)


def test_a_step_that_raises_does_not_swallow_the_next_one(guarded: Guarded) -> None:
    class Fragile(torch.optim.SGD):
        fails = False

        def step(self, closure: Any = None) -> Any:
            if self.fails:
                raise RuntimeError("no step today")
            return super().step(closure)

    model = a_model()
    optimizer = Fragile(model.parameters(), lr=0.1)
    train(model, optimizer, 1)
    optimizer.fails = True
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no step today"):
            train(model, optimizer, 1)
    optimizer.fails = False
    train(model, optimizer, 2)
    assert [record.step for record in guarded.seen(seen.StepRecord)] == [0, 1, 2]
    no_failure(guarded)


def test_a_step_that_raises_deep_inside_does_not_swallow_the_next_one(guarded: Guarded) -> None:
    class Wrapped(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            return super().step(closure)

    model = a_model()
    optimizer = Wrapped(model.parameters(), lr=0.1)

    def closure() -> Any:
        raise RuntimeError("no loss today")

    for _ in range(3):
        with pytest.raises(RuntimeError, match="no loss today"):
            optimizer.step(closure)
        train(model, optimizer, 1)
    assert [record.step for record in guarded.seen(seen.StepRecord)] == [0, 1, 2]
    no_failure(guarded)


def test_closures_are_marked_and_their_moves_are_the_optimizers(guarded: Guarded) -> None:
    model = a_model()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=4)

    def closure() -> Any:
        optimizer.zero_grad()
        return backward(model)

    for _ in range(3):
        optimizer.step(closure)
    records = guarded.seen(seen.StepRecord)
    assert [record.step for record in records] == [0, 1, 2]
    assert all(record.closure for record in records)
    assert guarded.seen(seen.WeightsMoved) == []
    no_failure(guarded)


def test_two_optimizers_that_share_parameters_do_not_accuse_each_other(guarded: Guarded) -> None:
    model = a_model()
    one = torch.optim.SGD(model.parameters(), lr=0.1)
    other = torch.optim.AdamW(model[2].parameters(), lr=0.1)
    for _ in range(4):
        one.zero_grad()
        backward(model)
        one.step()
        other.step()
    records = guarded.seen(seen.StepRecord)
    assert len(records) == 8
    shared = {0: {2, 3}, 1: {0, 1}}
    for record in records:
        if record.step > 1:
            touched = {sample.tensor for sample in record.samples if sample.repeated}
            assert not touched & shared[record.optimizer]
            assert not {tensor for tensor, _ in record.fingerprint_before} & shared[record.optimizer]
    assert {sample.tensor for record in records if record.optimizer == 0 for sample in record.samples} == {
        0,
        1,
        2,
        3,
    }
    assert guarded.seen(seen.WeightsMoved) == []
    no_failure(guarded)


def test_a_second_optimizer_that_comes_later_does_not_make_the_first_one_accuse(guarded: Guarded) -> None:
    model = a_model()
    first = torch.optim.SGD(model.parameters(), lr=0.1)
    train(model, first, 3)
    second = torch.optim.SGD(model.parameters(), lr=0.1)
    train(model, second, 1)
    train(model, first, 1)
    last = guarded.seen(seen.StepRecord)[-1]
    assert last.optimizer == 0
    assert [sample for sample in last.samples if sample.repeated] == []
    assert last.fingerprint_before == []
    assert guarded.seen(seen.WeightsMoved) == []


def test_an_optimizer_that_never_steps_does_not_accuse_anothers_closure(guarded: Guarded) -> None:
    model = torch.nn.Linear(3, 1)
    unused = torch.optim.Adam(model.parameters())
    used = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=4)
    inputs, targets = torch.randn(16, 3), torch.randn(16, 1)

    def closure() -> Any:
        used.zero_grad()
        loss = torch.nn.functional.mse_loss(model(inputs), targets)
        loss.backward()
        return loss

    for _ in range(3):
        used.step(closure)
    assert guarded.seen(seen.WeightsMoved) == []
    # A step that raised is no longer running: parameters of others are looked at again.
    with pytest.raises(ZeroDivisionError):
        used.step(lambda: 1 / 0)
    elsewhere = torch.nn.Linear(3, 1)
    third = torch.optim.SGD(elsewhere.parameters())
    for _ in range(4):
        closure()
        with torch.no_grad():
            elsewhere.weight.add_(1)
    assert {moved.optimizer for moved in guarded.seen(seen.WeightsMoved)} == {2}
    no_failure(guarded)
    del unused, third


def test_groups_added_later_are_declared_anew(guarded: Guarded) -> None:
    model = a_model()
    optimizer = torch.optim.SGD(model[0].parameters(), lr=0.1)
    train(model, optimizer, 2)
    optimizer.add_param_group({"params": list(model[2].parameters()), "lr": 0.5})
    train(model, optimizer, 3)
    first, second = guarded.seen(seen.OptimizerDeclared)
    assert len(first.optimizer.tensors) == 2
    assert [tensor.group for tensor in second.optimizer.tensors] == [0, 0, 1, 1]
    assert first.optimizer.index == second.optimizer.index
    records = guarded.seen(seen.StepRecord)
    assert [record.step for record in records] == [0, 1, 2, 3, 4]
    assert records[-1].groups[1]["lr"] == 0.5
    assert guarded.seen(seen.WeightsMoved) == []
    no_failure(guarded)


def test_parameters_exchanged_for_as_many_others_are_declared_anew(guarded: Guarded) -> None:
    model, fresh = a_model(), a_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with torch.no_grad():
        fresh[0].weight.add_(0.25)
    train(model, optimizer, 2)
    optimizer.param_groups[0]["params"] = list(fresh.parameters())
    train(fresh, optimizer, 2)
    assert len(guarded.seen(seen.OptimizerDeclared)) == 2
    last = guarded.seen(seen.StepRecord)[-1]
    values = {float(value) for sample in last.samples for value in sample.after.get("param", ())}
    assert values <= {value for parameter in fresh.parameters() for value in parameter.flatten().tolist()}
    no_failure(guarded)


def test_parameters_exchanged_all_the_time_are_a_gap_and_no_flood(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roster, "MAX_DECLARATIONS", 3)
    model = a_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(6):
        model = a_model()
        optimizer.param_groups[0]["params"] = list(model.parameters())
        train(model, optimizer, 1)
    assert len(guarded.seen(seen.OptimizerDeclared)) == 3
    (gap,) = guarded.seen(seen.Gap)
    assert (gap.law, gap.stops) == ("update", True)
    assert len(guarded.seen(seen.StepRecord)) == 6


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64", "float32"])
def test_values_of_every_precision_are_exact(guarded: Guarded, dtype: str) -> None:
    model = a_model(getattr(torch, dtype))
    train(model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), 2)
    record = guarded.seen(seen.StepRecord)[-1]
    parameters = list(model.parameters())
    for sample in record.samples:
        if sample.repeated:
            continue
        present = set(parameters[sample.tensor].detach().double().flatten().tolist())
        assert set(sample.after["param"]) <= present
        assert sample.count >= 3
        assert sample.before["grad"]
    no_failure(guarded)


def test_sparse_gradients_are_left_out_of_the_sample(guarded: Guarded) -> None:
    table = torch.nn.Embedding(10, 4, sparse=True)
    optimizer = torch.optim.SparseAdam(table.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        table(torch.tensor([1, 3])).sum().backward()
        optimizer.step()
    records = guarded.seen(seen.StepRecord)
    assert len(records) == 3
    assert all("grad" not in sample.before for record in records for sample in record.samples)
    no_failure(guarded)


def test_frozen_parameters_have_no_gradient_and_stay(guarded: Guarded) -> None:
    model = a_model()
    model[0].weight.requires_grad_(False)
    train(model, torch.optim.AdamW(model.parameters(), lr=0.1), 3)
    for record in guarded.seen(seen.StepRecord):
        for sample in record.samples:
            assert ("grad" in sample.before) == (sample.tensor != 0 and not sample.repeated)
            if sample.tensor == 0 and not sample.repeated:
                assert sample.before["param"] == sample.after["param"]
    no_failure(guarded)


def test_a_step_replaced_on_the_instance_shows_as_weights_that_move(guarded: Guarded) -> None:
    model = a_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    train(model, optimizer, 2)

    def crooked(closure: Any = None) -> None:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.sub_(parameter.grad, alpha=-0.1)

    optimizer.step = crooked
    train(model, optimizer, 3)
    moved = guarded.seen(seen.WeightsMoved)
    assert moved
    assert all(one.optimizer == 0 and one.after_step == 1 for one in moved)
    assert moved[0].step_replaced.endswith("crooked")
    assert moved[0].path == __file__
    assert moved[0].line == crooked.__code__.co_firstlineno
    no_failure(guarded)


def test_a_step_replaced_before_the_first_shows_as_well(guarded: Guarded) -> None:
    model = a_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    own = optimizer.step

    def crooked() -> None:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.sub_(parameter.grad, alpha=-0.1)

    optimizer.step = crooked
    assert own is not optimizer.step
    train(model, optimizer, 4)
    assert guarded.seen(seen.StepRecord) == []
    assert guarded.seen(seen.WeightsMoved)


@pytest.mark.parametrize("passes", [2, 5])
def test_gradient_accumulation_is_no_move(guarded: Guarded, passes: int) -> None:
    model = a_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for _ in range(4):
        for _ in range(passes):
            backward(model)
        optimizer.step()
        optimizer.zero_grad()
    assert [record.losses for record in guarded.seen(seen.StepRecord)] == [passes] * 4
    assert guarded.seen(seen.WeightsMoved) == []
    no_failure(guarded)


def test_weights_set_by_hand_between_two_passes_are_reported(guarded: Guarded) -> None:
    model = a_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    train(model, optimizer, 2)
    backward(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    backward(model)
    (moved,) = guarded.seen(seen.WeightsMoved)
    assert moved.after_step == 1
    assert moved.step_replaced == ""


def test_a_loaded_state_is_reported_once_and_is_no_move(guarded: Guarded) -> None:
    model = a_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    train(model, optimizer, 2)
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    train(model, optimizer, 1)
    model.load_state_dict(kept)
    optimizer.load_state_dict(optimizer.state_dict())
    train(model, optimizer, 2)
    (restored,) = guarded.seen(seen.StateRestored)
    assert (restored.loaded_module, restored.loaded_optimizer, restored.step) == (True, True, 3)
    assert [tensor.key for tensor in restored.tensors] == list(kept)
    assert guarded.seen(seen.WeightsMoved) == []
    no_failure(guarded)


def test_a_grad_scaler_is_seen(guarded: Guarded) -> None:
    model = a_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    for _ in range(2):
        optimizer.zero_grad()
        scaler.scale(model(torch.ones(2, 5)).square().mean()).backward()
        scaler.step(optimizer)
        scaler.update()
    assert [record.step for record in guarded.seen(seen.StepRecord)] == [0, 1]
    assert guarded.seen(seen.WeightsMoved) == []
    no_failure(guarded)


def test_a_fused_kernel_that_skips_overflown_gradients_is_seen(guarded: Guarded) -> None:
    model = a_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1, fused=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    for factor in (1.0, float("inf"), 1.0):
        optimizer.zero_grad()
        scaler.scale(model(torch.randn(4, 5)).sum() * factor).backward()
        scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
    records = guarded.seen(seen.StepRecord)
    assert [record.skipped for record in records] == [False, True, False]
    no_failure(guarded)


def test_clipping_is_recorded_with_the_step_it_belongs_to(guarded: Guarded) -> None:
    model = a_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    backward(model)
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.25)
    optimizer.step()
    train(model, optimizer, 1)
    first, second = guarded.seen(seen.StepRecord)
    assert (first.max_norm, first.total_norm) == (0.25, norm.item())
    assert (second.max_norm, second.total_norm) == (None, None)


def test_an_optimizer_without_parameters_or_of_empty_ones_does_no_harm(guarded: Guarded) -> None:
    empty = torch.nn.Parameter(torch.empty(0, 3))
    single = torch.nn.Parameter(torch.tensor(2.0))
    optimizer = torch.optim.AdamW([empty, single], lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        (single * 3 + empty.sum()).backward()
        optimizer.step()
    assert [record.step for record in guarded.seen(seen.StepRecord)] == [0, 1, 2]
    no_failure(guarded)


def test_guarding_leaves_generators_and_grad_mode_alone(guarded: Guarded) -> None:
    model = a_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    backward(model)
    before = torch.get_rng_state()
    optimizer.step()
    assert torch.equal(before, torch.get_rng_state())
    assert torch.is_grad_enabled()
    with torch.inference_mode():
        optimizer.step()
        assert torch.is_inference_mode_enabled()
    no_failure(guarded)


def test_a_step_that_is_bypassed_shows_from_batch_to_batch(guarded: Guarded) -> None:
    """The hooks hang on ``step``; what it wraps can be called directly, with gradients from elsewhere."""
    model = a_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = torch.utils.data.DataLoader(torch.ones(6, 5), batch_size=1)
    for number, batch in enumerate(loader):
        loss = model(batch).square().mean()
        for parameter, gradient in zip(
            model.parameters(), torch.autograd.grad(loss, list(model.parameters())), strict=True
        ):
            parameter.grad = gradient
        if number < 2:
            optimizer.step()
        else:
            type(optimizer).step.__wrapped__(optimizer)
    assert len(guarded.seen(seen.StepRecord)) == 2
    moved = guarded.seen(seen.WeightsMoved)
    assert [one.after_step for one in moved] == [1] * 3
    assert moved[0].tensors == [0, 1, 2, 3]


def test_autograd_backward_is_a_backward_pass(guarded: Guarded) -> None:
    model = a_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss = model(torch.ones(2, 5)).square().mean()
    torch.autograd.backward([loss])
    optimizer.step()
    (record,) = guarded.seen(seen.StepRecord)
    assert (record.losses, record.loss) == (1, loss.item())


def test_a_decoy_that_steps_on_the_same_parameters_hides_nothing(guarded: Guarded) -> None:
    model = a_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    decoy = torch.optim.SGD(model.parameters(), lr=0.0)
    for number in range(4):
        optimizer.zero_grad()
        backward(model)
        optimizer.step()
        decoy.step()
        if number == 2:
            with torch.no_grad():
                model[0].weight.mul_(0.9)
    (moved,) = guarded.seen(seen.WeightsMoved)
    assert (moved.at_step, moved.after_step, moved.tensors) == (True, 2, [0])


def test_a_wrapper_that_moves_weights_within_its_own_step_is_no_move(guarded: Guarded) -> None:
    class Wrapper(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            with torch.no_grad():
                for group in self.param_groups:
                    for parameter in group["params"]:
                        parameter.mul_(0.99)
            return self.inner.step()

    model = a_model()
    optimizer = Wrapper(model.parameters(), lr=0.1)
    optimizer.inner = torch.optim.SGD(model.parameters(), lr=0.1)
    train(model, optimizer, 4)
    assert len(guarded.seen(seen.StepRecord)) == 8
    assert guarded.seen(seen.WeightsMoved) == []
    no_failure(guarded)
