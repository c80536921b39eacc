"""The rule over libraries that are mapped in a job that was started on a seal."""

from __future__ import annotations

from typing import Any

import pytest

from veracity.core.finding import Finding
from veracity.core.observation import LibraryMapped
from veracity.core.origin import monitor_origin
from veracity.core.rule import Severity
from veracity.detect.rules.code.library_unlike_seal import MAX_FINDINGS, LibraryUnlikeSeal


def mapped(**more: Any) -> LibraryMapped:
    fields: dict[str, Any] = {
        "path": "/site/torch/lib/libtorch.so",
        "sha256": "a" * 64,
        "size": 10,
        "reason": "",
        "sealed": "same",
        "memory": "",
        "made": False,
        "standing": "",
        "owner": "",
        "writers": "",
        "whose": "",
        **more,
    }
    return LibraryMapped(monitor_origin(1), **fields)


def judged(*libraries: LibraryMapped) -> tuple[list[Finding], LibraryUnlikeSeal]:
    detector = LibraryUnlikeSeal()
    found = [finding for one in libraries for finding in detector.observe(one)]
    return found + list(detector.finish()), detector


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"sealed": "differs"}, "is not the file that was sealed there"),
        ({"sealed": "differs", "memory": "same"}, "is not the file that was sealed there"),
        ({"sealed": "added"}, "was not there when its folder was sealed"),
        ({"sealed": "same", "memory": "differs"}, "what is mapped is another file's code"),
    ],
)
def test_what_breaks_a_run(fields: dict[str, str], says: str) -> None:
    one = mapped(**fields)
    (finding,), detector = judged(one, one)
    assert finding.breaks
    assert says in finding.message
    assert detector.coverage().checked == 2


@pytest.mark.parametrize(
    "fields",
    [
        {"sealed": "added", "made": True},
        {"sealed": "outside", "standing": "none", "whose": "job"},
        {"sealed": "outside", "standing": "none", "whose": "root", "writers": "everybody"},
        {"sealed": "outside", "standing": "altered", "owner": "driver"},
    ],
)
def test_what_is_a_warning(fields: dict[str, Any]) -> None:
    (finding,), _ = judged(mapped(**fields))
    assert (finding.severity, finding.breaks) == (Severity.WARNING, False)


def test_what_another_account_has_is_a_note() -> None:
    """A cluster's software tree, or a colleague's folder: its permissions do not tell which."""
    (finding,), _ = judged(mapped(sealed="outside", standing="none", whose="other"))
    assert finding.severity is Severity.NOTE


CLEAN: dict[str, dict[str, Any]] = {
    "as sealed": {},
    "installed again, the same": {"memory": "same"},
    "a driver of a package": {"sealed": "outside", "standing": "listed", "owner": "driver"},
    "a driver of no package": {"sealed": "outside", "standing": "none", "whose": "root"},
    "a seal without the environment": {"sealed": "outside"},
    "compiled while the run went on": {"sealed": "outside", "standing": "none", "made": True},
    "a closure's file, deleted": {"sealed": "missing", "path": "/tmp/ffi1x2y", "sha256": ""},
    "in memory alone": {"sealed": "missing", "path": "/memfd:libx.so", "sha256": ""},
    "upgraded since it was mapped": {"sealed": "differs", "memory": "differs"},
    "exchanged, and not ours to read": {"sealed": "same", "memory": "unread"},
    "not read for the seal": {"sealed": "unknown"},
}


@pytest.mark.parametrize("name", CLEAN)
def test_what_ordinary_jobs_map_is_counted_at_most(name: str) -> None:
    found, detector = judged(mapped(**CLEAN[name]))
    assert found == []
    checked = name in ("as sealed", "installed again, the same")
    coverage = detector.coverage()
    assert (coverage.checked, coverage.possible, bool(coverage.reasons)) == (int(checked), 1, not checked)


def test_without_a_seal_and_bounds() -> None:
    assert LibraryUnlikeSeal().coverage().reasons == {"the run was started without --seal": 1}
    found, detector = judged(*(mapped(sealed="differs", path=f"/{n}.so") for n in range(MAX_FINDINGS + 5)))
    assert len(found) == MAX_FINDINGS
    assert list(detector.coverage().reasons.values()) == [5]
