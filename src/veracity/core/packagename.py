"""Names of distributions, which the index and people spell in several ways."""

from __future__ import annotations

import re


def normalised(name: str) -> str:
    """A distribution's name in the normalised spelling of PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()
