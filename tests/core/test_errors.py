from __future__ import annotations

import pytest

from veracity.core import errors


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.UsageError, 2),
        (errors.EvidenceError, 2),
        (errors.ResourceLimitError, 2),
        (errors.VerificationError, 1),
        (errors.TransportError, 2),
        (errors.ReplayError, 2),
    ],
)
def test_each_error_has_its_exit_code_and_says_what_to_do(kind: type[errors.Error], code: int) -> None:
    error = kind("it broke", where="here", remedy="mend it")
    assert error.exit_code == code
    assert str(error) == "it broke"
    assert str(error.diagnostics()) == "it broke\n  where: here\n  what to do: mend it"


def test_what_is_not_known_is_not_printed() -> None:
    assert str(errors.UsageError("wrong").diagnostics()) == "wrong"
    assert str(errors.UsageError("wrong", where="here").diagnostics()) == "wrong\n  where: here"


def test_a_limit_is_an_evidence_error() -> None:
    assert issubclass(errors.ResourceLimitError, errors.EvidenceError)
    assert not issubclass(errors.VerificationError, errors.EvidenceError)
