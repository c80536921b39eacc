"""Runs whose records are cosigned, and records that were rewritten behind the witness' back."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import veracity
from tests.ledger.test_bundle import CHECKER
from veracity.cli.main import main
from veracity.core.errors import VerificationError
from veracity.ledger.entry import Entry
from veracity.ledger.keys import KEY_FILE, KEY_NAME, SigningKey
from veracity.ledger.reader import Reader
from veracity.ledger.store import Ledger
from veracity.ledger.witness.asking import KnownWitness
from veracity.ledger.witness.cosignature import WitnessKey
from veracity.ledger.witness.policy import Group, Policy, PolicyLog, PolicyWitness
from veracity.ledger.witness.record import Witness
from veracity.ledger.witness.serving import WitnessServer
from veracity.monitor.folder import RunFolder, create_folder
from veracity.monitor.verify import verify_run
from veracity.monitor.witnessing import Witnessing

ORIGIN = "veracity.local/run-1"


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    (tmp_path / "home").mkdir(exist_ok=True)
    return SigningKey.load_or_create(tmp_path / "home" / KEY_FILE, KEY_NAME)


@pytest.fixture
def known(tmp_path: Path, key: SigningKey) -> Iterator[KnownWitness]:
    signer = SigningKey.generate("w.example")
    witness = Witness(tmp_path / "witness", signer, [key.verifier])
    server = WitnessServer(("127.0.0.1", 0), witness)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield KnownWitness(f"http://127.0.0.1:{server.server_address[1]}", WitnessKey(signer.verifier))
    server.shutdown()
    server.server_close()
    witness.close()


def recorded(folder: RunFolder, key: SigningKey, entries: int, *, word: str = "a", more: int = 0) -> None:
    """A ledger with so many entries; ``more`` of them written by another process later."""
    if not more:
        shutil.rmtree(folder.ledger, ignore_errors=True)
    ledger = Ledger.open(folder.ledger, key) if more else Ledger.create(folder.ledger, ORIGIN, key)
    with ledger:
        for number in range(more or entries):
            ledger.append(Entry("note", {"number": number, "word": word}).encode())
    folder.verifier.write_text(key.verifier.vkey)


def wanting(*known: KnownWitness) -> list[Policy]:
    return [Policy.requiring([one.key for one in known])]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return create_folder(tmp_path / "home", 1_700_000_000_000_000_000)


def cosigned(folder: RunFolder, known: KnownWitness) -> Witnessing:
    asked = Witnessing(folder, [known])
    asked.start()
    assert asked.close() == []
    return asked


def test_a_record_is_cosigned_to_its_end(folder: RunFolder, key: SigningKey, known: KnownWitness) -> None:
    recorded(folder, key, 700)
    cosigned(folder, known)
    said = verify_run(folder.path, wanting(known))
    assert any("w.example had seen 700 entries by 20" in sentence for sentence in said)


def test_what_came_behind_the_last_cosignature_is_not_cosigned(
    folder: RunFolder, key: SigningKey, known: KnownWitness
) -> None:
    """Else whoever keeps the witness away from the end could rewrite all of it."""
    recorded(folder, key, 300)
    cosigned(folder, known)
    recorded(folder, key, 300, more=40)
    verify_run(folder.path)
    with pytest.raises(VerificationError, match=r"w.example has not cosigned the last 40 of them"):
        verify_run(folder.path, wanting(known))


@pytest.mark.parametrize(("entries", "word"), [(300, "b"), (299, "a"), (301, "b")])
def test_a_record_that_was_rewritten_with_its_own_key(
    folder: RunFolder, key: SigningKey, known: KnownWitness, entries: int, word: str
) -> None:
    """The insider owns host and key: everything verifies, but for the witness."""
    recorded(folder, key, 300)
    cosigned(folder, known)
    recorded(folder, key, entries, word=word)
    verify_run(folder.path)
    with pytest.raises(VerificationError, match="cosigned another record: of 300 entries"):
        verify_run(folder.path, wanting(known))
    asked = Witnessing(folder, [known])
    asked.start()
    (sentence,) = asked.close()
    assert "has seen" in sentence
    asked._ask()
    (gap,) = asked.gaps()
    assert (gap.law, gap.stops) == ("record", True)


def test_a_witness_that_was_set_back(
    folder: RunFolder, key: SigningKey, known: KnownWitness, tmp_path: Path
) -> None:
    """Its own cosignature shows it, to the monitor that has it and to the one after that."""
    recorded(folder, key, 300)
    cosigned(folder, known)
    (state,) = (tmp_path / "witness").glob("*.log")
    before = state.read_bytes()
    recorded(folder, key, 300, more=40)
    asked = cosigned(folder, known)
    state.write_bytes(before)
    for one in (asked, Witnessing(folder, [known])):
        one.start()
        (sentence,) = one.close()
        assert "w.example was set back: it cosigned 340 entries" in sentence
        one._ask()
        (gap,) = one.gaps()
        assert (gap.law, gap.stops) == ("record", True)


def test_cosignatures_that_were_taken_away(folder: RunFolder, key: SigningKey, known: KnownWitness) -> None:
    recorded(folder, key, 5)
    cosigned(folder, known)
    folder.cosigned.unlink()
    with pytest.raises(VerificationError, match="has not cosigned"):
        verify_run(folder.path, wanting(known))


def test_cosignatures_of_two_witnesses_lie_side_by_side(
    folder: RunFolder, key: SigningKey, known: KnownWitness, tmp_path: Path
) -> None:
    recorded(folder, key, 5)
    signer = SigningKey.generate("w2.example")
    witness = Witness(tmp_path / "second", signer, [key.verifier])
    with WitnessServer(("127.0.0.1", 0), witness) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        second = KnownWitness(f"http://127.0.0.1:{server.server_address[1]}", WitnessKey(signer.verifier))
        asked = Witnessing(folder, [known, second])
        asked.start()
        assert asked.close() == []
        server.shutdown()
    witness.close()
    said = verify_run(folder.path, wanting(known, second))
    assert sum("had seen 5 entries" in sentence for sentence in said) == 2


def test_a_witness_that_does_not_answer_costs_its_signature(folder: RunFolder, key: SigningKey) -> None:
    recorded(folder, key, 5)
    nobody = KnownWitness("http://127.0.0.1:9", WitnessKey(SigningKey.generate("w").verifier))
    asked = Witnessing(folder, [nobody])
    asked.start()
    (sentence,) = asked.close()
    assert "cannot be reached" in sentence
    (gap,) = asked.gaps()
    assert (gap.what, gap.stops) == ("the witness w did not sign", False)
    assert list(asked.gaps()) == []


def test_without_witnesses_nothing_is_asked(folder: RunFolder) -> None:
    asked = Witnessing(folder, [])
    asked.start()
    assert asked.close() == []
    assert not folder.cosigned.exists()


def test_a_guarded_run_is_cosigned(
    tmp_path: Path, key: SigningKey, known: KnownWitness, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [sys.executable, "-m", "veracity.cli.main", "--home", str(tmp_path / "home"), "run", "--quiet"]
    done = subprocess.run(
        [*command, "--witness", f"{known.url}={known.key.vkey}", "--", sys.executable, "-c", "pass"],
        env={**os.environ, "PYTHONPATH": str(Path(veracity.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    words = ["--home", str(tmp_path / "home"), "verify", "latest", "--witness"]
    assert main([*words, known.key.vkey]) == 0
    said = capsys.readouterr().out
    (run,) = (tmp_path / "home" / "runs").iterdir()
    with Reader(run / "ledger") as reader:
        assert f"w.example had seen {reader.size} entries" in said
    (tmp_path / "w.vkey").write_text(known.key.vkey + "\n")
    assert main([*words, str(tmp_path / "w.vkey")]) == 0
    assert main([*words, WitnessKey(SigningKey.generate("other").verifier).vkey]) == 1
    # The bundle carries what the witness signed, and a policy that wants it.
    bundle = tmp_path / "case.zip"
    assert main([*words[:2], "bundle", "--output", str(bundle)]) == 0
    checked = subprocess.run([sys.executable, CHECKER, bundle], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
    assert "w.example had seen this head by" in checked.stdout
    policy = tmp_path / "two.policy"
    policy.write_bytes(of(2, known, nobody("absent")).encode())
    named = ["--witness-policy", str(policy)]
    assert main([*words[:3], "latest", *named]) == 1
    assert main([*words[:2], "bundle", "--output", str(bundle), *named]) == 2
    assert "absent has not cosigned this record" in capsys.readouterr().err
    policy.write_bytes(of(1, known, nobody("absent")).encode())
    assert main([*words[:3], "latest", *named]) == 0


# --- policies -------------------------------------------------------------------------------------------


def nobody(name: str) -> KnownWitness:
    """A witness at a port where nothing listens."""
    return KnownWitness("http://127.0.0.1:9", WitnessKey(SigningKey.generate(name).verifier))


def of(needed: int, *known: KnownWitness) -> Policy:
    named = tuple(PolicyWitness(f"w{at}", one.key, one.url) for at, one in enumerate(known))
    return Policy("enough", named, (Group("enough", needed, tuple(one.name for one in named)),))


def test_as_many_as_the_policy_needs_are_enough(
    folder: RunFolder, key: SigningKey, known: KnownWitness
) -> None:
    recorded(folder, key, 5)
    absent = nobody("absent")
    for needed, enough in ((1, True), (2, False)):
        policy = of(needed, known, absent)
        asked = Witnessing(folder, [known, absent], policy)
        asked.start()
        told = asked.close()
        assert any("absent: absent cannot be reached" in one for one in told)
        assert any("too few witnesses have seen the whole record" in one for one in told) is not enough
        assert asked.is_reached() is enough
        assert Policy.parse(folder.policy.read_bytes()) == policy
        if enough:
            said = verify_run(folder.path, [policy])
            assert "1 of 2 witnesses cosigned it to its end: enough" in said
        else:
            with pytest.raises(VerificationError, match="absent has not cosigned this record"):
                verify_run(folder.path, [policy])


def test_a_policy_about_another_log(folder: RunFolder, key: SigningKey, known: KnownWitness) -> None:
    recorded(folder, key, 5)
    cosigned(folder, known)
    ours = of(1, known)
    verify_run(folder.path, [replace(ours, logs=(PolicyLog(key.verifier),))])
    other = PolicyLog(SigningKey.generate(KEY_NAME).verifier)
    with pytest.raises(VerificationError, match="not about the log"):
        verify_run(folder.path, [replace(ours, logs=(other,))])


def test_witnesses_of_one_name_are_told_apart(
    folder: RunFolder, key: SigningKey, known: KnownWitness
) -> None:
    """Names are not given by anybody: two witnesses may have the same."""
    recorded(folder, key, 5)
    twin = nobody(known.key.name)
    asked = Witnessing(folder, [twin, known])
    asked.start()
    assert len(asked.close()) == 1
    verify_run(folder.path, wanting(known))
    with pytest.raises(VerificationError):
        verify_run(folder.path, wanting(twin))


def test_a_record_that_cannot_be_read_at_its_end_is_not_witnessed(
    folder: RunFolder, key: SigningKey, known: KnownWitness
) -> None:
    """What was cosigned before is not the finished record."""
    recorded(folder, key, 5)
    asked = Witnessing(folder, [known], of(1, known))
    asked._ask()
    shutil.rmtree(folder.ledger)
    asked.start()
    told = asked.close()
    assert told[0].startswith("ledger: ")
    assert not asked.is_reached()
    assert told[-1] == "too few witnesses have seen the whole record for the witness policy"


def test_what_was_cosigned_before_a_crash_is_kept(
    folder: RunFolder, key: SigningKey, known: KnownWitness, tmp_path: Path
) -> None:
    """Another monitor takes up the record and asks again: of those that do not answer the old heads stay."""
    signer = SigningKey.generate("second.example")
    witness = Witness(tmp_path / "second", signer, [key.verifier])
    recorded(folder, key, 300)
    with WitnessServer(("127.0.0.1", 0), witness) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        second = KnownWitness(f"http://127.0.0.1:{server.server_address[1]}", WitnessKey(signer.verifier))
        asked = Witnessing(folder, [known, second])
        asked.start()
        assert asked.close() == []
        server.shutdown()
    witness.close()
    recorded(folder, key, 300, more=40)
    asked = Witnessing(folder, [known, second])
    asked.start()
    assert len(asked.close()) == 1
    verify_run(folder.path, wanting(known))
    with pytest.raises(VerificationError, match=r"second.example has not cosigned the last 40 of them"):
        verify_run(folder.path, wanting(second))
    recorded(folder, key, 300, word="b")
    with pytest.raises(VerificationError, match="cosigned another record"):
        verify_run(folder.path, wanting(second))


class _Dripping(threading.Thread):
    """A service that sends a byte now and then and never comes to an end."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.ended = threading.Event()

    def run(self) -> None:
        connection, _ = self.socket.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
            while not self.ended.wait(0.1):
                connection.sendall(b"x")


def test_a_witness_that_never_ends_its_answer_does_not_hold_the_run(
    folder: RunFolder, key: SigningKey, known: KnownWitness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("veracity.monitor.witnessing.ROUND_SECONDS", 1.0)
    monkeypatch.setattr("veracity.monitor.witnessing.LAST_SECONDS", 2.0)
    recorded(folder, key, 5)
    dripping = _Dripping()
    dripping.start()
    url = f"http://127.0.0.1:{dripping.socket.getsockname()[1]}"
    slow = KnownWitness(url, WitnessKey(SigningKey.generate("slow").verifier))
    asked = Witnessing(folder, [slow, known])
    started = time.monotonic()
    asked.start()
    assert asked.close() == ["slow: did not answer in time"]
    assert time.monotonic() - started < 10
    dripping.ended.set()
    dripping.socket.close()
    verify_run(folder.path, wanting(known))
