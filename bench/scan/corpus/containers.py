"""Payloads in the containers that checkpoints, arrays and models come in."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping

from .assemble import STOP, Call, Name, Node, push, start, stream
from .gadgets import TRUE
from .sample import Sample

SYSTEM = Name("os", "system")
PAYLOAD = Call(SYSTEM, (TRUE,))
BAD = stream(PAYLOAD, 2)
EPOCH = (1980, 1, 1, 0, 0, 0)
MAGIC = 0x1950A86A20F9469CFC6C
OTHER_NAMES = (
    "model.txt", "model.json", "model.png", "model.csv", "model.safetensors", "model.onnx", "model.gguf", "model.h5",
    "model.parquet", "README.md", "model.pt", "model.npy", "model.zip", "model.tar.gz", "model", "model.pkl.bak", "vocab",
    "config.yaml", "tokenizer.model", "events.log", ".hidden", "model.py", "model.ipynb", "events.out.tfevents",
)  # fmt: skip
Members = Mapping[str, bytes]


def containers() -> Iterator[Sample]:
    """All samples of this module."""
    yield from _torch()
    yield from _legacy()
    yield from _compressed()
    yield from _archives()
    yield from _arrays()
    for name in OTHER_NAMES:
        word = name.strip(".").replace(".", "-").lower()
        yield Sample(f"named-{word}", 6, "pickle", str(SYSTEM), {name: BAD})
    for name in ("model.txt", "model.pkl", "model.safetensors", "model.json", "model", "notes.md"):
        files = {name: torch_zip(checkpoint(PAYLOAD))}
        yield Sample(f"zip-named-{name.replace('.', '-')}", 6, "torch-zip", str(SYSTEM), files)


def zipped(members: Members, method: int = zipfile.ZIP_STORED) -> bytes:
    """A zip with the same bytes every time."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, EPOCH), data, method)
    return buffer.getvalue()


def tarred(members: Members, form: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar with the same bytes every time."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def checkpoint(extra: Node, protocol: int = 2) -> bytes:
    """What ``torch.save`` writes into ``data.pkl`` for one weight of one number, and ``extra`` beside it."""
    storage = push(("storage", Name("torch", "FloatStorage"), "0", "cpu", 1), protocol) + b"Q"
    hooks = Call(Name("collections", "OrderedDict"))
    rest = push(0, protocol) + push((1,), protocol) + push((1,), protocol) + push(False, protocol)
    tensor = push(Name("torch._utils", "_rebuild_tensor_v2"), protocol) + b"(" + storage + rest
    tensor += push(hooks, protocol) + b"tR"
    items = b"(" + push("weight", protocol) + tensor + push("extra", protocol) + push(extra, protocol) + b"u"
    return start(protocol) + push(hooks, protocol) + items + STOP


def torch_zip(data: bytes, root: str = "archive", more: Members | None = None) -> bytes:
    """The zip that ``torch.save`` writes, with ``data`` as its pickle."""
    members = {
        f"{root}/data.pkl": data,
        f"{root}/byteorder": b"little",
        f"{root}/data/0": struct.pack("<f", 1.0),
        f"{root}/version": b"3\n",
    }
    return zipped({**members, **(more or {})})


def _torch() -> Iterator[Sample]:
    bad, good = checkpoint(PAYLOAD), checkpoint(3)
    cases: dict[str, bytes] = {
        "plain": torch_zip(bad),
        "other-root": torch_zip(bad, "epoch=3-step=40"),
        "deep-root": torch_zip(bad, "a/b/c"),
        "protocol-4": torch_zip(checkpoint(PAYLOAD, 4)),
        "whole-pickle": torch_zip(BAD),
        "constants": torch_zip(good, more={"archive/constants.pkl": BAD}),
        "attributes": torch_zip(good, more={"archive/attributes.pkl": BAD}),
        "extra": torch_zip(good, more={"archive/extra/meta.pkl": BAD}),
        "outside-root": torch_zip(good, more={"data.pkl": BAD}),
        "second-root": torch_zip(good, more={"model/data.pkl": BAD}),
        "bytecode": torch_zip(good, more={"archive/bytecode.pkl": BAD}),
        "no-version": zipped({"archive/data.pkl": bad, "archive/data/0": struct.pack("<f", 1.0)}),
        "deflated": zipped(
            {"m/data.pkl": bad, "m/data/0": bytes(4), "m/version": b"3\n"}, zipfile.ZIP_DEFLATED
        ),
        "in-zip": zipped({"model.pt": torch_zip(bad)}),
        "in-zip-in-zip": zipped({"a.zip": zipped({"model.pt": torch_zip(bad)})}),
        "in-gzip": gzip.compress(torch_zip(bad), mtime=0),
        "in-tar": tarred({"run/model.pt": torch_zip(bad)}),
        "package": zipped(
            {"model/.data/version": b"6", "model/.data/extern_modules": b"", "model/model.pkl": BAD}
        ),
    }
    for word, data in cases.items():
        yield Sample(
            f"torch-{word}",
            9 if word in ("constants", "attributes") else 1,
            "torch-zip",
            str(SYSTEM),
            {"model.pt": data},
        )
    code = b'class Model(Module):\n  def forward(self: Model, x: Tensor) -> Tensor:\n    _0 = torch.save(x, "/dev/null/veracity-corpus")\n    return x\n'
    script = torch_zip(good, more={"archive/code/__torch__.py": code, "archive/constants.pkl": stream((), 2)})
    yield Sample("torch-script-saves", 9, "torchscript", "torch.save", {"model.pt": script})
    reads = code.replace(b"torch.save(x, ", b"torch.from_file(").replace(b'corpus")', b'corpus", True, 1)')
    script = torch_zip(
        good, more={"archive/code/__torch__.py": reads, "archive/constants.pkl": stream((), 2)}
    )
    yield Sample("torch-script-maps", 9, "torchscript", "torch.from_file", {"model.pt": script})


def _legacy() -> Iterator[Sample]:
    """Five pickles in a row, then the storages; ``torch.load`` loads each of the five."""
    system: Node = {
        "protocol_version": 1001,
        "little_endian": True,
        "type_sizes": {"short": 2, "int": 4, "long": 4},
    }
    parts = [stream(MAGIC, 2), stream(1001, 2), stream(system, 2), stream({"epoch": 3}, 2), stream([], 2)]
    # A number of eighty bits: LONG1.
    parts[0] = b"\x80\x02\x8a\x0a" + MAGIC.to_bytes(10, "little") + b"."
    for place, word in enumerate(("magic", "version", "system", "object", "keys")):
        pieces = list(parts)
        # The call's result is thrown away, so that the loader finds what it expects and goes on.
        pieces[place] = parts[place][:2] + push(PAYLOAD, 2) + b"0" + parts[place][2:]
        data = b"".join(pieces) + bytes(16)
        yield Sample(f"legacy-{word}", 1, "torch-legacy", str(SYSTEM), {"model.pth": data})
    for member in ("sys_info", "pickle", "storages", "tensors"):
        members = {
            "sys_info": stream(system, 2),
            "pickle": stream({}, 2),
            "storages": stream(0, 2),
            "tensors": stream(0, 2),
        }
        members[member] = start(2) + push(PAYLOAD, 2) + b"0" + members[member][2:]
        yield Sample(f"legacy-tar-{member}", 1, "torch-legacy", str(SYSTEM), {"model.pth": tarred(members)})


def _compressed() -> Iterator[Sample]:
    packed = {
        "zst": _zstandard(BAD),
        "lz4": _lz4(BAD),
        "7z": _seven_zip("model.pkl", BAD),
        "gz": gzip.compress(BAD, mtime=0),
        "bz2": bz2.compress(BAD),
        "xz": lzma.compress(BAD),
        "lzma": lzma.compress(BAD, lzma.FORMAT_ALONE),
        "z": zlib.compress(BAD),
    }
    for ending, data in packed.items():
        yield Sample(f"packed-{ending}", 1, "compressed", str(SYSTEM), {f"model.pkl.{ending}": data})
        yield Sample(f"packed-{ending}-unnamed", 6, "compressed", str(SYSTEM), {"model.pkl": data})
    clean = stream({"epoch": 3}, 2)
    more = {
        "twice": gzip.compress(gzip.compress(BAD, mtime=0), mtime=0),
        "second-member": gzip.compress(clean, mtime=0) + gzip.compress(BAD, mtime=0),
        "bad-checksum": gzip.compress(BAD, mtime=0)[:-8] + bytes(8),
        "cut": gzip.compress(BAD + bytes(4000), mtime=0)[:-8],
        "named": b"\x1f\x8b\x08\x08\0\0\0\0\0\xff" + b"x.txt\0" + gzip.compress(BAD, mtime=0)[10:],
    }
    for word, data in more.items():
        bypass = 5 if word in ("bad-checksum", "cut") else 4
        yield Sample(f"packed-gz-{word}", bypass, "compressed", str(SYSTEM), {"model.pkl.gz": data})
    mixed = bz2.compress(clean) + bz2.compress(BAD)
    yield Sample("packed-bz2-second", 4, "compressed", str(SYSTEM), {"model.pkl.bz2": mixed})
    yield Sample(
        "packed-xz-second",
        4,
        "compressed",
        str(SYSTEM),
        {"model.pkl.xz": lzma.compress(clean) + lzma.compress(BAD)},
    )


def _zstandard(data: bytes) -> bytes:
    """A frame of one raw block (RFC 8878); ``data`` is shorter than 256 bytes, as in the two others."""
    return b"\x28\xb5\x2f\xfd\x20" + bytes([len(data)]) + (len(data) << 3 | 1).to_bytes(3, "little") + data


def _lz4(data: bytes) -> bytes:
    """A frame of one block that is not compressed."""
    return b"\x04\x22\x4d\x18\x60\x40\x82" + (len(data) | 1 << 31).to_bytes(4, "little") + data + bytes(4)


def _seven_zip(name: str, data: bytes) -> bytes:
    """An archive of one member that is copied; numbers below 128 are one byte."""
    size = bytes([len(data)])
    names = b"\0" + name.encode("utf-16-le") + b"\0\0"
    packed = b"\x06\x00\x01\x09" + size + b"\x00"
    folder = b"\x07\x0b\x01\x00\x01\x01\x00\x0c" + size + b"\x00"
    files = b"\x05\x01\x11" + bytes([len(names)]) + names + b"\x00"
    header = b"\x01\x04" + packed + folder + b"\x08\x00\x00" + files + b"\x00"
    start_header = struct.pack("<QQI", len(data), len(header), zlib.crc32(header))
    return (
        b"7z\xbc\xaf\x27\x1c\x00\x04"
        + struct.pack("<I", zlib.crc32(start_header))
        + start_header
        + data
        + header
    )


def _archives() -> Iterator[Sample]:
    cases: dict[str, bytes] = {
        "model.tar": tarred({"a/model.pkl": BAD}),
        "gnu.tar": tarred({"a/" + "n" * 120 + ".pkl": BAD}, tarfile.GNU_FORMAT),
        "old.tar": tarred({"a/model.pkl": BAD}, tarfile.USTAR_FORMAT),
        "model.tar.gz": gzip.compress(tarred({"model.pkl": BAD}), mtime=0),
        "model.tar.xz": lzma.compress(tarred({"model.pkl": BAD})),
        "model.tar.bz2": bz2.compress(tarred({"model.pkl": BAD})),
        "unnamed.tar": tarred({"weights": b"", "readme.txt": BAD}),
        "nested.tar": tarred({"a.zip": zipped({"b.tar.gz": gzip.compress(tarred({"c.pkl": BAD}), mtime=0)})}),
        "model.nemo": tarred(
            {"./model_config.yaml": b"a: 1\n", "./model_weights.ckpt": torch_zip(checkpoint(PAYLOAD))}
        ),
        "model.zip": zipped({"model.pkl": BAD}),
        "packed.zip": zipped({"model.pkl": BAD}, zipfile.ZIP_DEFLATED),
        "bz2.zip": zipped({"model.pkl": BAD}, zipfile.ZIP_BZIP2),
        "lzma.zip": zipped({"model.pkl": BAD}, zipfile.ZIP_LZMA),
        "three.zip": zipped({"a.zip": zipped({"b.zip": zipped({"c.pkl": BAD})})}),
        "model.mar": zipped({"MAR-INF/MANIFEST.json": b"{}", "model.pkl": BAD}),
        "skops.skops": zipped(
            {"schema.json": b'{"__class__": "system", "__module__": "os", "__loader__": "TypeNode"}'}
        ),
    }
    for name, data in cases.items():
        word = name.replace(".", "-")
        names = "os" if word == "skops-skops" else str(SYSTEM)
        yield Sample(f"archive-{word}", 10 if "skops" in word else 1, "archive", names, {name: data})


def npy(pickled: bytes, version: int = 1, descr: str = "'|O'") -> bytes:
    """An array of objects, as ``numpy.save`` writes it."""
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': (1,), }}"
    size = 2 if version == 1 else 4
    header += " " * (-(8 + size + len(header) + 1) % 64) + "\n"
    return (
        b"\x93NUMPY" + bytes([version, 0]) + len(header).to_bytes(size, "little") + header.encode() + pickled
    )


def joblib_array(number: int, payload: bytes) -> bytes:
    """What ``joblib.dump`` writes for a list of an array and something else; the array's bytes lie in between.

    ``payload``: opcodes that leave one value on the stack.
    """
    wrapper = push(Name("joblib.numpy_pickle", "NumpyArrayWrapper"), 2) + b")\x81"
    dtype = push(Call(Name("numpy", "dtype"), ("f8", False, True)), 2)
    dtype += b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    state = b"}(" + push("subclass") + push(Name("numpy", "ndarray"), 2) + push("shape") + push((number,))
    state += push("order") + push("C") + push("dtype") + dtype + push("allow_mmap") + push(True) + b"ub"
    return start(2) + b"](" + wrapper + state + bytes(8 * number) + payload + b"e" + STOP


def _arrays() -> Iterator[Sample]:
    run = push(PAYLOAD, 2)
    arrays = {
        "object.npy": npy(BAD),
        "object2.npy": npy(BAD, 2),
        "object3.npy": npy(BAD, 3),
        "object.npz": zipped({"a.npy": npy(BAD)}),
        "second.npz": zipped({"a.npy": npy(b"\0" * 8, 1, "'<f8'"), "b.npy": npy(BAD)}, zipfile.ZIP_DEFLATED),
        "plain.npz": zipped({"a.pkl": BAD}),
        "structured.npy": npy(BAD, 1, "[('a', '|O')]"),
        "unnamed.bin": npy(BAD),
    }
    for name, data in arrays.items():
        yield Sample(f"numpy-{name.replace('.', '-')}", 1, "numpy", str(SYSTEM), {name: data})
    joblibs = {
        "plain": BAD,
        "after-array": joblib_array(4, run),
        "after-large-array": joblib_array(70_000, run),
        "after-array-of-stops": joblib_array(16, run).replace(bytes(128), b"." * 128),
        "after-empty-array": joblib_array(0, run),
    }
    for word, data in joblibs.items():
        yield Sample(f"joblib-{word}", 10, "joblib", str(SYSTEM), {"model.joblib": data})
        yield Sample(f"joblib-{word}-z", 10, "joblib", str(SYSTEM), {"model.joblib": zlib.compress(data)})
    whole = joblib_array(4, run)
    packed = {"gz": gzip.compress(whole, mtime=0), "bz2": bz2.compress(whole), "xz": lzma.compress(whole)}
    for ending, data in packed.items():
        yield Sample(f"joblib-{ending}", 10, "joblib", str(SYSTEM), {f"model.joblib.{ending}": data})
