"""Defining files beside the archives that their distributions were installed from.

A RECORD lies beside the files and can be edited with them; an archive that a lock names by its digest cannot.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ...core.observation import DefiningFile
from ...observe.pyenv import Distribution, list_distributions, read_small
from ...observe.wheel import LIB
from ..archives import Archives

INSTALLER = "archive"
"""What a file's ``installer`` is when an archive, and not a RECORD, says how it should be."""
_MAX_WHEEL = 1 << 20


@dataclass(frozen=True, slots=True)
class _Reference:
    """Digests of an archive's files by their paths in the folder of packages; or why there is none."""

    name: str
    files: Mapping[str, str]
    reason: str = ""


@dataclass(slots=True)
class ArchivedFiles:
    """The folders of packages ``sites`` beside ``archives``."""

    sites: Sequence[str]
    archives: Archives
    _installed: dict[str, list[Distribution]] = field(default_factory=dict)
    _references: dict[str, _Reference] = field(default_factory=dict)

    def beside(self, one: DefiningFile) -> tuple[DefiningFile, str]:
        """The file as its archive has it, and why there is no archive to say so (empty: there is one).

        Files of no distribution in ``sites`` are as they were.
        """
        site = next((each for each in self.sites if one.path.startswith(each + os.sep)), "")
        if not site or one.standing not in ("recorded", "altered", "listed"):
            return one, ""
        installed = next((each for each in self._of(site) if each.name == one.owner), None)
        if installed is None or installed.editable:
            return one, ""
        reference = self._reference(installed)
        if reference.reason:
            named = f"{installed.name} {installed.version}"
            return one, f"{named} was not compared with an archive: {reference.reason}"
        same = reference.files.get(os.path.relpath(one.path, site)) == one.sha256
        standing = "recorded" if same else "altered"
        return replace(one, standing=standing, owner=reference.name, installer=INSTALLER), ""

    def _of(self, site: str) -> list[Distribution]:
        found = self._installed.get(site)
        if found is None:
            found = self._installed[site] = list_distributions(site)
        return found

    def _reference(self, one: Distribution) -> _Reference:
        known = self._references.get(one.info)
        if known is None:
            known = self._references[one.info] = self._look_up(one)
        return known

    def _look_up(self, one: Distribution) -> _Reference:
        data = read_small(os.path.join(one.info, "WHEEL"), _MAX_WHEEL) or b""
        lines = data.decode("utf-8", "replace").splitlines()
        tags = [line[4:].strip() for line in lines if line.startswith("Tag:")]
        reasons = []
        for found in self.archives.of(one.name, one.version, tags):
            if found.wheel is not None:
                files = {each.path: each.sha256 for each in found.wheel.files if each.scheme == LIB}
                return _Reference(found.archive.filename, files)
            reasons.append(found.reason)
        return _Reference("", {}, "; ".join(reasons[:3]) or "nothing that was given names it")
