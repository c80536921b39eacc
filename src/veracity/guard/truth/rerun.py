"""The captured calls evaluated again, as they were or with one parameter moved.

``functional_call`` puts moved copies in the place of one parameter for the length of a call, so neither the
real parameters nor their version counters are touched; buffers are copies of what the call found. The value
of an evaluation is the sum over calls and outputs of <cotangent, output - recorded output>, in float64: the
change of the loss to first order in everything downstream of the module, and exactly the change of the loss
where the module returns the loss itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from ..programhooks import changing_hooks
from .calls import Call, Output, tensors_in
from .circumstances import Attributes, under
from .excuses import of_hook
from .muted import forward_hooks, muted
from .surrogates import ChangedCourseError, Cuts, cuts_in, holding
from .uses import used_outside

if TYPE_CHECKING:
    import torch

UNEQUAL = "the forward pass repeated is not, bit for bit, the one recorded"


class NotRepeatableError(Exception):
    """The step cannot be checked; the text says why.

    ``lasting``: nor can any other. ``counts``: it tells against trying again, as an unusual step does not.
    """

    def __init__(self, why: str, *, lasting: bool = True, counts: bool = True) -> None:
        super().__init__(why)
        self.lasting = lasting
        self.counts = counts


@dataclass(slots=True)
class Rerun:
    """All calls of one module in a step."""

    module: torch.nn.Module
    calls: list[Call]
    found: dict[int, Cuts] = field(default_factory=dict)
    held: bool = False

    def null(self) -> float:
        """Repeat the calls unmoved: each output must be the recorded one, bit for bit.

        Returns the scale of the outputs' rounding in units of the loss. Raises NotRepeatableError.
        """
        external: list[list[Output]] = []
        for call in self.calls:
            attributes = Attributes(self.module)
            try:
                results = self._first_run(call)
            finally:
                changed = attributes.put_back()
            if changed:
                raise NotRepeatableError(f"the forward pass changes {changed}")
            for output in call.outputs:
                if not _same(results[output.place].detach(), output.value):
                    raise NotRepeatableError(_because_of_hooks(call) or UNEQUAL, lasting=False)
            external.append(_external(call, results))
        for call, outputs in zip(self.calls, external, strict=True):
            call.outputs = outputs
        return self._rounding()

    def again_as_base(self) -> float:
        """Take what the calls return now, unmoved, for what they returned; the rounding that this has."""
        for call in self.calls:
            attributes = Attributes(self.module)
            try:
                results = self._run(call, {})
            finally:
                attributes.put_back()
            for output in call.outputs:
                output.value = results[output.place].detach()
                output.version = output.value._version
        return self._rounding()

    def reaches(self, parameter: torch.Tensor) -> bool:
        """Whether an output of a call repeated unmoved hangs on ``parameter`` in the graph."""
        attributes = Attributes(self.module)
        try:
            results = [one for call in self.calls for one in self._run(call, {})]
        finally:
            attributes.put_back()
        return bool(used_outside(results, {id(parameter)}, ()).parameters)

    def differentiated(self, parameter: torch.Tensor) -> torch.Tensor:
        """What autograd gives for ``parameter`` when the calls are repeated unmoved."""
        import torch

        total = torch.zeros_like(parameter)
        for call in self.calls:
            results = self._run(call, {})
            outputs = [results[output.place] for output in call.outputs]
            cotangents = [
                output.cotangent.to(result.dtype)
                for output, result in zip(call.outputs, outputs, strict=True)
                if output.cotangent is not None
            ]
            (found,) = torch.autograd.grad(outputs, parameter, cotangents, allow_unused=True)
            total = total if found is None else total + found
        return total

    def change(self, name: str, moved: torch.Tensor) -> float:
        """The evaluation with the parameter ``name`` moved; 0.0 exactly when no output changed."""
        total = 0.0
        for call in self.calls:
            if not call.outputs:
                continue
            attributes = Attributes(self.module)
            try:
                results = self._run(call, {name: moved})
            finally:
                attributes.put_back()
            for output in call.outputs:
                total += _inner(results[output.place].detach() - output.value, output.cotangent)
        return total

    def cuts(self) -> list[str]:
        """Places where the forward pass cuts its own derivative, found by one more repetition."""
        places: dict[str, None] = {}
        for call in self.calls:
            attributes = Attributes(self.module)
            try:
                _, cuts = cuts_in(partial(self._run, call, {}))
            finally:
                attributes.put_back()
            self.found[id(call)] = cuts
            places.update(cuts.places)
        return list(places)

    def hold(self) -> bool:
        """Keep what is taken out of the graph constant from now on; whether that can be done.

        There must be something, and the outputs must be the recorded ones.
        """
        found = self.found.values()
        if not any(cuts.places for cuts in found) or not all(cuts.whole for cuts in found):
            return False
        self.held = True
        try:
            self.null()
        except NotRepeatableError:
            self.held = False
        return self.held

    def excuses(self, parameter: torch.Tensor) -> tuple[list[str], list[str]]:
        """What may replace the gradient of ``parameter``, and those of it that the whole gradient passed."""
        mine = id(parameter)
        everywhere = [one for call in self.calls for one in call.excuses]
        texts = dict.fromkeys(one.text for one in everywhere if mine in one.below)
        through = [
            text for text in texts if all(mine in one.through for one in everywhere if one.text == text)
        ]
        # What a hook did that left nothing of its own in the graph, nobody can say.
        known = {one.text for one in everywhere}
        unclear = [
            text
            for call in self.calls
            for hook in call.hooks
            if hook.replaces and (text := of_hook(hook.place)) not in known
        ]
        within = [f"hook within the backward pass at {place}" for place in changing_hooks()]
        return [*texts, *dict.fromkeys(unclear), *within], through

    def _first_run(self, call: Call) -> list[torch.Tensor]:
        """The call repeated unmoved, where a program's hook may have done what the forward pass needs."""
        try:
            return self._run(call, {})
        except Exception as error:
            why = _because_of_hooks(call)
            if why:
                raise NotRepeatableError(why, lasting=False) from error
            raise

    def _run(self, call: Call, moved: dict[str, torch.Tensor]) -> list[torch.Tensor]:
        if not self.held:
            return self._again(call, moved)
        # What is moved must look as it did, or nothing that is made of it would be seen to be cut off.
        alike = {name: tensor.detach().requires_grad_() for name, tensor in moved.items()}
        try:
            return holding(self.found[id(call)], partial(self._again, call, alike))
        except ChangedCourseError:
            raise NotRepeatableError(
                "the forward pass repeated takes another course", lasting=False
            ) from None

    def _again(self, call: Call, moved: dict[str, torch.Tensor]) -> list[torch.Tensor]:
        from torch.func import functional_call

        swapped = {name: buffer.clone() for name, buffer in call.buffers.items()}
        call.generators.put()
        around = muted(forward_hooks(call.module))
        with under(call.autocasts), _flat_weights(call.module, moved), around:
            result = functional_call(call.module, {**swapped, **moved}, call.args, call.kwargs)
        results = list(tensors_in(result))
        if any(output.place >= len(results) for output in call.outputs):
            raise NotRepeatableError("the forward pass repeated returns something else", lasting=False)
        return results

    def _rounding(self) -> float:
        """How far rounding of the last operations can move an evaluation: an ulp of each output, weighted.

        Errors of many outputs are taken as independent, so their squares add up.
        """
        import torch

        square = 0.0
        for call in self.calls:
            for output in call.outputs:
                if output.cotangent is None:
                    continue
                unit = torch.finfo(output.value.dtype).eps
                weighted = (output.value * output.cotangent).double().norm().item()
                square += (unit * weighted) ** 2
        return square**0.5


def _because_of_hooks(call: Call) -> str:
    """Why the outputs differ without the program's hooks; empty when it had none."""
    if not call.hooks:
        return ""
    # One that is known to replace what it was given is the likelier one.
    changing = [one for one in call.hooks if one.replaces]
    return f"a hook of the program changes the forward pass ({(changing or call.hooks)[0].place})"


def _external(call: Call, results: Sequence[torch.Tensor]) -> list[Output]:
    """The outputs that the rest of the program used.

    A hook on a tensor sees its whole gradient, also what comes from other outputs of the same module (logits
    from which the module itself computes the loss). One output is taken to be the used one if what it sends
    back inside the module explains the gradients of all others bit for bit.
    """
    used = call.used
    if len(used) <= 1:
        return used
    order = sorted(used, key=lambda output: output.value.numel())
    for candidate in order:
        others = [output for output in used if output is not candidate]
        inner = _sent_back(candidate, others, results)
        if all(
            found is not None and output.cotangent is not None and _same(found, output.cotangent)
            for found, output in zip(inner, others, strict=True)
        ):
            return [candidate]
        if all(found is None for found in inner) and _independent(candidate, others, results):
            return used
    raise NotRepeatableError("the module returns several tensors that are used, and depend on each other")


def _independent(candidate: Output, others: Sequence[Output], results: Sequence[torch.Tensor]) -> bool:
    """Whether no used output is computed from another: then each gradient came from outside alone."""
    everyone = [candidate, *others]
    return all(
        found is None
        for one in others
        for found in _sent_back(one, [output for output in everyone if output is not one], results)
    )


def _sent_back(
    output: Output, others: Sequence[Output], results: Sequence[torch.Tensor]
) -> Sequence[torch.Tensor | None]:
    """What the cotangent of one output sends back to others that it is computed from; None for the rest."""
    import torch

    found: Sequence[torch.Tensor | None] = torch.autograd.grad(
        results[output.place],
        [results[other.place] for other in others],
        output.cotangent,
        retain_graph=True,
        allow_unused=True,
    )
    return found


@contextlib.contextmanager
def _flat_weights(module: torch.nn.Module, moved: dict[str, torch.Tensor]) -> Iterator[None]:
    """Recurrent modules keep their weights in a list beside; the moved one must stand there too."""
    import torch

    named = dict(module.named_parameters()) if moved else {}
    by_id = {id(named[name]): tensor for name, tensor in moved.items()}
    changed: list[tuple[torch.nn.Module, object]] = []
    try:
        for one in module.modules() if by_id else ():
            flat = vars(one).get("_flat_weights")
            if not isinstance(one, torch.nn.RNNBase) or not isinstance(flat, list):
                continue
            if any(id(weight) in by_id for weight in flat):
                changed.append((one, flat))
                vars(one)["_flat_weights"] = [by_id.get(id(weight), weight) for weight in flat]
        yield
    finally:
        for one, flat in changed:
            vars(one)["_flat_weights"] = flat


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Bitwise equality, NaN being itself."""
    import torch

    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return bool(torch.equal(one, other)) or bool(
        torch.equal(one.isnan(), other.isnan()) and torch.equal(one.nan_to_num(), other.nan_to_num())
    )


def _inner(one: torch.Tensor, other: torch.Tensor | None) -> float:
    return 0.0 if other is None else (one.double() * other.double()).sum().item()
