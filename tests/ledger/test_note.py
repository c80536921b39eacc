from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veracity.core.errors import EvidenceError, ResourceLimitError, UsageError, VerificationError
from veracity.ledger.keys import SigningKey
from veracity.ledger.merkle import EMPTY_ROOT
from veracity.ledger.note import MAX_NOTE, parse_note, sign_note, verify_note
from veracity.ledger.tree_head import TreeHead

OTHER = SigningKey.generate("other.example/witness")
lines = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), max_size=20)


def test_a_note_has_its_fixed_form(signer: SigningKey) -> None:
    data = sign_note("If you think\nthis is short\n", signer)
    text, _, line = data.decode().rpartition("\n\n")
    dash, name, value = line.removesuffix("\n").split(" ")
    raw = base64.b64decode(value)
    assert (text, dash, name) == ("If you think\nthis is short", "—", "log.example/run-1")
    assert (raw[:4], len(raw)) == (signer.verifier.key_id, 68)


@given(st.lists(lines, min_size=1, max_size=5))
def test_notes_read_back(parts: list[str]) -> None:
    text = "\n".join(parts) + "\n"
    note = parse_note(sign_note(text, OTHER))
    assert note.text == text
    verify_note(note, OTHER.verifier)


def test_signatures_of_strangers_are_ignored(signer: SigningKey) -> None:
    mine = sign_note("text\n", signer).decode()
    theirs = sign_note("text\n", OTHER).decode().removeprefix("text\n\n")
    note = parse_note((mine + theirs).encode())
    verify_note(note, signer.verifier)
    verify_note(note, OTHER.verifier)
    stranger = SigningKey.generate(signer.verifier.name)  # same name, another key
    with pytest.raises(VerificationError, match="not signed by log") as caught:
        verify_note(note, stranger.verifier)
    assert OTHER.verifier.name in caught.value.diagnostics().where


def test_a_changed_text_or_signature_does_not_hold(signer: SigningKey) -> None:
    data = sign_note("size 10\n", signer)
    with pytest.raises(VerificationError, match="does not hold"):
        verify_note(parse_note(data.replace(b"10", b"11")), signer.verifier)
    # A second, wrong signature by the same key spoils the note.
    wrong = sign_note("size 11\n", signer).decode().removeprefix("size 11\n\n")
    with pytest.raises(VerificationError, match="does not hold"):
        verify_note(parse_note(data + wrong.encode()), signer.verifier)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text\n",
        b"text\n\n",
        b"text\n\n\xe2\x80\x94 name AAAAAAA=",
        b"text\n\n- name AAAAAAA=\n",
        b"text\n\n\xe2\x80\x94 name\n",
        b"text\n\n\xe2\x80\x94 na+me AAAAAAA=\n",
        b"text\n\n\xe2\x80\x94  AAAAAAA=\n",
        b"text\n\n\xe2\x80\x94 name AAAAAA==\n",
        b"text\n\n\xe2\x80\x94 name AAAAAAB=\n",
        b"text\n\n\xe2\x80\x94 name A*AA\n",
        b"text\n\n\xe2\x80\x94 name \xc3\xa4\n",
        b"te\txt\n\n\xe2\x80\x94 name AAAAAAA=\n",
        b"te\xffxt\n\n\xe2\x80\x94 name AAAAAAA=\n",
        b"text\r\n\r\n\xe2\x80\x94 name AAAAAAA=\n",
    ],
)
def test_malformed_notes_are_refused(data: bytes) -> None:
    with pytest.raises(EvidenceError):
        parse_note(data)


def test_notes_have_bounds() -> None:
    line = "\u2014 name AAAAAAA=\n"
    assert len(parse_note(("text\n\n" + line * 64).encode()).signatures) == 64
    with pytest.raises(ResourceLimitError):
        parse_note(("text\n\n" + line * 65).encode())
    with pytest.raises(ResourceLimitError):
        parse_note(b"x" * (MAX_NOTE + 1))


@pytest.mark.parametrize("text", ["", "no newline", "tab\t\n", "\ud800\n"])
def test_a_text_that_cannot_be_a_note_is_not_signed(text: str, signer: SigningKey) -> None:
    with pytest.raises(UsageError):
        sign_note(text, signer)


@given(st.binary(max_size=120) | st.builds(lambda a, b: a + b"\n\n" + b, st.binary(), st.binary()))
def test_any_bytes_are_a_note_or_refused(data: bytes) -> None:
    for parse in (parse_note, TreeHead.parse):
        with pytest.raises(EvidenceError):
            parse(data)


def test_a_tree_head_has_three_lines(signer: SigningKey) -> None:
    head = TreeHead.sign("log.example/run-1", 20852163, EMPTY_ROOT, signer)
    assert head.signed.startswith(
        b"log.example/run-1\n20852163\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n"
    )
    assert TreeHead.parse(head.signed) == head
    head.verify(signer.verifier)
    with pytest.raises(VerificationError):
        head.verify(OTHER.verifier)


def test_a_tree_head_may_have_more_lines(signer: SigningKey) -> None:
    root = base64.b64encode(EMPTY_ROOT).decode()
    head = TreeHead.parse(sign_note(f"origin\n0\n{root}\nextension\n", signer))
    assert (head.origin, head.size) == ("origin", 0)
    head.verify(signer.verifier)


@pytest.mark.parametrize(
    "text",
    [
        "origin\n1\n",
        "\n1\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n",
        "origin\n01\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n",
        "origin\n-1\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n",
        "origin\n٣\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n",
        "origin\n9999999999999999999\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n",
        "origin\n1\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFV=\n",
        "origin\n1\nAAAA\n",
        "origin\n1\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\nafter a gap\n",
    ],
)
def test_what_is_no_tree_head_is_refused(text: str, signer: SigningKey) -> None:
    with pytest.raises(EvidenceError):
        TreeHead.parse(sign_note(text, signer))


@pytest.mark.parametrize("origin", ["", "a\nb", "x" * 1025])
def test_an_origin_is_one_line(origin: str, signer: SigningKey) -> None:
    with pytest.raises(UsageError):
        TreeHead.sign(origin, 0, EMPTY_ROOT, signer)
