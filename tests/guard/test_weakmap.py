"""Values by weak keys, the last one found at once."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

from veracity.guard.weakmap import WeakMap


class Thing:
    """Something with an identity."""


def test_what_was_set_last_is_found() -> None:
    known: WeakMap[Thing, str] = WeakMap()
    first, second = Thing(), Thing()
    assert known.find(first) is None
    known[first] = "one"
    known[second] = "two"
    for _ in range(2):
        assert [known.find(one) for one in (first, first, second)] == ["one", "one", "two"]
    known[first] = "three"
    assert known.find(first) == "three"
    known.find(second)
    del known[second]
    assert known.find(second) is None
    assert known.find(first) == "three"


def test_a_value_does_not_outlive_its_key() -> None:
    known: WeakMap[Thing, Thing] = WeakMap()
    key, value = Thing(), Thing()
    known[key], alive = value, weakref.ref(value)
    assert known.find(key) is value
    del value, key
    gc.collect()
    assert alive() is None
    assert len(known) == 0


def test_what_cannot_be_a_weak_key_is_refused() -> None:
    known: WeakMap[object, str] = WeakMap()
    with pytest.raises(TypeError):
        known.find(5)


def test_threads_find_their_own() -> None:
    known: WeakMap[Thing, int] = WeakMap()
    things = [Thing() for _ in range(4)]
    for number, one in enumerate(things):
        known[one] = number
    wrong: list[int] = []

    def look(number: int) -> None:
        wrong.extend(number for _ in range(5000) if known.find(things[number]) != number)

    threads = [threading.Thread(target=look, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
