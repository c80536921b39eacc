"""Plantings in files: sources, bytecode, native libraries, permissions, links, and files put there."""

from __future__ import annotations

import importlib.util
import marshal
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from .place import MARK, Place, recorded
from .planting import Planting, Sign

ALTERED, STRAY = "environment-file-altered", "environment-file-stray"
FORGED, UNLOCKED = "environment-bytecode-differs", "environment-not-locked"
PATCHED = "a patched adamw.py with RECORD edited to match"
SWAPPED = "a swapped .pyc body with its header kept"
ADAMW, SGD, JINJA = "torch/optim/adamw.py", "torch/optim/sgd.py", "jinja2/utils.py"
HEADER = 16
TAG = importlib.util.cache_from_source("x.py").rpartition("x.")[2]
"""``cpython-311.pyc``"""


# --- sources -----------------------------------------------------------------------------------------------


def patch(place: Place, path: str, *, record: bool = True, keep_time: bool = True) -> None:
    """A marked line at the end; RECORD beside it says the same, and so does the bytecode."""
    source = place.site / path
    data = source.read_bytes() + f"\n{MARK}\n".encode()
    if record:
        rewrite_record(place, path, recorded(data))
    place.write(source, data, keep_time=keep_time)
    compiled = Path(importlib.util.cache_from_source(str(source)))
    if compiled.exists():
        status = source.stat()
        header = compiled.read_bytes()[:8]
        header += int(status.st_mtime).to_bytes(4, "little") + len(data).to_bytes(4, "little")
        place.write(compiled, header + marshal.dumps(compile(data, str(source), "exec", dont_inherit=True)))


def rewrite_record(place: Place, path: str, said: str | None) -> None:
    """What RECORD says of a file becomes ``said``; None takes the line out."""
    top = path.split("/")[0]
    (info,) = (one for one in place.site.glob("*.dist-info") if one.name.split("-")[0] == top)
    lines = (info / "RECORD").read_text().splitlines(keepends=True)
    found = [line for line in lines if line.startswith(f"{path},")]
    if not found:
        raise ValueError(f"{path} is not in {info / 'RECORD'}")
    kept = [f"{path},{said}\n" if line in found else line for line in lines if said or line not in found]
    place.write(info / "RECORD", "".join(kept))


def no_longer_recorded(place: Place) -> None:
    rewrite_record(place, "networkx/convert.py", None)
    place.edit(place.site / "networkx/convert.py", "import", f"{MARK}\nimport")


def shadowed_by_package(place: Place) -> None:
    """The folder comes before the file of the same name, which stays as it is."""
    package = place.site / "torch/optim/asgd/__init__.py"
    place.write(package, f"{MARK}\n" + (place.site / "torch/optim/asgd.py").read_text())


def same_size(place: Place) -> None:
    place.edit(place.site / "torch/optim/rmsprop.py", "import", "Import", keep_time=True)


def replaced_by_link(place: Place) -> None:
    text = (place.site / "torch/optim/rprop.py").read_text()
    place.write(place.outside / "rprop.py", f"{text}\n{MARK}\n")
    place.link(place.site / "torch/optim/rprop.py", place.outside / "rprop.py")


def record_alone(place: Place) -> None:
    rewrite_record(place, "sympy/abc.py", recorded(b"something else"))


def shadowed_by_tag(place: Place) -> None:
    """Python takes a native module of its version before the text beside it."""
    native = next((place.site / "numpy").rglob(f"*{tag()}.so"))
    place.write(place.site / f"torch/optim/adagrad{tag()}.so", native.read_bytes())


def tag() -> str:
    """``.cpython-311-x86_64-linux-gnu``"""
    return f".{TAG.removesuffix('.pyc')}-{os.uname().machine}-linux-gnu"


SOURCES = [
    Planting(
        PATCHED, ADAMW, partial(patch, path=ADAMW),
        [Sign("seal", ALTERED, ADAMW), Sign("verify", "content changed", ADAMW)],
    ),
    Planting(
        PATCHED, f"{JINJA}, time not put back",
        partial(patch, path=JINJA, keep_time=False),
        [Sign("seal", ALTERED, JINJA), Sign("verify", "content changed", JINJA)],
    ),
    Planting(
        PATCHED, "its line taken out of RECORD", no_longer_recorded,
        [Sign("seal", ALTERED, "networkx/convert.py"), Sign("verify", "content changed", "x/convert.py")],
    ),
    Planting(
        PATCHED, "RECORD edited, the file not", record_alone,
        [Sign("seal", "environment-record-differs", "sympy/abc.py")],
    ),
    Planting(
        PATCHED, "a folder that shadows asgd.py", shadowed_by_package,
        [Sign("seal", STRAY, "asgd/__init__.py"), Sign("verify", "added", "asgd/__init__.py")],
    ),
    Planting(
        PATCHED, "a library that shadows adagrad.py", shadowed_by_tag,
        [Sign("seal", STRAY, f"adagrad{tag()}.so"), Sign("verify", "added", f"adagrad{tag()}.so")],
    ),
    Planting(
        PATCHED, "a link to a patched copy", replaced_by_link,
        [Sign("seal", ALTERED, "torch/optim/rprop.py"), Sign("verify", "another kind of file", "rprop.py")],
    ),
    Planting(
        "mtime restored after an edit", "same size, in torch", same_size,
        [Sign("seal", ALTERED, "rmsprop.py"), Sign("verify", "content changed", "rmsprop.py")],
    ),
    Planting(
        "mtime restored after an edit", "same size, in the program",
        lambda place: place.edit(place.code / "train.py", "1e-3", "1e-2", keep_time=True),
        [Sign("verify", "content changed", "code/train.py")],
    ),
    Planting(
        "mtime restored after an edit", "in a shard of data",
        lambda place: place.write(place.data / "shard-b.bin", b"shard-B.bin" * 1000, keep_time=True),
        [Sign("verify", "content changed", "data/shard-b.bin")],
    ),
]  # fmt: skip


# --- bytecode ----------------------------------------------------------------------------------------------


def forge(place: Place, path: str, *, flags: int | None = None, optimize: str = "") -> None:
    """Another body behind the header that is there, or that of a hash."""
    source = place.site / path
    compiled = Path(importlib.util.cache_from_source(str(source), optimization=optimize))
    header = Path(importlib.util.cache_from_source(str(source))).read_bytes()[:HEADER]
    text = source.read_bytes()
    if flags is not None:
        header = header[:4] + flags.to_bytes(4, "little") + importlib.util.source_hash(text)
    code = compile(text + f"\nPLANTED = 1  {MARK}\n".encode(), str(source), "exec", dont_inherit=True)
    place.write(compiled, header + marshal.dumps(code), keep_time=compiled.exists())


def forged_by_link(place: Place) -> None:
    compiled = Path(importlib.util.cache_from_source(str(place.site / "torch/optim/nadam.py")))
    header = compiled.read_bytes()[:HEADER]
    code = compile(f"PLANTED = 1  {MARK}\n", "nadam.py", "exec", dont_inherit=True)
    place.write(place.outside / "nadam.pyc", header + marshal.dumps(code))
    place.link(compiled, place.outside / "nadam.pyc")


def sourceless(place: Place) -> None:
    """A .pyc where Python looked for them before 3.2: it is imported when there is no source."""
    source = place.site / "torch/optim/planted.py"
    code = compile(f"PLANTED = 1  {MARK}\n", str(source), "exec", dont_inherit=True)
    place.write(source.with_suffix(".pyc"), importlib.util.MAGIC_NUMBER + bytes(12) + marshal.dumps(code))


def too_large(place: Place) -> None:
    """Behind its code a .pyc may hold anything: this much of it that the checker does not read it."""
    compiled = Path(importlib.util.cache_from_source(str(place.site / "torch/optim/lbfgs.py")))
    place.write(compiled, compiled.read_bytes() + bytes(65 << 20), keep_time=True)


def other_line(place: Place) -> None:
    """The same operations, another constant."""
    compiled = Path(importlib.util.cache_from_source(str(place.site / "torch/optim/radam.py")))
    text = (place.site / "torch/optim/radam.py").read_text().replace("0.999", "0.998", 1)
    code = compile(text, str(place.site / "torch/optim/radam.py"), "exec", dont_inherit=True)
    place.write(compiled, compiled.read_bytes()[:HEADER] + marshal.dumps(code), keep_time=True)


def pyc(name: str, optimize: str = "") -> str:
    """The path of a module's bytecode, from its folder."""
    return f"__pycache__/{name}.{TAG.removesuffix('.pyc')}{optimize}.pyc"


BYTECODE = [
    Planting(
        SWAPPED, SGD, partial(forge, path=SGD),
        [Sign("seal", FORGED, pyc("sgd")), Sign("verify", "content changed", pyc("sgd"))],
    ),
    Planting(
        SWAPPED, "one constant, time put back", other_line,
        [Sign("seal", FORGED, pyc("radam")), Sign("verify", "content changed", pyc("radam"))],
    ),
    Planting(
        SWAPPED, "of python -O",
        partial(forge, path="torch/optim/adamax.py", optimize="1"),
        [Sign("seal", FORGED, pyc("adamax", ".opt-1")), Sign("verify", "added", pyc("adamax", ".opt-1"))],
    ),
    Planting(
        SWAPPED, "with the hash of its source",
        partial(forge, path="torch/optim/adadelta.py", flags=3),
        [Sign("seal", FORGED, pyc("adadelta")), Sign("verify", "content changed", pyc("adadelta"))],
    ),
    Planting(
        SWAPPED, "with a hash that is not checked",
        partial(forge, path="torch/optim/sparse_adam.py", flags=1),
        [Sign("seal", FORGED, pyc("sparse_adam")), Sign("verify", "content changed", pyc("sparse_adam"))],
    ),
    Planting(
        SWAPPED, "behind a link", forged_by_link,
        [Sign("seal", FORGED, pyc("nadam")), Sign("verify", "another kind of file", pyc("nadam"))],
    ),
    Planting(
        SWAPPED, "of a package",
        partial(forge, path="torch/optim/__init__.py"),
        [Sign("seal", FORGED, pyc("__init__")), Sign("verify", "content changed", pyc("__init__"))],
    ),
    Planting(
        SWAPPED, "too large to be compared", too_large,
        [Sign("seal", "gap", pyc("lbfgs")), Sign("verify", "content changed", pyc("lbfgs"))],
    ),
    Planting(
        SWAPPED, "a .pyc without a source", sourceless,
        [Sign("seal", STRAY, "torch/optim/planted.pyc"), Sign("verify", "added", "torch/optim/planted.pyc")],
    ),
]  # fmt: skip


# --- native libraries --------------------------------------------------------------------------------------


def append(place: Place, find: Callable[[Path], Path]) -> None:
    library = find(place.site)
    place.write(library, library.read_bytes() + MARK.encode(), keep_time=True)


def extension(site: Path) -> Path:
    return next((site / "torch").glob(f"_C{tag()}.so"))


def speedups(site: Path) -> Path:
    return next((site / "markupsafe").glob("_speedups*.so"))


def openmp(site: Path) -> Path:
    return next(path for path in sorted((site / "torch/lib").glob("libgomp*")) if not path.is_symlink())


def beside_others(place: Place) -> None:
    """The loader looks in $ORIGIN before the system's folders: a library of that name is taken first."""
    place.write(place.site / "torch/lib/libstdc++.so.6", openmp(place.site).read_bytes())


LIBRARIES = [
    Planting(
        "a replaced .so", "an extension module of torch", partial(append, find=extension),
        [Sign("seal", ALTERED, f"torch/_C{tag()}.so"), Sign("verify", "content changed", f"_C{tag()}.so")],
    ),
    Planting(
        "a replaced .so", "one of a small package", partial(append, find=speedups),
        [Sign("seal", ALTERED, f"_speedups{tag()}.so"), Sign("verify", "content changed", "linux-gnu.so")],
    ),
    Planting(
        "a replaced .so", "a library that torch brings", partial(append, find=openmp),
        [Sign("seal", ALTERED, "torch/lib/libgomp"), Sign("verify", "content changed", "gomp.so.1")],
    ),
    Planting(
        "a replaced .so", "one that the loader finds first", beside_others,
        [Sign("seal", STRAY, "torch/lib/libstdc++.so.6"), Sign("verify", "added", "libstdc++.so.6")],
    ),
]  # fmt: skip


# --- permissions and links ---------------------------------------------------------------------------------

PERMISSIONS = [
    Planting(
        "an added exec bit", "of a module", lambda place: place.mode(place.site / "torch/hub.py", 0o755),
        [Sign("seal", ALTERED, "torch/hub.py"), Sign("verify", "made executable", "torch/hub.py")],
    ),
    Planting(
        "an added exec bit", "of the program", lambda place: place.mode(place.code / "settings.py", 0o744),
        [Sign("verify", "made executable", "code/settings.py")],
    ),
    Planting(
        "an added exec bit", "setuid as well",
        lambda place: place.mode(place.site / "torch/serialization.py", 0o4755),
        [Sign("seal", ALTERED, "serialization.py"), Sign("verify", "made executable", "serialization.py")],
    ),
    Planting(
        "an added exec bit", "of a shard of data",
        lambda place: place.mode(place.data / "shard-a.bin", 0o645),
        [Sign("verify", "made executable", "data/shard-a.bin")],
    ),
]  # fmt: skip


def relink(place: Place, name: str, target: str) -> None:
    place.link(place.root / name, target)


def other_python(place: Place) -> None:
    """The interpreter's name leads to a script that would start it with more."""
    place.write(place.outside / "python", f'#!/bin/sh\n{MARK}\nexec {place.python} "$@"\n')
    place.link(place.root / "env/bin/python3", place.outside / "python")


LINKS = [
    Planting(
        "a link retargeted after sealing", "to another shard",
        partial(relink, name="data/current.bin", target="shard-b.bin"),
        [Sign("verify", "link leads elsewhere", "data/current.bin")],
    ),
    Planting(
        "a link retargeted after sealing", "a copy in its place",
        lambda place: place.write(place.data / "current.bin", (place.data / "shard-a.bin").read_bytes()),
        [Sign("verify", "another kind of file", "data/current.bin")], alone=True,
    ),
    Planting(
        "a link retargeted after sealing", "another spelling of the same place",
        partial(relink, name="data/current.bin", target="./shard-a.bin"),
        [Sign("verify", "link leads elsewhere", "data/current.bin")], alone=True,
    ),
    Planting(
        "a link retargeted after sealing", "bin/python3 of the environment", other_python,
        [Sign("verify", "link leads elsewhere", "bin/python3"), Sign("seal", "gap", "bin/python3")],
    ),
]  # fmt: skip


def other_name(place: Place, *, edited: bool) -> None:
    shard, name = place.data / "shard-a.bin", place.outside / "alias.bin"
    place.alias(shard, name)
    if edited:
        name.write_bytes(b"shard-A.bin" * 1000)


def other_hooks(place: Place) -> None:
    place.write(place.outside / "hooks/pre-commit", f"#!/bin/sh\n{MARK}\n")
    config = place.repository / ".git/config"
    place.write(config, config.read_text() + f"[core]\n\thooksPath = {place.outside}/hooks\n")


def added_hook(place: Place) -> None:
    hook = place.repository / ".git/hooks/post-checkout"
    place.write(hook, f"#!/bin/sh\n{MARK}\n")
    hook.chmod(0o755)


HOOK, ALIAS = "an edited git hook", "a hard-link alias"
REPOSITORY = [
    Planting(
        HOOK, "a line more",
        lambda place: place.edit(place.repository / ".git/hooks/pre-commit", "exit 0", f"exit 0 {MARK}"),
        [Sign("verify", "git hook changed", "pre-commit")],
    ),
    Planting(HOOK, "another one", added_hook, [Sign("verify", "git hook added", "post-checkout")]),
    Planting(HOOK, "other hooks by core.hooksPath", other_hooks,
             [Sign("verify", "git takes its hooks from elsewhere", "outside/hooks")], alone=True),
    Planting(ALIAS, "of a shard", partial(other_name, edited=False), [Sign("verify", "note", "shard-a.bin")],
             alone=True),
    Planting(ALIAS, "and edited under it", partial(other_name, edited=True),
             [Sign("verify", "content changed", "data/shard-a.bin"), Sign("verify", "note", "shard-a.bin")],
             alone=True),
]  # fmt: skip


# --- files that came with nothing --------------------------------------------------------------------------


def metadata(place: Place, folder: str, text: str = "[torch.backends]\nplanted = planted:load\n") -> None:
    place.write(place.site / folder / "entry_points.txt", text)


def made_up(place: Place) -> None:
    """A distribution that explains itself, with entry points of its own."""
    info = place.site / "madeup-1.0.dist-info"
    place.write(place.site / "madeup.py", f"{MARK}\n")
    place.write(info / "METADATA", "Metadata-Version: 2.1\nName: madeup\nVersion: 1.0\n")
    place.write(info / "RECORD", "madeup.py,,\nmadeup-1.0.dist-info/METADATA,,\n")


def claimed(place: Place) -> None:
    """A module that the RECORD of a real package names, and its archive does not hold."""
    place.write(place.site / "jinja2/planted.py", f"{MARK}\n")
    (info,) = place.site.glob("[jJ]inja2-*.dist-info")
    place.write(info / "RECORD", (info / "RECORD").read_text() + f"jinja2/planted.py,{recorded(b'')}\n")


def finder(place: Place) -> None:
    place.write(place.site / "__editable___planted_1_0_finder.py", f"{MARK}\ndef install():\n    pass\n")
    place.write(
        place.site / "__editable__.planted-1.0.pth",
        "import __editable___planted_1_0_finder; __editable___planted_1_0_finder.install()\n",
    )


def egg_link(place: Place) -> None:
    place.write(place.outside / "egg/planted.py", f"{MARK}\n")
    place.write(place.site / "planted.egg-link", f"{place.outside}/egg\n.\n")
    place.write(place.site / "easy-install.pth", f"{place.outside}/egg\n")


STRAYS = [
    Planting(
        "an extra distribution", "made up, with a RECORD", made_up,
        [Sign("seal", UNLOCKED, "madeup"), Sign("verify", "added", "madeup.py")],
    ),
    Planting(
        "an extra distribution", "entry points alone", partial(metadata, folder="planted-1.0.dist-info"),
        [Sign("seal", UNLOCKED, "planted"), Sign("verify", "added", "1.0.dist-info/entry_points.txt")],
    ),
    Planting(
        "an extra distribution", "an egg-info", partial(metadata, folder="planted.egg-info"),
        [Sign("seal", STRAY, "planted.egg-info/entry_points.txt")],
    ),
    Planting(
        "an extra distribution", "another case", partial(metadata, folder="Planted-2.0.DIST-INFO"),
        [Sign("seal", STRAY, "Planted-2.0.DIST-INFO/entry_points.txt")],
    ),
    Planting(
        "an extra distribution", "a finder as of an editable install", finder,
        [Sign("seal", STRAY, "__editable__.planted-1.0.pth"), Sign("seal", STRAY, "planted_1_0_finder.py")],
    ),
    Planting(
        "an extra distribution", "an egg-link", egg_link, [Sign("seal", STRAY, "easy-install.pth")],
    ),
    Planting(
        "an extra module", "named by a real package's RECORD", claimed,
        [Sign("seal", STRAY, "jinja2/planted.py"), Sign("verify", "added", "jinja2/planted.py")],
    ),
    Planting(
        "an extra module", "in a namespace of its own",
        lambda place: place.write(place.site / "space/planted.py", f"{MARK}\n"),
        [Sign("seal", STRAY, "space/planted.py"), Sign("verify", "added", "space/planted.py")],
    ),
    Planting(
        "an extra module", "beside torch's command, which imports from there first",
        lambda place: place.write(place.root / "env/bin/importlib.py", f"{MARK}\n"),
        [Sign("seal", STRAY, "bin/importlib.py"), Sign("verify", "added", "bin/importlib.py")],
    ),
    Planting(
        "an extra module", "for the debugger that torch may load",
        lambda place: place.write(place.site / "tensorboard.py", f"{MARK}\n"),
        [Sign("seal", STRAY, "site-packages/tensorboard.py")],
    ),
]  # fmt: skip

FILES = [*SOURCES, *BYTECODE, *LIBRARIES, *PERMISSIONS, *LINKS, *STRAYS, *REPOSITORY]
