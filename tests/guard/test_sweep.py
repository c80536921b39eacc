"""The sweep reads what torch says is there, however the parameters lie in memory."""

from __future__ import annotations

import struct
import sys
from collections.abc import Sequence
from typing import Any

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from veracity.core import sweep as places
from veracity.guard.sweep import SLOW_TENSORS, Sweeper, Swept

KEY = b"k" * 32
SHAPES = st.lists(st.integers(0, 300), min_size=1, max_size=12)
MODULES = [numpy, None]


def expected(parameters: Sequence[Any], swept: Swept) -> bytes:
    found = b""
    for tensor, start in zip(swept.tensors, swept.starts, strict=True):
        flat = parameters[tensor].detach().reshape(-1).to(torch.float32)
        at = places.positions(start, flat.numel(), swept.count)
        found += struct.pack(f"={swept.count}f", *flat[torch.tensor(at)].tolist())
    return found


def sweeper(parameters: Sequence[Any], module: object = None) -> Sweeper:
    return Sweeper(KEY, parameters, range(len(parameters)), module)


@pytest.mark.parametrize("module", MODULES)
@settings(max_examples=examples(40))
@given(sizes=SHAPES, step=st.integers(0, 1000))
def test_it_reads_torchs_own_values(module: object, sizes: list[int], step: int) -> None:
    parameters = [torch.randn(size) for size in sizes]
    swept = sweeper(parameters, module).fresh(step)
    assert list(swept.tensors) == [place for place, size in enumerate(sizes) if size]
    assert swept.words == expected(parameters, swept)


@pytest.mark.parametrize("module", MODULES)
def test_other_types_and_layouts_are_read_in_turn(module: object) -> None:
    kinds = (torch.bfloat16, torch.float16, torch.float64)
    parameters = [torch.randn(6, 4).to(kinds[number % 3]) for number in range(40)]
    parameters += [torch.randn(6, 4).t(), torch.randn(9)]
    one, seen = sweeper(parameters, module), set()
    for step in range(3):
        swept = one.fresh(step)
        assert len(swept.tensors) == SLOW_TENSORS + 1
        assert swept.words == expected(parameters, swept)
        assert one.again(swept) == swept
        seen |= set(swept.tensors)
    assert seen == set(range(len(parameters)))


@pytest.mark.parametrize("module", MODULES)
def test_a_change_names_its_tensors(module: object) -> None:
    parameters = [torch.randn(50) for _ in range(30)]
    one = sweeper(parameters, module)
    swept = one.fresh(4)
    assert swept.changed(one.again(swept)) == []
    parameters[3].mul_(0.9)
    parameters[17].data = parameters[17].data * 1.5
    later = one.again(swept)
    assert swept.changed(later) == [3, 17]
    assert swept.of({3, 5}).changed(one.again(swept.of({3, 5}))) == [3]


@pytest.mark.parametrize("module", MODULES)
def test_parameters_that_move_shrink_or_grow_are_followed(module: object) -> None:
    parameters = [torch.nn.Parameter(torch.randn(8)) for _ in range(4)]
    one = sweeper(parameters, module)
    swept = one.fresh(0)
    parameters[0].data = parameters[0].data.clone()
    assert swept.changed(one.again(swept)) == []
    parameters[1].data = torch.randn(5)
    parameters[2].data = parameters[2].data.to(torch.bfloat16)
    parameters[3].untyped_storage().resize_(0)
    parameters[3].data = torch.randn(8)
    assert swept.changed(one.again(swept))[0] == 1
    assert 3 in swept.changed(one.again(swept))


def test_nothing_to_sweep_is_no_sweep() -> None:
    one = Sweeper(KEY, [torch.empty(0)], [0], sys.modules.get("numpy"))
    assert one.fresh(0).tensors == ()
    assert one.again(one.fresh(0)).packed() == b""
