"""Honest environments that look like planted ones: nothing may be found in them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .place import Place, download, install, loaded, write_lock
from .planting import Row

SMALL = ("jinja2", "setuptools")
CLEAN = "nothing may be found"


# --- the place with torch ----------------------------------------------------------------------------------


def try_untouched(place: Place) -> Iterator[Row]:
    """Copies and repairs of the environment with torch: by whoever moves, touches, compiles, reinstalls."""
    yield _row("as it is", place, seal=True)
    copy = place.root / "copy"
    shutil.copytree(place.site, copy, symlinks=True)
    yield _row("a copy at another place", place, "--at", f"packages={copy}")
    shutil.rmtree(copy)
    for path in place.site.rglob("*.py"):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    yield _row("other times", place, seal=True)
    compile_all = [str(place.python), "-m", "compileall", "-q", "-f"]
    for how in (["-o", "0"], ["-o", "1"], ["--invalidation-mode", "checked-hash"]):
        subprocess.run([*compile_all, *how, str(place.site)], stdout=subprocess.DEVNULL, check=False)
        yield _row(f"compiled anew: compileall {' '.join(how)}", place, seal=True, verify=False)
    other = _another_release(place.python)
    if other is None:
        yield Row(CLEAN, "compiled by another release", "seal", awaits="there is none of this version here")
    else:
        command = [str(other), "-I", "-S", "-m", "compileall", "-q", "-f", str(place.site)]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
        yield _row(f"compiled by another release: {other}", place, seal=True, verify=False)
    (info,) = place.site.glob("[jJ]inja2-*.dist-info")
    version = info.name.removesuffix(".dist-info").split("-")[1]
    reinstall = ("--force-reinstall", "--no-deps", f"jinja2=={version}")
    install(place.python, place.root / "wheels", (), *reinstall)
    yield _row("a package installed anew", place, seal=True, verify=False)


def _another_release(python: Path) -> Path | None:
    """The system's Python, when it is of the same version and of another release: 3.11.2 beside 3.11.7."""
    other = Path("/usr/bin/python3")
    ask = "import sys; print(*sys.version_info[:3])"
    releases = []
    for one in (python, other):
        try:
            said = subprocess.run([one, "-I", "-S", "-c", ask], capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return None
        releases.append(said.stdout.split())
    return other if releases[0][:2] == releases[1][:2] and releases[0] != releases[1] else None


def _row(variant: str, place: Place, *words: str, seal: bool = False, verify: bool = True) -> Row:
    said = place.verified(*words) if verify else []
    if seal:
        said += place.sealed()[1]
    by = " + ".join(name for name, asked in (("seal", seal), ("verify", verify)) if asked)
    return Row(CLEAN, variant, by, unasked=tuple(f"{one.by}: {one.word}: {one.path}" for one in said[:5]))


# --- other environments ------------------------------------------------------------------------------------

Make = Callable[[Path, str], Path]
"""Makes an environment in a folder, from a base interpreter; its Python. Wheels lie in ``wheels`` there."""


@dataclass(frozen=True, slots=True)
class Honest:
    """``locked``: a lock names what is there; else the folder of wheels does."""

    variant: str
    make: Make
    locked: bool = True


def plain(folder: Path, base: str, packages: Sequence[str] = SMALL, flags: Sequence[str] = ()) -> Path:
    """``python -m venv`` and pip."""
    wheels = download(folder / "wheels", packages)
    write_lock(folder / "lock.txt", wheels)
    subprocess.run([base, "-m", "venv", *flags, folder / "env"], check=True)
    install(folder / "env/bin/python", folder / "wheels", packages)
    return folder / "env/bin/python"


def with_packages(*packages: str, flags: Sequence[str] = ()) -> Make:
    return lambda folder, base: plain(folder, base, packages, flags)


def on_the_system(folder: Path, base: str) -> Path:
    """The packages that the system's package manager brought are on its path, too."""
    if not Path("/usr/lib/python3/dist-packages").is_dir():
        raise FileNotFoundError("this system has no packages of its own for Python")
    return plain(folder, "/usr/bin/python3", SMALL, ["--system-site-packages"])


def upgraded_pip(folder: Path, base: str) -> Path:
    return plain(folder, base, (*SMALL, "pip"), ())


def downgraded(folder: Path, base: str) -> Path:
    """Another version was there before, and pip replaced it."""
    wheels = folder / "earlier"
    download(wheels, ("markupsafe==2.1.5",))
    python = plain(folder, base)
    install(python, wheels, ("markupsafe==2.1.5",))
    (newest,) = (folder / "wheels").glob("[mM]arkup[sS]afe-*.whl")
    install(python, folder / "wheels", (f"markupsafe=={newest.name.split('-')[1]}",))
    return python


def by_virtualenv(folder: Path, base: str) -> Path:
    """Virtualenv writes ``_virtualenv.pth`` and its module."""
    return _by_tool(folder, base, "virtualenv", ["-m", "virtualenv", "--quiet", "--no-pip", "--python", base])


def _by_tool(folder: Path, base: str, tool: str, words: Sequence[str]) -> Path:
    subprocess.run([base, "-m", "venv", folder / "tool"], check=True)
    python = folder / "tool/bin/python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", tool], check=True)
    subprocess.run([python, *words, folder / "env"], check=True)
    write_lock(folder / "lock.txt", download(folder / "wheels", SMALL))
    made = folder / "env/bin/python"
    command = [sys.executable, "-m", "pip", "--python", str(made), "install", "--quiet", "--no-index"]
    subprocess.run([*command, "--find-links", str(folder / "wheels"), *SMALL], check=True)
    return made


def by_uv(link: str) -> Make:
    """Uv's environment, with its packages linked from or copied out of uv's cache."""

    def make(folder: Path, base: str) -> Path:
        subprocess.run([base, "-m", "venv", folder / "tool"], check=True)
        subprocess.run([folder / "tool/bin/python", "-m", "pip", "install", "--quiet", "uv"], check=True)
        write_lock(folder / "lock.txt", download(folder / "wheels", SMALL))
        uv, python = folder / "tool/bin/uv", folder / "env/bin/python"
        variables = {**os.environ, "UV_CACHE_DIR": str(folder / "cache"), "UV_OFFLINE": "1"}
        subprocess.run([uv, "venv", "--quiet", "--python", base, folder / "env"], env=variables, check=True)
        words = ["pip", "install", "--quiet", "--no-index", "--link-mode", link, "--compile-bytecode"]
        more = ["--python", str(python), "--find-links", str(folder / "wheels"), *SMALL]
        subprocess.run([str(uv), *words, *more], env=variables, check=True)
        return python

    return make


def editable(backend: str, *requires: str) -> Make:
    """A project of one's own, installed with ``pip install -e``; the lock names it by its folder."""

    def make(folder: Path, base: str) -> Path:
        project = folder / "project"
        (project / "mine").mkdir(parents=True)
        (project / "mine/__init__.py").write_text("VALUE = 1\n")
        (project / "pyproject.toml").write_text(
            f'[build-system]\nrequires = ["{requires[0]}"]\nbuild-backend = "{backend}"\n'
            '[project]\nname = "mine"\nversion = "1.0"\n'
        )
        python = plain(folder, base)
        command = [str(python), "-m", "pip", "install", "--quiet", "--no-build-isolation", "--no-deps"]
        subprocess.run([python, "-m", "pip", "install", "--quiet", *requires], check=True)
        subprocess.run([*command, "-e", str(project)], check=True)
        download(folder / "wheels", requires)
        return python

    return make


HONEST = [
    Honest("venv and pip", plain),
    Honest("venv --copies", with_packages(*SMALL, flags=["--copies"])),
    Honest("venv --system-site-packages of the system's Python", on_the_system),
    Honest("pip upgraded, and locked", upgraded_pip),
    Honest("a version replaced by another and back", downgraded),
    Honest("start-up files of coverage and pytest-cov", with_packages("coverage", "pytest-cov", *SMALL)),
    Honest("namespace .pth of matplotlib 3.7", with_packages("matplotlib==3.7.5", "setuptools")),
    Honest("jupyter: ipykernel and debugpy", with_packages("ipykernel", "setuptools")),
    Honest("made by virtualenv", by_virtualenv),
    Honest("made by uv, hard links", by_uv("hardlink")),
    Honest("made by uv, symbolic links", by_uv("symlink")),
    Honest("made by uv, copies", by_uv("copy")),
    Honest("editable, setuptools", editable("setuptools.build_meta", "setuptools", "wheel"), locked=False),
    Honest("editable, hatchling", editable("hatchling.build", "hatchling", "editables"), locked=False),
]  # fmt: skip


def try_honest(root: Path, home: Path, base: str) -> Iterator[Row]:
    """Make each, seal it with its wheels, and compare it with its seal."""
    for number, one in enumerate(HONEST):
        folder = root / f"honest-{number}"
        folder.mkdir()
        try:
            one.make(folder, base)
        except (subprocess.CalledProcessError, FileNotFoundError) as error:
            yield Row(CLEAN, one.variant, "seal", awaits=f"it could not be made: {error}")
            continue
        place = Place(folder)
        (folder / "home").symlink_to(home)
        lock: list[str | Path] = ["--lock", folder / "lock.txt"] if one.locked else []
        words: list[str | Path] = ["--python", folder / "env", *lock, "--wheels", folder / "wheels"]
        document = loaded(place.veracity("seal", *words, "--format", "json", "--quiet"))
        examined = document["examined"]
        found = [f"seal: {each['rule']}: {each['subject']}" for each in examined["findings"]]
        found += [f"seal: gap: {each['what']}: {each['reason']}" for each in examined["gaps"]]
        place.seal = str(document["seal"])
        found += [f"verify: {each.word}: {each.path}" for each in place.verified()]
        yield Row(CLEAN, one.variant, "seal + verify", unasked=tuple(found))
        shutil.rmtree(folder)


def try_system(home: Path, root: Path) -> Iterator[Row]:
    """The distribution's own Python, with its packages."""
    python = Path("/usr/bin/python3")
    if not python.exists() or not Path("/usr/lib/python3/dist-packages").is_dir():
        yield Row(CLEAN, "the system's Python", "seal", awaits="it is not here")
        return
    place = Place(root)
    words: list[str | Path] = ["--python", python, "--wheels", root / "wheels", "--format", "json", "--quiet"]
    done = place.veracity("seal", *words)
    examined = loaded(done)["examined"]
    found = [f"seal: {each['rule']}: {each['subject']}" for each in examined["findings"]]
    found += [f"seal: gap: {each['what']}: {each['reason']}" for each in examined["gaps"]]
    yield Row(CLEAN, "the system's Python and its packages", "seal", unasked=tuple(found))
