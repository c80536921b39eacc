"""Archives as the gate reads them: what is in one, and where its readers see different things."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from .root import Observation


class Oddity(str, enum.Enum):
    """What is unusual about an archive or about members of it; facts, whatever they mean.

    A zip says of each member twice what it is: in a local header before its data, and in the directory at
    the end. ``first`` of an example is what the directory says (or the name), ``second`` what else was found.
    """

    UNLISTED = "a member stands where a reader from the front comes to it, and no directory lists it"
    CARVED = "a member that no directory lists stands among other data"
    HEADERLESS = "the directory lists a member where no header of one stands"
    NAMES = "the directory and the member's header give different names"
    SIZES = "the directory and the member's header give different sizes"
    METHODS = "the directory and the member's header give different methods of compression"
    FLAGS = "of the directory and the member's header one says that it is encrypted"
    CHECKSUMS = "the directory and the member's header give different checksums"
    TWICE = "several members of different content have one name"
    TWINS = "names differ in upper and lower case alone"
    BEHIND = "members stand behind the archive's end, where some readers go on and others do not"
    OVERLAP = "members share bytes of the file"
    ENDS = "several ends lead to different directories"
    COUNT = "the end counts other members than the directory lists"
    NUL = "a name holds a NUL, at which some readers end it"
    CHECKSUM = "the content is not what its checksum says"
    LENGTH = "the content is not as long as is said"
    LEFT = "data of a member go on after its compressed content has ended"
    PARENT = "a name leads above the folder that it is unpacked into"
    ABSOLUTE = "a name begins at the root of the file system"
    THROUGH_LINK = "a member is to be written through a link of the archive that leads outside"
    LINK_OUTSIDE = "a link leads outside of the folder that it is unpacked into"
    LOADED_OUTSIDE = (
        "what is loaded under this name is a link that leads outside of the folder it is unpacked into"
    )
    DEVICE = "a member is a device"
    STRAY_DEVICE = "a member is a device, and not in a folder called dev"


@dataclass(frozen=True, slots=True)
class OddMember:
    """One example: ``member`` as people read its name, empty for the archive; and the two that differ."""

    member: str
    first: str = ""
    second: str = ""


@dataclass(frozen=True, slots=True)
class ArchiveOdd(Observation):
    """What is unusual about an archive, once for each kind; ``count`` members, the first of them as examples.

    ``layout``: what the archive is to its loader (``torch``, ``torchscript``), empty for any archive.
    """

    name: str
    format: str
    layout: str
    oddity: Oddity
    count: int
    examples: tuple[OddMember, ...]


@dataclass(frozen=True, slots=True)
class ArchiveRead(Observation):
    """What an archive consists of.

    ``members`` by all readings together. ``before``, ``between`` and ``after`` count bytes that are not zero
    and belong neither to a member nor to the directory: before the first, between them, after the end.
    """

    name: str
    format: str
    layout: str
    members: int
    before: int
    between: int
    after: int


@dataclass(frozen=True, slots=True)
class ScriptCode(Observation):
    """Code of TorchScript, or its bytecode for mobile; ``operators`` that it names, as ``aten.relu``."""

    name: str
    operators: tuple[str, ...]
