"""The guard's compiled code: taken when it is the one that is named, and nobody else's to write."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.guard.test_sitecustomize import PYTHONS, environment, run
from veracity.guard.compiled import tag
from veracity.monitor.archive import build_archive
from veracity.monitor.folder import code_beside
from veracity.monitor.guardcode import build_code

TAKEN = """
import json, sys, types
def files(code):
    inner = [one for one in code.co_consts if isinstance(one, types.CodeType)]
    return {code.co_filename}.union(*map(files, inner))
boot = sys.modules['_veracity_guard.guard.boot']
functions = [one for one in vars(boot).values() if isinstance(one, types.FunctionType)]
print(json.dumps([type(boot.__loader__).__name__, boot.__file__,
    sorted(set().union(*(files(one.__code__) for one in functions if one.__module__ == boot.__name__)))]))
"""
PLANTED = "planted by a test"


@dataclass(frozen=True)
class Place:
    """A guard's archive with its code and the configuration that names it."""

    archive: Path

    @property
    def code(self) -> Path:
        return code_beside(self.archive)

    def configure(self, digest: str, key: str = "") -> None:
        config = {
            "run": "run-x",
            "archive": str(self.archive),
            "socket": str(self.archive.with_name("guard.sock")),
            "spool": str(self.archive.with_name("spool")),
            "key": "00" * 32,
            "known_bytecode": "",
            "code": {key or tag(0): digest},
        }
        self.archive.with_name("guard.json").write_text(json.dumps(config))

    def loader(self, python: str = sys.executable) -> str:
        """How the guard's modules are loaded in a process, which must run as if there were no guard."""
        done = run(python, TAKEN, environment(self.archive, config=self.archive))
        assert (done.returncode, done.stderr) == (0, "")
        loader, file, files = json.loads(done.stdout)
        # Under either loader the names are the same.
        assert file == str(self.archive / "_veracity_guard/guard/boot.py")
        assert files == [file]
        return str(loader)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    found = Place(tmp_path / "guard_importlib_bootstrap.zip")
    data = build_archive()[0]
    found.archive.write_bytes(data)
    found.code.write_bytes(build_code(data))
    found.code.chmod(0o600)
    (tmp_path / "spool").mkdir()
    found.configure(hashlib.sha256(found.code.read_bytes()).hexdigest())
    return found


def planted() -> bytes:
    """Code of an archive whose first module says so; inert but for that."""
    source = io.BytesIO(build_archive()[0])
    other = io.BytesIO()
    with zipfile.ZipFile(source) as given, zipfile.ZipFile(other, "w") as made:
        for name in given.namelist():
            text = given.read(name)
            if name.endswith("guard/boot.py"):
                text += f"\nimport sys\nsys.stderr.write({PLANTED!r})\n".encode()
            made.writestr(name, text)
    return build_code(other.getvalue())


def test_code_that_is_named_is_taken_under_the_names_of_its_sources(place: Place) -> None:
    assert place.loader() == "Compiled"
    place.code.unlink()
    assert place.loader() == "zipimporter"


def of_another_archive(code: Path) -> None:
    code.write_bytes(planted())


def edited(code: Path) -> None:
    data = bytearray(code.read_bytes())
    data[len(data) // 2] ^= 1
    code.write_bytes(data)


def cut(code: Path) -> None:
    code.write_bytes(code.read_bytes()[:-1])


def emptied(code: Path) -> None:
    code.write_bytes(b"")


def linked(code: Path) -> None:
    real = code.rename(code.with_name("elsewhere"))
    code.symlink_to(real)


def a_pipe(code: Path) -> None:
    code.unlink()
    os.mkfifo(code)


def writable_by_all(code: Path) -> None:
    code.chmod(0o666)


def of_another_owner(code: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(code, 65534, 65534)


ATTACKS = [
    of_another_archive,
    edited,
    cut,
    emptied,
    linked,
    a_pipe,
    writable_by_all,
    of_another_owner,
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_code_that_is_not_as_it_should_be_is_left_alone(place: Place, attack: Callable[[Path], None]) -> None:
    attack(place.code)
    assert place.loader() == "zipimporter"


def test_code_for_another_interpreter_is_left_alone_even_where_it_is_named(place: Place) -> None:
    foreign = place.code.read_bytes().replace(
        tag(0).encode(), tag(0).replace("cpython", "cpythoX").encode(), 1
    )
    place.code.write_bytes(foreign)
    place.configure(hashlib.sha256(foreign).hexdigest())
    assert place.loader() == "zipimporter"


@pytest.mark.parametrize(
    "body", [b"", b"VGC1", b"VGC1\xff\xff\xff\xff{}", b"VGC1\x02\0\0\0{}", b"VGC1\x02\0\0\0[]"]
)
def test_what_is_no_code_at_all_is_left_alone_even_where_it_is_named(place: Place, body: bytes) -> None:
    place.code.write_bytes(body)
    place.configure(hashlib.sha256(body).hexdigest())
    assert place.loader() == "zipimporter"


@pytest.mark.parametrize("code", [[], None, "x", {}, {tag(0): 1}])
def test_a_configuration_that_names_no_code(place: Place, code: object) -> None:
    config = place.archive.with_name("guard.json")
    config.write_text(json.dumps({**json.loads(config.read_text()), "code": code}))
    assert place.loader() == "zipimporter"


@pytest.mark.parametrize("python", PYTHONS)
def test_other_interpreters_and_levels_compile_the_sources(place: Place, python: str) -> None:
    asked = [python, "-c", "import sys; print('%d %d' % sys.version_info[:2])"]
    version = tuple(map(int, subprocess.run(asked, capture_output=True, check=True).stdout.split()))
    if version < (3, 10):
        pytest.skip("the guard does nothing there")
    assert place.loader(python) == ("Compiled" if version == sys.version_info[:2] else "zipimporter")
    done = run(python, TAKEN, environment(place.archive, config=place.archive), "-O")
    assert json.loads(done.stdout)[0] == "zipimporter"


def test_later_modules_are_those_that_were_checked(place: Place, tmp_path: Path) -> None:
    """Whatever becomes of the files, and whatever stands on the program's path by then."""
    own = tmp_path / "path" / "_veracity_guard" / "guard" / "truth"
    own.mkdir(parents=True)
    for folder in (own, own.parent, own.parent.parent):
        (folder / "__init__.py").write_text("")
    (own / "check.py").write_text(f"import sys\nsys.stderr.write({PLANTED!r})\n")
    code = (
        "import importlib, os, sys\n"
        f"os.unlink({str(place.code)!r}); os.unlink({str(place.archive)!r})\n"
        f"sys.path.insert(0, {str(tmp_path / 'path')!r})\n"
        "importlib.invalidate_caches()\n"
        "from _veracity_guard.guard.truth import check, losses\n"
        "from _veracity_guard.core.observation import gradient\n"
        "print(type(check.__loader__).__name__, losses.__file__)\n"
    )
    done = run(sys.executable, code, environment(place.archive, config=place.archive))
    wanted = f"Compiled {place.archive}/_veracity_guard/guard/truth/losses.py\n"
    assert (done.stdout, done.stderr) == (wanted, "")


def test_a_traceback_shows_the_source(place: Place) -> None:
    code = (
        "import sys, linecache\n"
        "boot = sys.modules['_veracity_guard.guard.boot']\n"
        "print(linecache.getline(boot.__file__, boot.start.__code__.co_firstlineno, vars(boot)), end='')"
    )
    done = run(sys.executable, code, environment(place.archive, config=place.archive))
    assert (done.stdout, done.stderr) == ("def start(archive: str) -> None:\n", "")


def test_importing_torch_brings_little_and_an_optimizer_the_rest(place: Place) -> None:
    code = (
        "import gc, sys\n"
        "def ours(): return {one for one in sys.modules if one.startswith('_veracity_guard.guard.')}\n"
        "import torch\n"
        "early = ours(); assert gc.isenabled()\n"
        "torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.1)\n"
        "print(*sorted(one.rpartition('.')[2] for one in ours() - early))\n"
    )
    done = run(sys.executable, code, environment(place.archive, config=place.archive))
    assert (done.returncode, done.stderr) == (0, "")
    later = done.stdout.split()
    assert {"check", "rerun", "losses", "content", "stephooks"} <= set(later)
