"""What names a finding over versions of its file, for baselines and for those who keep lists of findings."""

from __future__ import annotations

import hashlib
import re

from ...core.finding import Finding

_DIGITS = re.compile(r"\d+")


def fingerprint(finding: Finding, path: str) -> str:
    """What names a finding over versions of its file: rule, path, and what was seen, but not in which line.

    Numbers in what was seen do not count either, since offsets and lines move with each edit.
    """
    seen = [one.observed or " ".join(one.excerpt) for one in finding.evidence[:2]] or [finding.message]
    inside = finding.subject.partition("!")[2]
    text = "\0".join((finding.rule, path, inside, *(_DIGITS.sub("0", one) for one in seen)))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
