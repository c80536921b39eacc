"""Files in a folder of packages that came with no archive, as far as Python can make something of them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from ..core.observation import Gap, StrayFile
from ..core.origin import Origin
from ..core.tree import FOLDER, LINK, UNREAD, TreeEntry
from ..observe.marks import mark_of
from .records import Record

LAW = "wheel-truth"
MAX_STRAYS = 2_000
WRITTEN_BY_INSTALLERS = frozenset(
    {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json"}
)
_CUSTOMIZE = re.compile(r"(sitecustomize|usercustomize)(\.py|\.pyc|\.[\w-]+\.so|\.so|/__init__\.pyc?)\Z")
_LIBRARY = re.compile(r".*\.so(\.\d+)*\Z", re.S)
# A .pyc of another name in such a folder is one that can be imported, as __pycache__.name.
_CACHED = re.compile(rb"(\A|/)__pycache__/[^/]*\.[^/]*\.pyc\Z", re.S)
# importlib.metadata takes these names in any case, and entry points of what it finds there.
_METADATA = (".dist-info", ".egg-info", ".egg")


@dataclass(frozen=True, slots=True)
class Explained:
    """What may lie in a folder, as paths from it.

    ``expected``: files of archives. ``claimed``: those in the RECORD of a distribution that was compared with
    none, ``system`` those that a system package brought; ``by_content``: the ``dist-info`` folders of the
    former. ``infos``: those of the others. ``records``: of all distributions. ``virtual``: it is the folder
    of a virtual environment.
    """

    expected: Set[str]
    claimed: Set[str]
    system: Set[str]
    by_content: Set[str]
    infos: Set[str]
    records: Sequence[Record]
    virtual: bool

    def explains(self, path: str) -> bool:
        """Whether it is known why there is a file at ``path``."""
        top, _, rest = path.partition("/")
        if path in self.expected or top in self.by_content or path in self.system:
            return True
        if top in self.infos and rest in WRITTEN_BY_INSTALLERS:
            return True
        # A RECORD that no archive confirms explains a module, not code that runs before every program.
        return path in self.claimed and not _CUSTOMIZE.match(path)


def find_strays(
    folder: str, tree: Mapping[bytes, TreeEntry], explained: Explained, origin: Origin
) -> Iterator[StrayFile | Gap]:
    """Each file that nothing explains; a gap for a link to a folder, in which nobody looked."""
    folders = {path.rpartition("/")[0] for path in explained.expected}
    given = 0
    for raw, entry in tree.items():
        if entry.kind == FOLDER or (raw.endswith(b".pyc") and _CACHED.search(raw)):
            continue  # the latter are compared with their sources, elsewhere
        path = os.fsdecode(raw)
        if explained.explains(path):
            continue
        place = os.path.join(folder, path)
        kind = _kind(path)
        if entry.kind == LINK and os.path.isdir(place):
            if path in folders:
                what = f"{place} is a link to a folder"
                yield Gap(origin, what, "files in it that came with no archive are not looked for", law=LAW)
                continue
            kind = kind or ("module" if path.rpartition("/")[2].isidentifier() else "")
        # These two are judged with all that runs at start-up.
        if not kind or (explained.virtual and path in ("_virtualenv.py", "_virtualenv.pth")):
            continue
        given += 1
        if given > MAX_STRAYS:
            what = "not all files of no archive are listed"
            yield Gap(origin, what, f"there are more than {MAX_STRAYS}", law=LAW)
            return
        digest = entry.digest if entry.digest != UNREAD else ""
        recorded = next((one.distribution.name for one in explained.records if one.names(path)), "")
        yield StrayFile(origin, place, kind, digest, entry.size, recorded, *mark_of(place).fields)


def _kind(path: str) -> str:
    """What a file that came with no archive is for Python or the loader; empty when for neither."""
    folder, _, name = path.rpartition("/")
    # Below a package, too: some packages put a folder of theirs on the path.
    if any(part.lower().endswith(_METADATA) for part in path.split("/")):
        return "metadata"
    if (not folder and name.endswith(".pth")) or _CUSTOMIZE.match(path):
        return "startup"
    if _LIBRARY.match(name):
        return "library"
    if not name.endswith((".py", ".pyc")):
        return ""
    parts = [*filter(None, folder.split("/")), name.rpartition(".")[0]]
    if not all(part.isidentifier() for part in parts):
        return ""
    return "bytecode" if name.endswith(".pyc") else "module"
