"""The log of approvals before a real witness: who owns the home can take no revocation out of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.cli.test_witness import serving
from tests.seal.approving import Approving
from veracity.cli.main import main
from veracity.ledger.reader import Reader
from veracity.ledger.store import Ledger
from veracity.ledger.witness.asking import KnownWitness
from veracity.seal.approvals import ORIGIN, log_folder, read_log

Captured = pytest.CaptureFixture[str]
SINCE = "2025-01-01"


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Approving:
    monkeypatch.setenv("VERACITY_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return Approving.made(tmp_path)


@pytest.fixture
def witness(made: Approving, tmp_path: Path) -> Iterator[tuple[int, KnownWitness]]:
    """The process of a witness that the home's policy names, and where it is reached."""
    (tmp_path / "witness").mkdir()
    with serving(tmp_path / "witness", made.own.verifier.vkey) as (process, known):
        lines = f"witness w {known.key.vkey} {known.url}\nquorum w\n"
        made.write_policy(top=f'witnesses = """\n{lines}"""')
        yield process.pid, known


def approve(*names: str) -> None:
    for name in names:
        assert main(["approve", "latest", "--key", f"{name}.pem", "--quiet"]) == 0


def start(*flags: str) -> int:
    return main(["run", "--policy", "enforce", "--seal", "latest", *flags, "--", "true"])


def test_a_log_that_was_cut_back_is_found_out_by_the_witness(
    made: Approving, witness: tuple[int, KnownWitness], tmp_path: Path, capsys: Captured
) -> None:
    approve("lead", "second")
    assert main(["verify", "approvals"]) == 0
    assert "w.example confirms the whole log, of 2 entries, at 20" in capsys.readouterr().out
    shutil.copytree(log_folder(made.home), tmp_path / "earlier")
    assert main(["revoke", "second", "--since", SINCE, "--key", "security.pem"]) == 0
    shutil.rmtree(log_folder(made.home))
    shutil.copytree(tmp_path / "earlier", log_folder(made.home))
    assert read_log(made.home, made.own.verifier).size == 2, "it holds by itself"
    assert main(["approve", "--list", "latest"]) == 1
    assert main(["verify", "approvals"]) == 1
    for words in (["approve", "latest", "--key", "lead.pem"], ["revoke", "lead", "--since", SINCE]):
        assert main([*words, *(["--key", "security.pem"] if words[0] == "revoke" else [])]) == 1
    assert read_log(made.home, made.own.verifier).size == 2, "nothing was added to it"
    capsys.readouterr()
    assert start() == 1
    said = capsys.readouterr().err
    assert "the seal is refused: w.example has seen 3 entries" in said
    assert "and there are 2" in said
    assert "the refusal is recorded as run-" in said


def test_a_witness_that_was_set_back_is_found_out(made: Approving, tmp_path: Path, capsys: Captured) -> None:
    """It would sign a log without the revocation: it is held to what it signed before."""
    (tmp_path / "witness").mkdir()

    def served(approvals: Sequence[str]) -> int:
        with serving(tmp_path / "witness", made.own.verifier.vkey) as (_, known):
            mine = tmp_path / "mine.policy"
            mine.write_text(f"witness w {known.key.vkey} {known.url}\nquorum w\n")
            words = ["--witness-policy", str(mine), "--quiet"]
            for name in approvals:
                assert main(["approve", "latest", "--key", f"{name}.pem", *words]) == 0
            return main(["verify", "approvals", *words])

    assert served(["lead", "second"]) == 0
    for state in (tmp_path / "witness" / "state").glob("*.log"):
        state.unlink()
    assert served([]) == 1
    assert "was set back: it cosigned 2 entries" in capsys.readouterr().err


def test_a_log_under_another_name_is_no_way_out(
    made: Approving, witness: tuple[int, KnownWitness], capsys: Captured
) -> None:
    """A witness knows nothing of a log that was begun anew under the name that logs once had."""
    approve("lead", "second")
    with Reader(log_folder(made.home)) as reader:
        entries = list(reader.entries())
    shutil.rmtree(log_folder(made.home))
    with Ledger.create(log_folder(made.home), ORIGIN, made.own) as ledger:
        for entry in entries:
            ledger.append(entry)
    assert start() == 1
    assert "has no name of its own" in capsys.readouterr().err


def test_without_its_witness_nothing_is_started_but_all_can_be_revoked(
    made: Approving, witness: tuple[int, KnownWitness], capsys: Captured
) -> None:
    approve("lead", "second")
    os.kill(witness[0], signal.SIGTERM)
    os.waitpid(witness[0], 0)
    assert start() == 2
    assert (
        "too few witnesses confirm the log of approvals: w.example was not heard" in capsys.readouterr().err
    )
    assert main(["approve", "--list", "latest"]) == 2
    assert main(["verify", "approvals", "--format", "json"]) == 2
    out = capsys.readouterr().out
    assert json.loads(out[out.index("{") :])["verified"] is False
    assert main(["revoke", "second", "--since", SINCE, "--key", "security.pem"]) == 2
    assert len(read_log(made.home, made.own.verifier).revocations) == 1


def test_who_leaves_the_witnesses_out_of_the_policy_has_nothing_approved(
    made: Approving, witness: tuple[int, KnownWitness], capsys: Captured
) -> None:
    approve("lead", "second")
    made.write_policy()
    assert main(["approve", "--list", "latest"]) == 1
    assert "given under another policy" in capsys.readouterr().out


def test_where_a_witness_is_reached_may_change(made: Approving, witness: tuple[int, KnownWitness]) -> None:
    approve("lead", "second")
    known = witness[1]
    before = made.policy.digest()
    lines = f"# moved\nwitness w {known.key.vkey} http://127.0.0.1:1\nquorum w\n"
    made.write_policy(top=f'witnesses = """{lines}"""')
    assert made.policy.digest() == before


def test_a_witness_policy_may_be_named_at_the_start(
    made: Approving, tmp_path: Path, witness: tuple[int, KnownWitness], capsys: Captured
) -> None:
    made.write_policy()
    approve("lead", "second")
    known = witness[1]
    mine = tmp_path / "mine.policy"
    mine.write_text(f"witness w {known.key.vkey} {known.url}\nquorum w\n")
    assert main(["approve", "--list", "latest", "--witness-policy", str(mine)]) == 0
    assert main(["verify", "approvals", "--witness-policy", str(mine)]) == 0
    mine.write_text(f"witness w {known.key.vkey} http://127.0.0.1:1\nquorum w\n")
    assert main(["verify", "approvals", "--witness-policy", str(mine)]) == 2


@pytest.mark.parametrize("top", ["witnesses = 3", 'witnesses = "nonsense"', 'witnesses = "quorum w"'])
def test_what_is_no_witness_policy(made: Approving, top: str) -> None:
    made.write_policy(top=top)
    assert main(["approve", "--list", "latest"]) == 2


def test_there_is_no_log_to_verify(made: Approving) -> None:
    assert main(["verify", "approvals"]) == 2
