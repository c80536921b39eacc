"""A file through the gate, with all of its readers and rules."""

from __future__ import annotations

import json

from veracity.detect.filerules import FILE_DETECTORS
from veracity.observe.artifact.input import Input
from veracity.scan.gate.examine import Examined, examine
from veracity.scan.gate.readers import READERS


def gated(data: bytes | str | object, name: str = "file") -> Examined:
    """What the gate says of a file with these bytes, this text, or this value as JSON."""
    if isinstance(data, str):
        data = data.encode()
    elif not isinstance(data, bytes):
        data = json.dumps(data).encode()
    return examine(Input.of_bytes(name, data), READERS, FILE_DETECTORS)


def rules(data: bytes | str | object, name: str = "file") -> list[str]:
    """The rules that a file breaks, each with its severity."""
    return [f"{one.rule} {one.severity.value}" for one in gated(data, name).findings]


def is_clean(data: bytes | str | object, name: str = "file") -> bool:
    """Whether nothing was found and nothing left unread."""
    result = gated(data, name)
    assert result.status == "clean", (result.findings, result.gaps)
    return True
