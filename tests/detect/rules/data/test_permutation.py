from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from veracity.core.errors import EvidenceError
from veracity.detect.rules.data.permutation import STATE_BYTES, Twister

SEEDS = st.integers(min_value=-(2**63), max_value=2**64 - 1)


def state_of(generator: torch.Generator) -> str:
    return bytes(generator.get_state().tolist()).hex()


@given(seed=SEEDS, advance=st.integers(0, 1300), size=st.integers(0, 700))
@settings(max_examples=examples(60))
def test_randperm_is_reproduced_from_any_state(seed: int, advance: int, size: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    torch.randint(7, (advance,), generator=generator)
    twister = Twister.from_state(state_of(generator))
    assert twister.permutation(size).tolist() == torch.randperm(size, generator=generator).tolist()
    # and the generator stands where torch's stands afterwards
    assert twister.permutation(5).tolist() == torch.randperm(5, generator=generator).tolist()


@given(seed=SEEDS, bound=st.integers(1, 2**28 - 1), count=st.integers(0, 100))
@settings(max_examples=examples(40))
def test_randint_and_the_samplers_seed_are_reproduced(seed: int, bound: int, count: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    twister = Twister.from_state(state_of(generator))
    assert twister.below(bound, count) == torch.randint(bound, (count,), generator=generator).tolist()
    drawn = torch.empty((), dtype=torch.int64).random_(generator=generator).item()
    assert twister.seed_value() == drawn


@given(seed=SEEDS)
@settings(max_examples=examples(40))
def test_manual_seed_is_reproduced(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    assert Twister.seeded(seed).permutation(50).tolist() == torch.randperm(50, generator=generator).tolist()


def test_a_large_permutation_spans_many_blocks_of_words() -> None:
    generator = torch.Generator().manual_seed(3)
    expected = torch.randperm(200_003, generator=generator).tolist()
    assert Twister.seeded(3).permutation(200_003).tolist() == expected


def test_the_cached_normal_sample_does_not_matter() -> None:
    generator = torch.Generator().manual_seed(11)
    torch.randn((), generator=generator, dtype=torch.float64)
    twister = Twister.from_state(state_of(generator))
    assert twister.permutation(9).tolist() == torch.randperm(9, generator=generator).tolist()


FOREIGN = ["", "00" * 8, *(pair * STATE_BYTES for pair in ("00", "zz", "ff", "  "))]


@pytest.mark.parametrize("state", FOREIGN, ids=range(len(FOREIGN)))
def test_foreign_states_are_refused(state: str) -> None:
    with pytest.raises(EvidenceError):
        Twister.from_state(state)


@given(data=st.data())
@settings(max_examples=examples(40))
def test_a_damaged_state_is_refused_or_read_never_crashes(data: st.DataObject) -> None:
    raw = bytearray(bytes(torch.Generator().manual_seed(5).get_state().tolist()))
    for _ in range(data.draw(st.integers(1, 5))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        order = Twister.from_state(raw.hex()).permutation(20)
    except EvidenceError:
        return
    assert sorted(order) == list(range(20))


def test_words_do_not_depend_on_how_they_are_asked_for() -> None:
    chooser = random.Random(1)
    one, other = Twister.seeded(9), Twister.seeded(9)
    sizes = [chooser.randrange(50) for _ in range(30)]
    assert [word for size in sizes for word in one.words(size)] == list(other.words(sum(sizes)))


@pytest.mark.parametrize("size", [0, 1, 2, 4096, 4097, 4098, 8193])
def test_the_edges_of_a_block_of_words(size: int) -> None:
    generator = torch.Generator().manual_seed(8)
    twister = Twister.seeded(8)
    assert twister.permutation(size).tolist() == torch.randperm(size, generator=generator).tolist()
    assert twister.permutation(7).tolist() == torch.randperm(7, generator=generator).tolist()
