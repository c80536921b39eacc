"""What the inputs of a format begin like: whether it is worth to import the reader that can tell.

Each of these is a condition that every input has which the reader of that format claims, and that most
others have not. They decide nothing: where one holds, the reader is asked. All are cheap, and never raise
on any bytes that can be read.
"""

from __future__ import annotations

import re

from ...observe.artifact.input import Input

_BLANK = b"\xef\xbb\xbf \t\n\r\x0b\x0c"
_NOT_TEXT = re.compile(rb"[\0-\x08\x0e-\x1a\x1c-\x1f]")
_WIDE = (b"\xff\xfe", b"\xfe\xff")
_ZIP_END = b"PK\x05\x06"
_ZIP_TAIL = (1 << 16) + 22
_TAR_CHECKSUM = re.compile(rb"[\x80\xff\0 \t\n\r\x0b\x0c0-7+-]")
_SKIPPED = b"\x2a\x4d\x18"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_TORCH_MAGIC = ((0x1950A86A20F9469CFC6C).to_bytes(10, "little"), b"119547037146038801333356")
_LONGEST_LZMA = 1 << 38
_UNREAD = (b"RD", b"X\n\0\0\0", b"\xac\xed\0\5", b"\x08")
_STARTING = ("sitecustomize", "usercustomize")


def anything(head: bytes, whole: Input) -> bool:
    """Pickles of protocols 0 and 1 begin like anything."""
    return bool(head)


def zip_like(head: bytes, whole: Input) -> bool:
    """A member at the beginning, or an end record where readers look for one."""
    if head[:2] == b"PK":
        return True
    at = max(0, whole.size - _ZIP_TAIL)
    return _ZIP_END in (head if at == 0 and whole.size <= len(head) else whole.read(at, _ZIP_TAIL))


def zip_member(head: bytes, whole: Input) -> bool:
    """A member, or a directory, at the beginning."""
    return head[:2] == b"PK"


def tar(head: bytes, whole: Input) -> bool:
    """A whole block with a number where its checksum stands, or with the magic."""
    return len(head) >= 512 and (_TAR_CHECKSUM.match(head, 148) is not None or head[257:262] == b"ustar")


def seven_zip(head: bytes, whole: Input) -> bool:
    """The signature, soon."""
    return b"7z\xbc\xaf\x27\x1c" in head


def gzip(head: bytes, whole: Input) -> bool:
    """The signature."""
    return head[:2] == b"\x1f\x8b"


def bzip2(head: bytes, whole: Input) -> bool:
    """The signature."""
    return head[:3] == b"BZh"


def xz(head: bytes, whole: Input) -> bool:
    """The signature."""
    return head[:3] == b"\xfd7z"


def lzma(head: bytes, whole: Input) -> bool:
    """A header with a size that is none, or one that can be."""
    if len(head) < 14 or head[13] or head[0] >= 225:
        return False
    size = int.from_bytes(head[5:13], "little")
    return 0 < size < _LONGEST_LZMA or size == (1 << 64) - 1


def zlib(head: bytes, whole: Input) -> bool:
    """A header whose check fits."""
    return len(head) > 2 and head[0] & 0x8F == 8 and (head[0] << 8 | head[1]) % 31 == 0


def zfile(head: bytes, whole: Input) -> bool:
    """The two letters and a number."""
    return head[:4] == b"ZF0x"


def zstd(head: bytes, whole: Input) -> bool:
    """The signature, or that of a frame to be skipped."""
    return head[:4] == b"\x28\xb5\x2f\xfd" or head[1:4] == _SKIPPED


def lz4(head: bytes, whole: Input) -> bool:
    """The signature of a frame, one of old, or one to be skipped."""
    return head[1:4] == b"\x22\x4d\x18" or head[1:4] == b"\x21\x4c\x18" or head[1:4] == _SKIPPED


def npy(head: bytes, whole: Input) -> bool:
    """The signature."""
    return head[:6] == b"\x93NUMPY"


def torch_legacy(head: bytes, whole: Input) -> bool:
    """The magic number in the first pickle."""
    start = head[:64]
    return _TORCH_MAGIC[0] in start or _TORCH_MAGIC[1] in start


def short_pickle(head: bytes, whole: Input) -> bool:
    """A first pickle that is over soon."""
    return b"." in head[:32]


def json(head: bytes, whole: Input) -> bool:
    """An object or a list, wide characters, or nothing but blanks as far as can be seen."""
    first = head.lstrip(_BLANK)[:1]
    return bool(head) and (first in b"[{" or 0 in head[:2] or head.startswith(_WIDE))


def template(head: bytes, whole: Input) -> bool:
    """A brace, or the name of a template."""
    return head.lstrip(_BLANK)[:1] == b"{" or whole.name.endswith((".jinja", ".jinja2", ".j2"))


def text(head: bytes, whole: Input) -> bool:
    """No control characters, or wide ones."""
    return _NOT_TEXT.search(head) is None or head.startswith(_WIDE)


def safetensors(head: bytes, whole: Input) -> bool:
    """An object behind eight bytes."""
    return head[8:9] == b"{"


def gguf(head: bytes, whole: Input) -> bool:
    """The magic number."""
    return head[:4] == b"GGUF"


def hdf5(head: bytes, whole: Input) -> bool:
    """The signature at the beginning, or at 512 bytes or any doubling of them."""
    if _HDF5 in head:
        return True
    at = 512
    while at + 8 <= whole.size:
        if at + 8 > len(head) and whole.read(at, 8) == _HDF5:
            return True
        at *= 2
    return False


def unread(head: bytes, whole: Input) -> bool:
    """A number or letters as one of the formats has them that are known and not read, or a tag of XML."""
    tagged = head.lstrip(_BLANK)[:1] == b"<"
    return tagged or head.startswith(_UNREAD) or head[4:8] in (b"TFL3", b"ORTM") or head[4:6] == b"ET"


def onnx(head: bytes, whole: Input) -> bool:
    """A message with the two fields that a model has."""
    if not head or head[0] & 7 not in (0, 1, 2, 3, 5):
        return False
    # The tag of the graph, field 7 with bytes in it, or its long form: most small files have no such byte.
    if len(head) == whole.size and b"\x3a" not in head and b"\xba" not in head:
        return False
    from ...observe.protobuf.wire import NUMBER, has, top_level  # for few files, which is why it is here

    fields = top_level(whole)
    return has(fields, 1, wire=NUMBER) and has(fields, 7)


def tensorflow(head: bytes, whole: Input) -> bool:
    """The tag of a field with a number up to seven, and bytes or a number in it."""
    return head[:1] in (b"\x08", b"\x0a", b"\x12", b"\x1a", b"\x22", b"\x2a", b"\x32", b"\x3a")


def python(head: bytes, whole: Input) -> bool:
    """The name of a source, or a first line that names what runs it."""
    return head[:2] == b"#!" or whole.name.endswith((".py", ".pyw", ".pyi"))


def start_file(head: bytes, whole: Input) -> bool:
    """A name that Python looks for when it starts."""
    return whole.name.endswith(".pth") or any(one in whole.name for one in _STARTING)


def pyc(head: bytes, whole: Input) -> bool:
    """The end of a release's number."""
    return head[2:4] == b"\r\n"


def shard_index(head: bytes, whole: Input) -> bool:
    """A pickle with a protocol, under the name that torch goes by."""
    return head[:1] == b"\x80" and whole.name.endswith(".metadata")
