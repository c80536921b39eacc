"""Files that a job is about to load: what is read, remembered, answered, and said of what was not."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pickle
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from veracity.core import wire
from veracity.core.errors import EvidenceError, UsageError
from veracity.core.fileidentity import identity_of
from veracity.core.observation import FileLoading, FileScanned, Gap
from veracity.core.origin import Origin, Trust
from veracity.detect.registry import DETECTORS
from veracity.monitor import loads as module
from veracity.monitor.judge import Judge
from veracity.monitor.lineage import Lineage, Recorded
from veracity.monitor.listener import Peer
from veracity.monitor.loads import Loads, find_rules
from veracity.scan.gate import answering
from veracity.scan.lineworker import Answered, Failed, LineWorker, Share

RUN = "run-20250301-080000-00000a"
RUNS = b"cposix\nsystem\n(Vtrue\ntR."
"""Would run the program ``true``, which does nothing."""
KIND = b"cproject.kinds\nKind\n)\x81."
"""An object of a class that nobody has permitted."""
ENTRY = 'owner = "data team"\nreason = "reviewed"\nexpires = 2999-01-01\n'
PERMIT = f'[[scan.permit]]\nglobal = "project.kinds:Kind"\n{ENTRY}'
IGNORE = f'[[scan.ignore]]\nrule = "checkpoint-pickle-executes"\npath = "old/*.pkl"\n{ENTRY}'


class Known(Lineage):
    """A lineage that knows some digests, or cannot be read."""

    def __init__(self, home: Path) -> None:
        super().__init__(home, RUN)
        self.digests: set[str] = set()
        self.broken = False

    def by_digest(self, digest: str, *, search: bool = True) -> list[Recorded]:
        if self.broken:
            raise EvidenceError("the table is broken")
        return [Recorded(digest, "/a", RUN, 1, [])] if digest in self.digests else []


class Gate:
    """The loads of one run, and a process that asks about them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lineage = Known(folder)
        self.saving = False
        self.loads = Loads(self.lineage, lambda: self.saving)
        self.loads.enforces = True
        self._sockets: list[socket.socket] = []

    def write(self, data: bytes, name: str = "a.pkl") -> Path:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        return path

    def tell(self, path: Path, offset: int = 0) -> None:
        origin = Origin("guard", Trust.USERLAND, 7, 0, 3, 1)
        identity = identity_of(path.stat())
        self.loads.told(FileLoading(origin, "torch.load", str(path), -1, identity, offset, asks=False))

    def ask(self, path: Path, offset: int = 0) -> socket.socket:
        return self.say({"path": str(path), "identity": identity_of(path.stat()), "offset": offset})

    def say(self, body: dict[str, object]) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._sockets += [ours, theirs]
        found = wire.unpack(wire.pack("ask", 0, 1, body))
        assert found is not None
        assert self.loads.heard(Peer(7, os.getuid(), theirs), found[0])
        return ours

    def drain(self, *, last: bool = False) -> list[FileScanned | Gap]:
        found, deadline = list(self.loads.poll(last=last)), time.monotonic() + 60
        while self.loads.pending and not last and time.monotonic() < deadline:
            found += self.loads.poll()
            time.sleep(0.005)
        return found

    def scanned(self) -> FileScanned:
        (one,) = self.drain()
        assert isinstance(one, FileScanned)
        return one

    def close(self) -> None:
        self.loads.close()
        for one in self._sockets:
            one.close()


class Lent:
    """A reader for one test, whose process serves the next one, too."""

    def __init__(self, worker: LineWorker) -> None:
        self._worker = worker
        self.send, self.pump = worker.send, worker.pump

    @property
    def pid(self) -> int:
        return self._worker.pid

    def close(self) -> None:
        left: list[Answered | Failed] = []
        while self._worker.pending:
            left += self._worker.pump(0.5)


@pytest.fixture(scope="module")
def reader() -> Iterator[LineWorker]:
    worker = LineWorker(answering.command(), "the reader", seconds=60, share=Share.ITS_STARTERS)
    yield worker
    worker.close()


@pytest.fixture
def gate(tmp_path: Path, reader: LineWorker, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    monkeypatch.setattr(module, "LineWorker", lambda *_, **__: Lent(reader))
    gate = Gate(tmp_path)
    yield gate
    gate.close()


def heard(asker: socket.socket) -> dict[str, object]:
    asker.settimeout(10)
    answer: dict[str, object] = json.loads(asker.recv(1 << 16))
    return answer


def rules(scanned: FileScanned) -> list[str]:
    return [one.rule for one in scanned.findings]


def test_a_file_that_is_told_of_is_scanned_once(gate: Gate) -> None:
    path = gate.write(pickle.dumps([1]))
    gate.tell(path)
    gate.tell(path)
    one = gate.scanned()
    assert (one.status, one.path, one.formats, one.digest) == ("clean", str(path), ["pickle"], "")
    gate.tell(path)
    assert gate.drain() == []
    path.write_bytes(RUNS)
    gate.tell(path)
    one = gate.scanned()
    assert (one.status, rules(one)) == ("findings", ["checkpoint-pickle-executes"])
    assert one.digest == hashlib.sha256(RUNS).hexdigest()


def test_findings_of_the_gate_become_those_of_the_run(gate: Gate) -> None:
    gate.tell(gate.write(RUNS))
    judge = Judge(DETECTORS)
    one = gate.scanned()
    (finding,) = judge.observe(one)
    assert (finding.rule, finding.breaks) == ("checkpoint-pickle-executes", True)
    assert list(judge.observe(one)) == []


def test_who_asks_is_answered_when_the_file_has_been_read(gate: Gate) -> None:
    clean, runs = gate.write(pickle.dumps([1])), gate.write(RUNS, "b.pkl")
    askers = [gate.ask(clean), gate.ask(runs), gate.ask(clean)]
    assert gate.loads.asked
    gate.drain()
    assert not gate.loads.asked
    assert [heard(one)["allowed"] for one in askers] == [True, False, True]
    again = heard(gate.ask(runs))
    assert (again["identity"], again["offset"]) == (identity_of(runs.stat()), 0)
    why = str(again["why"])
    assert why.startswith(f"checkpoint-pickle-executes: {runs} names posix.system, which runs programs")
    assert "[scan] in veracity.toml" in why
    assert f"`veracity scan {runs}`" in why


def test_a_load_that_begins_within_a_file(gate: Gate) -> None:
    one = pickle.dumps([1])
    row, runs = gate.write(b"a header" + 3 * one), gate.write(b"a header" + RUNS, "b.pkl")
    askers = [gate.ask(row, 8), gate.ask(runs, 8)]
    gate.drain()
    assert [heard(asker)["allowed"] for asker in askers] == [True, False]
    # What stands behind in the same row has been read with it.
    assert heard(gate.ask(row, 8 + len(one)))["allowed"] is True
    assert gate.loads.pending == 0


def test_a_part_says_nothing_twice(gate: Gate) -> None:
    path = gate.write(pickle.dumps([1]) + RUNS)
    gate.tell(path, len(pickle.dumps([1])))
    found = [rules(one) for one in gate.drain() if isinstance(one, FileScanned)]
    assert found == [["checkpoint-pickle-executes"]]


def test_another_file_by_then(gate: Gate) -> None:
    path = gate.write(pickle.dumps([1]))
    identity = identity_of(path.stat())
    path.write_bytes(pickle.dumps([1, 2]))
    asker = gate.say({"path": str(path), "identity": identity, "offset": 0})
    scanned, gap = gate.drain()
    assert isinstance(scanned, FileScanned)
    assert isinstance(gap, Gap)
    assert (scanned.status, gap.law, gap.stops) == ("changed", "load", False)
    assert "changed" in str(heard(asker)["why"])
    asker = gate.ask(path)
    gate.drain()
    assert heard(asker)["allowed"] is True


def test_what_cannot_be_read_to_its_end_is_a_gap_and_refused(gate: Gate) -> None:
    path = gate.write(b"PK\x03\x04" + bytes(60))
    asker = gate.ask(path)
    found = gate.drain()
    assert any(isinstance(one, Gap) for one in found)
    assert heard(asker)["allowed"] is False


def test_what_a_site_permits_and_ignores(gate: Gate) -> None:
    (gate.folder / "veracity.toml").write_text(PERMIT + IGNORE)
    gate.loads.config = find_rules(gate.folder, gate.folder / "elsewhere")
    kind, old = gate.write(KIND), gate.write(RUNS, "old/a.pkl")
    askers = [gate.ask(kind), gate.ask(old), gate.ask(gate.write(RUNS, "new.pkl"))]
    found = [one for one in gate.drain() if isinstance(one, FileScanned)]
    assert [one.status for one in found] == ["clean", "clean", "findings"]
    assert found[1].aside == ["checkpoint-pickle-executes: data team, until 2999-01-01: reviewed"]
    assert [heard(one)["allowed"] for one in askers] == [True, True, False]


def test_a_comment_in_the_file_sets_nothing_aside(gate: Gate) -> None:
    gate.tell(gate.write(b"# veracity: ignore[checkpoint-pickle-executes]: says the file\n" + RUNS))
    assert gate.loads.config.ignores == ()
    gate.drain()


@pytest.mark.parametrize("text", ["[scan]\nunknown = 1\n", "[[scan.permit]]\nglobal = 'a:b'\n"])
def test_a_configuration_that_is_wrong(gate: Gate, text: str) -> None:
    (gate.folder / "veracity.toml").write_text(text)
    with pytest.raises(UsageError):
        find_rules(gate.folder, gate.folder)


def test_the_homes_configuration_comes_first(tmp_path: Path) -> None:
    home, project = tmp_path / "home", tmp_path / "project"
    for folder in (home, project):
        folder.mkdir()
    (project / "veracity.toml").write_text(PERMIT)
    assert len(find_rules(home, project).permits) == 1
    (home / "veracity.toml").write_text("[scan]\nexclude = ['build']\n")
    assert find_rules(home, project).permits == ()


def test_classes_in_what_a_run_of_the_home_saved(gate: Gate) -> None:
    gate.saving = True
    gate.lineage.digests.add(hashlib.sha256(KIND).hexdigest())
    asker = gate.ask(gate.write(KIND))
    other = gate.ask(gate.write(KIND + b"N.", "b.pkl"))
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:  # what is saved right now may be this very file
        assert list(gate.loads.poll()) == []
        time.sleep(0.01)
    gate.saving = False
    own, foreign = (one for one in gate.drain() if isinstance(one, FileScanned))
    assert (own.status, rules(own)) == ("clean", [])
    assert "a run of this home saved it" in own.aside[0]
    assert rules(foreign) == ["checkpoint-pickle-unknown-global"]
    assert (heard(asker)["allowed"], heard(other)["allowed"]) == (True, False)


def test_classes_of_programs_are_no_findings_where_loads_are_only_observed(gate: Gate) -> None:
    gate.loads.enforces = False
    gate.tell(gate.write(KIND))
    seen = gate.scanned()
    assert (seen.status, rules(seen)) == ("clean", [])
    assert "programs save classes of their own" in seen.aside[0]
    gate.tell(gate.write(KIND + RUNS, "b.pkl"))
    assert "checkpoint-pickle-unknown-global" not in rules(gate.scanned())
    gate.tell(gate.write(RUNS, "c.pkl"))
    assert rules(gate.scanned()) == ["checkpoint-pickle-executes"]


def test_what_is_not_listed_is_not_set_aside(gate: Gate) -> None:
    kinds = b"".join(b"cproject.kinds\nKind%d\n0" % number for number in range(60))
    harm, many = gate.write(kinds + RUNS), gate.write(kinds + b"N.", "b.pkl")
    gate.lineage.digests |= {hashlib.sha256(path.read_bytes()).hexdigest() for path in (harm, many)}
    askers = [gate.ask(harm), gate.ask(many)]
    found = [one for one in gate.drain() if isinstance(one, FileScanned)]
    assert [one.status for one in found] == ["findings", "incomplete"]
    assert rules(found[0]) == ["checkpoint-pickle-executes"]
    assert [heard(one)["allowed"] for one in askers] == [False, False]


def test_what_executes_is_told_whoever_saved_it(gate: Gate) -> None:
    gate.lineage.digests.add(hashlib.sha256(RUNS).hexdigest())
    gate.tell(gate.write(RUNS))
    assert rules(gate.scanned()) == ["checkpoint-pickle-executes"]


def test_a_table_that_cannot_be_read(gate: Gate) -> None:
    gate.lineage.broken = True
    gate.tell(gate.write(KIND))
    assert rules(gate.scanned()) == ["checkpoint-pickle-unknown-global"]


def test_a_reader_that_cannot_be_started(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "command", lambda: ["/nowhere/python"])
    monkeypatch.setattr(module, "LineWorker", LineWorker)
    asker = gate.ask(gate.write(pickle.dumps(1)))
    scanned, gap = gate.drain()
    assert isinstance(scanned, FileScanned)
    assert isinstance(gap, Gap)
    assert scanned.status == "incomplete"
    assert "cannot be started" in gap.reason
    assert heard(asker)["allowed"] is False


def test_too_many_files_at_once(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 1)
    gate.tell(gate.write(pickle.dumps(1)))
    asker = gate.ask(gate.write(pickle.dumps(2), "b.pkl"))
    assert "so many files wait" in str(heard(asker)["why"])
    gate.tell(gate.write(pickle.dumps(3), "c.pkl"))
    gate.drain()
    (gap,) = gate.drain(last=True)
    assert isinstance(gap, Gap)
    assert "2 files" in gap.what


def test_gaps_are_listed_up_to_a_number(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_GAPS", 1)
    for number in range(3):
        gate.tell(gate.write(b"PK\x03\x04" + bytes(60 + number), f"{number}.zip"))
    gaps = [one for one in (*gate.drain(), *gate.drain(last=True)) if isinstance(one, Gap)]
    assert [one.what.partition(" ")[0] for one in gaps][-1] == "2"
    assert len(gaps) == 2


def test_a_wrong_configuration_permits_nothing_and_is_told(gate: Gate) -> None:
    assert gate.loads.configure(gate.folder, gate.folder) is None
    (gate.folder / "veracity.toml").write_text("[scan]\nunknown = 1\n")
    gap = gate.loads.configure(gate.folder, gate.folder)
    assert gap is not None
    assert (gate.loads.config.permits, gap.law) == ((), "load")


def test_what_is_not_read_by_the_end(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    sleeps = [sys.executable, "-c", "import time; time.sleep(60)"]
    monkeypatch.setattr(answering, "command", lambda: sleeps)
    monkeypatch.setattr(module, "LineWorker", LineWorker)
    gate.tell(gate.write(pickle.dumps(1)))
    (gap,) = gate.drain(last=True)
    assert isinstance(gap, Gap)
    assert gate.loads.pending == 0


@pytest.mark.parametrize(
    "body", [{}, {"path": 1, "identity": "a", "offset": 0}, {"path": "/a", "identity": "a", "offset": "0"}]
)
def test_a_question_that_is_none_has_no_answer(gate: Gate, body: dict[str, object]) -> None:
    asker = gate.say(body)
    asker.setblocking(False)
    with pytest.raises(BlockingIOError):
        asker.recv(1)
    assert not gate.loads.asked


def test_other_datagrams_are_left_to_others(gate: Gate) -> None:
    for data in (wire.pack("hello", 0, 1, {}), wire.pack("bye", 1, 2, {"ask": 1})):
        found = wire.unpack(data)
        assert found is not None
        assert not gate.loads.heard(Peer(7, 1, None), found[0])


def test_who_asked_and_went(gate: Gate) -> None:
    asker = gate.ask(gate.write(pickle.dumps(1)))
    asker.close()
    assert gate.scanned().status == "clean"
    assert not gate.loads.asked


def test_clean_files_are_recorded_up_to_a_number(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CLEAN", 1)
    for number in range(3):
        gate.tell(gate.write(pickle.dumps(number), f"{number}.pkl"))
    gate.tell(gate.write(RUNS, "runs.pkl"))
    statuses = [one.status for one in gate.drain() if isinstance(one, FileScanned)]
    assert statuses == ["clean", "findings"]


def test_an_observation_is_replayed(gate: Gate) -> None:
    import msgspec

    from veracity.ledger.blobs import Blobs
    from veracity.monitor.recorder import inline_form
    from veracity.monitor.replayed import observed

    gate.tell(gate.write(RUNS))
    one = gate.scanned()
    body = inline_form(msgspec.to_builtins(one))
    again = observed({"kind": "FileScanned", "body": body}, Blobs(gate.folder))
    assert again == dataclasses.replace(one)
