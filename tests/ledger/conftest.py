from __future__ import annotations

import pytest

from veracity.ledger.keys import SigningKey


@pytest.fixture(scope="session")
def signer() -> SigningKey:
    return SigningKey.generate("log.example/run-1")
