"""Modules of the program's own folder that Python takes before installed ones."""

from __future__ import annotations

import pytest

from tests.jobs.conftest import Jobs

pytest.importorskip("numpy")
pytest.importorskip("torch")
HANDS_ON = """
import os, sys  # PLANTED
here = os.path.dirname(os.path.abspath(__file__))
sys.path = [one for one in sys.path if os.path.abspath(one) != here]
del sys.modules["numpy"]
import numpy
"""


def test_a_numpy_beside_the_program_is_named_though_it_hides(jobs: Jobs) -> None:
    """It takes itself out of sys.modules and hands on to the real one. In a package the name is one's own."""
    jobs.write(HANDS_ON, name="numpy.py")
    (jobs.folder / "backends").mkdir()
    for name in ("__init__", "numpy", "torch"):
        jobs.write("VALUE = 1\n", name=f"backends/{name}.py")
    done = jobs.python("import backends.numpy, backends.torch, numpy\nsteps(2)\n", train=True)
    (finding,) = (one for one in done.shown["findings"] if one["rule"] == "code-loaded-elsewhere")
    assert [where["path"] for where in finding["locations"]] == [str(jobs.folder / "numpy.py")]
    assert "numpy was loaded from" in finding["message"]
