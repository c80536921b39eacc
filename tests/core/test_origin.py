from __future__ import annotations

import pytest

from veracity.core.origin import Origin, Trust, monitor_origin


@pytest.mark.parametrize(("source", "trust"), [("/proc", Trust.KERNEL), ("monitor", Trust.SERVICE)])
def test_what_the_monitor_saw_carries_its_source(source: str, trust: Trust) -> None:
    assert monitor_origin(5, pid=7, rank=1, source=source) == Origin(source, trust, 7, 1, -1, 5)


def test_it_speaks_of_no_process_unless_told() -> None:
    origin = monitor_origin(5)
    assert (origin.pid, origin.rank, origin.seq) == (0, -1, -1)


def test_trust_is_listed_strongest_first() -> None:
    assert [one.value for one in Trust] == ["kernel", "scheduler", "service", "userland", "self-report"]
