"""The victims: training scripts shipped as data, to be run or copied, never imported.

They know nothing of Veracity. Each stands alone in ``victims/<name>/train.py`` and needs PyTorch;
``digits`` needs scikit-learn besides.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from ..core.errors import UsageError

VICTIMS = ("chargpt", "digits")


def victim_path(name: str) -> Path:
    """The training script of the victim ``name``, one of ``VICTIMS``.

    Raises UsageError for any other name, and where the script is not a file of its own (a package imported
    from an archive), since another interpreter could not run it.
    """
    if name not in VICTIMS:
        raise UsageError(f"no victim is called {name!r}", remedy=f"use one of: {', '.join(VICTIMS)}")
    script = Path(str(files(__package__) / "victims" / name / "train.py"))
    if not script.is_file():
        raise UsageError(
            f"the training script of {name!r} is not a file",
            where=str(script),
            remedy="install from the wheel",
        )
    return script
