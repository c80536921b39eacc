"""Each malicious sample holds what its label says: read by each format's own library, and never loaded."""

from __future__ import annotations

import collections
import io
import json
import pickletools
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.scan.corpus.assemble import FORMS, Call, Name, Node, called, start, stream
from bench.scan.corpus.benign import lookalikes, plain
from bench.scan.corpus.build import malicious
from bench.scan.corpus.containers import BAD, checkpoint, joblib_array, npy, torch_zip
from bench.scan.corpus.documents import documents
from bench.scan.corpus.models import gguf, onnx
from bench.scan.corpus.packages import packages, wheel
from bench.scan.corpus.sample import CLASSES, MALICIOUS, Sample, read_manifest, write, write_manifest
from bench.scan.corpus.zipcases import zip_cases
from bench.scan.corpus.zips import Header, Member, build

SYSTEM = Name("os", "system")


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return list(malicious())


def globals_of(data: bytes) -> Iterator[str]:
    """What a simple reading of one pickle imports; STACK_GLOBAL by the two texts before it."""
    texts: list[str] = []
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name in ("GLOBAL", "INST"):
            yield str(argument).replace(" ", ".", 1)
        elif opcode.name == "STACK_GLOBAL":
            yield ".".join(texts[-2:])
        elif isinstance(argument, str):
            texts.append(argument)


def test_all_classes_and_many_carriers_are_there_once_each(samples: list[Sample]) -> None:
    assert len(samples) >= 400
    assert {one.bypass for one in samples} == set(CLASSES)
    assert len({one.carrier for one in samples}) >= 18
    assert max(collections.Counter(one.name for one in samples).values()) == 1


def test_the_same_bytes_every_time(samples: list[Sample]) -> None:
    again = {one.name: one.files for one in malicious() if not one.name.startswith(("keras-h5", "h5-"))}
    assert all(again[one.name] == one.files for one in samples if one.name in again)


def test_each_call_names_what_its_label_says(samples: list[Sample]) -> None:
    calls = [one for one in samples if one.name.startswith("call-") and one.carrier == "pickle"]
    assert len(calls) > 200
    for one in calls:
        assert one.names in set(globals_of(one.files["model.pkl"])), one.name


def test_files_hold_the_text_that_their_label_names(samples: list[Sample]) -> None:
    plain = ("gguf", "jinja", "yaml", "hydra", "hf-config", "notebook", "onnx", "savedmodel", "startup")
    for one in samples:
        if one.carrier in plain:
            assert any(one.names.encode() in data for data in one.files.values()), one.name


def test_payloads_are_inert(samples: list[Sample]) -> None:
    for one in samples:
        for data in one.files.values():
            assert b"rm -rf /" not in data.replace(b"rm -rf /dev/null/veracity-corpus", b"")
            assert b"https://" not in data
            assert b"http://" not in data.replace(b"http://127.0.0.1:9/", b"")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("protocol", range(6))
def test_every_form_is_a_pickle_with_that_call(form: str, protocol: int) -> None:
    data = start(protocol) + called(SYSTEM, ("true",), protocol, form) + b"."
    assert "os.system" in set(globals_of(data))
    pickletools.dis(data, io.StringIO())


def test_values_are_pushed_as_pickle_writes_them() -> None:
    node: Node = (None, True, -7, 1 << 40, 1.5, "a\nb\\é", b"\0\xff", [1, 2], {"k": (1, 2, 3, 4)})
    for protocol in range(6):
        shown = io.StringIO()
        pickletools.dis(stream(node, protocol), shown)
        assert "highest protocol among opcodes" in shown.getvalue()


def test_a_checkpoint_is_what_torch_writes_with_one_thing_more() -> None:
    with zipfile.ZipFile(io.BytesIO(torch_zip(checkpoint(Call(SYSTEM, ("true",)))))) as archive:
        found = set(globals_of(archive.read("archive/data.pkl")))
    assert found == {
        "collections.OrderedDict",
        "torch.FloatStorage",
        "torch._utils._rebuild_tensor_v2",
        "os.system",
    }


def test_headers_of_zips_differ_as_asked() -> None:
    data = build((Member(b"a.pkl", BAD, local=Header(name=b"b.txt"), central=Header(crc=7)),))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        (info,) = archive.infolist()
    assert (info.filename, info.CRC, data[30:35]) == ("a.pkl", 7, b"b.txt")


def test_zips_without_a_lie_are_read_whole() -> None:
    data = build(
        (Member(b"a", b"1" * 99, method=8), Member(b"b", b"2", descriptor=True)), before=b"#!", between=b"!"
    )
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert [archive.read(name) for name in archive.namelist()] == [b"1" * 99, b"2"]


def test_each_zip_case_holds_the_call_in_the_open(samples: list[Sample]) -> None:
    for one in zip_cases():
        (data,) = one.files.values()
        assert b"system" in data or "deflated" in one.name, one.name


def test_arrays_and_what_follows_them() -> None:
    numpy_format = pytest.importorskip("numpy.lib.format")
    file = io.BytesIO(npy(BAD))
    assert numpy_format.read_magic(file) == (1, 0)
    shape, _, dtype = numpy_format.read_array_header_1_0(file)
    assert (shape, dtype.hasobject, set(globals_of(file.read()))) == ((1,), True, {"os.system"})
    data = joblib_array(4, b"cos\nsystem\n")
    assert data.index(bytes(32)) < data.index(b"cos\nsystem\n")


def test_documents_are_valid_in_their_formats() -> None:
    for one in documents():
        for name, data in one.files.items():
            if name.endswith((".json", ".ipynb")):
                json.loads(data.decode("utf-8-sig"))


def test_wheels_have_a_record_that_says_what_is_asked() -> None:
    with zipfile.ZipFile(io.BytesIO(wheel({"a.py": "1\n"}, {"a.py": "a.py,,"}))) as archive:
        record = archive.read("veracity_corpus-1.0.dist-info/RECORD").decode()
    assert record.splitlines()[-2:] == ["a.py,,", "veracity_corpus-1.0.dist-info/RECORD,,"]
    names = {
        name
        for one in packages()
        if one.carrier == "wheel"
        for name in zipfile.ZipFile(io.BytesIO(next(iter(one.files.values())))).namelist()
    }
    assert {"sitecustomize.py", "veracity_corpus.pth", "collections/__init__.py"} <= names


def test_archives_hold_the_pickle(samples: list[Sample]) -> None:
    by_name = {one.name: one for one in samples}
    (data,) = by_name["archive-model-tar"].files.values()
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        member = archive.extractfile("a/model.pkl")
        assert member is not None
        assert member.read() == BAD


def test_what_the_standard_library_writes_is_pickles_of_all_protocols(tmp_path: Path) -> None:
    plain.make(tmp_path, tmp_path)
    whole = [path.read_bytes() for path in sorted(tmp_path.glob("history-*.pkl"))]
    assert [list(pickletools.genops(data))[-1][0].name for data in whole] == ["STOP"] * 6
    assert len(list(tmp_path.iterdir())) > 40


def test_headers_of_models_start_as_their_readers_want() -> None:
    assert gguf({"a": "b"})[:8] == b"GGUF\x03\0\0\0"
    assert onnx()[:2] == b"\x08\x08"


def test_variants_are_many_and_of_every_carrier(samples: list[Sample]) -> None:
    own = [one for one in samples if one.name.startswith(("more-", "h5-more-"))]
    assert len(own) > 300
    assert len({one.carrier for one in own}) >= 18
    shards = {one.name: one.files for one in own if one.carrier == "torch-shards"}
    within = shards["more-sharded-within"]
    assert b"\x80\x02cos\nsystem" in within["step/__0_0.distcp"]


def test_lookalikes_are_made_by_hand_and_named_apart(tmp_path: Path) -> None:
    for group in lookalikes.GROUPS:
        folder = tmp_path / group.name
        folder.mkdir()
        group.make(folder, tmp_path)
        assert any(path.is_file() for path in folder.rglob("*"))
    assert {"own-pickle.ipynb", "described.gguf"} <= {path.name for path in tmp_path.rglob("*")}


def test_a_sample_and_its_line_of_the_manifest(tmp_path: Path) -> None:
    sample = Sample("one", 7, "torch-zip", "os.system", {"a/model.pt": b"x"}, training=True)
    entry = write(sample, tmp_path)
    write_manifest([entry], tmp_path)
    assert (tmp_path / entry.path / "a" / "model.pt").read_bytes() == b"x"
    assert read_manifest(tmp_path) == [entry]
    assert (entry.label, entry.bypass, entry.training) == (MALICIOUS, 7, True)
    with pytest.raises(FileExistsError):
        write(sample, tmp_path)
