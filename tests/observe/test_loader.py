"""Which files the loader would map, in the order of its search; beside what the real one says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.observe.elves import AARCH64, AUDIT, FLAGS_1, NEEDED, RPATH, RUNPATH, SONAME, make_elf
from veracity.observe import loader
from veracity.observe.elf import Elf
from veracity.observe.ldcache import read_cache
from veracity.observe.loader import Loaded, Loader, on_the_way


class Place:
    """A folder with a program, libraries, and what the cache has."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.cache: dict[str, tuple[str, ...]] = {}

    def add(self, path: str, *tags: tuple[int, str | int], **more: int) -> Path:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(make_elf(*tags, **more))  # type: ignore[arg-type]
        return place

    def load(self, *objects: str, library_path: str = "") -> Loaded:
        one = Loader(str(self.root / "bin/python"), self.cache, library_path)
        return one.load([str(self.root / path) for path in objects])

    def found(self, loaded: Loaded) -> dict[str, str]:
        """Path from the root → how it was found."""
        return {os.path.relpath(path, self.root): one.by for path, one in loaded.libraries.items()}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path.resolve())


def test_the_order_of_the_search(place: Place) -> None:
    place.add("bin/python", (NEEDED, "libx.so"), (RPATH, "$ORIGIN/../rpath"))
    folders = ("rpath", "variable", "cached")
    for folder in folders:
        place.add(f"{folder}/libx.so")
    place.cache["libx.so"] = (str(place.root / "cached/libx.so"),)
    variable = f"{place.root}/none:{place.root}/variable"
    for folder, by in zip(folders, ("RPATH", "LD_LIBRARY_PATH", "ld.so.cache"), strict=True):
        loaded = place.load(library_path=variable)
        assert place.found(loaded) == {f"{folder}/libx.so": by}
        (found,) = loaded.libraries.values()
        assert (found.name, found.needed_by) == ("libx.so", str(place.root / "bin/python"))
        later = folders[folders.index(folder) + 1 :]
        assert (os.path.realpath(found.before) if found.before else "") == (
            str(place.root / later[0] / "libx.so") if later else ""
        )
        (place.root / folder / "libx.so").unlink()
    assert place.load().missing == {"libx.so": str(place.root / "bin/python")}


def test_runpath_comes_after_the_variable_and_silences_rpath(place: Place) -> None:
    place.add("bin/python", (NEEDED, "libx.so"), (RPATH, f"{place.root}/a"), (RUNPATH, f"{place.root}/b"))
    for folder in "abv":
        place.add(f"{folder}/libx.so")
    assert place.found(place.load()) == {"b/libx.so": "RUNPATH"}
    assert place.found(place.load(library_path=f"{place.root}/v")) == {"v/libx.so": "LD_LIBRARY_PATH"}


def test_rpath_is_inherited_and_runpath_is_not(place: Place) -> None:
    place.add("rpath/liba.so", (NEEDED, "libb.so"))
    place.add("rpath/libb.so")
    place.add("bin/python", (NEEDED, "liba.so"), (RPATH, f"{place.root}/rpath"))
    assert set(place.found(place.load())) == {"rpath/liba.so", "rpath/libb.so"}
    place.add("bin/python", (NEEDED, "liba.so"), (RUNPATH, f"{place.root}/rpath"))
    loaded = place.load()
    assert set(place.found(loaded)) == {"rpath/liba.so"}
    assert set(loaded.missing) == {"libb.so"}


def test_what_the_program_has_is_not_looked_for_again(place: Place) -> None:
    """By the name that was asked for, and by the name that the library has for itself."""
    place.add("bin/python", (NEEDED, "libc-2.so"), (RPATH, f"{place.root}/lib"))
    place.add("lib/libc-2.so", (SONAME, "libc.so.6"))
    place.add("site/_ext.so", (NEEDED, "libc.so.6"), (NEEDED, "libc-2.so"), (RUNPATH, "$ORIGIN"))
    place.add("site/libc.so.6")
    assert set(place.found(place.load("site/_ext.so"))) == {"lib/libc-2.so"}


def test_objects_of_packages(place: Place) -> None:
    """As wheels have them: ``x.libs`` beside the package, libraries of others by two steps up."""
    place.add("bin/python")
    place.add(
        "site/torch/lib/libtorch.so", (NEEDED, "libcudart.so.12"), (RPATH, "${ORIGIN}/../../nvidia/lib")
    )
    place.add("site/nvidia/lib/libcudart.so.12", (NEEDED, "libcuda.so.1"))
    place.add("site/numpy/_umath.so", (NEEDED, "libblas.so"), (RPATH, "$ORIGIN/../numpy.libs"))
    place.add("site/numpy.libs/libblas.so")
    (place.root / "site/script.so").write_text("GROUP ( libx.so )")
    (place.root / "site/broken.so").write_bytes(b"\x7fELF broken")
    objects = ("torch/lib/libtorch.so", "numpy/_umath.so", "script.so", "broken.so")
    loaded = place.load(*(f"site/{one}" for one in objects))
    assert set(place.found(loaded)) == {"site/nvidia/lib/libcudart.so.12", "site/numpy.libs/libblas.so"}
    assert set(loaded.missing) == {"libcuda.so.1"}
    assert [os.path.basename(path) for path in loaded.unread] == ["broken.so"]


def test_files_of_another_machine_are_passed_over(place: Place) -> None:
    place.add("bin/python", (NEEDED, "libx.so"), (RPATH, f"{place.root}/a:{place.root}/b"))
    place.add("a/libx.so", machine=AARCH64)
    place.add("b/libx.so")
    assert set(place.found(place.load())) == {"b/libx.so"}


@pytest.mark.parametrize("inside", ["glibc-hwcaps/x86-64-v3", "tls/haswell", "haswell/x86_64"])
def test_forms_for_kinds_of_processors_count_beside_the_plain_one(place: Place, inside: str) -> None:
    place.add("bin/python", (NEEDED, "libx.so"), (RPATH, f"{place.root}/lib"))
    place.add("lib/libx.so")
    place.add(f"lib/{inside}/libx.so")
    assert set(place.found(place.load())) == {"lib/libx.so", f"lib/{inside}/libx.so"}


def test_what_lib_stands_for_is_tried(place: Place) -> None:
    place.add("bin/python", (NEEDED, "libx.so"), (RUNPATH, f"{place.root}/$LIB/deep:$ORIGINAL"))
    place.add("lib64/deep/libx.so")
    loaded = place.load()
    assert set(place.found(loaded)) == {"lib64/deep/libx.so"}
    assert [one.text for one in loaded.elements.values() if one.is_relative] == ["$ORIGINAL"]


def test_relative_and_empty_elements_are_told(place: Place) -> None:
    place.add("bin/python", (NEEDED, "libx.so"), (RPATH, f"{place.root}/a::lib"))
    loaded = place.load(library_path=f":{place.root}/v")
    told = {(one.by, one.text) for one in loaded.elements.values() if one.is_relative}
    assert told == {("RPATH", ""), ("RPATH", "lib"), ("LD_LIBRARY_PATH", "")}


def test_names_with_a_slash_and_default_folders_that_are_unwanted(place: Place) -> None:
    place.add("bin/python", (NEEDED, f"{place.root}/x/libx.so"), (NEEDED, "libd.so"), (FLAGS_1, 0x800))
    place.add("x/libx.so")
    default = "/usr/lib/libd.so"
    place.cache["libd.so"] = (default,)
    loaded = place.load()
    assert place.found(loaded) == {"x/libx.so": "path"}
    assert set(loaded.missing) == {"libd.so"}


def test_what_watches_over_the_loader(place: Place) -> None:
    place.add("bin/python", (AUDIT, "watch.so"), (RPATH, f"{place.root}/a"))
    place.add("a/watch.so")
    assert place.found(place.load()) == {"a/watch.so": "DT_AUDIT"}


def test_objects_that_need_each_other_come_to_an_end(place: Place) -> None:
    place.add("bin/python", (NEEDED, "liba.so"), (RPATH, f"{place.root}/l"))
    place.add("l/liba.so", (NEEDED, "libb.so"), (RPATH, "$ORIGIN"))
    place.add("l/libb.so", (NEEDED, "liba.so"), (RPATH, "$ORIGIN:$ORIGIN/../l"))
    assert set(place.found(place.load())) == {"l/liba.so", "l/libb.so"}


def test_a_program_that_is_none(place: Place) -> None:
    (place.root / "bin").mkdir()
    (place.root / "bin/python").write_text("#!/bin/sh\n")
    assert Loader(str(place.root / "bin/python"), {}).elf == ""


def test_links_on_the_way(tmp_path: Path) -> None:
    root = tmp_path.resolve()
    (root / "usr/lib").mkdir(parents=True)
    (root / "lib").symlink_to("usr/lib")
    (root / "usr/lib/libz.so.1.2").write_bytes(b"")
    (root / "usr/lib/libz.so.1").symlink_to(root / "lib/libz.so.1.2")
    assert on_the_way(f"{root}/lib/./libz.so.1") == [
        f"{root}/lib",
        f"{root}/usr/lib/libz.so.1",
        f"{root}/lib",
        f"{root}/usr/lib/libz.so.1.2",
    ]
    assert on_the_way(f"{root}/lib/../lib/libz.so.1.2")[-1] == f"{root}/usr/lib/libz.so.1.2"
    (root / "round").symlink_to("round")
    for path in ("round", "none"):
        with pytest.raises(OSError, match=r"loop|symbolic|such file"):
            on_the_way(f"{root}/{path}")


def test_the_same_as_the_real_loader_says() -> None:
    """Of this interpreter; the real one is asked to list and starts nothing."""
    python = os.path.realpath(sys.executable)
    real = Loader(python, read_cache() or {}, os.environ.get("LD_LIBRARY_PATH", ""))  # type: ignore[arg-type]
    if not isinstance(real.elf, Elf) or "ld-linux" not in real.elf.interpreter:
        pytest.skip("this Python is not started by glibc's loader")
    asked = subprocess.run(
        [real.elf.interpreter, "--list", python], capture_output=True, text=True, check=True
    )
    said = {
        os.path.realpath(word)
        for line in asked.stdout.splitlines()
        if "=>" in line
        for word in line.split()
        if word.startswith("/")
    }
    ours = {path for path, one in real.load().libraries.items() if one.by != "PT_INTERP"}
    assert said <= ours
    assert ours - said <= {os.path.realpath(real.elf.interpreter)}


def test_the_search_is_bounded(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "MAX_STEPS", 1_000)
    folders = ":".join(f"$ORIGIN/{number}" for number in range(200))
    place.add("bin/python", *((NEEDED, f"lib{number}.so") for number in range(50)), (RPATH, folders))
    assert place.load().more
