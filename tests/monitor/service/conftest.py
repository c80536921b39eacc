from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.monitor.service.world import NoInterpreterError, World, new_world, why_not


@pytest.fixture(scope="module")
def accounts() -> Iterator[World]:
    """Three accounts; the service is not started."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    try:
        with new_world() as world:
            yield world
    except NoInterpreterError as error:
        pytest.skip(str(error))


@pytest.fixture
def world(accounts: World) -> Iterator[World]:
    """The same with the service running."""
    if accounts.service is None:
        accounts.start()
    yield accounts
    for process in accounts.started:
        if process.poll() is None:
            process.kill()
            process.communicate()
    accounts.started.clear()
