from __future__ import annotations

import gc
from contextlib import suppress

from veracity.cli.collecting import SELDOM, seldom_collected


def test_the_collector_is_as_it_was_afterwards() -> None:
    before = gc.get_threshold()
    within = 0
    with suppress(KeyError), seldom_collected():
        within = gc.get_threshold()[0]
        raise KeyError
    assert within == SELDOM
    assert gc.get_threshold() == before
    assert gc.isenabled()
