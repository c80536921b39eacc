"""Names of members: as people may safely see them, and where they would lead when the archive is unpacked."""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping

from ...core.observation import Oddity

MAX_SHOWN = 200
_DRIVE = re.compile(r"[A-Za-z]:")
_LOADED = re.compile(
    r"(?i)\.(pkl|pickle|pt|pth|ckpt|safetensors|np[yz]|h5|hdf5|keras|onnx|gguf|joblib|tflite|distcp)\Z"
    r"|(^|[/_.-])(model|weights|optimizer|scheduler|training_args)[\w.-]*\.bin\Z"
)
_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def shown(name: bytes | str) -> str:
    """A name for people and reports: no control, invisible or bidirectional characters, not too long."""
    text = name if isinstance(name, str) else name.decode("utf-8", "backslashreplace")
    if not text.isascii() or not text.isprintable():
        text = "".join(_escaped(one) if unicodedata.category(one) in _HIDDEN else one for one in text)
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN // 2]}…{text[-MAX_SHOWN // 2 :]}"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def leads_outside(name: str) -> Oddity | None:
    """Whether unpacking a member under ``name`` would write outside of the folder that was meant.

    Backslashes count as separators: they are for who unpacks on Windows, and for programs that put them
    right on other systems.
    """
    parts = name.replace("\\", "/").split("/")
    if ".." in parts:
        depth = 0
        for part in parts:
            depth += -1 if part == ".." else part not in ("", ".")
            if depth < 0:
                return Oddity.PARENT
    if name.startswith(("/", "\\")) or _DRIVE.match(name):
        return Oddity.ABSOLUTE
    return None


def link_leads_outside(name: str, target: str) -> bool:
    """Whether a symbolic link at ``name`` with this target leads outside of the folder unpacked into."""
    if target.startswith("/"):
        return True
    # Not normalised: "a/../.." is where the system goes through a, which may be a link itself.
    depth = len([part for part in posixpath.dirname(name).split("/") if part not in ("", ".")])
    for part in target.split("/"):
        depth += -1 if part == ".." else part not in ("", ".")
        if depth < 0:
            return True
    return False


def odd_link(name: str) -> Oddity:
    """What a link that leads outside is: one as in images of systems, or in the place of a model's file."""
    return Oddity.LOADED_OUTSIDE if _LOADED.search(name) else Oddity.LINK_OUTSIDE


def through_links(
    names: Iterable[str], links: Mapping[str, str], *, same: bool = False
) -> Iterator[tuple[str, str]]:
    """Each name that lies below one of ``links`` (name to target), with the link's name.

    ``same``: or is that name itself, since some programs write to what a link leads to.
    """
    leading = {_clean(link): link for link in links}
    for name in names if leading else ():
        parts = _clean(name).split("/")
        for length in range(1, len(parts) + same):
            link = leading.get("/".join(parts[:length]))
            if link is not None:
                yield name, link
                break


def _clean(name: str) -> str:
    return "/".join(part for part in name.split("/") if part not in ("", "."))
