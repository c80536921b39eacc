"""Where a service records: what a job's user loads is read for her, and what she permits counts."""

from __future__ import annotations

import pytest

from tests.monitor.service.world import World

pytestmark = [pytest.mark.serial, pytest.mark.soak]

LOADS = """
    import pickle, sys
    import torch

    for path in sys.argv[1:]:
        with open(path, "rb") as file:
            print(pickle.load(file), flush=True)
"""
RUNS = b"cposix\nsystem\n(Vtrue\ntR."
"""Would run the program ``true``, which does nothing."""
PERMIT = """
    [[scan.permit]]
    global = "statistics:NormalDist"
    owner = "data team"
    reason = "ratios of the mixture"
    expires = 2999-01-01
"""


def test_enforce_waits_for_the_services_word(world: World) -> None:
    alice = world.alice
    program = world.write(alice, "loads.py", LOADS)
    ratio, harm = alice.folder / "ratio.pkl", alice.folder / "harm.pkl"
    for path, data in ((ratio, b"cstatistics\nNormalDist\n(I1\nI2\ntR."), (harm, RUNS)):
        path.write_bytes(data)
        path.chmod(0o644)
    done = world.call(alice, "run", "--policy", "enforce", "--", world.python, program, ratio)
    assert done.returncode == 1
    assert f"{ratio}: not loaded: checkpoint-pickle-unknown-global" in done.stderr
    world.write(alice, "veracity.toml", PERMIT)
    done = world.call(alice, "run", "--policy", "enforce", "--", world.python, program, ratio, harm)
    assert (done.returncode, done.stdout) == (1, "NormalDist(mu=1.0, sigma=2.0)\n")
    assert f"{harm}: not loaded: checkpoint-pickle-executes" in done.stderr
    found = {finding.rule for finding in world.summary(alice).findings}
    assert "checkpoint-pickle-executes" in found
