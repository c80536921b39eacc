"""A disk that is full while something is bundled, sealed, approved: told, and nothing of it is there."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.full_disk import NO_NAMESPACE

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare is not installed")
def test_nothing_is_half_written_on_a_full_disk(tmp_path: Path) -> None:
    words = ["unshare", "--mount", "--map-root-user", sys.executable, "-m", "tests.cli.full_disk"]
    done = subprocess.run([*words, tmp_path], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == NO_NAMESPACE or "unshare failed" in done.stderr:
        pytest.skip("no mount namespace here")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    for verb in ("bundle", "redact", "entry", "seal", "approve", "revoke", "new-key", "sbom"):
        code, said = told[verb]
        assert (verb, code) == (verb, 2), said
        assert "No space left on device" in said, said
        assert said.replace("No space left on device", "").partition("veracity:")[2].strip(), "it says where"
    code, said = told["start"]
    assert code == 1, "what is not approved is not started, whether that can be recorded or not"
    assert "the refusal is not recorded" in said
    # The ledger's own draft has no name that anybody reads, and the next commit writes over it.
    assert [one for one in told["left"] if not one.endswith("/.draft")] == []
    assert told["holds"][0] == 0
    assert "1 approval and 0 revocations" in told["holds"][1]
    assert told["then"][0] == 0
    assert told["bundled"][0] == 0
