"""GGUF: the rules of the format, each broken once, templates, and files of the format's own writer."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.scan.gating import gated, is_clean, rules
from veracity.core.errors import EvidenceError
from veracity.core.observation import FormatRuleBroken
from veracity.observe.artifact.budget import Budget
from veracity.observe.artifact.input import Input
from veracity.observe.gguf import GgufReader

VECTORS = Path(__file__).parents[1] / "vectors" / "gguf"
READER = GgufReader()
HOSTILE = "{{ cycler.__init__.__globals__ }}"
CHAT = "{% for m in messages %}{{ m.content }}{% endfor %}"


class Made:
    """A file that is put together by hand, so that it can break any rule."""

    def __init__(self, version: int = 3, order: str = "<") -> None:
        self.order, self.version = order, version
        self.count = "I" if version == 1 else "Q"
        self.values: list[bytes] = []
        self.tensors: list[bytes] = []

    def pack(self, form: str, *numbers: int) -> bytes:
        return struct.pack(f"{self.order}{form}", *numbers)

    def text(self, text: str) -> bytes:
        return self.pack(self.count, len(text)) + text.encode()

    def value(self, key: str, kind: int, data: bytes) -> Made:
        self.values.append(self.text(key) + self.pack("I", kind) + data)
        return self

    def template(self, text: str, key: str = "tokenizer.chat_template") -> Made:
        return self.value(key, 8, self.text(text))

    def tensor(self, name: str, shape: list[int], kind: int, offset: int) -> Made:
        dimensions = b"".join(self.pack(self.count, one) for one in shape)
        self.tensors.append(
            self.text(name) + self.pack("I", len(shape)) + dimensions + self.pack("IQ", kind, offset)
        )
        return self

    def bytes(self, data: bytes = b"") -> bytes:
        counts = self.pack(2 * self.count, len(self.tensors), len(self.values))
        header = b"GGUF" + self.pack("I", self.version) + counts + b"".join(self.values + self.tensors)
        return header + (bytes(-len(header) % 32) + data if data else b"")


def broken(data: bytes) -> list[str]:
    return [
        one.effect
        for one in READER.read(Input.of_bytes("m.gguf", data), Budget())
        if isinstance(one, FormatRuleBroken)
    ]


BROKEN = [
    ("ambiguous", Made().template(CHAT).template(CHAT).bytes()),
    ("ambiguous", Made().tensor("a", [8], 0, 0).tensor("a", [8], 0, 32).bytes(bytes(64))),
    ("ambiguous", Made().tensor("a", [16], 0, 0).tensor("b", [8], 0, 32).bytes(bytes(64))),
    ("hidden", Made().tensor("a", [8], 0, 0).tensor("b", [8], 0, 64).bytes(bytes(96))),
    ("hidden", Made().tensor("a", [8], 0, 0).bytes(bytes(96))),
    ("refused", Made().tensor("a", [8], 0, 0).tensor("b", [8], 0, 36).bytes(bytes(68))),
    ("refused", Made().tensor("a", [1, 1, 1, 1, 8], 0, 0).bytes(bytes(32))),
    ("refused", Made().tensor("a", [33], 2, 0).bytes(bytes(32))),
    ("refused", Made().value("general.alignment", 4, struct.pack("<I", 3)).bytes()),
]


@pytest.mark.parametrize(("effect", "data"), BROKEN)
def test_each_rule_that_is_broken_is_told(effect: str, data: bytes) -> None:
    assert effect in broken(data)
    assert gated(data).status == "findings"


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("order", ["<", ">"])
def test_templates_are_read_in_every_version_and_order_of_bytes(version: int, order: str) -> None:
    nested = struct.pack(f"{order}I{'I' if version == 1 else 'Q'}", 4, 2) + bytes(8)
    made = Made(version, order).value("list", 9, nested).value("flag", 7, b"\1")

    assert rules(made.template(HOSTILE).bytes())[0] == "checkpoint-template-reaches error"
    assert rules(Made(version, order).template(HOSTILE, "tokenizer.chat_template.rag").bytes())
    assert is_clean(Made(version, order).template(CHAT).value("general.name", 8, made.text(HOSTILE)).bytes())


def test_files_of_the_own_writer_are_read() -> None:
    assert is_clean((VECTORS / "little.gguf").read_bytes())
    assert is_clean((VECTORS / "vocabulary.gguf").read_bytes())
    assert rules((VECTORS / "big-reaching.gguf").read_bytes()) == ["checkpoint-template-reaches error"]


def test_what_is_cut_off_or_unknown_is_incomplete() -> None:
    whole = (VECTORS / "little.gguf").read_bytes()
    unknown = Made().value("x", 13, b"").bytes()
    for data in (whole[:20], whole[:700], whole[:-40], Made(9).bytes(), unknown):
        assert gated(data).status == "incomplete"
    assert gated(Made().tensor("a", [8], 99, 0).bytes(bytes(8))).status == "incomplete"
    assert gated(b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 1 << 60)).status == "incomplete"
    assert gated(Made().value("x", 9, struct.pack("<IQ", 8, 1 << 62)).bytes()).status == "incomplete"


def test_a_length_that_no_file_has_is_told_and_one_that_is_cut_off_is_not() -> None:
    for size, found in ((1 << 62, ["checkpoint-format-broken warning"]), (5_000, [])):
        data = b"GGUF" + struct.pack("<IQQ", 3, 0, 2) + struct.pack("<Q", size) + b"general.name"
        assert rules(data) == found
        assert gated(data).gaps


@given(st.binary(max_size=60), st.integers(0, 1900))
@settings(max_examples=examples(200), deadline=None)
def test_any_bytes_give_facts_or_an_error_of_ours(data: bytes, at: int) -> None:
    whole = (VECTORS / "little.gguf").read_bytes()
    for made in (b"GGUF\3\0\0\0" + data, whole[:at] + data + whole[at + len(data) :]):
        if READER.claims(made, Input.of_bytes("x", made)):
            try:
                list(READER.read(Input.of_bytes("x", made), Budget()))
            except EvidenceError:
                continue
