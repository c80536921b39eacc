"""What an interpreter executes before the program: found in files and variables, without running it.

In the order in which Python's ``site`` does it: each .pth file of each site directory (its lines that begin
with ``import`` are executed), ``sitecustomize``, ``usercustomize``; what these import; then what torch and
trainers load by entry points. Python's warning filters import a module when they name a class of it.

Code that a package owns is taken at its owner's word; only code without an owner is read (``effects``) and
what it imports followed. Who asks what all of it sets in modules (``through_owned``) has the code of owners
read as well, and the modules that their .pth lines import.
"""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from hashlib import sha256

from ..core.observation import Gap, Reassigned, StartupItem
from ..core.origin import Origin
from ..core.quantity import quantity
from . import autoload
from .effects import Effects, read_effects
from .ownership import NOBODY, Owner, Ownership
from .pyenv import RecordIndex, read_settings, site_directories
from .surroundings import around
from .virtualenvpatch import only_patches

MAX_ITEMS = 500
MAX_FILE = 64 << 20
MAX_SMALL = 4 << 20
MAX_PTH = 2_000
MAX_TEXT = 400
MAX_UNREAD = 20
MAX_PRELOADS = 64
MAX_SET = 10_000
VARIABLES = autoload.VARIABLES | {
    *("PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "PYTHONNOUSERSITE", "PYTHONWARNINGS", "HOME"),
    *("LD_LIBRARY_PATH", "TORCH_DEVICE_BACKEND_AUTOLOAD"),
}
TORCH_BACKENDS = "torch.backends"
LD_SO_PRELOAD = "/etc/ld.so.preload"
_SUFFIXES = (".abi3.so", ".so", ".py", ".pyc")
"""In Python's own order, behind the suffix of its exact version (``importlib.machinery.FileFinder``)."""
LAW = "start-up-purity"


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The interpreter as called, its version such as ``3.11``, and the variables it was started with.

    ``commands``: the job's own, and those of the processes that it was started by; ``uid``: its account.
    """

    python: str
    version: str
    environment: Mapping[str, str]
    archive: str = ""
    commands: tuple[tuple[str, ...], ...] = ()
    uid: int = -1

    @property
    def prefix(self) -> str:
        """The folder of the environment."""
        return os.path.dirname(os.path.dirname(os.path.abspath(self.python)))

    def bases(self) -> list[str]:
        """The environment's folder and those of the installation it was made from."""
        found = [self.prefix, os.path.dirname(os.path.dirname(os.path.realpath(self.python)))]
        home = _setting(os.path.join(self.prefix, "pyvenv.cfg"), "home")
        if home:
            found.append(os.path.dirname(home))
        if self.environment.get("PYTHONHOME"):
            found.append(self.environment["PYTHONHOME"].split(os.pathsep)[0])
        return list(dict.fromkeys(found))


@dataclass(slots=True)
class StartupReader:
    """Reads the start of one interpreter into ``items``; ``origin`` is given to each of them."""

    interpreter: Interpreter
    records: RecordIndex
    origin: Origin
    items: list[StartupItem] = field(default_factory=list)
    more: int = 0
    unread: list[str] = field(default_factory=list)
    through_owned: bool = False
    reassigned: list[Reassigned] = field(default_factory=list)
    _search: list[str] = field(default_factory=list)
    _library: list[str] = field(default_factory=list)
    _followed: set[str] = field(default_factory=set)
    _ownership: Ownership | None = None

    def read(self) -> list[StartupItem]:
        """All items, in the order in which they execute."""
        one = self.interpreter
        environment = dict(one.environment)
        path = [part for part in environment.pop("PYTHONPATH", "").split(os.pathsep) if part]
        found = site_directories(one.python, one.version, environment)
        # lib64 is often a link to lib, and a directory is read once.
        sites = list({os.path.realpath(site): site for site in reversed(found)}.values())[::-1]
        bases = one.bases()
        self._library = [os.path.realpath(f"{base}/lib/python{one.version}") for base in bases]
        library = [one for base in self._library for one in (base, os.path.join(base, "lib-dynload"))]
        self._search = [*(part for part in path if part != one.archive), *library, *sites]
        for site in sites:
            self.records.add(site)
        self._ownership = Ownership(self.records, bases)
        for variable in autoload.PRELOADS:
            self._preloads(variable, environment.get(variable, ""), environment)
        self._preloads(LD_SO_PRELOAD, _text(LD_SO_PRELOAD), environment)
        for site in sites:
            self._pth_files(site)
        self._module("sitecustomize", "sitecustomize", "Python's site module")
        if not environment.get("PYTHONNOUSERSITE") and self._has_user_site():
            self._module("usercustomize", "usercustomize", "Python's site module")
        self.filters(environment.get("PYTHONWARNINGS", "").split(","))
        self._plugins({TORCH_BACKENDS} if environment.get("TORCH_DEVICE_BACKEND_AUTOLOAD") == "0" else set())
        called = environment.get("PYTHONBREAKPOINT", "")
        if re.fullmatch(r"[\w.]+", called) and "." in called:
            self._module(
                "module", called.rpartition(".")[0], "PYTHONBREAKPOINT, where breakpoint() is called"
            )
        self._surroundings(environment)
        return self.items

    def early(self, name: str, path: str) -> None:
        """A module that was there when the guard woke up; one that is known already is passed over."""
        if self._ownership is not None:
            self._file("module", name, path, "was imported before the guard woke up")

    def filters(self, options: Sequence[str]) -> None:
        """Warning filters (``action:message:category:module:line``): a category's module is imported."""
        for option in options[:100]:
            category = [*option.split(":"), "", ""][2].strip()
            if re.fullmatch(r"[\w.]+", category) and "." in category:
                self._module("module", category.rpartition(".")[0], "a warning filter")

    def gaps(self) -> Iterator[Gap]:
        """What executes at start-up and could not be read, and how much is not listed."""
        for what in self.unread[:MAX_UNREAD]:
            reason = "it cannot be read, or is too large to be start-up code"
            yield Gap(self.origin, f"{what} was not looked at", reason, law=LAW)
        if more := self.more + max(0, len(self.unread) - MAX_UNREAD):
            what = f"{quantity(more, 'further thing')} among what executes at start-up cannot be listed"
            yield Gap(self.origin, what, "there are more than is sensible", law=LAW)

    def _has_user_site(self) -> bool:
        """Whether Python looks for the account's own code: not in a virtual environment that is apart."""
        settings = read_settings(self.interpreter.prefix)
        return settings is None or settings.get("include-system-site-packages", "").lower() == "true"

    # --- Python ----------------------------------------------------------------------------------

    def _pth_files(self, site: str) -> None:
        try:
            names = sorted(name for name in os.listdir(site) if name.endswith(".pth"))
        except OSError:
            return
        self.more += max(0, len(names) - MAX_PTH)
        for name in names[:MAX_PTH]:
            path = os.path.join(site, name)
            data = _read(path, MAX_SMALL)
            if data is None:
                if os.path.isfile(path):
                    self.unread.append(path)
                continue
            lines = data.decode("utf-8-sig", "replace").splitlines()
            for number, line in enumerate(lines, start=1):
                if line.startswith(("import ", "import\t")):
                    self._pth_line(path, data, number, line)
                elif line.strip() and not line.startswith("#"):
                    folder = os.path.join(site, line.rstrip())
                    if os.path.isdir(folder) and folder not in self._search:
                        self._search.append(folder)
                        self.records.add(folder)

    def _pth_line(self, path: str, data: bytes, number: int, line: str) -> None:
        owner = self._owner(path, data)
        effects = read_effects(line)
        if owner.standing == "none" and self._is_virtualenv(path, line):
            owner = Owner("known", "virtualenv", "virtualenv")
        self._note(path, number - 1, owner, effects)
        if owner.standing not in ("none", "altered"):
            effects = Effects(modules=effects.modules)
        item = self._item(
            "pth", os.path.basename(path), path, data, owner, effects, via="Python's site module"
        )
        self._add(replace(item, line=number, text=line[:MAX_TEXT], sha256=sha256(line.encode()).hexdigest()))
        if owner.standing in ("none", "altered") or self.through_owned:
            for module in effects.modules:
                self._module("module", module, f"{path}:{number}")

    def _is_virtualenv(self, path: str, line: str) -> bool:
        """``_virtualenv.pth`` and its module, which virtualenv and uv write and no RECORD names."""
        if os.path.basename(path) != "_virtualenv.pth" or line.strip() != "import _virtualenv":
            return False
        data = _read(os.path.join(os.path.dirname(path), "_virtualenv.py"))
        made = os.path.isfile(os.path.join(self.interpreter.prefix, "pyvenv.cfg"))
        return made and bool(data) and only_patches(data or b"")

    def _module(self, kind: str, name: str, via: str) -> None:
        """A module and the packages it lies in, as an import of ``name`` would execute them."""
        parts = name.split(".")
        for length in range(1, len(parts) + 1):
            path = self._find("/".join(parts[:length]))
            if path:
                self._file(kind, ".".join(parts[:length]), path, via)

    def _file(self, kind: str, name: str, path: str, via: str) -> None:
        real = os.path.realpath(path)
        if real in self._followed:
            return
        self._followed.add(real)
        # Some installations have links to the library's files in its place.
        if kind == "module" and (self._is_library(real) or self._is_library(os.path.abspath(path))):
            return
        data = _read(path)
        if data is None:
            if kind != "module":  # of the others what brings them in is told
                self.unread.append(path)
            return
        owner = self._owner(path, data)
        known = os.path.basename(path) == "_virtualenv.py" and any(
            item.standing == "known" for item in self.items
        )
        if owner.standing == "none" and known:
            owner = Owner("known", "virtualenv", "virtualenv")
        readable = path.endswith(".py")
        if owner.standing != "none":
            if self.through_owned and readable:
                self._note(path, 0, owner, read_effects(data.decode("utf-8", "replace")))
            self._add(self._item(kind, name, path, data, owner, Effects(), via))
            return
        effects = read_effects(data.decode("utf-8", "replace")) if readable else Effects()
        if not readable:
            effects.unread = "it is compiled code without a source"
        self._note(path, 0, owner, effects)
        self._add(self._item(kind, name, path, data, owner, effects, via))
        for module in effects.modules:
            self._module("module", module, path)

    def _note(self, path: str, before: int, owner: Owner, effects: Effects) -> None:
        """What a text sets in modules; ``before``: lines of the file that stand before it."""
        self.more += max(0, len(self.reassigned) + len(effects.targets) - MAX_SET)
        for one in effects.targets[: MAX_SET - len(self.reassigned)]:
            self.reassigned.append(
                Reassigned(one.name, path, before + one.line, one.text, one.plain, owner.standing, owner.name)
            )

    def _find(self, relative: str) -> str:
        tag = f"cpython-{self.interpreter.version.replace('.', '')}-{os.uname().machine}-linux-gnu"
        for folder in self._search:
            base = os.path.join(folder, relative)
            for candidate in (os.path.join(base, "__init__"), base):
                for suffix in (f".{tag}.so", *_SUFFIXES):
                    if os.path.isfile(candidate + suffix):
                        return candidate + suffix
        return ""

    def _is_library(self, real: str) -> bool:
        return any(
            real.startswith(folder + os.sep) and not re.search(r"/(site|dist)-packages/", real)
            for folder in self._library
        )

    def _plugins(self, skipped: Set[str]) -> None:
        for folder in self._search:
            for info in _folders(folder, (".dist-info", ".egg-info")):
                text = _text(os.path.join(folder, info, "entry_points.txt"))
                for group, name, module in _entry_points(text):
                    path = self._find(module.replace(".", "/"))
                    data = _read(path) if path else None
                    if path and data is not None and group not in skipped:
                        loader = autoload.PLUGIN_GROUPS[group]
                        via = f"entry point {name!r} of {info} in group {group}, which {loader} loads"
                        owner = self._owner(path, data)
                        if owner.standing == "none" and self.records.is_editable(os.path.join(folder, info)):
                            owner = Owner("listed", info.partition("-")[0], "editable")
                        self._add(self._item("plugin", module, path, data, owner, Effects(), via))

    # --- native ----------------------------------------------------------------------------------

    def _preloads(self, variable: str, value: str, environment: Mapping[str, str]) -> None:
        origin = os.path.dirname(os.path.realpath(self.interpreter.python))
        words = [word for word in re.split(r"[\s:]+", value) if word]
        self.more += max(0, len(words) - MAX_PRELOADS)
        for word in words[:MAX_PRELOADS]:
            path = _library(word, environment, origin)
            data = _read(path) if path else None
            if data is not None and os.path.realpath(path) not in self._followed:
                self._followed.add(os.path.realpath(path))
                owner = self._owner(path, data)
                self._add(self._item("preload", word, path, data, owner, Effects(), variable))

    # --- around Python -----------------------------------------------------------------------------

    def _surroundings(self, environment: Mapping[str, str]) -> None:
        one = self.interpreter
        origin = os.path.dirname(os.path.realpath(one.python))
        for found in around(
            environment, one.commands, one.uid, lambda word, given: _library(word, given, origin)
        ):
            real = os.path.realpath(found.path)
            if real in self._followed:
                continue
            self._followed.add(real)
            data = (_read(found.path) or b"") if found.kind in ("profile", "library") else b""
            owner = self._owner(found.path, data) if data else NOBODY
            item = self._item(found.kind, found.name, found.path, data, owner, Effects(), found.via)
            self._add(replace(item, writers=found.writers))
        for variable in autoload.SETTINGS:
            if environment.get(variable):
                value = environment[variable].encode("utf-8", "surrogateescape")
                item = self._item("setting", variable, "", value, Owner("listed"), Effects(), "the variables")
                self._add(replace(item, text=environment[variable][:MAX_TEXT]))

    # --- items -----------------------------------------------------------------------------------

    def _owner(self, path: str, data: bytes) -> Owner:
        return NOBODY if self._ownership is None else self._ownership.of(path, data)

    def _item(
        self, kind: str, name: str, path: str, data: bytes, owner: Owner, effects: Effects, via: str
    ) -> StartupItem:
        try:
            modified = os.stat(path).st_mtime_ns
        except OSError:
            modified = 0
        return StartupItem(
            origin=self.origin,
            kind=kind,
            name=name[:MAX_TEXT],
            path=path,
            line=0,
            text=effects.unread,
            via=via,
            sha256=sha256(data).hexdigest(),
            owner=owner.name,
            installer=owner.installer,
            standing=owner.standing,
            effect=effects.level,
            effects=effects.lines,
            modified_at=modified,
            before="first",
        )

    def _add(self, item: StartupItem) -> None:
        if len(self.items) < MAX_ITEMS:
            self.items.append(item)
        else:
            self.more += 1


def _entry_points(text: str) -> Iterator[tuple[str, str, str]]:
    """``(group, name, module)`` of the entry points that torch and trainers load."""
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[method-assign, assignment]
    try:
        parser.read_string(text)
    except configparser.Error:
        return
    for group in autoload.PLUGIN_GROUPS:
        if parser.has_section(group):
            for name, value in parser.items(group):
                module = value.partition(":")[0].partition("[")[0].strip()
                if re.fullmatch(r"[\w.]+", module):
                    yield group, name, module


def _library(word: str, environment: Mapping[str, str], origin: str) -> str:
    """The file of a preloaded library: by its path, or in the loader's folders.

    ``origin``: the interpreter's folder, for the loader's ``$ORIGIN``.
    """
    if "/" in word:
        return next(filter(os.path.isfile, _expanded(word, origin)), "")
    folders = [part for part in environment.get("LD_LIBRARY_PATH", "").split(":") if part]
    machine = f"{os.uname().machine}-linux-gnu"
    places = (f"/lib/{machine}", f"/usr/lib/{machine}", "/lib64", "/usr/lib64", "/lib", "/usr/lib")
    for folder in (*folders, *places):
        if os.path.isfile(os.path.join(folder, word)):
            return os.path.join(folder, word)
    return ""


def _expanded(word: str, origin: str) -> Iterator[str]:
    """What the loader may read for a path with its tokens, which differ between systems (ld.so(8))."""
    machine = os.uname().machine
    for library in (f"lib/{machine}-linux-gnu", "lib64", "lib") if "LIB" in word else ("",):
        path = word
        for token, value in (("ORIGIN", origin), ("LIB", library), ("PLATFORM", machine)):
            path = path.replace(f"${{{token}}}", value).replace(f"${token}", value)
        yield path


def _folders(folder: str, suffixes: tuple[str, ...]) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if name.endswith(suffixes))[:10_000]
    except OSError:
        return []


def _setting(path: str, wanted: str) -> str:
    for line in _text(path).splitlines():
        key, _, value = line.partition("=")
        if key.strip().lower() == wanted:
            return value.strip()
    return ""


def _text(path: str) -> str:
    return (_read(path, MAX_SMALL) or b"").decode("utf-8", "replace")


def _read(path: str, limit: int = MAX_FILE) -> bytes | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            data = file.read(limit + 1)
    except (OSError, ValueError):
        return None
    return data if len(data) <= limit else None
