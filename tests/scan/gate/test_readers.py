"""The table of readers: all are in it, under their own names, and none is passed over that would claim."""

from __future__ import annotations

import ast
import bz2
import gzip
import io
import json
import lzma
import pickle
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.scan.corpus.build import malicious
from veracity.core.picklepolicy import NO_PERMITS, SitePermits
from veracity.observe.artifact.budget import Budget
from veracity.observe.artifact.input import Input
from veracity.observe.artifact.reading import HEAD, Found
from veracity.scan.gate.beginnings import anything
from veracity.scan.gate.examine import examine
from veracity.scan.gate.readers import READERS, Deferred, readers_with

SOURCES = Path(__file__).resolve().parents[3] / "src" / "veracity" / "observe"
ROWS = [one for one in READERS if isinstance(one, Deferred)]
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." + b"\x80\x02M\xe9\x03."


def zipped(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "1")
    return file.getvalue()


def tarred() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a"))
    return file.getvalue()


SAMPLES: dict[str, tuple[bytes, str]] = {
    "pickle": (pickle.dumps([1, 2]), "a"),
    "pickle 0": (pickle.dumps({"a": print}, 0), "a"),
    "zip": (zipped("a"), "a"),
    "zip behind a program": (b"#!/bin/sh\n" * 800 + zipped("a"), "a"),
    "zip of nothing": (zipped(), "a"),
    "row of torch": (zipped("archive/data.pkl") * 2, "a"),
    "wheel": (zipped("a-1.dist-info/RECORD", "a-1.dist-info/WHEEL"), "a.whl"),
    "tar": (tarred(), "a"),
    "7z": (b"MZ" + bytes(700) + b"7z\xbc\xaf\x27\x1c" + bytes(40), "a"),
    "gzip": (gzip.compress(b"abc"), "a"),
    "bzip2": (bz2.compress(b"abc"), "a"),
    "bzip2 of nothing": (bz2.compress(b""), "a"),
    "xz": (lzma.compress(b"abc"), "a"),
    "lzma": (lzma.compress(b"abc" * 2000, lzma.FORMAT_ALONE), "a"),
    "zlib": (zlib.compress(b"abc"), "a"),
    "zlib, best": (zlib.compress(b"abc", 9), "a"),
    "zlib, small window": (b"\x18\x19" + zlib.compress(b"abc")[2:], "a"),
    "zfile": (b"ZF" + hex(3).ljust(19).encode() + zlib.compress(b"abc"), "a"),
    "zstd": (b"\x28\xb5\x2f\xfd" + bytes(9), "a"),
    "zstd behind a frame": (b"\x5a\x2a\x4d\x18\1\0\0\0x\x28\xb5\x2f\xfd" + bytes(9), "a"),
    "lz4": (b"\x04\x22\x4d\x18" + bytes(9), "a"),
    "lz4 of old": (b"\x02\x21\x4c\x18" + bytes(9), "a"),
    "lz4 behind a frame": (b"\x50\x2a\x4d\x18\1\0\0\0x\x04\x22\x4d\x18" + bytes(9), "a"),
    "npy": (b"\x93NUMPY\1\0v\0", "a"),
    "torch legacy": (LEGACY, "a"),
    "torch legacy, protocol 0": (pickle.dumps(0x1950A86A20F9469CFC6C, 0), "a"),
    "torch tar part": (pickle.dumps(1, 2) + b"\x80\x02(K\x00K\x01ctorch\nFloatStorage\nt.", "a"),
    "json": (b'\xef\xbb\xbf \n{"a": 1}', "a"),
    "json, wide": (json.dumps({"a": 1}).encode("utf-16"), "a"),
    "json, wide and unmarked": (json.dumps([{"a": 1}]).encode("utf-16-be"), "a"),
    "json, wide and swapped": (json.dumps([{"a": 1}]).encode("utf-16-le"), "a"),
    "json, wider": (json.dumps({"a": 1}).encode("utf-32"), "a"),
    "json behind blanks": (b" " * 9000 + b"[1]", "a"),
    "template": (b"\xef\xbb\xbf\n{% for a in b %}", "a"),
    "template by name": (b"hello", "chat_template.jinja"),
    "yaml": (b"a: !!python/object:os.system x\n", "a"),
    "yaml, wide": ("a: 1\n".encode("utf-16"), "a"),
    "toml": (b'[a]\n_target_ = "os.system"\n', "a"),
    "safetensors": (b"\x02\0\0\0\0\0\0\0{}", "a"),
    "gguf": (b"GGUF\3\0\0\0", "a"),
    "hdf5": (b"\x89HDF\r\n\x1a\n", "a"),
    "hdf5 behind 512 bytes": (bytes(512) + b"\x89HDF\r\n\x1a\n", "a"),
    "hdf5 behind 8192 bytes": (bytes(8192) + b"\x89HDF\r\n\x1a\n", "a"),
    "onnx": (b"\x08\x07\x3a\x02\x0a\x00", "a"),
    "onnx in a long form": (b"\x88\x00\x07\xba\x00\x02\x0a\x00", "a"),
    "onnx, large": (b"\x08\x07\x12\x88\x27" + bytes(5000) + b"\x3a\x02\x0a\x00", "a"),
    "tensorflow": (b"\x0a\x09\x0a\x01n\x12\x04Relu", "a"),
    "tflite": (b"\x1c\0\0\0TFL3", "a"),
    "ort": (b"\x1c\0\0\0ORTM", "a"),
    "executorch": (b"\x1c\0\0\0ET12", "a"),
    "pmml": (b'\xef\xbb\xbf <?xml version="1.0"?>\n<PMML>', "a"),
    "openvino": (b'<net name="x"><layers><layer id="0">', "a"),
    "core ml": (b"\x08\x01\x12\x00\xc2\x0c\x00", "a"),
    "r": (b"RDX3\n", "a"),
    "r, bare": (b"X\n\0\0\0\3", "a"),
    "java": (b"\xac\xed\0\5", "a"),
    "python": (b"import os\n", "a.py"),
    "python by its first line": (b"#!/usr/bin/env python3\nimport os\n", "a"),
    "pth": (b"import os\n", "a.pth"),
    "sitecustomize": (b"x", "lib!sitecustomize.py"),
    "usercustomize": (b"x", "lib\\usercustomize.py"),
    "sitecustomize as a package": (b"x", "lib/sitecustomize/__init__.py"),
    "sitecustomize, compiled": (b"x", "a.whl!sitecustomize.cpython-311-x86_64-linux-gnu.so"),
    "shard index": (pickle.dumps({}), "a/.metadata"),
    "tar with a damaged checksum": (tarred()[:148] + b"zzzzzzzz" + tarred()[156:], "a"),
    "pyc": (b"\xa7\x0d\r\n" + bytes(12) + b"\xe3", "a"),
}


def claiming(data: bytes, name: str) -> set[str]:
    """The readers that claim it by themselves; whoever does must not have been passed over."""
    whole = Input.of_bytes(name, data)
    head = data[:HEAD]
    claimed = {one.name for one in ROWS if one.reader().claims(head, whole)}
    passed_over = {one.name for one in ROWS if not one.begins(head, whole)}
    assert not claimed & passed_over
    assert claimed == {one.name for one in READERS if one.claims(head, whole)}
    return claimed


def test_each_reader_claims_a_sample_and_none_is_passed_over() -> None:
    claimed = {key: claiming(*sample) for key, sample in SAMPLES.items()}

    assert [key for key, names in claimed.items() if not names] == []
    assert {one.name for one in READERS} == set().union(*claimed.values())


@given(st.sampled_from(sorted(SAMPLES)), st.data())
def test_of_what_resembles_a_sample_none_is_passed_over(key: str, data: st.DataObject) -> None:
    sample, name = SAMPLES[key]
    at = data.draw(st.integers(0, min(len(sample), 600)))
    put = data.draw(st.binary(max_size=8))
    cut = data.draw(st.integers(0, 8))
    claiming(sample[:at] + put + sample[at + cut :], name)


@given(st.binary(max_size=700), st.sampled_from(["a", "a.py", "a.pth", "a.j2", "sitecustomize.py"]))
def test_of_any_bytes_none_is_passed_over(data: bytes, name: str) -> None:
    claiming(data, name)


class Checked:
    """A row that is asked whatever an input begins like, and must not have been passed over."""

    def __init__(self, row: Deferred) -> None:
        self.name, self.has_signature = row.name, row.has_signature
        self._row = row

    def claims(self, head: bytes, whole: Input) -> bool:
        claims = self._row.reader().claims(head, whole)
        assert self._row.begins(head, whole) or not claims, (self.name, whole.name)
        return claims

    def read(self, whole: Input, budget: Budget) -> Iterator[Found]:
        return self._row.read(whole, budget)


def test_of_all_that_is_nested_in_the_corpus_none_is_passed_over() -> None:
    """Its files were written apart from this table, and say under which names others put what they plant."""
    readers = [Checked(one) for one in ROWS]
    inputs = 0
    for sample in malicious():
        for name, data in sample.files.items():
            inputs += examine(Input.of_bytes(f"{sample.name}/{name}", data), readers).inputs
    assert inputs > 2_000


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_is_as_its_reader_says(row: Deferred) -> None:
    assert (row.name, row.has_signature) == (row.reader().name, row.reader().has_signature)


def test_each_reader_that_there_is_has_a_row() -> None:
    written = set()
    for path in SOURCES.rglob("*.py"):
        module = ".".join(path.relative_to(SOURCES).with_suffix("").parts)
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef) and has_a_name(node) and claims(node):
                written.add(f"{module}:{node.name}")
    assert {one.place for one in ROWS} == written
    assert len(ROWS) == len(READERS) == len(written)


def has_a_name(node: ast.ClassDef) -> bool:
    named = [one for one in node.body if isinstance(one, ast.AnnAssign) and one.value is not None]
    return any(isinstance(one.target, ast.Name) and one.target.id == "name" for one in named)


def claims(node: ast.ClassDef) -> bool:
    return any(isinstance(one, ast.FunctionDef) and one.name == "claims" for one in node.body)


def test_a_sites_globals_change_the_reader_of_pickles_alone() -> None:
    with_more = readers_with(SitePermits((("site", "Net"),)))
    others = [one for one, other in zip(READERS, with_more, strict=True) if one is not other]

    assert [one.name for one in others] == ["pickle"]
    assert readers_with(NO_PERMITS) is READERS
    assert [one.name for one in ROWS if one.begins is anything] == ["pickle"]
