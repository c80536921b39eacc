"""All readers of formats, in the order in which they are asked: an explicit list, no discovery."""

from __future__ import annotations

from ...observe.archive.compressed import COMPRESSED
from ...observe.archive.tar.reader import TarReader
from ...observe.archive.zip.reader import ZipReader
from ...observe.artifact.npy import NpyReader
from ...observe.artifact.reading import Reader

READERS: tuple[Reader, ...] = (ZipReader(), TarReader(), *COMPRESSED, NpyReader())
