"""Plantings that execute before the program, and that are exchanged after the look before the start."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from .files import ALTERED, STRAY, patch, tag
from .place import MARK, Place
from .planting import Planting, Sign

UNOWNED, PRELOAD = "environment-startup-unowned", "environment-preload-unowned"
UNLIKE = "code-unlike-seal"
PTH, SITE, USER = "an added .pth", "an added sitecustomize", "an added usercustomize"
SWAPPED, BESIDE = "a file swapped between check and use", "a module beside the program"


def put(place: Place, name: str, text: str | bytes = f"import os  {MARK}\n") -> None:
    place.write(place.site / name, text)


def appended(place: Place) -> None:
    """Another line in a file that a package owns."""
    place.edit(place.site / "distutils-precedence.pth", "import", f"import os  {MARK}\nimport")


def linked(place: Place) -> None:
    place.write(place.outside / "linked.pth", f"import os  {MARK}\n")
    place.link(place.site / "linked.pth", place.outside / "linked.pth")


def library(place: Place, name: str) -> None:
    """A native module is a library; which one does not matter, nothing loads it here."""
    native = next((place.site / "numpy").rglob(f"*{tag()}.so"))
    place.write(place.site / name, native.read_bytes())


def let_in(place: Place) -> None:
    place.edit(place.root / "env/pyvenv.cfg", "site-packages = false", "site-packages = true", keep_time=True)


def stray(name: str) -> list[Sign]:
    return [Sign("seal", STRAY, name), Sign("verify", "added", name)]


def executes(name: str) -> list[Sign]:
    return [Sign("seal", UNOWNED, name), *stray(name)]


# Some systems' Python has a sitecustomize of its own, which comes first; then these do not execute.
AT_REST = [
    Planting(PTH, "a line", partial(put, name="planted.pth"), executes("planted.pth")),
    Planting(PTH, "behind a tabulator",
             partial(put, name="tab.pth", text="import\tos\n"), executes("tab.pth")),
    Planting(PTH, "behind a byte order mark",
             partial(put, name="mark.pth", text="\ufeffimport os\n"), executes("mark.pth")),
    Planting(PTH, "behind a carriage return",
             partial(put, name="cr.pth", text="# x\rimport os\r"), executes("cr.pth")),
    Planting(PTH, "of more than 4 MiB",
             partial(put, name="large.pth", text=b"#" * (5 << 20) + b"\nimport os\n"),
             [Sign("seal", "gap", "large.pth"), *stray("large.pth")]),
    Planting(PTH, "behind a link", linked, executes("linked.pth")),
    Planting(PTH, "a hidden name", partial(put, name=".hidden.pth"), executes(".hidden.pth")),
    Planting(PTH, "a line in setuptools' own", appended,
             [Sign("seal", ALTERED, "distutils-precedence.pth"),
              Sign("verify", "content changed", "distutils-precedence.pth")]),
    Planting(SITE, "a module",
             partial(put, name="sitecustomize.py"), stray("sitecustomize.py"), alone=True),
    Planting(SITE, "a package", partial(put, name="sitecustomize/__init__.py"),
             stray("sitecustomize/__init__.py"), alone=True),
    Planting(SITE, "a native module", partial(library, name=f"sitecustomize{tag()}.so"),
             stray(f"sitecustomize{tag()}.so"), alone=True),
    Planting(SITE, "bytecode alone", partial(put, name="sitecustomize.pyc", text=bytes(16)),
             stray("sitecustomize.pyc"), alone=True),
    Planting(USER, "a module",
             partial(put, name="usercustomize.py"), executes("usercustomize.py"), alone=True),
    Planting(USER, "for the stable ABI", partial(library, name="usercustomize.abi3.so"),
             executes("usercustomize.abi3.so"), alone=True),
    Planting(USER, "pyvenv.cfg lets the account's packages in", let_in,
             [Sign("verify", "content changed", "env/pyvenv.cfg")], alone=True),
    Planting(USER, "a package", partial(put, name="usercustomize/__init__.py"),
             executes("usercustomize/__init__.py"), alone=True),
]  # fmt: skip


# --- variables ---------------------------------------------------------------------------------------------


def preload(place: Place, name: str = "libplanted.so") -> None:
    """A copy of a harmless library of the system, under a name of its own."""
    place.write(place.outside / name, math_library().read_bytes())


def math_library() -> Path:
    machine = os.uname().machine
    places = (f"/lib/{machine}-linux-gnu/libm.so.6", "/lib64/libm.so.6", "/usr/lib/libm.so.6")
    return next(Path(one) for one in places if os.path.exists(one))


def outside(place: Place, name: str) -> None:
    place.write(place.outside / name, f"{MARK}\n")


LD = "LD_PRELOAD"
VARIABLES = [
    Planting(LD, "by its path, at the seal", preload, [Sign("seal", PRELOAD, "libplanted.so")],
             {"LD_PRELOAD": "{root}/outside/libplanted.so"}),
    Planting(LD, "by its path, in a run", preload, [Sign("run", PRELOAD, "libplanted.so")],
             {"LD_PRELOAD": "{root}/outside/libplanted.so"}),
    Planting(LD, "by its name", preload, [Sign("run", PRELOAD, "libplanted.so")],
             {"LD_PRELOAD": "libplanted.so", "LD_LIBRARY_PATH": "{root}/outside"}),
    Planting(LD, "behind $LIB", partial(preload, name=f"lib/{os.uname().machine}-linux-gnu/libplanted.so"),
             [Sign("seal", PRELOAD, "libplanted.so")], {"LD_PRELOAD": "{root}/outside/$LIB/libplanted.so"}),
    Planting(LD, "among others", preload, [Sign("seal", PRELOAD, "libplanted.so")],
             {"LD_PRELOAD": "/nowhere.so:{root}/outside/libplanted.so"}),
    Planting(SITE, "by PYTHONPATH", partial(outside, name="sitecustomize.py"),
             [Sign("run", UNOWNED, "outside/sitecustomize.py")], {"PYTHONPATH": "{root}/outside"}),
]  # fmt: skip


# --- in a run ----------------------------------------------------------------------------------------------


def beside(place: Place, name: str) -> None:
    """Takes the real one's place and hands on to it."""
    text = (
        f"import os, sys  {MARK}\n"
        "here = os.path.dirname(os.path.abspath(__file__))\n"
        "sys.path = [one for one in sys.path if os.path.abspath(one) != here]\n"
        f"del sys.modules['{name}']\n"
        f"import {name}\n"
    )
    place.write(place.code / f"{name}.py", text)


def imported_beside(place: Place, name: str) -> None:
    beside(place, name)
    place.edit(place.code / "train.py", "import torch", f"import {name}\nimport torch")


def swapping(place: Place, change: str) -> Sequence[str | Path]:
    """A shell that changes a file after the look before the start, and then is the program."""
    return ("sh", "-c", f"{change}\nexec {place.python} {place.code / 'train.py'}")


def kept(place: Place, path: Path) -> Path:
    """Have a file put back later that the command itself is going to change."""
    place.write(path, path.read_bytes(), keep_time=True)
    return path


def swap(place: Place, path: str) -> Sequence[str | Path]:
    # A statement, as only what runs is compared with the seal: an edited remark changes nothing of that.
    return swapping(place, f"echo 'planted = True  {MARK}' >> {place.root / path}")


def swap_back(place: Place) -> Sequence[str | Path]:
    """Exchanged only for as long as it takes to import it."""
    path = place.site / "torch/optim/adamw.py"
    text = (
        f"import runpy\n"
        f"path, program = {str(path)!r}, {str(place.code / 'train.py')!r}\n"
        f"sealed = open(path, 'rb').read()\n"
        f"open(path, 'ab').write(b'\\n{MARK}\\n')\n"
        f"import torch\n"
        f"open(path, 'wb').write(sealed)\n"
        f"runpy.run_path(program, run_name='__main__')\n"
    )
    return (place.python, "-c", text)


def site_of(place: Place) -> str:
    return str(place.site.relative_to(place.root))


IN_RUNS = [
    Planting(PTH, "in a run", partial(put, name="planted.pth"), [Sign("run", UNOWNED, "planted.pth")]),
    Planting("a patched adamw.py with RECORD edited to match", "in a run on the seal",
             partial(patch, path="torch/optim/adamw.py"),
             [Sign("run", UNLIKE, "torch/optim/adamw.py"),
              Sign("run", "contract-seal-drifted", "torch/optim/adamw.py")]),
    Planting(BESIDE, "torch.py", partial(beside, name="torch"), [Sign("run", UNLIKE, "code/torch.py")]),
    Planting(BESIDE, "csv.py, of the standard library", partial(imported_beside, name="csv"),
             [Sign("run", UNLIKE, "code/csv.py")]),
    Planting(BESIDE, "torch.py, without a seal", partial(beside, name="torch"),
             [Sign("run", "code-loaded-elsewhere", "code/torch.py")], sealed=False),
    Planting(BESIDE, "numpy.py, without a seal", partial(imported_beside, name="numpy"),
             [Sign("run", "code-loaded-elsewhere", "code/numpy.py")], sealed=False),
    Planting(SWAPPED, "adamw.py", lambda place: kept(place, place.site / "torch/optim/adamw.py"),
             [Sign("run", UNLIKE, "torch/optim/adamw.py")],
             command=lambda place: swap(place, f"{site_of(place)}/torch/optim/adamw.py")),
    Planting(SWAPPED, "the program", lambda place: kept(place, place.code / "train.py"),
             [Sign("run", UNLIKE, "code/train.py")], command=lambda place: swap(place, "code/train.py")),
    Planting(SWAPPED, "adamw.py, and put back",
             lambda place: kept(place, place.site / "torch/optim/adamw.py"),
             [Sign("run", UNLIKE, "torch/optim/adamw.py")], command=swap_back),
]  # fmt: skip

STARTUP = [*AT_REST, *VARIABLES, *IN_RUNS]
