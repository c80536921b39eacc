"""Witnesses and time-stamping authorities of a run that a service records: asked as the job's account."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ledger.authority import Authority
from tests.monitor.service.world import World, wait_for
from veracity.ledger.keys import PublicKey, SigningKey
from veracity.ledger.witness.asking import KnownWitness
from veracity.ledger.witness.cosignature import WitnessKey
from veracity.ledger.witness.policy import Policy
from veracity.ledger.witness.record import Witness
from veracity.ledger.witness.serving import WitnessServer
from veracity.monitor.service.caller import reaches_alike
from veracity.monitor.verify import verify_run

pytestmark = pytest.mark.serial
NOBODY = f"http://127.0.0.1:1={WitnessKey(SigningKey.generate('absent.example').verifier).vkey}"


@pytest.fixture
def known(world: World, tmp_path: Path) -> Iterator[KnownWitness]:
    """A witness of the service's log."""
    assert world.call(world.alice, "run", "--", "true").returncode == 0
    log = PublicKey.parse((world.runs(world.alice)[-1] / "ledger.vkey").read_text().strip())
    signer = SigningKey.generate("w.example")
    witness = Witness(tmp_path / "witness", signer, [log])
    server = WitnessServer(("127.0.0.1", 0), witness)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield KnownWitness(f"http://127.0.0.1:{server.server_address[1]}", WitnessKey(signer.verifier))
    server.shutdown()
    server.server_close()
    witness.close()


def test_witnesses_sign_and_authorities_stamp(world: World, known: KnownWitness, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    authority = Authority.create(tmp_path / "tsa")
    with authority.serving() as url:
        words = ["--witness", f"{known.url}={known.key.vkey}", "--timestamp", url]
        done = world.call(world.alice, "run", *words, "--", "true")
    assert "not cosigned" not in done.stderr
    assert "not stamped" not in done.stderr
    run = world.runs(world.alice)[-1]
    assert any("w.example had seen" in one for one in verify_run(run, [Policy.requiring([known.key])]))
    assert len(list((run / "timestamps").glob("*.tsr"))) == len(authority.asked) == 1
    kept = [run / "cosigned", run / "witness.policy", *(run / "timestamps").iterdir()]
    assert {(one.stat().st_uid, stat.S_IMODE(one.stat().st_mode)) for one in kept} == {
        (world.veracity.uid, 0o600)
    }
    assert os.listdir(world.alice.folder / "home" / "handed") == []


def test_who_does_not_sign_is_told_to_the_caller(world: World) -> None:
    words = ["--witness", NOBODY, "--timestamp", "http://127.0.0.1:1/tsa"]
    done = world.call(world.alice, "run", *words, "--", "true")
    assert "not cosigned: absent.example" in done.stderr
    assert "not stamped: http://127.0.0.1:1/tsa" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs unshare, as root")
def test_a_job_in_a_network_of_its_own_is_told_from_others() -> None:
    """From there the service could reach what the job cannot."""
    with subprocess.Popen(["unshare", "--net", "sleep", "60"]) as apart:
        try:
            wait_for(lambda: Path(f"/proc/{apart.pid}/comm").read_text().strip() == "sleep")
            assert "a network of its own" in reaches_alike(apart.pid)
        finally:
            apart.kill()
    assert "cannot be seen" in reaches_alike(apart.pid)
    assert reaches_alike(os.getpid()) == ""


def test_what_is_no_witness_and_no_authority_is_refused(world: World) -> None:
    place = world.alice.folder / "place"
    wrong: list[tuple[dict[str, object], str]] = [
        ({"witnesses": ["file:///etc/passwd=x"]}, "not a"),
        ({"timestamps": ["file:///etc/passwd"]}, "not an authority's address"),
        ({"witness_policy": "!"}, "not in base64"),
        ({"witnesses": [NOBODY] * 17}, "more than 16"),
        ({"timestamps": ["http://a"] * 17}, "more than 16"),
    ]
    text = f"""
        import os, shutil
        from pathlib import Path
        from veracity.monitor.service.finding import connect
        from veracity.monitor.service.protocol import Open, Refused
        for fields in {[fields for fields, _ in wrong]!r}:
            os.mkdir({str(place)!r}, 0o700)
            channel = connect(Path({str(world.socket)!r}), asked=True)
            channel.send(Open(["true"], {str(place)!r}, **fields))
            answer = channel.receive(60)
            assert isinstance(answer, Refused), answer
            print(answer.what)
            channel.close()
            shutil.rmtree({str(place)!r})
    """
    said = world.script(world.alice, text).stdout.splitlines()
    assert len(said) == len(wrong)
    for sentence, (_, what) in zip(said, wrong, strict=True):
        assert what in sentence


def test_a_seal_is_not_taken_on_the_job_accounts_word(world: World) -> None:
    code = world.write(world.alice, "train.py", "print('trained')\n")
    assert world.call(world.alice, "seal", str(code), "--quiet").returncode == 0
    before = len(world.runs(world.alice))
    done = world.call(world.alice, "run", "--seal", "latest", "--", "true")
    assert done.returncode == 2
    assert "does not take the word of a job's own account" in done.stderr
    assert len(world.runs(world.alice)) == before
