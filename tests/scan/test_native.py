"""Native libraries of an environment: which lie outside, whose they are, and where others may put some."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.observe.elves import NEEDED, RPATH, RUNPATH, make_elf
from veracity.core.finding import Finding
from veracity.core.observation import Gap, LibraryResolved, SearchFolder
from veracity.core.tree import TreeEntry
from veracity.detect.rules.environment.native_path import NativePath
from veracity.detect.rules.environment.native_unowned import NativeUnowned
from veracity.observe.dpkg import packages_of
from veracity.observe.interpreter import find_environment
from veracity.observe.tree import read_tree
from veracity.scan import native
from veracity.scan.native import NativeCheck
from veracity.seal.nodes import Added


class Nothing:
    """A manifest that has no node."""

    def __contains__(self, digest: str) -> bool:
        return False

    def found(self, digest: str) -> None:
        return None


class Place:
    """An environment whose interpreter needs ``libsystem.so``, which a package brought."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.dpkg = root / "dpkg"
        (self.dpkg / "info").mkdir(parents=True)
        self.site = root / "env/lib/python3.11/site-packages"
        self.site.mkdir(parents=True)
        (root / "env/lib/python3.11/os.py").write_text("")
        self.variables: dict[str, str] = {}
        self.add("env/bin/python3.11", (NEEDED, "libsystem.so"), (RUNPATH, f"{root}/system"))
        (root / "env/bin/python3.11").chmod(0o755)
        self.owned("system/libsystem.so")

    def add(self, path: str, *tags: tuple[int, str | int]) -> Path:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(make_elf(*tags))
        return place

    def owned(self, path: str, *tags: tuple[int, str | int]) -> Path:
        """A library that a package brought."""
        place = self.add(path, *tags)
        info = self.dpkg / "info"
        digest = hashlib.md5(place.read_bytes(), usedforsecurity=False).hexdigest()
        with (info / "system.list").open("a") as file:
            file.write(f"{place}\n")
        with (info / "system.md5sums").open("a") as file:
            file.write(f"{digest}  {str(place)[1:]}\n")
        return place

    def check(self) -> tuple[NativeCheck, list[str]]:
        environment = find_environment(self.root / "env/bin/python3.11", self.variables)
        check = NativeCheck(environment, self.variables, dpkg=str(self.dpkg))
        trees: dict[str, Mapping[bytes, TreeEntry]] = {}
        for folder in (environment.stdlib, *environment.sites):
            added = Added(Nothing())  # type: ignore[arg-type]
            trees[folder] = dict(added.walk(read_tree(Path(folder), added.keep).root))
        return check, check.files(trees)

    def seen(self, *vouched: Path) -> list[LibraryResolved | SearchFolder | Gap]:
        check, _ = self.check()
        return list(check.run({str(one) for one in vouched}))

    def found(self, *vouched: Path) -> list[tuple[str, str]]:
        """Severity and message of each finding."""
        detectors = (NativeUnowned(), NativePath())
        findings: list[Finding] = []
        for one in self.seen(*vouched):
            for detector in detectors:
                findings += detector.observe(one)
        for detector in detectors:
            findings += detector.finish()
        return [(one.severity.value, one.message.replace(str(self.root), "")) for one in findings]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Nobody else may write below the test's own folder, whatever is above it."""
    monkeypatch.setattr(native, "read_cache", dict)
    monkeypatch.setattr(
        native, "writers_of", lambda path: "everybody" if "/open" in os.path.realpath(path) else ""
    )
    return Place(tmp_path.resolve())


def test_a_clean_environment(place: Place) -> None:
    check, files = place.check()
    assert files == [str(place.root / "system/libsystem.so")]
    (one,) = check.run(set())
    assert isinstance(one, LibraryResolved)
    assert (one.standing, one.owner, one.by, one.before) == ("recorded", "system", "RUNPATH", "")
    assert place.found() == []


def test_links_on_the_way_are_sealed_with_the_library(place: Place) -> None:
    (place.root / "system").rename(place.root / "true")
    (place.root / "system").symlink_to("true")
    _, files = place.check()
    assert files == [str(place.root / "system"), str(place.root / "true/libsystem.so")]


def test_a_library_that_is_not_as_its_package_brought_it(place: Place) -> None:
    place.add("system/libsystem.so", (RPATH, ""))  # PLANTED: other bytes than the package's
    assert place.found() == [("error", "/system/libsystem.so is not as system brought it")]


@pytest.mark.parametrize("own", [True, False])
def test_a_library_in_front_of_the_systems_own(
    place: Place, monkeypatch: pytest.MonkeyPatch, own: bool
) -> None:
    """One that the account put there, and one of a cluster's compiler, which belongs to another."""
    library = place.add("mine/libsystem.so", (RPATH, ""))
    place.variables["LD_LIBRARY_PATH"] = f"{place.root}/mine"
    uid = library.stat().st_uid
    if uid == 0:
        os.chown(library, 4242, -1)
    monkeypatch.setattr("veracity.scan.native.os.getuid", lambda: (uid or 4242) + (not own))
    ((severity, message),) = place.found()
    assert severity == ("warning" if own else "note")
    told = "stands before /system/libsystem.so by LD_LIBRARY_PATH"
    assert message.endswith(told if own else "belong to no package: libsystem.so")


def modules(place: Place) -> None:
    """A cluster's software tree, by LD_LIBRARY_PATH, with a library that nothing else has."""
    place.add("env/lib/python3.11/site-packages/_ext.so", (NEEDED, "libcuda_of_site.so"))
    place.add("apps/cuda/libcuda_of_site.so")
    place.variables["LD_LIBRARY_PATH"] = f"{place.root}/apps/cuda"


def installation(place: Place) -> None:
    """An interpreter that was built here brings its own libpython."""
    place.add("env/bin/python3.11", (NEEDED, "libpython3.11.so.1.0"), (RUNPATH, f"{place.root}/env/lib"))
    (place.root / "env/bin/python3.11").chmod(0o755)
    place.add("env/lib/libpython3.11.so.1.0")


def wheels(place: Place) -> None:
    """Libraries in ``x.libs``, and of another wheel's two steps up."""
    site = "env/lib/python3.11/site-packages"
    place.add(f"{site}/numpy/_umath.so", (NEEDED, "libblas-1a2b.so"), (RPATH, "$ORIGIN/../numpy.libs"))
    place.add(f"{site}/numpy.libs/libblas-1a2b.so")
    place.add(f"{site}/torch/lib/libtorch.so", (NEEDED, "libcudart.so.12"), (RPATH, "$ORIGIN/../../nvidia"))
    place.add(f"{site}/nvidia/libcudart.so.12", (NEEDED, "libcuda.so.1"))


def built(place: Place) -> None:
    """A folder of the machine that built a wheel, which is not there and only root could make."""
    place.add("env/lib/python3.11/site-packages/_ext.so", (RUNPATH, "/opt/_internal/lib"))


CLEAN: dict[str, tuple[Callable[[Place], None], list[str]]] = {
    "modules": (modules, ["libraries in /apps/cuda belong to no package: libcuda_of_site.so"]),
    "installation": (installation, []),
    "wheels": (wheels, []),
    "built": (built, []),
}


@pytest.mark.parametrize("name", CLEAN)
def test_what_ordinary_machines_have_is_no_more_than_a_note(place: Place, name: str) -> None:
    make, notes = CLEAN[name]
    make(place)
    assert place.found() == [("note", message) for message in notes]


def test_a_library_that_everybody_may_exchange(place: Place) -> None:
    place.add("env/bin/python3.11", (NEEDED, "libx.so"), (RUNPATH, f"{place.root}/open/lib"))
    (place.root / "env/bin/python3.11").chmod(0o755)
    place.add("open/lib/libx.so")
    assert ("warning", "/open/lib/libx.so belongs to no package and can be exchanged by everybody") in (
        place.found()
    )


@pytest.mark.parametrize("element", ["", "lib", "$LIB/x"])
def test_a_search_folder_that_depends_on_where_one_stands(place: Place, element: str) -> None:
    extension = place.add("env/lib/python3.11/site-packages/_ext.so", (RPATH, f"$ORIGIN:{element}"))
    ((severity, message),) = place.found()
    assert severity == "warning"
    assert f"looked for in {element or '(empty)'} by RPATH" in message
    assert [one[0] for one in place.found(extension)] == ["note"], "an archive vouches for the object"


def test_a_search_folder_that_others_may_fill(place: Place) -> None:
    extension = place.add("env/lib/python3.11/site-packages/_ext.so", (RUNPATH, "/open/build/lib"))
    ((severity, message),) = place.found(extension)
    assert (severity, "everybody may write to it" in message) == ("warning", True)


def test_an_empty_element_of_the_variable_is_a_note(place: Place) -> None:
    place.variables["LD_LIBRARY_PATH"] = ":/nowhere"
    assert [one[0] for one in place.found()] == ["note"]


def test_what_cannot_be_followed_is_a_gap(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    (place.root / "env/bin/python3.11").write_text("no program\n")
    (gap,) = place.seen()
    assert isinstance(gap, Gap)
    assert "no ELF program" in gap.reason
    place.add("env/bin/python3.11").write_bytes(make_elf(interpreter="/lib/ld-musl-x86_64.so.1"))
    assert any(isinstance(one, Gap) and "musl" in one.reason for one in place.seen())
    monkeypatch.setattr(native, "read_cache", lambda: "it is damaged")
    assert any(isinstance(one, Gap) and one.reason == "it is damaged" for one in place.seen())


def test_packages_of_files_below_usr_whose_lists_name_them_without_it(tmp_path: Path) -> None:
    (tmp_path / "info").mkdir()
    (tmp_path / "info/libc6:amd64.list").write_text("/.\n/lib/libc.so.6\n/usr/lib/libm.so.6\n")
    (tmp_path / "info/libc6:amd64.md5sums").write_text(f"{'a' * 32}  lib/libc.so.6\n")
    found = packages_of(["/usr/lib/libc.so.6", "/usr/lib/libm.so.6", "/usr/lib/other.so"], str(tmp_path))
    assert found == {"/usr/lib/libc.so.6": ("libc6", "a" * 32), "/usr/lib/libm.so.6": ("libc6", "")}
