"""The checker outside the process: RECORD, fresh compile, cache, crash of the worker."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import marshal
import os
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from veracity.core import codeobject
from veracity.core.observation import FunctionsExpected, Gap, ModuleChecked, ModuleImported
from veracity.core.origin import Origin, Trust
from veracity.monitor.codecheck import Checked, CodeChecker
from veracity.monitor.sources import SourceStore
from veracity.observe.pyenv import RecordIndex
from veracity.scan.checkworker import CheckWorker
from veracity.scan.knownbytecode import KnownBytecode, tag_of
from veracity.scan.lineworker import Failed

SRC = Path(codeobject.__file__).parents[2]
TEXT = "RATE = 0.1\n\n\ndef step(x):\n    return x - RATE * x\n"
EDITED = TEXT.replace("x - RATE", "x + RATE")


class Place:
    """A site-packages with one distribution ``optim``, and a checker over it."""

    def __init__(self, folder: Path) -> None:
        self.site = folder / "site-packages"
        self.home = folder / "home"
        self.module = self.site / "optim" / "adam.py"
        self.module.parent.mkdir(parents=True)
        self.module.write_text(TEXT)
        info = self.site / "optim-1.0.dist-info"
        info.mkdir()
        digest = base64.urlsafe_b64encode(hashlib.sha256(TEXT.encode()).digest()).rstrip(b"=").decode()
        (info / "RECORD").write_text(f"optim/adam.py,sha256={digest},{len(TEXT)}\n")
        (info / "METADATA").write_text("Name: optim\nVersion: 1.0\n")
        (info / "INSTALLER").write_text("pip\n")
        self.checker = self.new_checker()

    def new_checker(self, archive: Path = SRC, started_at: int | None = None) -> CodeChecker:
        return CodeChecker(
            sys.executable,
            archive,
            self.home / "cache",
            RecordIndex([str(self.site)]),
            SourceStore(self.home / "sources"),
            time.time_ns() + 10**12 if started_at is None else started_at,
        )


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.checker.close()


def bytecode_of(path: Path, text: str) -> tuple[ModuleImported, bytes]:
    body = marshal.dumps(compile(text, str(path), "exec", dont_inherit=True))
    cached = importlib.util.cache_from_source(str(path), optimization="")
    return imported(path, "bytecode", body, cached=cached), body


def imported(path: Path, captured: str, data: bytes, **more: str) -> ModuleImported:
    fields = {"module": "optim.adam", "cached": "", "loader": "SourceFileLoader", "reason": "", **more}
    digest = hashlib.sha256(data).hexdigest() if captured != "none" else ""
    origin = Origin("guard", Trust.SELF_REPORT, 7, 0, 1, time.time_ns())
    return ModuleImported(
        origin,
        fields["module"],
        str(path),
        fields["cached"],
        fields["loader"],
        captured,
        digest,
        fields["reason"],
    )


def one(results: list[Checked]) -> ModuleChecked:
    (found,) = [result for result in results if isinstance(result, ModuleChecked)]
    return found


def test_honest_module(place: Place) -> None:
    place.checker.submit(*bytecode_of(place.module, TEXT))
    checked = one(place.checker.drain(20))
    assert (checked.source, checked.bytecode) == ("true", "same")
    assert (checked.distribution, checked.installer, checked.diff) == ("optim", "pip", [])
    assert checked.expected == checked.source_digest == hashlib.sha256(TEXT.encode()).hexdigest()
    assert (checked.origin.pid, checked.origin.rank) == (7, 0)


def test_the_same_code_is_checked_once(place: Place) -> None:
    for _ in range(3):
        place.checker.submit(*bytecode_of(place.module, TEXT))
    assert len(place.checker.drain(20)) == 1


def test_edited_module_is_shown_against_the_recorded_text(place: Place) -> None:
    place.checker.submit(*bytecode_of(place.module, TEXT))
    place.checker.drain(20)
    place.module.write_text(EDITED)
    again = place.new_checker()
    again.submit(imported(place.module, "source", EDITED.encode()))
    checked = one(again.drain(20))
    assert (checked.source, checked.bytecode, checked.first_line) == ("altered", "compiled", 5)
    assert "-    return x - RATE * x" in checked.diff
    assert "+    return x + RATE * x" in checked.diff
    assert "RECORD of optim" in checked.diff_from


def test_forged_body_with_source_intact(place: Place) -> None:
    place.checker.submit(*bytecode_of(place.module, EDITED))
    checked = one(place.checker.drain(20))
    assert (checked.source, checked.bytecode, checked.reason) == ("true", "forged", "changed: step")


def test_a_recorded_text_is_no_excuse_for_a_touched_file(place: Place) -> None:
    checker = place.new_checker(started_at=0)
    checker.submit(*bytecode_of(place.module, EDITED))
    assert one(checker.drain(20)).bytecode == "forged"


def test_own_file_changed_during_the_run_is_stale(place: Place, tmp_path: Path) -> None:
    own = tmp_path / "train.py"
    own.write_text(EDITED)
    checker = place.new_checker(started_at=0)
    module, body = bytecode_of(own, TEXT)
    checker.submit(module, body)
    checked = one(checker.drain(20))
    assert (checked.source, checked.bytecode) == ("unrecorded", "stale")


def test_shadow_copy_is_elsewhere(place: Place, tmp_path: Path) -> None:
    shadow = tmp_path / "shadow" / "optim" / "adam.py"
    shadow.parent.mkdir(parents=True)
    shadow.write_text(EDITED)
    place.checker.submit(imported(shadow, "source", EDITED.encode()))
    checked = one(place.checker.drain(20))
    assert (checked.source, checked.distribution, checked.first_line) == ("elsewhere", "optim", 5)
    assert str(place.module) in checked.reason
    assert checked.diff_from == str(place.module)
    assert checked.expected != checked.source_digest


def test_symbolic_link_into_the_distribution_is_no_shadow(place: Place, tmp_path: Path) -> None:
    shadow = tmp_path / "shadow" / "optim"
    shadow.mkdir(parents=True)
    (shadow / "adam.py").symlink_to(place.module)
    place.checker.submit(imported(shadow / "adam.py", "source", TEXT.encode()))
    assert one(place.checker.drain(20)).source == "true"


def test_compiled_text_that_is_not_the_file(place: Place) -> None:
    place.checker.submit(imported(place.module, "source", EDITED.encode()))
    checked = one(place.checker.drain(20))
    assert (checked.source, checked.bytecode) == ("altered", "forged")


def test_rewriting_loader_and_uncaptured_are_unchecked(place: Place) -> None:
    module, body = bytecode_of(place.module, EDITED)
    rewritten = imported(
        place.module, "bytecode", body, loader="AssertionRewritingHook", cached=module.cached
    )
    place.checker.submit(rewritten, body)
    place.checker.submit(imported(place.module, "none", b"", reason="imported before the guard"))
    place.checker.watch(str(place.module))
    results = place.checker.drain(20)
    reasons = [result.reason for result in results if isinstance(result, ModuleChecked)]
    assert reasons == [
        "loaded by AssertionRewritingHook, which may rewrite code",
        "imported before the guard",
    ]
    assert [result.functions for result in results if isinstance(result, FunctionsExpected)] == [{}]


def test_missing_file(place: Place) -> None:
    place.checker.submit(imported(place.site / "gone.py", "source", b""))
    checked = one(place.checker.drain(20))
    assert (checked.source, checked.bytecode) == ("missing", "unchecked")
    assert "cannot be opened" in checked.reason


def test_verified_body_is_known_next_time_for_its_source_only(place: Place) -> None:
    module, body = bytecode_of(place.module, TEXT)
    place.checker.submit(module, body)
    place.checker.drain(20)
    again = place.new_checker()
    again.submit(module, b"")  # the guard does not ship what is known
    assert again.pending == 0
    assert one(again.poll()).bytecode == "same"
    # Another source, and the body not at hand: the text known to compile to it stands in.
    place.module.write_text(TEXT + "# remark\n")
    third = place.new_checker()
    third.submit(module, b"")
    assert one(third.drain(20)).bytecode == "same"
    place.module.write_text(EDITED)
    fourth = place.new_checker()
    fourth.submit(module, b"")
    assert one(fourth.drain(20)).bytecode == "forged"


def test_body_that_was_not_shipped_is_read_from_its_file(place: Place) -> None:
    module, body = bytecode_of(place.module, EDITED)
    place.checker.submit(module, b"")
    assert one(place.checker.poll()).reason == "its bytecode was not kept"
    Path(module.cached).parent.mkdir()
    Path(module.cached).write_bytes(b"\0" * 16 + body)
    again = place.new_checker()
    again.submit(module, b"")
    assert one(again.drain(20)).bytecode == "forged"


def test_functions_of_a_recorded_file(place: Place) -> None:
    place.checker.submit(*bytecode_of(place.module, TEXT))
    place.checker.watch(str(place.module))
    place.checker.watch(str(place.module))
    place.checker.watch("<string>")
    results = place.checker.drain(20)
    (expected,) = [result for result in results if isinstance(result, FunctionsExpected)]
    code = compile(TEXT, "m.py", "exec", dont_inherit=True)
    assert (expected.sealed, expected.distribution) == (True, "optim")
    assert expected.functions == codeobject.functions(code)


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="bytecode of 3.11 is for 3.11")
def test_functions_of_bytecode_of_another_release(place: Place, tmp_path: Path) -> None:
    """Compiled by 3.11.2: honest, and so are its functions in memory, at this run and at the next."""
    vector = Path(__file__).parents[1] / "vectors/bytecode/cpython-3.11.2.json"
    one_file = json.loads(vector.read_bytes())["jumps"]
    source, body = tmp_path / "jumps.py", base64.b64decode(one_file["body"])
    source.write_text(one_file["source"])
    fresh = codeobject.functions(compile(one_file["source"], str(source), "exec", dont_inherit=True))
    written = codeobject.functions(marshal.loads(body))
    for _ in range(2):
        cached = importlib.util.cache_from_source(str(source), optimization="")
        place.checker.submit(imported(source, "bytecode", body, cached=cached), body)
        place.checker.watch(str(source))
        results = place.checker.drain(20)
        assert one(results).bytecode == "same"
        (expected,) = [result for result in results if isinstance(result, FunctionsExpected)]
        assert set(expected.functions.values()) == {*fresh.values(), *written.values()}
        place.checker = place.new_checker()


def test_functions_are_those_of_the_text_that_was_imported(place: Place) -> None:
    place.checker.submit(imported(place.module, "source", TEXT.encode()))
    place.module.write_text(EDITED)
    place.checker.watch(str(place.module))
    results = place.checker.drain(20)
    (expected,) = [result for result in results if isinstance(result, FunctionsExpected)]
    code = compile(TEXT, "m.py", "exec", dont_inherit=True)
    assert expected.functions == codeobject.functions(code)


def test_functions_of_the_archived_guard(place: Place, tmp_path: Path) -> None:
    archive = tmp_path / "guard.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for part in ("core", "guard"):
            for path in sorted((SRC / "veracity" / part).glob("*.py")):
                file.write(path, f"_veracity_guard/{part}/{path.name}")
        file.writestr("_veracity_guard/__init__.py", "")
    checker = place.new_checker(archive)
    checker.watch(f"{archive}/_veracity_guard/guard/codecheck.py")
    checker.watch("/tmp/_veracity_guard/guard/evil.py")
    found = {result.path: result for result in checker.drain(20) if isinstance(result, FunctionsExpected)}
    ours, foreign = found.pop(f"{archive}/_veracity_guard/guard/codecheck.py"), found.popitem()[1]
    assert (ours.sealed, ours.distribution) == (True, "veracity")
    assert "main" in ours.functions
    assert (foreign.sealed, foreign.functions) == (False, {})


def test_own_files_are_trusted_after_a_held_run(place: Place, tmp_path: Path) -> None:
    own = tmp_path / "train.py"
    own.write_text(TEXT)
    place.checker.submit(imported(own, "source", TEXT.encode(), module="train"))
    place.checker.drain(20)
    place.checker.trust_held()
    own.write_text(EDITED)
    again = place.new_checker()
    again.submit(imported(own, "source", EDITED.encode(), module="train"))
    checked = one(again.drain(20))
    assert (checked.source, checked.first_line) == ("unrecorded", 5)
    assert checked.diff_from.endswith("as in the last held run")


def test_read_only_home_is_a_gap_once(place: Place, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("not a folder")
    checker = place.new_checker()
    checker.submit(*bytecode_of(place.module, TEXT))
    results = checker.drain(20)
    assert [type(result) for result in results].count(Gap) == 2
    assert one(results).bytecode == "same"


def test_worker_that_cannot_start(place: Place) -> None:
    worker = CheckWorker("/nowhere/python", SRC, "veracity")
    worker.send(1, {"source": "x"})
    (result,) = worker.pump()
    assert isinstance(result, Failed)
    assert "cannot be started" in result.reason


def test_worker_that_dies_is_restarted_and_only_its_request_is_lost(tmp_path: Path) -> None:
    package = tmp_path / "crashing" / "guard"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").write_text("")
    (package / "__init__.py").write_text("")
    (package / "codecheck.py").write_text(
        "import json, os, sys\n"
        "def main():\n"
        "    for line in sys.stdin:\n"
        "        request = json.loads(line)\n"
        "        if request['source'] == 'crash':\n"
        "            os.abort()\n"
        "        print(json.dumps({'id': request['id'], 'same': True}), flush=True)\n"
    )
    worker = CheckWorker(sys.executable, tmp_path, "crashing")
    for number, source in enumerate(["a", "crash", "b", "c"]):
        worker.send(number, {"source": source})
    results = []
    deadline = time.monotonic() + 30
    while worker.pending and time.monotonic() < deadline:
        results += worker.pump(0.5)
    worker.close()
    assert sorted(result.number for result in results) == [0, 1, 2, 3]
    assert [result.number for result in results if isinstance(result, Failed)] == [1]


def test_large_bodies_pass_through_pipes_that_do_not_block(place: Place, tmp_path: Path) -> None:
    own = tmp_path / "large.py"
    text = "".join(f"def f{number}(x):\n    return x + {number}\n" for number in range(5_000))
    own.write_text(text)
    place.checker.submit(*bytecode_of(own, text))
    assert one(place.checker.drain(60)).bytecode == "same"


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("/a/__pycache__/m.cpython-311.pyc", "cpython-311-0"),
        ("m.cpython-313t.opt-2.pyc", "cpython-313t-2"),
        ("m.cpython-311.opt-jaxtyping.pyc", ""),
        ("m.pyc", ""),
        ("cpython-311.pyc", ""),
        ("", ""),
    ],
)
def test_tags(name: str, tag: str) -> None:
    assert tag_of(name) == tag


def test_cache_lines_that_are_malformed_are_passed_over(tmp_path: Path) -> None:
    body, source = "a" * 64, "b" * 64
    (tmp_path / "bytecode-cpython-311-0").write_bytes(f"{body} {source}\n{body}\n\xff\n".encode("latin-1"))
    known = KnownBytecode(tmp_path)
    assert known.sources("cpython-311-0", body) == {source}
    assert known.knows("cpython-311-0", body, source)
    assert not known.knows("cpython-311-0", body, "")
    known.add("cpython-311-0", body, "c" * 64)
    known.add("cpython-311-0", body, "c" * 64)
    assert known.knows("cpython-311-0", body, "c" * 64)
    assert known.sources("cpython-311-0", body) == {source, "c" * 64}
    assert (tmp_path / "bytecode-cpython-311-0").read_bytes().count(b"c" * 64) == 1
    assert KnownBytecode(tmp_path).sources("cpython-311-0", body) == {source, "c" * 64}
    # The guard reads the same file as white-space separated digests.
    assert body in (tmp_path / "bytecode-cpython-311-0").read_text("latin-1").split()


def test_store_refuses_edited_texts(tmp_path: Path) -> None:
    store = SourceStore(tmp_path)
    digest = store.keep(b"x = 1\n")
    assert store.read(digest) == b"x = 1\n"
    os.truncate(tmp_path / digest, 2)
    with pytest.raises(Exception, match="edited"):
        store.read(digest)
    with pytest.raises(Exception, match="not a SHA-256"):
        store.read("../../etc/passwd")
    (tmp_path / "trusted.jsonl").write_bytes(b'{"path": "p"\n[]\n\xff\n')
    store.trust("p", digest, "record")
    reopened = SourceStore(tmp_path).trusted("p")
    assert reopened is not None
    assert (reopened.sha256, reopened.why) == (digest, "record")
