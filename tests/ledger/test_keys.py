from __future__ import annotations

import base64
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from veracity.core.errors import EvidenceError, UsageError, VerificationError
from veracity.ledger.keys import SMALL_ORDER_Y, PublicKey, SigningKey

P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P
# A key that Go's tools publish for everybody: what they print is what we read, and print again.
GO_VKEY = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"

Point = tuple[int, int]


def add(a: Point, b: Point) -> Point:
    """The group law of the curve (RFC 8032, section 5.1.4), in affine form."""
    (x1, y1), (x2, y2) = a, b
    t = D * x1 * x2 * y1 * y2 % P
    return (
        (x1 * y2 + x2 * y1) * pow(1 + t, -1, P) % P,
        (y1 * y2 + x1 * x2) * pow(1 - t, -1, P) % P,
    )


def root_of_minus_one() -> int:
    return pow(2, (P - 1) // 4, P)


def point_with(y: int) -> Point | None:
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * root_of_minus_one() % P
    return (x, y) if x * x % P == square else None


def raw(y: int, sign: int = 0) -> bytes:
    return (y | sign << 255).to_bytes(32, "little")


def eightfold(point: Point) -> Point:
    for _ in range(3):
        point = add(point, point)
    return point


def test_the_points_of_small_order_are_all_there_are() -> None:
    points = {point for y in SMALL_ORDER_Y if (point := point_with(y))}
    points |= {(-x % P, y) for x, y in points}
    assert len(SMALL_ORDER_Y) == 5
    assert len(points) == 8  # the curve's cofactor: there are no more
    assert {eightfold(point) for point in points} == {(0, 1)}


@pytest.mark.parametrize("sign", [0, 1])
@pytest.mark.parametrize("y", sorted(SMALL_ORDER_Y))
def test_a_key_of_small_order_is_refused(y: int, sign: int) -> None:
    with pytest.raises(VerificationError, match="small order"):
        PublicKey("name", raw(y, sign))


@pytest.mark.parametrize("sign", [0, 1])
@pytest.mark.parametrize("y", [P, P + 1, P + 3, 2**255 - 1])
def test_a_key_in_another_spelling_is_refused(y: int, sign: int) -> None:
    with pytest.raises(VerificationError, match="canonical"):
        PublicKey("name", raw(y, sign))


@given(st.integers(2, P - 2))
def test_a_key_is_a_point_or_refused(y: int) -> None:
    if point_with(y) is None:
        with pytest.raises(VerificationError, match="not a point"):
            PublicKey("name", raw(y))
    elif y not in SMALL_ORDER_Y:
        assert PublicKey("name", raw(y)).raw == raw(y)


def test_verifier_keys_are_those_of_go() -> None:
    key = PublicKey.parse(GO_VKEY)
    assert (key.name, key.key_id.hex()) == ("sum.golang.org", "033de0ae")
    assert key.vkey == GO_VKEY


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "name",
        "name+033de0ae",
        "name+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8",
        "sum.golang.org+033de0af+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8",
        "sum.golang.org+033de0ae+As4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8",
        "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuA==",
        "a b+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8",
        "sum.golang.org+033de0ae+?",
    ],
)
def test_other_verifier_keys_are_refused(vkey: str) -> None:
    with pytest.raises(EvidenceError):
        PublicKey.parse(vkey)


@given(
    st.text(max_size=80)
    | st.binary(min_size=33, max_size=33).map(lambda b: "n+0+" + base64.b64encode(b).decode())
)
def test_any_text_is_a_verifier_key_or_refused(text: str) -> None:
    with pytest.raises((EvidenceError, VerificationError)):
        PublicKey.parse(text)


def test_a_key_file_is_made_once_and_for_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "home" / "key.pem"
    first = SigningKey.load_or_create(path, "name")
    again = SigningKey.load_or_create(path, "name")
    assert first.verifier == again.verifier
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["key.pem"]
    assert path.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----\n")
    first.verifier.verify(b"text", again.sign(b"text"))
    with pytest.raises(VerificationError):
        first.verifier.verify(b"texT", again.sign(b"text"))
    with pytest.raises(VerificationError):
        first.verifier.verify(b"text", b"short")


def test_two_who_make_the_key_at_once_get_the_same(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: SigningKey.load_or_create(path, "name").verifier.raw, range(8)))
    assert len(set(made)) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["key.pem"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o610, 0o601])
def test_a_key_file_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key.pem"
    SigningKey.load_or_create(path, "name")
    path.chmod(mode)
    with pytest.raises(UsageError, match=f"{mode:04o}") as caught:
        SigningKey.load(path, "name")
    assert "chmod 600" in caught.value.diagnostics().remedy


def test_a_key_file_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key.pem"
    SigningKey.load_or_create(path, "name")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(UsageError, match="belongs to user id"):
        SigningKey.load(path, "name")


def test_what_is_no_key_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    with pytest.raises(UsageError, match="No such file"):
        SigningKey.load(path, "name")
    foreign = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for content, message in (
        (b"", "no unencrypted PEM"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "no unencrypted PEM"),
        (b"x" * 20_000, "too large"),
        (foreign, "not Ed25519"),
    ):
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(UsageError, match=message):
            SigningKey.load_or_create(path, "name")
        assert path.read_bytes() == content
    path.unlink()
    os.mkfifo(path, 0o600)
    with pytest.raises(UsageError, match="regular file"):
        SigningKey.load(path, "name")


def test_a_folder_that_takes_no_key_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError, match="cannot be created") as caught:
        SigningKey.load_or_create(tmp_path / "file" / "key.pem", "name")
    assert "--home" in caught.value.diagnostics().remedy


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\n", "a\u3000b", "\ud800"])
def test_names_that_cannot_stand_in_a_note_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a key name"):
        SigningKey.load_or_create(tmp_path / "key.pem", name)
    assert not (tmp_path / "key.pem").exists()
