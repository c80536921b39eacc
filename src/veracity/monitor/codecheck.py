"""Whether each imported module is what its distribution's RECORD and its own source say.

The guard reports modules as they were about to execute; here, outside the training process, the file is
digested and compared with RECORD, and the bytecode with a fresh compile under the job's own interpreter.
Nothing blocks: :meth:`CodeChecker.submit` queues, :meth:`CodeChecker.poll` brings what is finished.
"""

from __future__ import annotations

import base64
import os
import time
import zipfile
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from ..core.errors import EvidenceError
from ..core.observation import FunctionsExpected, Gap, ModuleChecked, ModuleImported
from ..core.origin import Origin, monitor_origin
from ..observe import pysource
from ..observe.pyenv import RecordEntry, RecordIndex, import_root
from ..scan.checkworker import CheckWorker
from ..scan.knownbytecode import KnownBytecode, tag_of
from ..scan.lineworker import Answered, Failed, Share
from .accounts import recording
from .program import PROGRAM, SealedProgram, read_program
from .sources import SourceStore

LAW = "code-identity"
MAX_MODULES = 200_000
MAX_BODY = 64 << 20
GUARD_PACKAGE = "_veracity_guard"

# Loaders that execute a file as it is. "NoneType": the module had left sys.modules again.
_PLAIN_LOADERS = frozenset(
    {"SourceFileLoader", "SourcelessFileLoader", "FrozenImporter", "NoneType", "type", ""}
)

Checked = ModuleChecked | FunctionsExpected | Gap


@dataclass(frozen=True, slots=True)
class _Provenance:
    """What RECORD says of a file: fields of ModuleChecked, and the text that would be trusted."""

    source: str
    reason: str
    distribution: str = ""
    installer: str = ""
    expected: str = ""
    place: str = ""


@dataclass(frozen=True, slots=True)
class _Pending:
    """A request the worker has not answered: ``checked`` is complete but for its bytecode."""

    module: ModuleImported
    checked: ModuleChecked
    data: bytes
    digest: str
    changed: bool


class CodeChecker:
    """Checks modules for one run.

    ``python`` is the job's interpreter, ``archive`` the guard's archive (or a source folder that holds the
    package ``veracity``), ``cache`` the folder of verified bytecode, ``started_at`` when the run was launched
    (ns since the epoch): a file changed after it may honestly differ from what was imported.
    """

    def __init__(
        self,
        python: str,
        archive: Path,
        cache: Path,
        records: RecordIndex,
        sources: SourceStore,
        started_at: int,
    ) -> None:
        self._archive = archive
        package = GUARD_PACKAGE if _holds(archive, GUARD_PACKAGE) else "veracity"
        self._worker = CheckWorker(python, archive, package, share=Share.TENTH)
        self._known = KnownBytecode(cache)
        self._records = records
        self._sources = sources
        self._started_at = started_at
        self._seen: set[tuple[str, str, str]] = set()
        self._finished: list[Checked] = []
        self._jobs: dict[int, _Pending | FunctionsExpected] = {}
        self._number = 0
        self._executed: dict[str, tuple[str, bool]] = {}
        self._rewritten: set[str] = set()
        self._watched: set[str] = set()
        self._written: dict[str, dict[str, str]] = {}
        self._held: dict[str, str] = {}
        self._storing = True
        self._remembering = True
        self._roots: set[str] = set()
        self.optimize = 0
        self.sealed: SealedProgram | None = None
        """What the seal says of the program that the run was started on."""

    @property
    def pending(self) -> int:
        """Checks that are not finished."""
        return self._worker.pending

    @property
    def worker_pid(self) -> int:
        """The checker's own process, 0 while there is none."""
        return self._worker.pid

    def submit(self, module: ModuleImported, body: bytes = b"") -> None:
        """Queue the check of a module; ``body`` is its .pyc's body as captured, empty when not shipped.

        The same code of the same file is checked once, however many processes import it.
        """
        key = (module.path, module.captured, module.sha256)
        if key in self._seen or len(self._seen) >= MAX_MODULES:
            return
        self._seen.add(key)
        root = import_root(module.path, module.module)
        if root not in self._roots:
            self._roots.add(root)
            self._records.add(root)
        if module.loader not in _PLAIN_LOADERS:
            self._rewritten.add(module.path)
        if module.captured == PROGRAM:
            self._submit_program(module, body)
            return
        found = pysource.read_source(module.path) if module.path else module.reason or "it has no file"
        if isinstance(found, str):
            self._finished.append(_unread(module, found))
            return
        digest = module.sha256 if module.captured == "source" and module.sha256 else found.sha256
        provenance = self._provenance(module, digest)
        checked = self._checked(module, provenance, digest, found)
        self._executed[module.path] = (digest, provenance.source == "true")
        if digest == found.sha256:
            self._keep(module.path, found, provenance)
        job = _Pending(module, checked, found.data, found.sha256, found.changed_at > self._started_at)
        self._check_bytecode(job, body)

    def _submit_program(self, module: ModuleImported, body: bytes) -> None:
        """Compare the code of ``__main__`` with a compile of the text that was sealed, else of its file's."""
        found = read_program(module.path)
        if isinstance(found, str):
            self._finished.append(_unread(module, found))
            return
        text = self.sealed.text(found, self._sources) if self.sealed is not None else found.source.data
        source = replace(found.source, data=text, sha256=sha256(text).hexdigest())
        checked = self._checked(module, self._provenance(module, source.sha256), source.sha256, source)
        self._executed[module.path] = (source.sha256, False)
        changed = found.source.changed_at > self._started_at
        if self.sealed is not None:
            checked = replace(checked, sealed=self.sealed.standing(found, text))
        if not body:
            self._finished.append(_with_bytecode(checked, "unchecked", "its code was not kept"))
            return
        self._keep(module.path, source, _Provenance("unrecorded", ""))
        job = _Pending(module, checked, text, source.sha256, changed)
        tag = tag_of(module.cached)
        optimize = int(tag[-1]) if tag else self.optimize
        request: dict[str, object] = {"source": module.path, "text": _base64(text), "optimize": optimize}
        self._send(job, {**request, "body": _base64(body)})

    def watch(self, path: str) -> None:
        """Ask for the digests of the functions that the file at ``path`` defines, as it was imported."""
        if path in self._watched or len(self._watched) >= MAX_MODULES or path.startswith("<"):
            return
        self._watched.add(path)
        expected = FunctionsExpected(_now(), path, False, "", {})
        data = self._archived(path)
        if data is not None:
            expected = replace(expected, sealed=True, distribution="veracity")
        else:
            data, sealed = self._imported_text(path)
            entry = self._records.lookup(path)
            name = entry.distribution.name if entry is not None else ""
            expected = replace(expected, sealed=sealed, distribution=name)
        if data is None or path in self._rewritten:
            self._finished.append(expected)
            return
        self._send(expected, {"source": path, "text": _base64(data), "optimize": self.optimize})

    def poll(self, seconds: float = 0.0) -> list[Checked]:
        """What was finished since the last call; waits at most ``seconds`` for the worker."""
        for result in self._worker.pump(seconds):
            job = self._jobs.pop(result.number, None)
            if isinstance(job, _Pending):
                self._finish(job, result)
            elif isinstance(job, FunctionsExpected):
                self._finished.append(_with_functions(job, result, self._written.get(job.path, {})))
        finished, self._finished = self._finished, []
        return finished

    def drain(self, seconds: float) -> list[Checked]:
        """Finish what is queued, for at most ``seconds``; what is left then is ``unchecked``."""
        deadline = time.monotonic() + seconds
        results = self.poll()
        while self.pending and (left := deadline - time.monotonic()) > 0:
            results += self.poll(min(left, 0.5))
        for number in list(self._jobs):
            job = self._jobs.pop(number)
            if isinstance(job, _Pending):
                results.append(_with_bytecode(job.checked, "unchecked", "the run ended before its check"))
        self.close()
        return results

    def trust_held(self) -> None:
        """The run held: its own files, as they were imported, are what later changes are shown against.

        Raises OSError when the store cannot be written.
        """
        for path, digest in self._held.items():
            self._sources.trust(path, digest, "held")

    def close(self) -> None:
        """End the worker."""
        self._worker.close()

    # --- source -------------------------------------------------------------------------------------

    def _provenance(self, module: ModuleImported, digest: str) -> _Provenance:
        entry = self._records.lookup(module.path)
        if entry is not None:
            return _recorded(entry, digest)
        other = self._records.elsewhere(module.path, module.module)
        if other is None:
            return _Provenance("unrecorded", "")
        owner = other.distribution
        if owner.editable:
            return _Provenance("unrecorded", "", owner.name, owner.installer)
        return _Provenance(
            "elsewhere",
            f"RECORD of {owner.name} {owner.version} names {other.path}",
            owner.name,
            owner.installer,
            other.sha256,
            other.path,
        )

    def _checked(
        self, module: ModuleImported, provenance: _Provenance, digest: str, found: pysource.PySource
    ) -> ModuleChecked:
        diff, named = pysource.LineDiff([], 0, False), ""
        if provenance.source != "true" and digest == found.sha256:
            old, named = self._trusted_text(module.path, provenance, digest)
            if old is not None:
                diff = pysource.line_diff(old, found.data, old_name=named, new_name=module.path)
        return ModuleChecked(
            origin=monitor_origin(time.time_ns(), pid=module.origin.pid, rank=module.origin.rank),
            module=module.module,
            path=module.path,
            source_digest=digest,
            distribution=provenance.distribution,
            installer=provenance.installer,
            source=provenance.source,
            bytecode="unchecked",
            reason=provenance.reason,
            expected=provenance.expected,
            modified_at=found.modified_at,
            diff=diff.lines,
            diff_from=named,
            first_line=diff.first_line,
        )

    def _trusted_text(self, path: str, provenance: _Provenance, digest: str) -> tuple[bytes | None, str]:
        """The text to show a change against, and its name; None when there is none."""
        if provenance.expected:
            named = f"{path} as RECORD of {provenance.distribution} says"
            if provenance.place:
                place = pysource.read_source(provenance.place)
                if isinstance(place, pysource.PySource) and place.sha256 == provenance.expected:
                    return place.data, provenance.place
            try:
                return self._sources.read(provenance.expected), named
            except EvidenceError:
                # Never seen unaltered on this machine: there is nothing to compare with.
                return None, ""
        trusted = self._sources.trusted(path)
        if trusted is None or trusted.sha256 == digest:
            return None, ""
        try:
            return self._sources.read(trusted.sha256), f"{path} as in the last {trusted.why} run"
        except EvidenceError:
            return None, ""

    def _keep(self, path: str, found: pysource.PySource, provenance: _Provenance) -> None:
        if not self._storing:
            return
        try:
            digest = self._sources.keep(found.data, found.sha256)
            if provenance.source == "true":
                self._sources.trust(path, digest, "record")
            elif provenance.source == "unrecorded":
                self._held[path] = digest
        except OSError as error:
            self._storing = False
            self._finished.append(_gap("source texts are not kept", str(error.strerror)))

    # --- bytecode -----------------------------------------------------------------------------------

    def _check_bytecode(self, job: _Pending, body: bytes) -> None:
        module, checked = job.module, job.checked
        if module.captured == "none" or module.loader not in _PLAIN_LOADERS:
            why = module.reason or f"loaded by {module.loader}, which may rewrite code"
            self._finished.append(_with_bytecode(checked, "unchecked", why))
        elif module.path.endswith(".pyc"):
            self._finished.append(_with_bytecode(checked, "unchecked", "there is no source to compare with"))
        elif module.captured == "source":
            self._check_compiled(job)
        else:
            self._check_body(job, body)

    def _check_compiled(self, job: _Pending) -> None:
        """The source was compiled at import: was it the file's text?"""
        if job.module.sha256 == job.digest:
            self._finished.append(_with_bytecode(job.checked, "compiled", ""))
        elif job.changed:
            why = "the file was changed after it was imported"
            self._finished.append(_with_bytecode(job.checked, "compiled", why))
        else:
            why = "the text that was compiled is not the file's"
            self._finished.append(_with_bytecode(job.checked, "forged", why))

    def _check_body(self, job: _Pending, body: bytes) -> None:
        module = job.module
        with recording():
            known = self._known.sources(tag_of(module.cached), module.sha256)
        if job.checked.source_digest in known:
            self._finished.append(_with_bytecode(job.checked, "same", ""))
            return
        if sha256(body).hexdigest() != module.sha256:
            body = _body_on_disk(module)
        found = tag_of(module.cached)
        optimize = int(found[-1]) if found else self.optimize
        request: dict[str, object] = {"source": module.path, "text": _base64(job.data), "optimize": optimize}
        if body:
            request["body"] = _base64(body)
        else:
            for digest in sorted(known):
                try:
                    request["twin"] = _base64(self._sources.read(digest))
                    break
                except EvidenceError:
                    continue
        if "body" in request or "twin" in request:
            self._send(job, request)
        else:
            self._finished.append(_with_bytecode(job.checked, "unchecked", "its bytecode was not kept"))

    def _finish(self, job: _Pending, result: Answered | Failed) -> None:
        if isinstance(result, Failed):
            self._finished.append(_with_bytecode(job.checked, "unchecked", result.reason))
            return
        same, reason = result.body.get("same"), str(result.body.get("reason") or "")
        if job.module.captured == PROGRAM:
            self._finished.append(_program_compared(job, same, reason))
        elif same is True:
            self._finished.append(_with_bytecode(job.checked, "same", ""))
            functions = _functions(result)
            if functions:
                # Written otherwise than by this interpreter: its functions have other digests in memory too.
                # Not remembered, so that the next run is told these digests as well.
                self._written.setdefault(job.module.path, {}).update(functions)
                return
            try:
                if self._remembering:
                    self._remember(job)
            except OSError as error:
                self._remembering = False
                self._finished.append(_gap("verified bytecode is not remembered", str(error.strerror)))
        elif same is False:
            # A file changed while the run goes on may honestly differ, unless RECORD vouches for its text.
            stale = job.changed and job.checked.source != "true"
            self._finished.append(_with_bytecode(job.checked, "stale" if stale else "forged", reason))
        else:
            why = str(result.body.get("error") or reason or "the checker gave no answer")
            self._finished.append(_with_bytecode(job.checked, "unchecked", why))

    def _remember(self, job: _Pending) -> None:
        with recording():
            self._known.add(tag_of(job.module.cached), job.module.sha256, job.checked.source_digest)

    def _send(self, job: _Pending | FunctionsExpected, request: dict[str, object]) -> None:
        self._number += 1
        self._jobs[self._number] = job
        self._worker.send(self._number, request)

    # --- functions ----------------------------------------------------------------------------------

    def _archived(self, path: str) -> bytes | None:
        """The text of a file inside the guard's archive, as the monitor's own copy has it."""
        prefix = f"{self._archive}{os.sep}"
        if not path.startswith(prefix) or f"{os.sep}{GUARD_PACKAGE}{os.sep}" not in path:
            return None
        try:
            with zipfile.ZipFile(self._archive) as archive:
                return archive.read(path[len(prefix) :].replace(os.sep, "/"))
        except (OSError, KeyError, zipfile.BadZipFile):
            return None

    def _imported_text(self, path: str) -> tuple[bytes | None, bool]:
        """The text of ``path`` as it was imported, and whether RECORD vouches for it."""
        digest, sealed = self._executed.get(path, ("", False))
        found = pysource.read_source(path)
        if isinstance(found, pysource.PySource) and (
            found.sha256 == digest or (not digest and found.changed_at <= self._started_at)
        ):
            entry = self._records.lookup(path)
            return found.data, sealed or (entry is not None and entry.sha256 == found.sha256)
        try:
            return (self._sources.read(digest), sealed) if digest else (None, False)
        except EvidenceError:
            return None, False


def _recorded(entry: RecordEntry, digest: str) -> _Provenance:
    owner = entry.distribution
    if not entry.sha256:
        why = f"RECORD of {owner.name} gives no digest for it"
        return _Provenance("unrecorded", why, owner.name, owner.installer)
    source = "true" if entry.sha256 == digest else "altered"
    return _Provenance(source, "", owner.name, owner.installer, entry.sha256)


def _with_bytecode(checked: ModuleChecked, bytecode: str, reason: str) -> ModuleChecked:
    joined = "; ".join(part for part in (checked.reason, reason) if part)
    return replace(checked, bytecode=bytecode, reason=joined)


def _program_compared(job: _Pending, same: object, reason: str) -> ModuleChecked:
    """Somebody may well edit a program while it runs: without a sealed text that says nothing."""
    checked = job.checked
    if same is True:
        return _with_bytecode(checked, "same", "")
    if same is not False:
        return _with_bytecode(checked, "unchecked", reason or "the checker gave no answer")
    if checked.sealed == "same":
        return _with_bytecode(replace(checked, sealed="differs"), "forged", reason)
    if checked.sealed == "differs":
        # The file is not as sealed and not what runs: the latter may well be what was sealed.
        checked = replace(checked, sealed="unknown")
    if job.changed or checked.sealed == "unknown":
        why = "the file was changed after the program was started"
        return _with_bytecode(checked, "unchecked", why)
    return _with_bytecode(checked, "forged", reason)


def _with_functions(
    expected: FunctionsExpected, result: Answered | Failed, written: dict[str, str]
) -> FunctionsExpected:
    """``written``: digests of functions as the file's checked bytecode has them, where those are others."""
    functions = _functions(result)
    if not functions:
        return expected
    also = {f"{name} (in its .pyc)": digest for name, digest in written.items()}
    return replace(expected, functions=functions | also)


def _functions(result: Answered | Failed) -> dict[str, str]:
    functions = result.body.get("functions") if isinstance(result, Answered) else None
    if not isinstance(functions, dict):
        return {}
    return {str(name): str(digest) for name, digest in functions.items()}


def _unread(module: ModuleImported, why: str) -> ModuleChecked:
    origin = monitor_origin(time.time_ns(), pid=module.origin.pid, rank=module.origin.rank)
    return ModuleChecked(
        origin, module.module, module.path, "", "", "", "missing", "unchecked", why, "", 0, [], "", 0
    )


def _body_on_disk(module: ModuleImported) -> bytes:
    """The captured body if its .pyc still holds it: a header of 16 bytes, then the body (PEP 552)."""
    found = pysource.read_source(module.cached) if module.cached else ""
    if isinstance(found, str) or len(found.data) <= 16 or len(found.data) > MAX_BODY:
        return b""
    body = found.data[16:]
    return body if sha256(body).hexdigest() == module.sha256 else b""


def _holds(archive: Path, package: str) -> bool:
    if archive.is_dir():
        return (archive / package).is_dir()
    try:
        with zipfile.ZipFile(archive) as file:
            return f"{package}/guard/codecheck.py" in file.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


def _gap(what: str, reason: str) -> Gap:
    return Gap(_now(), what, reason, remedy="make room and the home writable", law=LAW)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _now() -> Origin:
    return monitor_origin(time.time_ns())
