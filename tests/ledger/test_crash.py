"""Power cuts and kill -9: what was acknowledged stays, what was not is dropped whole."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.examples import examples
from tests.ledger.growing import ORIGIN, check, naive_leaf, naive_root
from tests.ledger.powercut import CrashableFiles, PowerCut
from veracity.ledger.keys import SigningKey
from veracity.ledger.reader import Reader
from veracity.ledger.store import Ledger

SIGNER = SigningKey.generate(ORIGIN)
# Bytes of journal: with few, every other commit begins a new one; with many, the first one lasts.
LIMITS = [3000, 100_000]


class CrashMachine(RuleBasedStateMachine):
    """A ledger, what it acknowledged, and power cuts."""

    def __init__(self) -> None:
        super().__init__()
        self.top = Path(tempfile.mkdtemp(prefix="ledger-"))
        self.lives = 0
        self.acknowledged: list[bytes] = []
        self.waiting: list[bytes] = []

    @property
    def folder(self) -> Path:
        return self.top / f"life{self.lives}"

    @initialize(limit=st.sampled_from(LIMITS))
    def create(self, limit: int) -> None:
        self.limit = limit
        self.folder.mkdir()
        self.files = CrashableFiles(self.folder)
        self.ledger = Ledger.create(self.folder, ORIGIN, SIGNER, files=self.files, journal_limit=self.limit)

    @rule(sizes=st.lists(st.integers(0, 40), min_size=1, max_size=5))
    def append(self, sizes: list[int]) -> None:
        for size in sizes:
            self.append_one(b"%d:" % self.ledger.size + b"x" * size)

    @rule(count=st.integers(100, 400))
    def append_many(self, count: int) -> None:
        for _ in range(count):
            self.append_one(b"%d" % self.ledger.size)

    def append_one(self, data: bytes) -> None:
        assert self.ledger.append(data) == len(self.acknowledged) + len(self.waiting)
        self.waiting.append(data)

    @rule(publish=st.booleans())
    def commit(self, publish: bool) -> None:
        head = self.ledger.commit(publish=publish)
        self.acknowledged += self.waiting
        self.waiting = []
        assert head.size == len(self.acknowledged)
        assert head.root == self.naive_root(self.acknowledged)

    @rule()
    def reopen(self) -> None:
        self.ledger.close()
        self.acknowledged += self.waiting
        self.waiting = []
        assert check(self.folder, SIGNER) == self.acknowledged
        self.ledger = Ledger.open(self.folder, SIGNER, files=self.files, journal_limit=self.limit)

    @precondition(lambda self: self.acknowledged)
    @rule(data=st.data())
    def read_while_writing(self, data: st.DataObject) -> None:
        with Reader(self.folder) as reader:
            reader.verify_tree(SIGNER.verifier)
            assert reader.size == len(self.acknowledged)
            start = data.draw(st.integers(0, reader.size))
            stop = data.draw(st.integers(start, reader.size))
            assert list(reader.entries(start, stop)) == self.acknowledged[start:stop]

    @rule(chance=st.randoms(use_true_random=False))
    def crash(self, chance: Random) -> None:
        self.recover(chance, allowed=[len(self.acknowledged)])

    @rule(
        chance=st.randoms(use_true_random=False),
        steps=st.integers(0, 40),
        act=st.sampled_from(["commit", "publish", "close"]),
    )
    def crash_within(self, chance: Random, steps: int, act: str) -> None:
        acts: dict[str, Callable[[], object]] = {
            "commit": self.ledger.commit,
            "publish": lambda: self.ledger.commit(publish=True),
            "close": self.ledger.close,
        }
        before = len(self.acknowledged)
        self.files.steps_left = steps
        try:
            acts[act]()
        except PowerCut:
            # Not acknowledged: all of it may have reached the disk, or none.
            self.recover(chance, allowed=[before, before + len(self.waiting)])
        else:
            self.acknowledged += self.waiting
            self.waiting = []
            self.recover(chance, allowed=[len(self.acknowledged)])

    @rule(chance=st.randoms(use_true_random=False), steps=st.integers(0, 12))
    def crash_within_recovery(self, chance: Random, steps: int) -> None:
        self.recover(chance, allowed=[len(self.acknowledged)], steps=steps)

    def recover(self, chance: Random, allowed: list[int], steps: int | None = None) -> None:
        self.files.steps_left = None
        self.ledger._release()
        written = self.acknowledged + self.waiting
        self.lose_power(chance)
        if steps is not None:
            self.files.steps_left = steps
            try:
                Ledger.open(self.folder, SIGNER, files=self.files, journal_limit=self.limit)._release()
            except PowerCut:
                pass
            self.lose_power(chance)
        found = check(self.folder, SIGNER)  # already before anybody repairs it
        assert len(found) in allowed
        assert found == written[: len(found)]
        self.ledger = Ledger.open(self.folder, SIGNER, files=self.files, journal_limit=self.limit)
        assert self.ledger.size == len(found)
        self.acknowledged, self.waiting = found, []
        assert check(self.folder, SIGNER) == found
        with Reader(self.folder) as reader:
            assert reader.unpublished == 0

    def lose_power(self, chance: Random) -> None:
        dead = self.files
        self.lives += 1
        dead.after_crash(self.folder, chance)
        shutil.rmtree(dead.folder)
        self.files = CrashableFiles(self.folder)

    @invariant()
    def the_root_is_the_naive_one(self) -> None:
        if self.lives or self.acknowledged or self.waiting:
            assert self.ledger.root() == self.naive_root(self.acknowledged + self.waiting)

    def naive_root(self, entries: list[bytes]) -> bytes:
        return naive_root([naive_leaf(one) for one in entries])

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            self.ledger._release()
        shutil.rmtree(self.top)


CrashMachine.TestCase.settings = settings(
    max_examples=examples(25),
    stateful_step_count=25,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestCrash = CrashMachine.TestCase


@pytest.mark.parametrize("steps", range(12))
def test_a_ledger_cut_off_while_it_is_made_can_be_made_or_opened(tmp_path: Path, steps: int) -> None:
    files = CrashableFiles(tmp_path / "old")
    files.steps_left = steps
    try:
        Ledger.create(tmp_path / "old", ORIGIN, SIGNER, files=files).close()
    except PowerCut:
        pass
    (tmp_path / "old").mkdir(exist_ok=True)
    for seed in range(5):
        left = tmp_path / f"left{seed}"
        files.after_crash(left, Random(seed))
        if (left / "journal").exists():
            Ledger.open(left, SIGNER).close()
        else:
            Ledger.create(left, ORIGIN, SIGNER).close()
        assert check(left, SIGNER) == []


def session(folder: Path, files: CrashableFiles, acknowledged: list[int]) -> None:
    """Commits that fit the room in the journal, that need more, that are long, that publish and settle."""
    ledger = Ledger.create(folder, ORIGIN, SIGNER, files=files, journal_limit=100_000)
    try:
        for count, size, publish in [(1, 9, False), (2, 9, False), (260, 9, True), (2, 60_000, False)]:
            for _ in range(count):
                ledger.append(b"%d" % ledger.size + b"." * size)
            acknowledged.append(ledger.commit(publish=publish).size)
        ledger.close()
        acknowledged.append(ledger.size)
    finally:
        ledger._release()


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_an_end_at_each_operation_loses_nothing_acknowledged(tmp_path: Path, lost: int) -> None:
    """0: the process alone ends. Otherwise the power goes, and with it, at random, what was not synced."""
    acknowledged: list[int] = []
    steps = -1
    while len(acknowledged) < 5:
        steps += 1
        left = tmp_path / f"at{steps}"
        files, acknowledged = CrashableFiles(left), []
        files.steps_left = steps
        with suppress(PowerCut):
            session(left, files, acknowledged)
        if lost:
            left = tmp_path / f"left{steps}"
            files.after_crash(left, Random(lost))
        if not (left / "journal").exists():
            assert not acknowledged
            continue
        sure = max(acknowledged, default=0)
        found = check(left, SIGNER) if sure else []
        with Ledger.open(left, SIGNER) as ledger:
            assert ledger.size >= max(sure, len(found))
            ledger.append(b"after")
        assert check(left, SIGNER)[: len(found)] == found
    assert steps > 40


CHILD = """
import sys
from pathlib import Path
from veracity.ledger.keys import SigningKey
from veracity.ledger.store import Ledger
signer = SigningKey.load(Path(sys.argv[2]), "log.example/run-1")
ledger = Ledger.open(Path(sys.argv[1]), signer, journal_limit=20_000)
turn = 0
while True:
    turn += 1
    for _ in range(1 + turn * 7 % 90):
        ledger.append(b"entry %d" % ledger.size)
    head = ledger.commit(publish=turn % 5 == 0)
    sys.stdout.write(f"{head.size}\\n")
    sys.stdout.flush()
"""


@pytest.mark.serial
def test_kill_9_at_any_moment_loses_nothing_acknowledged(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    signer = SigningKey.load_or_create(key, ORIGIN)
    folder = tmp_path / "ledger"
    Ledger.create(folder, ORIGIN, signer).close()
    chance = Random(9)
    size = 0
    for _ in range(8):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(folder), str(key)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert child.stdout is not None
        assert child.stdout.readline().strip(), "the child ended before its first commit"
        time.sleep(chance.random() * 0.15)
        child.kill()
        acknowledged = child.stdout.read().split(b"\n")[:-1]
        child.stdout.close()
        assert child.wait() == -9
        found = check(folder, signer)
        assert found == [b"entry %d" % index for index in range(len(found))]
        assert len(found) >= max(size, int(acknowledged[-1]) if acknowledged else 0)
        size = len(found)
    assert size > 256
    with Ledger.open(folder, signer) as ledger:
        assert ledger.size == size
    assert len(check(folder, signer)) == size
