"""Writing a bundle's archive: equal members give equal bytes, and one digest over all of them."""

from __future__ import annotations

import zipfile
from hashlib import sha256
from types import TracebackType
from typing import BinaryIO

from ..core.digest import Digest
from ..core.errors import ResourceLimitError
from .custody import content_of
from .verify_evidence import MAX_MEMBER

_MOMENT = (1980, 1, 1, 0, 0, 0)  # when it was packed is in its custody log; equal content gives equal bytes


class Packing:
    """An archive that is being written to ``file``."""

    def __init__(self, file: BinaryIO) -> None:
        self._archive = zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED)
        self._members: dict[str, bytes] = {}

    @property
    def content(self) -> Digest:
        """The digest of all members so far, as custody logs name it."""
        return content_of(self._members)

    def add(self, name: str, data: bytes) -> None:
        """Put in one member; raises ResourceLimitError for one that no verifier would read."""
        if len(data) > MAX_MEMBER:
            raise ResourceLimitError(
                f"{name} is more than a member of a bundle holds: {MAX_MEMBER >> 20} MiB",
                remedy="hand on single entries with `veracity bundle RUN --entry N`, or the run's own folder",
            )
        member = zipfile.ZipInfo(name, _MOMENT)
        member.compress_type = zipfile.ZIP_DEFLATED
        member.external_attr = 0o600 << 16
        self._members[name] = sha256(data).digest()
        self._archive.writestr(member, data)

    def __enter__(self) -> Packing:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._archive.close()
