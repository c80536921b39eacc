"""A real environment beside its archives: each change is named by its rule, and a clean one is clean."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import marshal
import os
import py_compile
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

import pytest

import veracity
from tests.once import once
from tests.scan.wheels import make_environment, make_wheel, packages, write_requirements
from veracity.core.errors import TransportError
from veracity.core.finding import Finding
from veracity.core.rule import Severity
from veracity.core.tree import CHUNK
from veracity.observe.dpkg import files_below
from veracity.observe.interpreter import find_environment
from veracity.observe.lockfile import LockedArchive, read_lock
from veracity.observe.tree import read_tree
from veracity.scan import environment
from veracity.scan.archives import Archives, Network
from veracity.scan.examine import Asked, Examined, examine
from veracity.seal.nodes import Nodes, NodeWriter

ADAMW = b"beta = 0.999\n\n\ndef step(weight, gradient):\n    return weight - 0.1 * gradient\n"
LARGE = bytes(CHUNK + 5)


def make(folder: Path) -> None:
    wheels = folder / "wheels"
    wheels.mkdir()
    alpha = make_wheel(
        wheels,
        "alpha",
        {
            "alpha/__init__.py": b"",
            "alpha/adamw.py": ADAMW,
            "alpha/sgd.py": b"momentum = 0.9\n",
            "alpha/kernel.cpython-311-x86_64-linux-gnu.so": b"\x7fELF not really",
            "alpha/notes.txt": b"read me\n",
            "alpha-1.0.data/scripts/alpha-tool": b"#!python\nprint('tool')\n",
            "alpha-1.0.data/data/share/alpha/settings.json": b"{}\n",
        },
        commands="alpha-run = alpha.adamw:step",
    )
    beta = make_wheel(wheels, "beta", {"beta/__init__.py": b"x = 1\n", "shared/__init__.py": b"# beta\n"})
    gamma = make_wheel(wheels, "gamma", {"gamma.py": b"y = 1\n", "shared/__init__.py": b"# gamma\n"})
    large = make_wheel(wheels, "large", {"large/weights.bin": LARGE, "large/__init__.py": b""})
    every = [alpha, beta, gamma, large]
    write_requirements(folder / "lock.txt", every)


@dataclass(frozen=True)
class Place:
    """An environment that a test may edit: it is put back afterwards."""

    root: Path

    @property
    def site(self) -> Path:
        return packages(self.root / "venv" / "bin" / "python")

    def examined(
        self, *, lock: Path | None = None, wheels: Path | None = None, home: Path | None = None
    ) -> Examined:
        home = home or self.root / "home"
        locks = [read_lock(lock or self.root / "lock.txt")]
        archives = Archives(home / "cache", locks, [wheels or self.root / "wheels"])
        return self.examined_with(archives, home / "cache")

    def examined_with(self, archives: Archives, cache: Path) -> Examined:
        found = find_environment(self.root / "venv", {})
        manifest = self.root / "manifest"
        manifest.unlink(missing_ok=True)
        writer = NodeWriter.at(manifest)
        read = {site: read_tree(Path(site), writer.keep).root for site in found.sites}
        writer.close()
        with Nodes(manifest) as nodes:
            trees = {site: dict(nodes.walk(root)) for site, root in read.items()}
        code = Path(veracity.__file__).resolve().parent
        return examine(found, trees, Asked(archives, {}, code.parent, code.name, cache))

    def found(self) -> list[tuple[str, str, str]]:
        """Rule, severity, and the last part of the subject's path of each finding."""
        return sorted(map(brief, self.examined().findings))


def brief(finding: Finding) -> tuple[str, str, str]:
    return finding.rule, finding.severity.value, finding.subject.rpartition("/")[2]


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Place]:
    made = once(tmp_path_factory, "environment-of-wheels", make)
    # An environment knows its own path, so each worker has one of its own and tests put it back.
    own = tmp_path_factory.getbasetemp() / "environment"
    if not own.exists():
        shutil.copytree(made / "wheels", own / "wheels")
        shutil.copy(made / "lock.txt", own / "lock.txt")
        make_environment(own / "venv", sorted((own / "wheels").iterdir()))
        shutil.copytree(own / "venv", own / "before", symlinks=True)
    yield Place(own)
    if request.node.get_closest_marker("edits"):
        shutil.rmtree(own / "venv")
        shutil.copytree(own / "before", own / "venv", symlinks=True)


edits = pytest.mark.edits


def test_a_clean_environment_has_no_finding_and_says_how_much_was_compared(place: Place) -> None:
    found = place.examined()
    assert found.findings == ()
    assert found.is_complete
    assert {one.name: one.standing for one in found.distributions} == dict.fromkeys(
        ("alpha", "beta", "gamma", "large"), "compared"
    )
    wheel, bytecode = found.coverage["wheel-truth"], found.coverage["bytecode-truth"]
    assert wheel.checked == wheel.possible == 23
    assert bytecode.checked == bytecode.possible == 7


def test_what_was_compared_once_is_remembered_and_says_the_same(place: Place, tmp_path: Path) -> None:
    first = place.examined(home=tmp_path)
    assert sorted(one.name.partition("-")[0] for one in (tmp_path / "cache").iterdir()) == ["archive"] * 4 + [
        "pyc"
    ]
    again = place.examined(home=tmp_path, wheels=tmp_path)  # the archives are not needed any more
    assert again.findings == first.findings == ()
    assert again.coverage["wheel-truth"].checked == first.coverage["wheel-truth"].checked
    assert again.coverage["bytecode-truth"].checked == first.coverage["bytecode-truth"].checked


def rewrite(path: Path, data: bytes) -> None:
    """Edit a file and put its times back."""
    status = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def rerecord(site: Path, distribution: str, relative: str) -> None:
    """Make RECORD fit what lies there now."""
    record = site / f"{distribution}-1.0.dist-info" / "RECORD"
    data = (site / relative).read_bytes()
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    line = f"{relative},sha256={digest},{len(data)}"
    text, changed = re.subn(rf"(?m)^{re.escape(relative)},.*$", line, record.read_text())
    record.write_text(text if changed else f"{text}{line}\n")


def patched(place: Place) -> None:
    rewrite(place.site / "alpha/adamw.py", ADAMW.replace(b"0.1", b"0.2"))
    rerecord(place.site, "alpha", "alpha/adamw.py")


def native(place: Place) -> None:
    path = next((place.site / "alpha").glob("*.so"))
    rewrite(path, path.read_bytes() + b"\0")


def last_byte(place: Place) -> None:
    with (place.site / "large/weights.bin").open("r+b") as file:
        file.seek(CHUNK + 4)
        file.write(b"\1")


def no_file(place: Place) -> None:
    (place.site / "alpha/sgd.py").unlink()
    os.mkfifo(place.site / "alpha/sgd.py")


def linked_to_another(place: Place) -> None:
    other = place.root / "other.py"
    other.write_bytes(b"x = 2\n")
    os.utime(other, (1, 1))  # in the second of the installation, Python would take the old .pyc for it
    (place.site / "beta/__init__.py").unlink()
    (place.site / "beta/__init__.py").symlink_to(other)


def gone(place: Place) -> None:
    (place.site / "gamma.py").unlink()


def script(place: Place) -> None:
    path = place.root / "venv/bin/alpha-run"
    path.write_text(path.read_text().replace("sys.exit(", "import os\n    sys.exit("))


def other_interpreter(place: Place) -> None:
    path = place.root / "venv/bin/alpha-run"
    path.write_text("#!/usr/bin/env python\n" + path.read_text().partition("\n")[2])


def code_in_the_first_line(place: Place) -> None:
    path = place.root / "venv/bin/alpha-run"
    head, _, rest = path.read_text().partition("\n")
    path.write_text(f"{head} -cevil()\n{rest}")


def another_launcher(place: Place) -> None:
    path = place.root / "venv/bin/alpha-run"
    launcher = "#!/bin/sh\n'''exec' /evil/python \"$0\" \"$@\"\n' '''\n"
    path.write_text(launcher + path.read_text().partition("\n")[2])


def shipped_script(place: Place) -> None:
    path = place.root / "venv/bin/alpha-tool"
    path.write_text(path.read_text() + "print('more')\n")


def data_file(place: Place) -> None:
    (place.root / "venv/share/alpha/settings.json").write_text('{"lr": 1}\n')


def executable(place: Place) -> None:
    (place.site / "alpha/notes.txt").chmod(0o755)


def only_record(place: Place) -> None:
    record = place.site / "beta-1.0.dist-info/RECORD"
    line = f"beta/__init__.py,sha256={'A' * 43},6"
    record.write_text(re.sub(r"(?m)^beta/__init__\.py,.*$", line, record.read_text()))


def path_file(place: Place) -> None:
    (place.site / "zz.pth").write_text("import sys\n")


def sitecustomize(place: Place) -> None:
    (place.site / "sitecustomize").mkdir()
    (place.site / "sitecustomize/__init__.py").write_text("")


def usercustomize(place: Place) -> None:
    (place.site / "usercustomize.py").write_text("")
    rerecord(place.site, "alpha", "usercustomize.py")


def metadata(place: Place) -> None:
    (place.site / "alpha-1.0.dist-info/entry_points.txt").write_text("[torch.backends]\nx = beta\n")


def added_metadata(place: Place) -> None:
    (place.site / "beta-1.0.dist-info/entry_points.txt").write_text("[torch.backends]\nx = beta\n")


def egg(place: Place) -> None:
    (place.site / "Evil.EGG-INFO").mkdir()
    (place.site / "Evil.EGG-INFO/entry_points.txt").write_text("[torch.backends]\nx = beta\n")


def library(place: Place) -> None:
    (place.site / "alpha.libs").mkdir()
    (place.site / "alpha.libs/libgomp-1.so.1").write_bytes(b"\x7fELF")


def linked_package(place: Place) -> None:
    other = place.root / "elsewhere"
    other.mkdir(exist_ok=True)
    (place.site / "helper").symlink_to(other)


def claimed_by_editable(place: Place) -> None:
    (place.site / "random.py").write_text("")
    info = place.site / "beta-1.0.dist-info"
    (info / "direct_url.json").write_text('{"url": "file:///x", "dir_info": {"editable": true}}')
    rerecord(place.site, "beta", "random.py")


def shadow(place: Place) -> None:
    (place.site / "random.py").write_text("def random():\n    return 4\n")


def recorded_extra(place: Place) -> None:
    (place.site / "alpha/extra.py").write_text("")
    rerecord(place.site, "alpha", "alpha/extra.py")


def made_up(place: Place) -> None:
    info = place.site / "made_up-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: made_up\nVersion: 1.0\n")
    (info / "direct_url.json").write_text('{"url": "file:///x", "dir_info": {"editable": true}}')
    (place.site / "evil.py").write_text("")
    (info / "RECORD").write_text("evil.py,,\n")


def other_version(place: Place) -> None:
    info = place.site / "beta-1.0.dist-info"
    (info / "METADATA").write_text("Name: beta\nVersion: 1.1\n")


def sourceless(place: Place) -> None:
    source = place.root / "hidden.py"
    source.write_text("z = 1\n")
    py_compile.compile(str(source), str(place.site / "hidden.pyc"))


def swap_body(place: Place, *, fits: bool = True) -> None:
    path = Path(importlib.util.cache_from_source(str(place.site / "alpha/adamw.py")))
    header = path.read_bytes()[:16] if fits else path.read_bytes()[:8] + bytes(8)
    code = compile(ADAMW.replace(b"0.1", b"0.2"), str(place.site / "alpha/adamw.py"), "exec")
    rewrite(path, header + marshal.dumps(code))


def linked_bytecode(place: Place) -> None:
    path = Path(importlib.util.cache_from_source(str(place.site / "alpha/adamw.py")))
    swap_body(place)
    shutil.move(path, place.root / "moved.pyc")
    path.symlink_to(place.root / "moved.pyc")


def bytecode_of_no_source(place: Place) -> None:
    sourceless(place)
    for folder in ("__pycache__", "x__pycache__"):
        (place.site / folder).mkdir(exist_ok=True)
        shutil.copy(place.site / "hidden.pyc", place.site / folder / "hidden.pyc")
    (place.site / "hidden.pyc").unlink()


def nested_metadata(place: Place) -> None:
    (place.site / "alpha/_vendor/evil.dist-info").mkdir(parents=True)
    (place.site / "alpha/_vendor/evil.dist-info/entry_points.txt").write_text("[torch.backends]\nx = beta\n")


def unchecked(place: Place) -> None:
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(str(place.site / "alpha/sgd.py"), invalidation_mode=mode)


def unchecked_and_other(place: Place) -> None:
    unchecked(place)
    rewrite(place.site / "alpha/sgd.py", b"momentum = 0.1\n")


ALTERED, STRAY, BYTECODE = (
    "environment-file-altered",
    "environment-file-stray",
    "environment-bytecode-differs",
)
RECORD, LOCKED, STARTUP = (
    "environment-record-differs",
    "environment-not-locked",
    "environment-startup-unowned",
)
SO = "kernel.cpython-311-x86_64-linux-gnu.so"
CACHED = "adamw.{tag}.pyc"


@edits
@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (patched, [(BYTECODE, "error", CACHED), (ALTERED, "error", "adamw.py")]),
        (native, [(ALTERED, "error", SO)]),
        (last_byte, [(ALTERED, "error", "weights.bin")]),
        (no_file, [(BYTECODE, "note", "sgd.{tag}.pyc"), (ALTERED, "error", "sgd.py")]),
        (linked_to_another, [(ALTERED, "error", "__init__.py")]),
        (gone, [(BYTECODE, "note", "gamma.{tag}.pyc"), (ALTERED, "warning", "gamma")]),
        (script, [(ALTERED, "warning", "alpha-run")]),
        (other_interpreter, [(ALTERED, "warning", "alpha-run")]),
        (code_in_the_first_line, [(ALTERED, "warning", "alpha-run")]),
        (another_launcher, [(ALTERED, "warning", "alpha-run")]),
        (shipped_script, [(ALTERED, "error", "alpha-tool")]),
        (data_file, [(ALTERED, "error", "settings.json")]),
        (executable, [(ALTERED, "note", "alpha")]),
        (only_record, [(RECORD, "warning", "beta")]),
        (path_file, [(STRAY, "error", "zz.pth"), (STARTUP, "warning", "zz.pth")]),
        (sitecustomize, [(STRAY, "error", "__init__.py"), (STARTUP, "warning", "sitecustomize")]),
        (usercustomize, [(STRAY, "error", "usercustomize.py")]),
        (metadata, [(ALTERED, "error", "entry_points.txt")]),
        (added_metadata, [(STRAY, "error", "entry_points.txt")]),
        (egg, [(STRAY, "error", "entry_points.txt")]),
        (library, [(STRAY, "warning", "libgomp-1.so.1")]),
        (linked_package, [(STRAY, "warning", "helper")]),
        (
            claimed_by_editable,
            [
                (LOCKED, "warning", "beta"),
                (ALTERED, "error", "__init__.py"),
                (STRAY, "error", "__init__.py"),
                (STRAY, "error", "random.py"),
            ],
        ),
        (shadow, [(STRAY, "warning", "random.py")]),
        (recorded_extra, [(STRAY, "error", "extra.py")]),
        (made_up, [(LOCKED, "warning", "made_up"), (STRAY, "error", "evil.py")]),
        (other_version, [(LOCKED, "warning", "beta"), (ALTERED, "warning", "__init__.py")]),
        (sourceless, [(STRAY, "warning", "hidden.pyc")]),
        (swap_body, [(BYTECODE, "error", CACHED)]),
        (linked_bytecode, [(BYTECODE, "error", CACHED)]),
        (bytecode_of_no_source, [(STRAY, "warning", "hidden.pyc")] * 2),
        (nested_metadata, [(STRAY, "error", "entry_points.txt")]),
        (unchecked, [(BYTECODE, "warning", "sgd.{tag}.pyc")]),
        (unchecked_and_other, [(BYTECODE, "error", "sgd.{tag}.pyc"), (ALTERED, "error", "sgd.py")]),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_each_change_is_named_by_its_rule(
    place: Place, edit: Callable[[Place], None], expected: list[tuple[str, str, str]]
) -> None:
    edit(place)
    tag = importlib.util.cache_from_source("x.py").rpartition("x.")[2].removesuffix(".pyc")
    wanted = [(rule, severity, subject.replace("{tag}", tag)) for rule, severity, subject in expected]
    assert place.found() == sorted(wanted)


@edits
def test_record_rewritten_with_the_file_is_told_from_one_that_was_not(place: Place) -> None:
    patched(place)
    native(place)
    said = {
        one.subject.rpartition("/")[2]: one.message
        for one in place.examined().findings
        if one.rule == ALTERED
    }
    assert said["adamw.py"].endswith("RECORD beside it was rewritten to match")
    assert said[SO].endswith("RECORD beside it still names the archive's")


@edits
def test_other_bytecode_that_waits_for_its_sources_time_is_a_note(place: Place) -> None:
    """Times are no part of a seal: once the source's is set, nothing would tell of it any more."""
    swap_body(place, fits=False)
    found = place.examined()
    assert [(one.rule, one.severity) for one in found.findings] == [(BYTECODE, Severity.NOTE)]
    assert found.coverage["bytecode-truth"].reasons == {"its source was changed since": 1}


@edits
@pytest.mark.parametrize("kind", ["padded", "pipe"])
def test_bytecode_that_cannot_be_compared_is_never_taken_for_clean(place: Place, kind: str) -> None:
    path = Path(importlib.util.cache_from_source(str(place.site / "alpha/adamw.py")))
    swap_body(place)
    if kind == "padded":  # Python ignores what follows the code
        os.truncate(path, CHUNK + 100)
    else:
        path.unlink()
        os.mkfifo(path)
    found = place.examined()
    assert [gap.law for gap in found.gaps] == ["bytecode-truth"]
    assert not found.is_complete


@edits
def test_an_edit_that_python_compiled_anew_is_one_finding(place: Place) -> None:
    """The twin of a swapped body: the source is another, and its bytecode fits it."""
    path = place.site / "alpha/adamw.py"
    path.write_bytes(ADAMW.replace(b"0.1", b"0.2"))
    py_compile.compile(str(path))
    assert place.found() == [(ALTERED, "error", "adamw.py")]


@edits
def test_files_that_are_links_to_the_same_content_are_clean(place: Place) -> None:
    store = place.root / "store"
    shutil.rmtree(store, ignore_errors=True)
    shutil.copytree(place.site / "alpha", store)
    for path in sorted((place.site / "alpha").glob("*.py")):
        path.unlink()
        path.symlink_to(store / path.name)
    shutil.rmtree(place.site / "beta/__pycache__")
    shutil.move(place.site / "beta", place.root / "beta")
    (place.site / "beta").symlink_to(place.root / "beta")
    try:
        found = place.examined()
        assert found.findings == ()
        assert [gap.what for gap in found.gaps] == [f"{place.site / 'beta'} is a link to a folder"]
    finally:
        shutil.rmtree(place.root / "beta")


@edits
def test_files_that_python_has_no_use_for_are_no_finding(place: Place) -> None:
    (place.site / "alpha/cache.json").write_text("{}")
    (place.site / "~alpha").mkdir()
    (place.site / "~alpha/left.py").write_text("")
    (place.site / "_virtualenv.py").write_text("")
    (place.site / "_virtualenv.pth").write_text("import _virtualenv")
    assert [one for one in place.found() if one[0] != STARTUP] == []


@edits
def test_an_editable_install_that_the_lock_knows_is_sealed_by_content(place: Place) -> None:
    made_up(place)
    (place.site / "evil.py").rename(place.site / "__editable__.made_up-1.0.pth")
    (place.site / "made_up-1.0.dist-info/RECORD").write_text("__editable__.made_up-1.0.pth,,\n")
    lock = place.root / "uv.lock"
    lines = ['version = 1\n[[package]]\nname = "made-up"\nversion = "1.0"\nsource = { editable = "." }\n']
    for wheel in sorted((place.root / "wheels").iterdir()):
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        name = wheel.name.partition("-")[0]
        lines.append(
            f'[[package]]\nname = "{name}"\nversion = "1.0"\n'
            f'wheels = [{{ url = "https://index.example/{wheel.name}", hash = "sha256:{digest}" }}]\n'
        )
    lock.write_text("".join(lines))
    found = place.examined(lock=lock)
    assert found.findings == ()
    assert {one.name: one.standing for one in found.distributions}["made_up"] == "content"


def test_an_archive_of_another_digest_is_not_taken(place: Place, tmp_path: Path) -> None:
    """The insider edited the wheel in the folder and not the lock."""
    for wheel in (place.root / "wheels").iterdir():
        shutil.copy(wheel, tmp_path)
    make_wheel(tmp_path, "beta", {"beta/__init__.py": b"x = 2\n"})
    found = place.examined(wheels=tmp_path, home=tmp_path / "home")
    # Both beta and gamma bring shared/__init__.py, and beta's cannot be known.
    assert [brief(one) for one in found.findings] == [(ALTERED, "warning", "__init__.py")]
    assert not found.is_complete
    reasons = {one.name: one.reason for one in found.distributions if one.standing == "absent"}
    assert list(reasons) == ["beta"]
    assert "has the SHA-256" in reasons["beta"]


@edits
def test_what_the_systems_packages_brought_is_compared_with_their_database(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place.site / "apt_pkg.py").write_text("x = 1\n")
    (place.site / "tool-2.0.dist-info").mkdir()
    (place.site / "tool-2.0.dist-info/METADATA").write_text("Name: tool\nVersion: 2.0\n")
    (place.site / "old.egg-info").write_text("Name: old\n")
    start = str(place.site).strip("/")
    lines = []
    for name in ("apt_pkg.py", "tool-2.0.dist-info/METADATA", "old.egg-info"):
        digest = hashlib.md5((place.site / name).read_bytes(), usedforsecurity=False).hexdigest()
        lines.append(f"{digest}  {start}/{name}\n")
    (tmp_path / "info").mkdir()
    (tmp_path / "info" / "python3-tool:amd64.md5sums").write_text("".join(lines))
    (tmp_path / "info" / "python3-tool:amd64.list").write_text(f"/.\n/{start}\n/{start}/conf.py\n")
    (place.site / "conf.py").write_text("")
    monkeypatch.setattr(environment, "SYSTEM", str(place.root))
    monkeypatch.setattr(environment, "files_below", partial(files_below, dpkg=str(tmp_path)))
    found = place.examined()
    assert found.findings == ()
    standing = {one.name: (one.standing, one.reason) for one in found.distributions}
    assert standing["tool"] == ("content", "of the system package python3-tool")
    assert standing["python3-tool"] == ("system", "")
    (place.site / "apt_pkg.py").write_text("x = 2\n")
    (place.site / "other.py").write_text("")
    assert place.found() == [(ALTERED, "error", "apt_pkg.py"), (STRAY, "warning", "other.py")]


def test_an_index_names_what_no_lock_does(place: Place, tmp_path: Path) -> None:
    """All but one distribution, whose archive the index has no more."""
    named = {}
    for wheel in (place.root / "wheels").iterdir():
        name = wheel.name.partition("-")[0]
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        url = wheel.as_uri() if name != "beta" else "gone"
        named[name] = [LockedArchive(name, "1.0", wheel.name, digest, url, -1, "index")]

    def bring(archive: LockedArchive) -> IO[bytes]:
        if archive.url == "gone":
            raise TransportError("it is gone")
        return (place.root / "wheels" / archive.filename).open("rb")

    network = Network(bring, (lambda name: named.get(name, []),))
    found = place.examined_with(Archives(tmp_path, [], [], [], network), tmp_path)
    assert [brief(one) for one in found.findings] == [(ALTERED, "warning", "__init__.py")]
    standing = {one.name: (one.standing, one.named_by, one.reason) for one in found.distributions}
    assert standing["alpha"] == ("compared", "index", "")
    assert standing["beta"][0] == "absent"
    assert "it is gone" in standing["beta"][2]


def test_an_index_that_does_not_answer_vouches_for_nothing(place: Place, tmp_path: Path) -> None:
    def silent(name: str) -> list[LockedArchive]:
        raise TransportError("no network")

    found = place.examined_with(Archives(tmp_path, [], [], [], Network(None, (silent,))), tmp_path)
    assert {(one.standing, one.reason) for one in found.distributions} == {("absent", "no network")}
    assert not found.is_complete


def test_without_any_archive_nothing_counts_as_compared(place: Place, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    found = place.examined(wheels=tmp_path / "none", home=tmp_path / "home")
    assert found.coverage["wheel-truth"].checked == 0
    assert not found.is_complete
    assert all(one.severity is not Severity.ERROR for one in found.findings)
