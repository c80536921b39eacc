"""What lies beside a record in a bundle: seal, approvals and policy, held against the record."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
import sys
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


@pytest.fixture
def uncommitted(made: Approving) -> tuple[Approving, str]:
    """The code lies in a repository and differs from its commit; the member that says how. One run only."""
    shutil.rmtree(made.home / "runs")
    git = ["git", "-C", str(made.code), "-c", "user.name=u", "-c", "user.email=u@example.com"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "caf\u00e9"]):
        subprocess.run([*git, *words], check=True, capture_output=True)
    (made.code / "train.py").write_text("print('caf\u00e9')  # not committed\n", encoding="utf-8")
    made.folder = made.seal()
    assert main(["run", "--policy", "enforce", "--seal", made.folder.seal, "--", "true"]) == 1
    (text,) = made.folder.path.glob("*.diff")
    return made, f"seal/{text.name}"


def _alone(bundle: str) -> tuple[int, str]:
    """What the program in a bundle says, by itself."""
    with zipfile.ZipFile(bundle) as archive:
        Path("alone.py").write_bytes(archive.read("verify_evidence.py"))
    done = subprocess.run(
        [sys.executable, "-I", "-S", "alone.py", bundle], check=False, capture_output=True, text=True
    )
    return done.returncode, done.stdout


def test_a_bundle_has_what_was_not_committed(uncommitted: tuple[Approving, str], capsys: Captured) -> None:
    made, name = uncommitted
    assert main(["bundle", "latest", "--output", "case.zip"]) == 0
    with zipfile.ZipFile("case.zip") as archive:
        text = archive.read(name)
    assert b"+print('caf\xc3\xa9')  # not committed" in text
    assert text == (made.folder.path / name.partition("/")[2]).read_bytes()
    assert _alone("case.zip")[0] == 0
    assert main(["verify", "case.zip"]) == 0


def _edited_text(members: dict[str, bytes], name: str) -> None:
    members[name] = members[name].replace(b"not committed", b"committed")


def _no_text(members: dict[str, bytes], name: str) -> None:
    del members[name]


def _another_text(members: dict[str, bytes], name: str) -> None:
    members[f"seal/{hashlib.sha256(b'x').hexdigest()}.diff"] = b"x"


def _text_and_seal(members: dict[str, bytes], name: str) -> None:
    """The seal names the other text, too: then it is not the seal that the record names."""
    text = members.pop(name).replace(b"not committed", b"committed")
    envelope = json.loads(members["seal/seal.dsse.json"])
    digest = hashlib.sha256(text).hexdigest().encode()
    payload = base64.b64decode(envelope["payload"]).replace(name[5:-5].encode(), digest)
    envelope["payload"] = base64.b64encode(payload).decode()
    members[f"seal/{digest.decode()}.diff"] = text
    members["seal/seal.dsse.json"] = json.dumps(envelope).encode()


def test_another_text_of_what_was_not_committed_does_not_hold(
    uncommitted: tuple[Approving, str], tmp_path: Path
) -> None:
    assert main(["bundle", "latest", "--output", "case.zip"]) == 0
    changes: list[tuple[Callable[[dict[str, bytes], str], object], int, str]] = [
        (_edited_text, 1, "is not the one that was recorded: seal/"),
        (_no_text, 2, "1 payloads are missing, the first of entry 0"),
        (_another_text, 1, "is named by no entry"),
        (_text_and_seal, 1, "the seal beside the record is not the one that its first entry names"),
    ]
    for change, code, words in changes:

        def without_custody(members: dict[str, bytes], change: object = change) -> None:
            assert callable(change)
            change(members, uncommitted[1])
            del members["custody"]

        edited(tmp_path / "case.zip", tmp_path / "other.zip", without_custody)
        status, said = _alone("other.zip")
        assert (status, words in said) == (code, True), said
        assert main(["verify", "other.zip"]) == code


def test_a_text_that_is_not_as_it_was_sealed_is_not_packed(
    uncommitted: tuple[Approving, str], capsys: Captured
) -> None:
    made, name = uncommitted
    (made.folder.path / name.partition("/")[2]).write_text("edited")
    capsys.readouterr()
    assert main(["bundle", "latest", "--output", "case.zip"]) == 2
    said = capsys.readouterr().err
    assert "the text of what was not committed, of the seal that the run was started on is not packed" in said
    assert "1 payloads are missing" in _alone("case.zip")[1]


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
