"""What lies beside a record in a bundle: seal, approvals and policy, held against the record."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ledger.test_bundle import edited
from tests.seal.approving import Approving
from veracity.cli.main import main
from veracity.core.canonical import Json, encode
from veracity.core.errors import UsageError
from veracity.core.policy import policy_from
from veracity.ledger.entry import Entry
from veracity.monitor.evidence import identities, sensors

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
Captured = pytest.CaptureFixture[str]
Change = Callable[[dict[str, bytes]], object]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Approving:
    """Approved by two, edited since, and refused: a record that needs no training."""
    monkeypatch.setenv("VERACITY_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    made = Approving.made(tmp_path)
    made.approve("lead", "second")
    (made.code / "train.py").write_text("edited = True\n")
    assert main(["run", "--policy", "enforce", "--seal", "latest", "--", "true"]) == 1
    return made


def test_a_bundle_has_what_the_run_was_started_on_and_by_whose_word(
    made: Approving, tmp_path: Path, capsys: Captured
) -> None:
    assert main(["revoke", "second", "--since", "2025-01-01", "--key", "security.pem"]) == 0
    assert main(["bundle", "latest", "--output", "case.zip"]) == 0
    with zipfile.ZipFile("case.zip") as archive:
        names = set(archive.namelist())
        sensed = json.loads(archive.read("sensors.json"))
        named = json.loads(archive.read("identities.json"))
    assert {"seal/seal.dsse.json", "seal/seal.vkey", "seal/manifest", "policy.json"} <= names
    assert {"approvals/log", "approvals/checkpoint"} <= names
    assert sensed["config"]["policy"] == "enforce"
    assert {one["trust"] for one in named} == {"kernel", "self-report"}
    capsys.readouterr()
    assert main(["verify", "case.zip"]) == 0
    said = capsys.readouterr().out
    assert f"{made.folder.seal}, which the run was to be started on, is signed by the same key" in said
    assert "the log of approvals, of 3 entries, continues what the run saw of it: 2" in said
    assert "counted again, the seal was approved when the run was to be started" in said


def _shorter(members: dict[str, bytes]) -> None:
    members["approvals/log"] = members["approvals/log"].split(b"\n")[0] + b"\n"


def _forged_head(members: dict[str, bytes]) -> None:
    members["approvals/checkpoint"] = members["approvals/checkpoint"].replace(b"\n2\n", b"\n1\n")


def _other_policy(members: dict[str, bytes]) -> None:
    value = json.loads(members["policy.json"])
    value["override"] = not value["override"]
    members["policy.json"] = encode(value) + b"\n"


def _other_seal(members: dict[str, bytes]) -> None:
    members["seal/seal.dsse.json"] = members["seal/seal.dsse.json"].replace(b'"sig":"', b'"sig":"AAAA')


@pytest.mark.parametrize("change", [_shorter, _forged_head, _other_policy, _other_seal])
def test_what_is_not_what_the_record_names_does_not_hold(
    made: Approving, tmp_path: Path, capsys: Captured, change: Change
) -> None:
    assert main(["bundle", "latest", "--output", "case.zip"]) == 0

    def without_custody(members: dict[str, bytes]) -> None:
        change(members)
        del members["custody"]

    edited(tmp_path / "case.zip", tmp_path / "other.zip", without_custody)
    assert main(["verify", "other.zip"]) in (1, 2)
    assert main(["verify", "case.zip"]) == 0


def test_another_homes_seal_is_not_the_one(made: Approving, tmp_path: Path) -> None:
    assert main(["bundle", "latest", "--output", "case.zip"]) == 0
    later = made.seal()

    def exchange(members: dict[str, bytes]) -> None:
        members["seal/seal.dsse.json"] = later.envelope.read_bytes()
        del members["custody"]

    edited(tmp_path / "case.zip", tmp_path / "other.zip", exchange)
    assert main(["verify", "other.zip"]) == 1


def test_what_is_no_longer_there_is_said(made: Approving, capsys: Captured) -> None:
    shutil.rmtree(made.folder.path)
    made.write_policy(top="own = true")
    capsys.readouterr()
    assert main(["bundle", "latest", "--output", "case.zip"]) == 2
    said = capsys.readouterr().err
    assert "the seal that the run was started on is not packed" in said
    assert "the policy that the run was started on is not packed: it has been changed since" in said
    assert main(["verify", "case.zip"]) == 0


def test_a_redacted_bundle_has_none_of_it(made: Approving) -> None:
    words = ["bundle", "latest", "--redact", "all", "--redaction-key", "names.key", "--output", "case.zip"]
    assert main(words) == 0
    with zipfile.ZipFile("case.zip") as archive:
        names = archive.namelist()
        told = json.loads(archive.read("redaction.json"))["redaction"]
    assert not [name for name in names if name.startswith(("seal/", "approvals/", "policy", "identities"))]
    assert "seal, approvals and policy, identities and sensors beside the record are left out" in told["says"]
    assert main(["verify", "case.zip", "--redaction-key", "names.key"]) == 2


def test_losses_are_counted() -> None:
    entries = [
        Entry("run", {"uid": 1, "user": "u", "host": "h", "policy": "observe"}),
        Entry("record", {"kind": "hello", "pid": 7}),
        Entry("record", {"kind": "bye", "body": {"dropped": 3}}),
        Entry("observed", {"kind": "Gap", "body": {"law": "time"}}),
        Entry("observed", {"kind": "RecordsMissing", "body": {}}),
        Entry("judged", {"coverage": {"update": {"checked": 4}}}),
    ]
    told = sensors(entries)
    assert told["lost"] == {"RecordsMissing": 1, "dropped_by_guards": 3}
    assert told["gaps"] == {"time": 1}
    assert told["coverage"] == {"update": {"checked": 4}}
    assert {"pid": 7, "source": "name of the spool", "trust": "userland", "entry": 1} in identities(entries)


def test_a_policy_comes_back_from_its_document(made: Approving) -> None:
    made.write_policy(top='expires = "3650d"\ndespite = ["security"]\nfindings = "warning"')
    policy = made.policy
    assert policy_from(policy.document()).digest() == policy.digest()
    wrong: list[Json] = [
        None,
        [],
        {},
        {**policy.document(), "lifetime": "x"},
        {**policy.document(), "more": 1},
    ]
    for one in wrong:
        with pytest.raises(UsageError):
            policy_from(one)
