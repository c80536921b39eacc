"""An environment beside the archives it was installed from: what differs, and what came with none.

The archive that an index or a lock names is the reference, not the RECORD beside the files: whoever edits a
file can edit that, too. Files were read once already, for a seal: here their digests are compared.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..core.observation import DistributionCompared, FileDifference, Gap, StrayFile
from ..core.origin import Origin, monitor_origin
from ..core.quantity import quantity
from ..core.tree import LINK, UNREAD, TreeEntry
from ..observe.dpkg import files_below
from ..observe.entryscript import calls_entry, interpreter_of
from ..observe.interpreter import PythonEnvironment
from ..observe.marks import mark_of
from ..observe.pyenv import Distribution, list_distributions, read_small
from ..observe.torchzip import FileDigest, digest_file
from ..observe.wheel import DATA, LIB, SCRIPTS, Wheel, WheelFile
from .archives import Archives, Found, is_version
from .launch import is_one_program
from .records import Record
from .strays import LAW, Explained, find_strays

SYSTEM = "/usr/lib/"
"""Where a system's package manager puts packages for Python."""
MAX_DIFFERENCES = 200
MAX_SYSTEM_FILE = 64 << 20
MAX_SCRIPT = 1 << 20

_CACHED = re.compile(r"(\A|/)__pycache__/[^/]*\.[^/]*\.pyc\Z", re.S)

Tree = Mapping[bytes, TreeEntry]
"""A folder as it was read: path from it → entry."""


@dataclass(slots=True)
class _Compared:
    """A distribution that is compared with an archive."""

    distribution: Distribution
    found: Found
    wheel: Wheel
    files: int = 0
    differing: list[FileDifference] = field(default_factory=list)
    more: int = 0


@dataclass(slots=True)
class _System:
    """What was compared of a system package."""

    files: int = 0
    differing: list[FileDifference] = field(default_factory=list)


class EnvironmentCheck:
    """Compares the folder of packages ``site`` of an environment, which was read as ``tree``."""

    def __init__(self, environment: PythonEnvironment, site: str, tree: Tree, archives: Archives) -> None:
        self._environment = environment
        self._site = site
        self._tree = tree
        self._archives = archives
        self._origin: Origin = monitor_origin(time.time_ns())
        self._records: dict[str, Record] = {}
        self._claimed: set[str] = set()
        self._system = files_below(site) if site.startswith(SYSTEM) else {}
        self.vouched: set[str] = set()
        """Paths in the folder whose content is that of an archive."""
        self.commands: set[str] = set()
        """Names in the folder of commands that a distribution brings."""
        self._unread: list[str] = []
        self._ours: dict[str, bool] = {}

    def run(self) -> Iterator[DistributionCompared | StrayFile | Gap]:
        """Each distribution, then each file that came with none of them."""
        compared: list[_Compared] = []
        by_content: list[Distribution] = []
        for distribution in list_distributions(self._site):
            chosen = self._chosen(distribution)
            if isinstance(chosen, _Compared):
                compared.append(chosen)
            else:
                by_content.append(distribution)
                yield chosen
        shared = _shared(compared)
        self._claimed = {
            path for one in by_content for path in self._record(one).paths() if _brings(one, path)
        }
        for each in by_content:
            self.commands |= self._record(each).commands()
        for one in compared:
            self.commands.update(_commands(one.wheel))
            self._compare(one, shared)
            yield self._result(one)
        if self._unread:
            what = (
                f"{quantity(len(self._unread), 'installed file was', 'installed files were')} not compared, "
                f"{self._unread[0]} among them"
            )
            yield Gap(self._origin, what, "they could not be read", law=LAW)
        yield from self._of_the_system()
        explained = self._explained(compared, by_content)
        yield from find_strays(self._site, self._tree, explained, self._origin)

    # --- which archive ----------------------------------------------------------------------------

    def _chosen(self, distribution: Distribution) -> _Compared | DistributionCompared:
        """The archive that a distribution is compared with, or why there is none."""
        name, version = distribution.name, distribution.version
        asked = self._archives.ask(name)
        versions = self._archives.versions(name)
        how = self._archives.how_else(name)
        if how is not None or (distribution.editable and not self._archives.is_locked):
            return self._without(
                distribution, "content", f"locked as {how}" if how else "an editable install"
            )
        package = self._package(distribution)
        if package and not any(is_version(version, one) for one in versions):
            return self._without(distribution, "content", f"of the system package {package}")
        if asked and not versions:
            return self._without(distribution, "absent", asked)
        if distribution.editable or not versions:
            what = (
                "nothing that was given names it"
                if not versions
                else "an editable install, locked as an archive"
            )
            return self._without(distribution, "unlocked", what)
        if not any(is_version(version, one) for one in versions):
            return self._without(distribution, "version", f"{', '.join(versions[:5])}")
        best: _Compared | None = None
        reasons = []
        most = -1
        candidates = list(self._archives.of(name, version, self._tags(distribution)))
        for found in candidates:
            if found.wheel is None:
                reasons.append(f"{found.archive.filename or found.archive.sha256[:16]}: {found.reason}")
                continue
            files = found.wheel.files if len(candidates) > 1 else ()
            alike = sum(self._is_same(one) for one in files if one.scheme == LIB)
            if alike > most:
                best, most = _Compared(distribution, found, found.wheel), alike
        if best is None:
            why = "; ".join(reasons[:3]) or "it was locked as no wheel"
            return self._without(distribution, "absent", why)
        return best

    def _package(self, distribution: Distribution) -> str:
        """The system package that brought a distribution, empty when none did."""
        info = os.path.basename(distribution.info)
        return self._system.get(f"{info}/METADATA", ("", ""))[0]

    def _of_the_system(self) -> Iterator[DistributionCompared]:
        """Each system package, its files compared with the MD5 that the system's database has."""
        packages: dict[str, _System] = {}
        for path, (package, expected) in sorted(self._system.items()):
            entry = self._tree.get(os.fsencode(path))
            if not expected or entry is None or not entry.is_file:
                continue
            one = packages.setdefault(package, _System())
            data = read_small(os.path.join(self._site, path), MAX_SYSTEM_FILE)
            observed = "" if data is None else hashlib.md5(data, usedforsecurity=False).hexdigest()
            one.files += 1
            if observed != expected and len(one.differing) < MAX_DIFFERENCES:
                place = os.path.join(self._site, path)
                marked = mark_of(place).fields
                one.differing.append(FileDifference(place, "content", expected, observed, "", *marked))
        for package, one in packages.items():
            bare = Distribution(package, "", "dpkg", editable=False, directory=self._site, info="")
            named = f"the package {package}"
            yield replace(
                self._without(bare, "system", ""),
                archive=named, named_by="dpkg (MD5)", files=one.files, differing=one.differing,
            )  # fmt: skip

    def _tags(self, distribution: Distribution) -> list[str]:
        data = read_small(os.path.join(distribution.info, "WHEEL"), MAX_SCRIPT) or b""
        lines = data.decode("utf-8", "replace").splitlines()
        return [line[4:].strip() for line in lines if line.startswith("Tag:")]

    def _without(self, one: Distribution, standing: str, reason: str) -> DistributionCompared:
        return DistributionCompared(
            self._origin, one.name, one.version, one.directory, one.installer,
            standing, reason, "", "", "", 0, [], 0, [],
        )  # fmt: skip

    def _result(self, one: _Compared) -> DistributionCompared:
        distribution, archive = one.distribution, one.found.archive
        return DistributionCompared(
            origin=self._origin,
            name=distribution.name,
            version=distribution.version,
            directory=distribution.directory,
            installer=distribution.installer,
            standing="compared",
            reason="",
            archive=archive.filename,
            sha256=archive.sha256,
            named_by=archive.lock,
            files=one.files,
            differing=one.differing,
            more=one.more,
            unlike_record=list(one.wheel.unlike_record[:MAX_DIFFERENCES]),
        )

    # --- comparison -------------------------------------------------------------------------------

    def _compare(self, one: _Compared, shared: Mapping[str, list[WheelFile]]) -> None:
        record = self._record(one.distribution)
        own = f"{os.path.basename(one.distribution.info)}/RECORD"
        for file in one.wheel.files:
            path = file.path
            if file.scheme == LIB and (path == own or (path.endswith(".pyc") and _CACHED.search(path))):
                # Installers write their own; bytecode is compared with its source, elsewhere.
                found = self._tree.get(os.fsencode(path))
                if found is not None and found.is_file and found.digest == file.digest:
                    self.vouched.add(path)
                continue
            if file.scheme == LIB:
                self._compare_lib(one, file, shared.get(file.path, [file]), record)
            elif file.scheme == SCRIPTS:
                self._compare_script(one, file)
            elif file.scheme == DATA:
                self._compare_elsewhere(one, file, os.path.join(self._environment.prefix, file.path))
        for command, entry in one.wheel.commands.items():
            self._compare_command(one, command, entry)

    def _compare_lib(
        self, one: _Compared, file: WheelFile, alternatives: Sequence[WheelFile], record: Record
    ) -> None:
        raw = os.fsencode(file.path)
        entry = self._tree.get(raw)
        place = f"{self._site}/{file.path}"
        if entry is not None and entry.digest == UNREAD:
            self._unread.append(place)
            return
        one.files += 1
        if not (entry is not None and entry.digest == file.digest and entry.is_file) and not any(
            self._is_same(other) for other in (file, *alternatives)
        ):
            self._compare_other(one, file, entry, place, record.sha256(file.path))
            return
        self.vouched.add(file.path)
        if not record.says(raw, file.sha256, file.size):
            recorded = record.sha256(file.path)
            if recorded and all(recorded != other.sha256 for other in alternatives):
                self._differs(one, place, "record", file.sha256, file.sha256, recorded)
        executable = entry is not None and entry.is_file and entry.mode & 0o111
        if entry is not None and executable and not any(other.executable for other in alternatives):
            self._differs(one, place, "executable", "", f"{entry.mode:o}", "")

    def _compare_other(
        self, one: _Compared, file: WheelFile, entry: TreeEntry | None, place: str, recorded: str
    ) -> None:
        """Something else lies at the place of a file, or nothing."""
        if entry is None and not os.path.lexists(place):
            if file.path not in self._system and self._package(one.distribution):
                return  # the system's package left it out, as Debian's do with licences
            self._differs(one, place, "missing", file.sha256, "", recorded)
            return
        is_file = entry is None or entry.is_file or entry.kind == LINK
        observed = entry.digest if entry is not None and entry.is_file else ""
        change = "content" if is_file else "kind"
        if is_file and file.path in self._claimed:
            change = "claimed"
        self._differs(one, place, change, file.digest, observed, recorded)

    def _is_same(self, file: WheelFile) -> bool:
        """Whether what lies at the place of a file of an archive has its content."""
        entry = self._tree.get(os.fsencode(file.path))
        if entry is not None and entry.is_file:
            return entry.digest == file.digest
        if entry is not None and entry.kind != LINK:
            return False
        # A link, or a file behind a linked folder: some installers link instead of copying.
        found = digest_file(os.path.join(self._site, file.path))
        return isinstance(found, FileDigest) and found.sha256 == file.sha256

    def _compare_script(self, one: _Compared, file: WheelFile) -> None:
        place = os.path.join(self._environment.prefix, "bin", file.path)
        data = read_small(place, MAX_SCRIPT)
        if not file.rest or data is None:
            self._compare_elsewhere(one, file, place)
            return
        one.files += 1
        interpreter, rest = interpreter_of(data, os.path.dirname(place))
        if hashlib.sha256(rest).hexdigest() != file.rest:
            self._differs(one, place, "content", file.rest, hashlib.sha256(rest).hexdigest(), "")
        elif not self._is_ours(interpreter):
            self._differs(one, place, "script", "", data[:200].decode("utf-8", "replace"), "")

    def _compare_elsewhere(self, one: _Compared, file: WheelFile, place: str) -> None:
        """A file outside the folder of packages, which was not read yet."""
        found = digest_file(place)
        one.files += 1
        if isinstance(found, FileDigest):
            if found.sha256 != file.sha256:
                self._differs(one, place, "content", file.sha256, found.sha256, "")
        else:
            self._differs(
                one, place, "missing" if not os.path.lexists(place) else "kind", file.sha256, "", ""
            )

    def _compare_command(self, one: _Compared, command: str, entry: str) -> None:
        """A script that the installer wrote for an entry point."""
        if "/" in command or command in (".", ".."):
            return
        place = os.path.join(self._environment.prefix, "bin", command)
        data = read_small(place, MAX_SCRIPT)
        if data is None:
            if os.path.lexists(place):
                one.files += 1
                self._differs(one, place, "kind", "", "", "")
            return  # not all installers write all of them
        one.files += 1
        if not calls_entry(data, entry):
            self._differs(one, place, "script", entry, hashlib.sha256(data).hexdigest(), "")
        elif not self._is_ours(interpreter_of(data, os.path.dirname(place))[0]):
            self._differs(one, place, "script", "", data[:200].decode("utf-8", "replace"), "")

    def _is_ours(self, interpreter: str) -> bool:
        """Whether it is this environment's interpreter, whatever it is called there."""
        if interpreter not in self._ours:
            folder = os.path.join(self._environment.prefix, "bin")
            inside = os.path.realpath(os.path.dirname(interpreter)) == os.path.realpath(folder)
            self._ours[interpreter] = inside and is_one_program(interpreter, self._environment.python)
        return self._ours[interpreter]

    def _differs(
        self, one: _Compared, place: str, change: str, expected: str, observed: str, recorded: str
    ) -> None:
        if len(one.differing) >= MAX_DIFFERENCES:
            one.more += 1
            return
        marked = mark_of(place).fields
        one.differing.append(FileDifference(place, change, expected, observed, recorded, *marked))

    def _record(self, distribution: Distribution) -> Record:
        return self._records.setdefault(distribution.info, Record(distribution))

    def _placed(self, wheel: Wheel) -> Iterator[str]:
        """Paths in this folder of the files of a wheel; its data may lie here, too."""
        start = os.path.relpath(self._site, os.path.realpath(self._environment.prefix)) + "/"
        for file in wheel.files:
            if file.scheme == LIB:
                yield file.path
            elif file.scheme == DATA and file.path.startswith(start):
                yield file.path.removeprefix(start)

    # --- what came with none ----------------------------------------------------------------------

    def _explained(self, compared: Sequence[_Compared], by_content: Sequence[Distribution]) -> Explained:
        """What is known of the files in the folder."""
        return Explained(
            expected={path for one in compared for path in self._placed(one.wheel)},
            claimed=self._claimed,
            system=self._system.keys(),
            by_content={os.path.basename(one.info) for one in by_content},
            infos={os.path.basename(one.distribution.info) for one in compared},
            records=list(self._records.values()),
            virtual=self._environment.virtual,
        )


def _brings(one: Distribution, path: str) -> bool:
    """Whether a distribution without an archive may explain a file that its RECORD names.

    An editable install puts nothing there but what leads to its folder.
    """
    return not one.editable or (
        "/" not in path and (path.startswith("__editable__") or path.endswith(".pth"))
    )


def _commands(wheel: Wheel) -> Iterator[str]:
    """Names in the folder of commands that come with a wheel; some bring them as data."""
    yield from wheel.commands
    for file in wheel.files:
        if file.scheme == SCRIPTS:
            yield file.path
        elif file.scheme == DATA:
            yield file.path.removeprefix("bin/")


def _shared(compared: Sequence[_Compared]) -> dict[str, list[WheelFile]]:
    """The files of each path: several distributions may bring one, and the last one installed stays."""
    found: dict[str, list[WheelFile]] = {}
    for one in compared:
        for file in one.wheel.files:
            if file.scheme == LIB:
                found.setdefault(file.path, []).append(file)
    return found
