"""All detectors that the gate asks, by what they are asked about: those of files and those of code.

Most files bring few kinds of observations, so a group of rules is imported when the first one of a kind
that it takes has come.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from ...core.observation import Observation
from ...detect.detector import Detector
from .places import found_at

_PICKLES = "detect.picklerules:PICKLE_DETECTORS"
_ARCHIVES = "detect.archiverules:ARCHIVE_DETECTORS"
_CARRIERS = "detect.carrierrules:CARRIER_DETECTORS"
_PYTHON = "detect.pythonrules:PYTHON_DETECTORS"
_CODE = "detect.coderules:CODE_DETECTORS"

GROUPS: Mapping[str, str] = {
    "GlobalDefined": _PICKLES,
    "GlobalsPermitted": _PICKLES,
    "PickleRead": _PICKLES,
    "ArchiveOdd": _ARCHIVES,
    "ArchiveRead": _ARCHIVES,
    "ScriptCode": _ARCHIVES,
    "ShardSlice": _ARCHIVES,
    "CodeCarried": _CARRIERS,
    "CommandAsked": _CARRIERS,
    "FileAsked": _CARRIERS,
    "FormatRuleBroken": _CARRIERS,
    "NameAsked": _CARRIERS,
    "OperatorAsked": _CARRIERS,
    "TemplateReach": _CARRIERS,
    "CompiledFunction": _PYTHON,
    "StartCode": _PYTHON,
    "WheelCompared": _PYTHON,
    "SourceRead": _CODE,
}
"""By the name of a kind of observation, the group of rules that takes it."""
_known: dict[type[Observation], tuple[type[Detector], ...]] = {}


def asked_about(kind: type[Observation]) -> tuple[type[Detector], ...]:
    """All that the gate asks about observations of a kind, in their order."""
    if kind not in _known:
        group = GROUPS.get(kind.__name__)
        detectors = cast("tuple[type[Detector], ...]", found_at(group)) if group is not None else ()
        _known[kind] = tuple(one for one in detectors if kind in one.takes)
    return _known[kind]
