"""The manifest: what a run executed and consumed, in one canonical document without secrets.

Built from what the observers found; whatever came from a command line, an environment, a diff or a URL passes
the masker here, so there is one place where a secret could slip through and one test that tries.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..core.canonical import Json, encode
from ..core.digest import Digest
from ..core.observation import ModuleChecked
from ..core.quantity import quantity
from ..core.summary import SealedItem
from ..observe.git import GitState
from ..observe.native import NativeLibrary
from ..observe.pyenv import Distribution
from .masking import Masker

SCHEMA = 1
MAX_ITEMS = 100_000


@dataclass(frozen=True, slots=True)
class SealedFile:
    """A data or checkpoint file opened for reading. ``sha256`` is empty when ``reason`` says why."""

    path: str
    sha256: str
    size: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Ingredients:
    """What a manifest is made of, as observed and not yet masked.

    ``git``: state of the working tree, or why there is none. ``environment``: the job's variables.
    ``interpreter``: path, version, torch and whatever else names it. ``numerics``: what decides the bits
    (threads, CPU capability, deterministic flags …). ``started_at``: ns since the epoch.
    """

    run: str
    host: str
    user: str
    started_at: int
    command: Sequence[str]
    directory: str
    environment: Mapping[str, str]
    git: GitState | str
    interpreter: Mapping[str, str]
    numerics: Mapping[str, str] = field(default_factory=dict)
    distributions: Sequence[Distribution] = ()
    modules: Sequence[ModuleChecked] = ()
    libraries: Sequence[NativeLibrary] = ()
    files: Sequence[SealedFile] = ()


@dataclass(frozen=True, slots=True)
class Manifest:
    """The document: JSON without floats, every list in a stated order, secrets masked."""

    document: dict[str, Json]

    def encode(self) -> bytes:
        """Canonical bytes."""
        return encode(self.document)

    def digest(self) -> Digest:
        """SHA-256 of the canonical bytes."""
        return Digest.of(self.encode())


def build_manifest(made_of: Ingredients, masker: Masker) -> Manifest:
    """Put a manifest together. Lists beyond ``MAX_ITEMS`` are cut, and ``cut`` names them."""
    cut: list[str] = []

    def bounded(name: str, items: Iterable[dict[str, Json]]) -> list[Json]:
        found: list[Json] = list(items)
        if len(found) > MAX_ITEMS:
            cut.append(name)
        return found[:MAX_ITEMS]

    document: dict[str, Json] = {
        "schema": SCHEMA,
        "run": made_of.run,
        "host": made_of.host,
        "user": made_of.user,
        "started_at": made_of.started_at,
        "command": _texts(masker.command(made_of.command)),
        "directory": masker.text(made_of.directory),
        "environment": bounded(
            "environment",
            ({"name": name, "value": value} for name, value in masker.environment(made_of.environment)),
        ),
        "git": _git(made_of.git, masker),
        "interpreter": _pairs(made_of.interpreter, masker),
        "numerics": _pairs(made_of.numerics, masker),
        "distributions": bounded("distributions", map(_distribution, made_of.distributions)),
        "modules": bounded("modules", map(_module, sorted(made_of.modules, key=lambda item: item.path))),
        "libraries": bounded("libraries", map(_library, sorted(made_of.libraries, key=lambda one: one.path))),
        "files": bounded("files", (_file(item, masker) for item in made_of.files)),
    }
    document["cut"] = _texts(cut)
    return Manifest(document)


def sealed_items(manifest: Manifest) -> list[SealedItem]:
    """The manifest as lines for people: what ``show`` and ``report`` print under *what ran*."""
    document = manifest.document
    items = [
        SealedItem("host", str(document["host"]), str(document["user"])),
        SealedItem("command", " ".join(_strings(document["command"])), str(document["directory"])),
    ]
    git = document["git"]
    if isinstance(git, dict):
        if "reason" in git:
            items.append(SealedItem("git", "", "", str(git["reason"])))
        else:
            dirty = len(_strings(git["dirty"]))
            remark = f"{quantity(dirty, 'file')} uncommitted" if dirty else "as committed"
            items.append(SealedItem("git", str(git["branch"]) or "detached", str(git["commit"]), remark))
    interpreter = document["interpreter"]
    if isinstance(interpreter, dict):
        items += [SealedItem("interpreter", name, str(value)) for name, value in sorted(interpreter.items())]
    for kind, key, name, value in (
        ("distribution", "distributions", "name", "version"),
        ("module", "modules", "path", "sha256"),
        ("library", "libraries", "path", "sha256"),
        ("data", "files", "path", "sha256"),
        ("environment", "environment", "name", "value"),
    ):
        found = document[key]
        for item in found if isinstance(found, list) else []:
            if isinstance(item, dict):
                items.append(SealedItem(kind, str(item[name]), str(item[value]), _remark(kind, item)))
    return items


def _remark(kind: str, item: dict[str, Json]) -> str:
    if kind == "module":
        source = {
            "true": "as RECORD says",
            "altered": "altered",
            "unrecorded": "in no RECORD",
            "elsewhere": "loaded from elsewhere",
            "missing": "not readable",
        }.get(str(item["source"]), str(item["source"]))
        bytecode = item["bytecode"]
        return source if bytecode in ("same", "compiled") else f"{source}, bytecode {bytecode}"
    if kind == "distribution":
        return "editable" if item["editable"] else str(item["installer"])
    if kind in ("library", "data"):
        return str(item["reason"])
    return ""


def _git(git: GitState | str, masker: Masker) -> dict[str, Json]:
    if isinstance(git, str):
        return {"reason": masker.text(git)}
    return {
        "root": masker.text(git.root),
        "commit": git.commit,
        "branch": masker.text(git.branch),
        "dirty": _texts(masker.text(name) for name in git.dirty),
        "untracked": _texts(masker.text(name) for name in git.untracked),
        "diff": _texts(masker.lines(git.diff)),
        "truncated": git.truncated,
        "remotes": _texts(masker.text(url) for url in git.remotes),
    }


def _distribution(item: Distribution) -> dict[str, Json]:
    return {
        "name": item.name,
        "version": item.version,
        "installer": item.installer,
        "editable": item.editable,
        "directory": item.directory,
    }


def _module(item: ModuleChecked) -> dict[str, Json]:
    return {
        "name": item.module,
        "path": item.path,
        "sha256": item.source_digest,
        "distribution": item.distribution,
        "source": item.source,
        "bytecode": item.bytecode,
    }


def _library(item: NativeLibrary) -> dict[str, Json]:
    return {"path": item.path, "sha256": item.sha256, "size": item.size, "reason": item.reason}


def _file(item: SealedFile, masker: Masker) -> dict[str, Json]:
    return {
        "path": masker.text(item.path),
        "sha256": item.sha256,
        "size": item.size,
        "reason": item.reason,
    }


def _pairs(values: Mapping[str, str], masker: Masker) -> dict[str, Json]:
    # A canonical object has ASCII names; these are names of fields of ours.
    return {name: masker.text(value) for name, value in values.items() if name.isascii()}


def _texts(items: Iterable[str]) -> list[Json]:
    return list(items)


def _strings(value: Json) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []
