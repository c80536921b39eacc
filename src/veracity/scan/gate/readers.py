"""All readers of formats, in the order in which they are asked: an explicit list, no discovery.

A row says where a reader stands and what its inputs begin like. The reader is imported when an input begins
so, and decides then by itself whether it claims it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import cast

from ...core.picklepolicy import NO_PERMITS, SitePermits
from ...observe.artifact.budget import Budget
from ...observe.artifact.input import Input
from ...observe.artifact.reading import Found, Reader
from . import beginnings
from .places import found_at

PICKLE = "pickle"


class Deferred:
    """A reader that stands at ``place`` and is imported when an input ``begins`` like one of its own.

    ``name`` and ``has_signature`` are the reader's. ``options``: what it is made with.
    """

    def __init__(
        self,
        name: str,
        place: str,
        begins: Callable[[bytes, Input], bool],
        *options: object,
        has_signature: bool = False,
    ) -> None:
        self.name = name
        self.place = place
        self.begins = begins
        self.has_signature = has_signature
        self._options = options
        self._made: Reader | None = None

    def claims(self, head: bytes, whole: Input) -> bool:
        """As the reader says, which is not asked when the input begins in another way."""
        return self.begins(head, whole) and self.reader().claims(head, whole)

    def read(self, whole: Input, budget: Budget) -> Iterator[Found]:
        """As the reader does."""
        return self.reader().read(whole, budget)

    def reader(self) -> Reader:
        """The reader itself."""
        if self._made is None:
            self._made = cast("Callable[..., Reader]", found_at(f"observe.{self.place}"))(*self._options)
        return self._made


def _signed(name: str, place: str, begins: Callable[[bytes, Input], bool]) -> Deferred:
    return Deferred(name, place, begins, has_signature=True)


def _pickles(permits: SitePermits = NO_PERMITS) -> Deferred:
    return Deferred(PICKLE, "pickle.reader:PickleReader", beginnings.anything, permits)


READERS: tuple[Reader, ...] = (
    _pickles(),
    _signed("zip", "archive.zip.reader:ZipReader", beginnings.zip_like),
    _signed("torch-shard", "archive.zip.row:TorchShardReader", beginnings.zip_member),
    _signed("tar", "archive.tar.reader:TarReader", beginnings.tar),
    _signed("7z", "archive.sevenzip.reader:SevenZipReader", beginnings.seven_zip),
    _signed("gzip", "archive.compressed:GzipReader", beginnings.gzip),
    _signed("bzip2", "archive.compressed:Bzip2Reader", beginnings.bzip2),
    _signed("xz", "archive.compressed:XzReader", beginnings.xz),
    Deferred("lzma", "archive.compressed:LzmaReader", beginnings.lzma),
    Deferred("zlib", "archive.compressed:ZlibReader", beginnings.zlib),
    _signed("zfile", "archive.compressed:ZFileReader", beginnings.zfile),
    _signed("zstd", "archive.zstd:ZstdReader", beginnings.zstd),
    _signed("lz4", "archive.lz4:Lz4Reader", beginnings.lz4),
    _signed("npy", "artifact.npy:NpyReader", beginnings.npy),
    _signed("torch-legacy", "archive.torchlegacy:TorchLegacyReader", beginnings.torch_legacy),
    Deferred("torch-tar-part", "archive.torchlegacy:TorchTarPartReader", beginnings.short_pickle),
    Deferred("json", "document.jsonreader:JsonReader", beginnings.json),
    Deferred("jinja", "document.templatereader:TemplateReader", beginnings.template),
    Deferred("yaml", "document.textreaders:YamlReader", beginnings.text),
    Deferred("toml", "document.textreaders:TomlReader", beginnings.text),
    _signed("safetensors", "safetensors:SafetensorsReader", beginnings.safetensors),
    _signed("gguf", "gguf:GgufReader", beginnings.gguf),
    _signed("hdf5", "hdf5:Hdf5Reader", beginnings.hdf5),
    Deferred("onnx", "protobuf.onnx:OnnxReader", beginnings.onnx),
    Deferred("tensorflow", "protobuf.tensorflow:TensorflowReader", beginnings.tensorflow),
    _signed("unread format", "recognised:RecognisedReader", beginnings.unread),
    Deferred("python", "code.reader:PythonReader", beginnings.python),
    Deferred("start-up file", "startfiles:StartFileReader", beginnings.start_file),
    _signed("wheel", "wheelreader:WheelReader", beginnings.zip_member),
    _signed("pyc", "pycfile:PycReader", beginnings.pyc),
    Deferred("shard index", "shardindex:ShardIndexReader", beginnings.shard_index),
)


@lru_cache(maxsize=2)
def readers_with(permits: SitePermits) -> tuple[Reader, ...]:
    """All readers, of which that of pickles also permits what a site does."""
    if permits == NO_PERMITS:
        return READERS
    return tuple(_pickles(permits) if one.name == PICKLE else one for one in READERS)
