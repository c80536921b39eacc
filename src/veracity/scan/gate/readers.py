"""All readers of formats, in the order in which they are asked: an explicit list, no discovery."""

from __future__ import annotations

from functools import lru_cache

from ...core.picklepolicy import NO_PERMITS, SitePermits
from ...observe.archive.compressed import COMPRESSED
from ...observe.archive.lz4 import Lz4Reader
from ...observe.archive.sevenzip.reader import SevenZipReader
from ...observe.archive.tar.reader import TarReader
from ...observe.archive.torchlegacy import TorchLegacyReader, TorchTarPartReader
from ...observe.archive.zip.reader import ZipReader
from ...observe.archive.zip.row import TorchShardReader
from ...observe.archive.zstd import ZstdReader
from ...observe.artifact.npy import NpyReader
from ...observe.artifact.reading import Reader
from ...observe.code.reader import PythonReader
from ...observe.document.jsonreader import JsonReader
from ...observe.document.templatereader import TemplateReader
from ...observe.document.textreaders import TomlReader, YamlReader
from ...observe.gguf import GgufReader
from ...observe.hdf5 import Hdf5Reader
from ...observe.pickle.reader import PickleReader
from ...observe.protobuf.onnx import OnnxReader
from ...observe.protobuf.tensorflow import TensorflowReader
from ...observe.pycfile import PycReader
from ...observe.recognised import RecognisedReader
from ...observe.safetensors import SafetensorsReader
from ...observe.startfiles import StartFileReader
from ...observe.wheelreader import WheelReader

READERS: tuple[Reader, ...] = (
    PickleReader(),
    ZipReader(),
    TorchShardReader(),
    TarReader(),
    SevenZipReader(),
    *COMPRESSED,
    ZstdReader(),
    Lz4Reader(),
    NpyReader(),
    TorchLegacyReader(),
    TorchTarPartReader(),
    JsonReader(),
    TemplateReader(),
    YamlReader(),
    TomlReader(),
    SafetensorsReader(),
    GgufReader(),
    Hdf5Reader(),
    OnnxReader(),
    TensorflowReader(),
    RecognisedReader(),
    PythonReader(),
    StartFileReader(),
    WheelReader(),
    PycReader(),
)


@lru_cache(maxsize=2)
def readers_with(permits: SitePermits) -> tuple[Reader, ...]:
    """All readers, of which that of pickles also permits what a site does."""
    if permits == NO_PERMITS:
        return READERS
    return tuple(PickleReader(permits) if isinstance(one, PickleReader) else one for one in READERS)
