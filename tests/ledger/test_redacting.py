"""A bundle that is there already, redacted by somebody who has nothing else."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import pytest

from tests.ledger.test_bundle import Record, check, edited
from tests.ledger.test_redaction import HAND, assert_no_name, record
from veracity.core.errors import EvidenceError, UsageError, VerificationError
from veracity.ledger.bundle import Beside, Packed, write_bundle
from veracity.ledger.handover import verify_bundle
from veracity.ledger.keys import SigningKey
from veracity.ledger.redacting import redact_bundle
from veracity.ledger.redaction import KeyFile, Redaction, classes_of

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
OTHERS = SigningKey.generate("desk.example")
CLASSES = "user,host,path,command,environment"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Record:
    return record(tmp_path_factory.mktemp("record") / "run")


@pytest.fixture
def case(made: Record, tmp_path: Path) -> Path:
    target = tmp_path / "case.zip"
    ledger, blobs = made.folder / "ledger", made.folder / "blobs"
    about = {"run": "run-20250302-143107-00face"}
    beside = Beside(hand=HAND, members={"identities.json": b'["zenobia"]\n'})
    write_bundle(target, ledger, blobs, made.key.verifier, about, beside)
    return target


def redacted(case: Path, key: SigningKey = OTHERS, name: str = "shown.zip") -> tuple[Path, Path, Packed]:
    target, secret = case.with_name(name), case.with_name("names.key")
    redaction = Redaction.of(KeyFile.load_or_new(secret), key, classes_of(CLASSES))
    return target, secret, redact_bundle(case, target, redaction, secret, HAND)


def test_proofs_hold_and_whose_word_the_rest_is_is_said(made: Record, case: Path) -> None:
    target, secret, packed = redacted(case)
    assert packed.withheld == (5, 2)
    assert packed.payloads == 300
    assert_no_name(target)
    code, said = check(target)
    assert code == 2
    assert "300 of 305 entries were hashed again, and the root is as signed" in said
    assert f"redaction, in the words of {OTHERS.verifier.vkey}, which is not the log's key: 5 of 305" in said
    assert "its verdict is not there" in said, "another's word is no verdict"
    assert "it has a finding" not in said
    assert said.splitlines()[-1] == "what is there holds, but 5 entries and 2 payloads are withheld"
    with zipfile.ZipFile(target) as archive:
        assert json.loads(archive.read("bundle.json"))["run"] == "run-20250302-143107-00face"
        assert "identities.json" not in archive.namelist()
    sentences, _ = verify_bundle(target, None, None, [], redaction_key=secret)
    assert any("5 withheld entries were made whole with it" in one for one in sentences)
    assert any("redacted from sha256:" in one for one in sentences)


def test_with_the_records_key_it_is_the_same_as_from_the_record(made: Record, case: Path) -> None:
    target, _, _ = redacted(case, made.key)
    code, said = check(target)
    assert (code, "in the words of the log's key: 5 of 305" in said) == (2, True)
    assert "its verdict is broken" in said
    assert "it has a finding: code-source-altered from step 7: path-" in said


def test_a_lie_in_anothers_redaction_is_no_verdict(case: Path, tmp_path: Path) -> None:
    """Whoever has a bundle can withhold what they like and show what they like: signed, and still a word."""

    class Lying(Redaction):
        def document(self, head: str, size: int) -> bytes:
            for shown in self.withheld.values():
                if isinstance(shown, dict) and shown["k"] == "judged":
                    shown["outcome"] = "held"
            return super().document(head, size)

    secret = tmp_path / "names.key"
    honest = Redaction.of(KeyFile.load_or_new(secret), OTHERS, classes_of(CLASSES))
    lying = Lying(honest.secret, OTHERS, honest.classes, honest.redactor)
    redact_bundle(case, tmp_path / "lie.zip", lying, secret, HAND)
    code, said = check(tmp_path / "lie.zip")
    assert (code, "its verdict is held" in said) == (2, False)
    with pytest.raises(VerificationError, match="not what was recorded"):
        verify_bundle(tmp_path / "lie.zip", None, None, [], redaction_key=secret)


def test_what_does_not_hold_is_not_redacted(case: Path, tmp_path: Path) -> None:
    def change(members: dict[str, bytes]) -> None:
        members[next(name for name in members if name.startswith("blobs/"))] = b"other"

    edited(case, tmp_path / "edited.zip", change)
    with pytest.raises(VerificationError, match="not the one that was recorded"):
        redacted(tmp_path / "edited.zip")
    (tmp_path / "none.zip").write_bytes(b"PK")
    with pytest.raises(EvidenceError):
        redacted(tmp_path / "none.zip")
    target, _, _ = redacted(case)
    with pytest.raises(UsageError, match="already"):
        redacted(target, name="twice.zip")
    left = {one.name for one in tmp_path.iterdir()}
    assert left == {"case.zip", "edited.zip", "none.zip", "shown.zip", "names.key"}
